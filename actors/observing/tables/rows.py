"""The rows of the table of processes, and what a view of one process adds: numbers and texts, no objects.

Without the right to inspect, a row has nothing in it that the program's data could be read from.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs

from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, told
from enfilade.actors.messages.signals import Call, Cast
from enfilade.actors.observing.events.reasons import why
from enfilade.actors.observing.protocol.columns import PROCESS_COLUMNS
from enfilade.actors.observing.tables.in_words import message_in_words, timer_in_words
from enfilade.actors.processes.identity import actor_name, identity_of, supervisor_of
from enfilade.actors.processes.timers import owned_timers
from enfilade.actors.supervision.supervisor_body import SupervisorBody
from enfilade.actors.system import known_statistics

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = [
    "detail_of",
    "reason_shown",
    "row_of",
    "row_of_ended",
    "shown_ref",
    "stack_of",
    "state_of",
    "supervision_of",
]

HIDDEN: Final = "…"
"""Stands for the contents of a message that may not be seen."""

RECORD: Final = 700
"""Bytes of a record and its body, about."""

SAMPLE: Final = 8
FIRST: Final = 20
FRAMES: Final = 20
REFS: Final = 100
"""How many messages are looked at for the size of a mailbox; and how many messages, frames, and refs or
timers, a detail lists.
"""


def state_of(process: Process) -> str:
    """The state of a process, in a word."""
    if process.ended is not None:
        return "ended"
    if process.suspended:
        return "suspended"
    if process.stopping is not None or process.exit_signal is not None:
        return "stopping"
    body = process.body
    if body.kind == "starting" or process in process.node.starting:
        return "starting"
    if body.task is None:
        return "idle" if process.idle else "runnable"
    if not process.idle:
        return "handling" if body.kind == "actor" else "running"
    return "waiting" if body.is_plain or process.wanted is not None else "idle"


def row_of(process: Process, columns: Iterable[str] = PROCESS_COLUMNS) -> dict[str, Any]:
    """The row of a living process, without what is known by counting."""
    return {column: VALUES[column](process) for column in columns if column in VALUES}


def _place_of(process: Process) -> tuple[Any, int]:
    """The id of a process under its supervisor, and how often that has restarted it."""
    supervisor = supervisor_of(process)
    place: tuple[Any, int] = (None, 0) if supervisor is None else supervisor.body.place_of(process.ref)
    return place


def _supervisor(process: Process) -> int | None:
    supervisor = supervisor_of(process)
    return None if supervisor is None else supervisor.serial


def _child_id(process: Process) -> str | None:
    child_id = _place_of(process)[0]
    return None if child_id is None else safe_id(child_id)


def _serial(process: Process) -> int:
    return process.serial


def _capacity(process: Process) -> int | None:
    return process.mailbox.capacity


def _method(process: Process) -> str | None:
    at_hand: Any = process.at_hand
    if at_hand is None and not process.idle:
        at_hand = process.body.at_hand  # of a task: a cast, which is not kept for an answer
    method = at_hand.method if type(at_hand) is Cast or issubclass(type(at_hand), Call) else ""
    return safe_str(method) if method else None


def row_of_ended(process: Process, reason: Reason, *, inspects: bool = False) -> dict[str, Any]:
    """The row of a process that has just ended."""
    who = identity_of(process)
    row: dict[str, Any] = dict.fromkeys(PROCESS_COLUMNS)
    row.update(
        serial=process.serial,
        name=told(who.name),
        label=None if who.label is None else safe_str(who.label),
        kind="ended",
        actor=who.actor,
        parent=who.parent.serial,
        started_at=started_at(process),
        state="ended",
        queued=0,
        reason=reason_shown(reason, inspects=inspects),
    )
    return row


def started_at(process: Process) -> float:
    """When a process was made, as Unix time."""
    observation = process.node.observation
    at: float = observation.started_at + process.born - observation.started
    return round(at, 3)


def reason_shown(reason: Reason, *, inspects: bool) -> dict[str, Any]:
    """A reason: its type, and for those who may inspect what it says."""
    found = why(reason)
    shown: dict[str, Any] = {"type": found.type, "is_normal": found.is_normal}
    return {**shown, "text": found.text} if inspects else {**shown, "hidden": True}


def memory_of(process: Process) -> int:
    """The bytes of a process, about: its record, its queue, a sample of its messages, its attributes."""
    queue = process.queue
    size = RECORD + sys.getsizeof(queue)
    waiting = len(queue)
    if waiting:
        sampled = [sys.getsizeof(queue[at]) for at in range(0, waiting, max(1, waiting // SAMPLE))][:SAMPLE]
        size += waiting * sum(sampled) // len(sampled)
    attributes = getattr(process.body.actor, "__dict__", None)
    if type(attributes) is dict:
        size += sys.getsizeof(attributes)
    return size


VALUES: Final[dict[str, Callable[[Process], Any]]] = {
    "serial": _serial,
    "name": lambda process: told(process.name),
    "label": lambda process: None if process.label is None else safe_str(process.label),
    "kind": lambda process: process.body.kind,
    "actor": actor_name,
    "parent": lambda process: process.parent.serial,
    "supervisor": _supervisor,
    "child_id": _child_id,
    "restarts": lambda process: _place_of(process)[1],
    "state": state_of,
    "queued": lambda process: len(process.queue),
    "capacity": _capacity,
    "links": lambda process: len(process.links or ()),
    "monitors": lambda process: len(process.monitors or ()),
    "watchers": lambda process: len(process.watchers or ()),
    "timers": lambda process: sum(1 for _ in owned_timers(process)),
    "memory": memory_of,
    "method": _method,
    "waits_for": lambda process: None if process.awaited is None else shown_ref(process.awaited.target),
    "started_at": started_at,
    "reason": lambda process: None,
}
"""What makes the value of each column of a living process; those that are counted are not among them."""


def detail_of(
    process: Process,
    status: Callable[[Process], str | None] | None,
    contents: Callable[[Process, Any], str | None] | None = None,
    *,
    has_log: bool = False,
) -> dict[str, Any]:
    """The details of one process: its row, and more.

    Args:
        process: the process.
        status: makes the text of its state; None for those who may not inspect.
        contents: makes the text of a message that it has been sent; None for those who may not trace.
        has_log: whether the last lines of a guest's own log are among them: for those who may inspect.
    """
    extras = process.extras_or_none
    groups = () if extras is None else extras.groups
    arena = None if extras is None else extras.arena
    statistics = known_statistics(process)
    detail = {
        **row_of(process),
        "ref": shown_ref(process.ref),
        "callers": [shown_ref(ref) for ref in process.callers],
        "link_refs": _refs(process.links),
        "monitor_refs": [
            shown_ref(monitor.ref) for monitor in list((process.monitors or {}).values())[:REFS]
        ],
        "watcher_refs": [
            shown_ref(watcher[0] if isinstance(watcher, tuple) else watcher.owner)
            for watcher in list(process.watchers or ())[:REFS]
        ],
        "groups": [safe_id(group) for group in list(groups)[:REFS]],
        "aliases": 0 if extras is None else len(extras.aliases),
        "deferred": 0 if extras is None else len(extras.deferred),
        "stashed": 0 if extras is None else len(extras.stash),
        "trap_exits": process.trap_exits,
        "overflow": process.mailbox.overflow,
        "arena": None if arena is None else len(arena),
        "arena_refs": [shown_ref(each.ref) for each in itertools.islice(arena or (), REFS)],
        "timer_rows": [
            timer_in_words(timer, process.node.timers.now())
            for timer in itertools.islice(owned_timers(process), REFS)
        ],
        "supervision": supervision_of(process),
        "messages": _messages(process, contents),
        "oldest_age": _oldest_age(process),
        "by_method": None if statistics is None else [attrs.asdict(each) for each in statistics.by_method],
        "stack": stack_of(process),
    }
    detail["log"] = process.body.log_tail() if has_log else None
    detail["status"] = None if status is None else status(process)
    return detail if status is not None else {**detail, "hidden": True}


def supervision_of(process: Process) -> dict[str, Any] | None:
    """The flags of a supervisor, and how often it has restarted children within its period; None for another
    process.
    """
    body = process.body
    if not isinstance(body, SupervisorBody) or not body.supervises:
        return None
    flags = body.strategy.children.flags
    return {
        "strategy": flags.strategy,
        "intensity": flags.intensity,
        "period": flags.period,
        "in_period": body.strategy.recent_restarts,
    }


def _messages(
    process: Process, contents: Callable[[Process, Any], str | None] | None
) -> list[dict[str, Any]]:
    """The first messages in the mailbox. Without the right to trace, `…` stands for what is in them."""
    shown = []
    for message in itertools.islice(process.queue, FIRST):
        secret = {"contents": HIDDEN, "hidden": True}
        known = secret if contents is None else {"contents": contents(process, message)}
        shown.append({**message_in_words(message), **known})
    return shown


def _oldest_age(process: Process) -> float | None:
    """How long the oldest message has waited: known of calls with a limit of time, by that."""
    oldest = next(iter(process.queue), None)
    is_call = issubclass(type(oldest), Call)  # others may not be hashable, or run code for it
    waited = process.node.timers.waited(oldest) if is_call else None
    return None if waited is None else round(waited, 3)


def stack_of(process: Process) -> list[dict[str, Any]]:
    """Where the task of a process is, the innermost last; nothing for a process without a task."""
    task = process.body.task
    if task is None:
        return []
    frames = [
        {"file": frame.f_code.co_filename, "line": line, "function": frame.f_code.co_qualname}
        for frame, line in task.iter_await_frames()
    ]
    return frames[-FRAMES:]


def shown_ref(ref: Ref[Any] | None) -> str | None:
    """A ref as text."""
    return None if ref is None else safe_str(ref)


def _refs(refs: Any) -> list[str | None]:
    return [shown_ref(ref) for ref in list(refs or ())[:REFS]]
