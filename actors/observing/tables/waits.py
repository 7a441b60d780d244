"""The waits of a node: who waits for whom, found from the side of those who are waited for.

A request lies at its callee: at hand, in the mailbox, or among the replies that are deferred. So nothing has
to be noted while the node runs. A call that its caller runs itself leaves no request; it shows while the
callee is the running process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.tables.rows import shown_ref, stack_of
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Wait", "WaitSearch", "diagnosed", "waits_of"]

NAMED: Final = 10
"""How many waiting processes a diagnosis names."""

PLACES: Final = {
    "_LockImpl": "a lock",
    "Semaphore": "a semaphore",
    "CapacityLimiter": "a capacity limiter",
    "Condition": "a condition",
    "Event": "an event",
    "ParkingLot": "a place to park",
}
"""The things of trio that a task waits for, by the class whose method it is in."""


@attrs.frozen
class Wait:
    """A wait of one process for another.

    Attributes:
        waiting: the serial of the process that waits.
        waiting_text: its ref as text.
        holder: the serial of the process that it waits for.
        holder_text: its ref as text.
        method: the method that it has called; empty if it is not known.
        place: "at hand": it is being handled; "queued": it is in the mailbox; "deferred": its reply is; or
            "runs its handler itself".
    """

    waiting: int
    waiting_text: str
    holder: int
    holder_text: str
    method: str
    place: str


def waits_of(node: Node) -> list[Wait]:
    """The waits among the processes of a node. Not a checkpoint."""
    search = WaitSearch()
    for process in list(node.processes.values()):
        search.look_at(process)
    return search.found()


class WaitSearch:
    """The search for waits, one process after the other.

    What it finds waits at its end, however long it has taken: a call that was answered meanwhile is left out,
    so that a circle of calls is one.
    """

    def __init__(self) -> None:
        self._found: list[tuple[Any, Wait]] = []

    def look_at(self, process: Process) -> None:
        """Find out who waits for `process`."""
        at_hand = process.body.at_hand
        if at_hand is None:
            at_hand = process.at_hand
        if at_hand is signals.HANDED_OFF:
            caller = _caller_now(process)
            if caller is not None:
                self._found.append((None, _wait(caller, process, "", "runs its handler itself")))
        else:
            self._add([at_hand], process, "at hand")
        if process.queue:
            self._add(list(process.queue), process, "queued")
        extras = process.extras_or_none
        if extras is not None and extras.deferred:
            self._add([call for call in extras.deferred if call is not at_hand], process, "deferred")

    def found(self) -> list[Wait]:
        """The waits that there are now, of those that were found."""
        return [wait for call, wait in self._found if call is None or not call.settled]

    def _add(self, messages: Iterable[Any], process: Process, place: str) -> None:
        for message in messages:
            if issubclass(type(message), signals.Call) and not message.settled:
                caller = process_of(message.caller)
                if caller is not None and caller.node is process.node:
                    self._found.append((message, _wait(caller, process, safe_str(message.method), place)))


def _caller_now(process: Process) -> Process | None:
    """The process that runs the handler of `process`, if this is asked for in the middle of it."""
    if process.dispatcher.running is not process:
        return None
    try:
        return trio.lowlevel.current_task().context.get(CURRENT)
    except RuntimeError:
        return None


def _wait(caller: Process, holder: Process, method: str, place: str) -> Wait:
    texts = (safe_str(caller.ref), safe_str(holder.ref))
    return Wait(caller.serial, texts[0], holder.serial, texts[1], method, place)


def diagnosed(node: Node, waits: list[Wait]) -> list[str]:
    """The state of a node in a few lines: circles first, then what most others wait for."""
    lines = [_circle_shown(node, circle) for circle in _circles(waits)]
    in_circles = {wait.waiting for circle in _circles(waits) for wait in circle}
    lines += _roots_shown(node, waits, in_circles)
    running = node.dispatcher.process
    if running is not None:
        lines.append(f"the loop is held by {safe_str(running.ref)} ({actor_name(running)})")
    if not lines and not node.dispatcher.queue:
        lines.append("nothing waits: the node is idle")
    return lines or [f"nothing waits; {len(node.dispatcher.queue)} processes have something to do"]


def _circles(waits: list[Wait]) -> list[list[Wait]]:
    """The circles of processes that wait for one another, each once."""
    by_waiting: dict[int, list[Wait]] = {}
    for wait in waits:
        by_waiting.setdefault(wait.waiting, []).append(wait)
    circles: list[list[Wait]] = []
    done: set[int] = set()
    for start in by_waiting:
        path: list[Wait] = []
        places: dict[int, int] = {}
        at = start
        while at in by_waiting and at not in done and at not in places:
            places[at] = len(path)
            path.append(by_waiting[at][0])
            at = path[-1].holder
        if at in places:
            circle = path[places[at] :]
            oldest = min(range(len(circle)), key=lambda place: circle[place].waiting)
            circles.append(circle[oldest:] + circle[:oldest])
        done.update(places)
    return circles


def _circle_shown(node: Node, circle: list[Wait]) -> str:
    parts = [
        f"{wait.waiting_text} waits for {wait.method or 'a call'} of {wait.holder_text}" for wait in circle
    ]
    return f"circle of {len(circle)} calls: {', '.join(parts)}"


def _roots_shown(node: Node, waits: list[Wait], in_circles: set[int]) -> list[str]:
    """What is waited for by others and waits for none itself, with the number of those who wait, also by way
    of others.
    """
    waiting = {wait.waiting: wait.holder for wait in waits}
    roots: dict[int, list[str]] = {}
    for wait in waits:
        at, seen = wait.waiting, set()
        while at in waiting and at not in seen:
            seen.add(at)
            at = waiting[at]
        if at not in seen and not seen & in_circles:
            roots.setdefault(at, []).append(wait.waiting_text)
    lines = []
    for serial, callers in sorted(roots.items(), key=lambda item: -len(item[1])):
        process = node.processes.get(serial)
        if process is None:
            continue
        who = list(dict.fromkeys(callers))
        named = ", ".join(who[:NAMED]) + (f" and {len(who) - NAMED} more" if len(who) > NAMED else "")
        count = f"{len(who)} process waits" if len(who) == 1 else f"{len(who)} processes wait"
        lines.append(f"{count} for {shown_ref(process.ref)}, which {_doing(process)}: {named}")
    return lines


def _doing(process: Process) -> str:
    """What a process does: the place in code where its task is, and what of trio it waits for."""
    name = actor_name(process) or "a mailbox"
    stack = stack_of(process)
    own = [frame for frame in stack if not _is_below(frame["file"])]
    if not own:
        doing = "is idle" if process.idle else "has something to do"
        queued = len(process.queue)
        return f"({name}) {doing}, with {queued} messages waiting"
    place = own[-1]
    words = f"is in {place['function']} ({_file(place['file'])}:{place['line']}"
    classes = Counter(frame["function"].partition(".")[0] for frame in stack[stack.index(place) + 1 :])
    waits_for = next((words for name, words in PLACES.items() if classes[name]), None)
    return words + (f", waiting for {waits_for})" if waits_for else ")")


def _is_below(file: str) -> bool:
    """Tell whether a file belongs to the runtime or to trio."""
    return file.startswith((_OURS, _TRIO))


def _file(path: str) -> str:
    return path.rpartition("/")[2]


_OURS: Final = __file__.removesuffix("observing/tables/waits.py")
_TRIO: Final = trio.__file__.removesuffix("__init__.py")
