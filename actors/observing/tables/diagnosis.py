"""The diagnosis of a node: circles of waits first, then what most others wait for, and what that does."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.tables.rows import shown_ref, stack_of
from enfilade.actors.observing.tables.waits import TRIOS, Wait
from enfilade.actors.processes.identity import actor_name

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["IDLE", "diagnosed", "doing", "file_of", "is_below"]

NAMED: Final = 10
"""How many waiting processes a diagnosis names."""


IDLE: Final = "nothing waits: the node is idle"
"""The diagnosis of a node of which there is nothing else to say."""


def diagnosed(node: Node, waits: list[Wait]) -> list[str]:
    """The state of a node in a few lines: circles first, then what most others wait for."""
    circles = _circles(waits)
    lines = [_circle_shown(circle) for circle in circles]
    in_circles = {wait.waiting for circle in circles for wait in circle}
    lines += _roots_shown(node, waits, in_circles)
    lines += _elsewhere_shown(waits)
    running = node.dispatcher.process
    if running is not None:
        lines.append(f"the loop is held by {safe_str(running.ref)} ({actor_name(running)})")
    if not lines and not node.dispatcher.queue:
        lines.append(IDLE)
    count = len(node.dispatcher.queue)
    busy = "1 process has" if count == 1 else f"{count} processes have"
    return lines or [f"nothing waits; {busy} something to do"]


def _circles(waits: list[Wait]) -> list[list[Wait]]:
    """The circles of processes that wait for one another, each once."""
    by_waiting: dict[int, list[Wait]] = {}
    for wait in waits:
        if wait.holder is not None:
            by_waiting.setdefault(wait.waiting, []).append(wait)
    circles: list[list[Wait]] = []
    done: set[int] = set()
    for start in by_waiting:
        path: list[Wait] = []
        places: dict[int, int] = {}
        at: int | None = start
        while at in by_waiting and at not in done and at not in places:
            assert at is not None
            places[at] = len(path)
            path.append(by_waiting[at][0])
            at = path[-1].holder
        if at in places:
            assert at is not None
            circle = path[places[at] :]
            oldest = min(range(len(circle)), key=lambda place: circle[place].waiting)
            circles.append(circle[oldest:] + circle[:oldest])
        done.update(places)
    return circles


def _circle_shown(circle: list[Wait]) -> str:
    are_calls = all(wait.place in ("at hand", "queued", "deferred") for wait in circle)
    what = "calls" if are_calls else "waits"
    return f"circle of {len(circle)} {what}: {', '.join(wait.words for wait in circle)}"


def _roots_shown(node: Node, waits: list[Wait], in_circles: set[int]) -> list[str]:
    """What is waited for by others and waits for none itself, with the number of those who wait, also by way
    of others.
    """
    waiting = {wait.waiting: wait.holder for wait in waits if wait.holder is not None}
    roots: dict[int, list[Wait]] = {}
    for wait in waits:
        if wait.holder is None:
            continue
        at, seen = wait.waiting, set()
        while at in waiting and at not in seen:
            seen.add(at)
            at = waiting[at]
        if at not in seen and not seen & in_circles:
            roots.setdefault(at, []).append(wait)
    lines = []
    for serial, found in sorted(roots.items(), key=lambda item: -len(item[1])):
        process = node.processes.get(serial)
        if process is None:
            continue
        for_it = [wait.seconds for wait in found if wait.holder == serial and wait.place == "at hand"]
        handled_for = max((seconds for seconds in for_it if seconds is not None), default=None)
        what = doing(process, handled_for)
        lines.append(f"{_counted(found)} for {shown_ref(process.ref)}, which {what}: {_named(found)}")
    return lines


def _elsewhere_shown(waits: list[Wait]) -> list[str]:
    """Those who wait for processes of other nodes."""
    by_text: dict[str, list[Wait]] = {}
    for wait in waits:
        if wait.holder is None and wait.holder_text:
            by_text.setdefault(wait.holder_text, []).append(wait)
    ranked = sorted(by_text.items(), key=lambda item: -len(item[1]))
    return [f"{_counted(found)} for {text} on another node: {_named(found)}" for text, found in ranked]


def _counted(waits: list[Wait]) -> str:
    count = len({wait.waiting for wait in waits})
    return f"{count} process waits" if count == 1 else f"{count} processes wait"


def _named(waits: list[Wait]) -> str:
    who = list(dict.fromkeys(wait.waiting_text for wait in waits))
    return ", ".join(who[:NAMED]) + (f" and {len(who) - NAMED} more" if len(who) > NAMED else "")


def doing(process: Process, handled_for: float | None) -> str:
    """Say what a process does: where in the code its task is, what of trio it waits for, and for how long
    it has been there, if that is known.
    """
    name = actor_name(process) or "a mailbox"
    stack = stack_of(process)
    own = [frame for frame in stack if not is_below(frame["file"])]
    if not own:
        words = "is idle" if process.idle else "has something to do"
        words = "is suspended" if process.suspended else words
        queued = len(process.queue)
        return f"({name}) {words}, with {queued} messages waiting"
    place = own[-1]
    verb = "is" if handled_for is None else "has been"
    words = f"{verb} in {place['function']} ({file_of(place['file'])}:{place['line']}"
    classes = Counter(frame["function"].partition(".")[0] for frame in stack[stack.index(place) + 1 :])
    waits_for = next((words for name, words in TRIOS.items() if classes[name]), None)
    words += f", waiting for {waits_for})" if waits_for else ")"
    return words if handled_for is None else f"{words} for ≥ {handled_for:.0f} s"


def is_below(file: str) -> bool:
    """Tell whether a file belongs to the runtime or to trio."""
    return file.startswith((_OURS, _TRIO))


def file_of(path: str) -> str:
    """The name of a file, without its directories."""
    return path.rpartition("/")[2]


_OURS: Final = __file__.removesuffix("observing/tables/diagnosis.py")
_TRIO: Final = trio.__file__.removesuffix("__init__.py")
