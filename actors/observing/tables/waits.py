"""The waits of a node: who waits for whom, for what, and for how long.

A request lies at its callee: at hand, in the mailbox, or among the replies that are deferred. So nothing has
to be noted while the node runs. A call that its caller runs itself leaves no request; it shows while the
callee is the running process. Other waits show in the frames of the task that waits: for room in a mailbox,
for the start or the end of a process, for another node, for a lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.tables.rows import state_of
from enfilade.actors.patterns.pool import Pool, waiting_for_workers
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.mailbox import wait_for_room

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["AT_REST", "TRIOS", "Wait", "WaitSearch", "wait_shown", "waits_of"]

TRIOS: Final = {
    "_LockImpl": "a lock",
    "Semaphore": "a semaphore",
    "CapacityLimiter": "a capacity limiter",
    "Condition": "a condition",
    "Event": "an event",
    "ParkingLot": "a place to park",
}
"""The things of trio that a task waits for, by the class whose method it is in."""

AT_REST: Final = ("idle", "waiting", "ended")
"""The states of processes that wait for a message, or for nothing."""

SHOWN: Final = {
    "at hand": "{waiting} waits for {method} of {holder}, at hand",
    "queued": "{waiting} waits for {method} of {holder}, queued",
    "deferred": "{waiting} waits for {method} of {holder}, deferred",
    "runs its handler itself": "{waiting} waits for a call of {holder}, runs its handler itself",
    "room": "{waiting} waits for room in the mailbox of {holder}",
    "start": "{waiting} waits for the start of {holder}",
    "end": "{waiting} waits for the end of {holder}",
    "worker": "{waiting} waits for a worker of {holder}",
    "elsewhere": "{waiting} waits for {method} of {holder}, on another node",
    "credit": "{waiting} waits until it may send to {holder}, on another node",
    "held": "{waiting} waits for {method}, which {holder} holds",
    "trio": "{waiting} waits for {method}",
}
"""The text of a wait, by its place."""


@attrs.frozen
class Wait:
    """A wait of one process, for another or for something else.

    Attributes:
        waiting: the serial of the process that waits.
        waiting_text: its ref as text.
        holder: the serial of the process that it waits for; None if that lives on another node, or if it
            waits for no process.
        holder_text: its ref as text; empty if it waits for no process.
        method: the method that it has called; the thing of trio that it waits for; empty if there is none, or
            it is not known.
        place: what it waits for. The reply to a call: "at hand", "queued" or "deferred" at the holder,
            "runs its handler itself", or "elsewhere", on another node. Else "room" in a mailbox, the "start"
            or the "end" of a process, a "worker" of a pool, "credit" of another node, something of trio that
            the holder has "held", or something of "trio" that nobody is known to hold.
        seconds: how long; None if that is not known.
    """

    waiting: int
    waiting_text: str
    holder: int | None
    holder_text: str
    method: str
    place: str
    seconds: float | None = None

    @property
    def words(self) -> str:
        """The wait in words, of a call without where it lies."""
        if self.place in ("at hand", "queued", "deferred"):
            return f"{self.waiting_text} waits for {self.method or 'a call'} of {self.holder_text}"
        return wait_shown(attrs.asdict(self))


def wait_shown(wait: dict[str, Any]) -> str:
    """A wait in words.

    Args:
        wait: the fields of a `Wait`.
    """
    text = SHOWN[wait["place"]].format(
        waiting=wait["waiting_text"], holder=wait["holder_text"], method=wait["method"] or "a call"
    )
    return text if wait["seconds"] is None else f"{text}, for {wait['seconds']:.1f} s"


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
        self._requests: set[int] = set()
        self._tasks: list[tuple[Any, Wait]] = []

    def look_at(self, process: Process) -> None:
        """Find out who waits for `process`, and what its task waits for."""
        self._look_at_calls(process)
        self._look_at_lives(process)
        if process.body.task is not None and state_of(process) not in AT_REST:
            self._tasks += self._waits_of_task(process, process.body.task)

    def found(self) -> list[Wait]:
        """The waits that there are now, of those that were found."""
        of_tasks = [(call, wait) for call, wait in self._tasks if id(call) not in self._requests]
        return [wait for call, wait in self._found + of_tasks if call is None or not call.settled]

    # From the side of those who are waited for.

    def _look_at_calls(self, process: Process) -> None:
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
        if extras is None:
            return
        if extras.deferred:
            actor = process.body.actor
            jobs = waiting_for_workers(actor) if isinstance(actor, Pool) else ()
            others = [call for call in extras.deferred if call is not at_hand]
            self._add([call for call in others if call in jobs], process, "worker")
            self._add([call for call in others if call not in jobs], process, "deferred")
        self._add(extras.stop_requests, process, "end")

    def _look_at_lives(self, process: Process) -> None:
        """Find the processes whose start or end this one waits for without a task of its own."""
        start = process.body.awaited_start
        if start is not None:
            self._add_target(start, process, "start")
        for ref in process.body.awaited_ends:
            ending = process_of(ref)
            if ending is not None:
                self._found.append((None, _wait(process, ending, "", "end")))

    def _add(self, messages: Iterable[Any], process: Process, place: str) -> None:
        for message in messages:
            if issubclass(type(message), signals.Call) and not message.settled:
                caller = process_of(message.caller)
                if caller is not None and caller.node is process.node:
                    self._requests.add(id(message))
                    method = "" if place in ("end", "worker") else safe_str(message.method)
                    seconds = process.node.timers.waited(message)
                    self._found.append((message, _wait(caller, process, method, place, seconds)))

    def _add_target(self, request: Request[Any], waiting: Process, place: str) -> None:
        holder = process_of(request.target)
        if holder is not None and not request.settled:
            self._requests.add(id(request))
            self._found.append((request, _wait(waiting, holder, "", place)))

    # From the side of those who wait.

    def _waits_of_task(self, process: Process, task: trio.lowlevel.Task) -> Iterator[tuple[Any, Wait]]:
        """The wait that the frames of a task show, the outermost that says something."""
        for frame, _ in task.iter_await_frames():
            found = _wait_in(process, frame)
            if found is not None:
                yield found
                return


def _wait_in(process: Process, frame: FrameType) -> tuple[Any, Wait] | None:
    """The wait that a frame of a process's task stands for, and its request if it is one; None."""
    code = frame.f_code
    if code is wait_for_room.__code__:
        return None, _wait(process, frame.f_locals["process"], "", "room")
    if code is Request.receive.__code__:
        request = frame.f_locals["self"]
        return request, _wait_for_reply(process, request)
    if code.co_qualname == "RemoteNode.send_wait":
        return None, _elsewhere(process, frame.f_locals["ref"], "", "credit", None)
    kind = code.co_qualname.partition(".")[0]
    if kind in TRIOS and code.co_filename.startswith(_TRIO):
        held_by = _holder_of(frame.f_locals.get("self"))
        if held_by is None or held_by.node is not process.node:
            return None, Wait(process.serial, safe_str(process.ref), None, "", TRIOS[kind], "trio")
        return None, _wait(process, held_by, TRIOS[kind], "held")
    return None


def _wait_for_reply(process: Process, request: Request[Any]) -> Wait:
    """The wait for a request that its callee does not hold."""
    seconds = process.node.timers.waited(request)
    holder = process_of(request.target)
    if holder is None:
        return _elsewhere(process, request.target, safe_str(request.method), "elsewhere", seconds)
    if request.method == "start":
        return _wait(process, holder, "", "start", seconds)
    if request.method in ("stop", "task", signals.STOP, signals.DRAIN):
        return _wait(process, holder, "", "end", seconds)
    return _wait(process, holder, safe_str(request.method), "deferred", seconds)


def _holder_of(thing: Any) -> Process | None:
    """The process whose task holds a lock; None if none does, or that is not known."""
    owner = getattr(thing, "_owner", None)
    return owner.context.get(CURRENT) if isinstance(owner, trio.lowlevel.Task) else None


def _caller_now(process: Process) -> Process | None:
    """The process that runs the handler of `process`, if this is asked for in the middle of it."""
    if process.dispatcher.running is not process:
        return None
    try:
        return trio.lowlevel.current_task().context.get(CURRENT)
    except RuntimeError:
        return None


def _wait(caller: Process, holder: Process, method: str, place: str, seconds: float | None = None) -> Wait:
    texts = (safe_str(caller.ref), safe_str(holder.ref))
    return Wait(caller.serial, texts[0], holder.serial, texts[1], method, place, seconds)


def _elsewhere(process: Process, ref: Ref[Any], method: str, place: str, seconds: float | None) -> Wait:
    return Wait(process.serial, safe_str(process.ref), None, safe_str(ref), method, place, seconds)


_TRIO: Final = trio.__file__.removesuffix("__init__.py")
