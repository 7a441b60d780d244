"""The events of a node, as records.

An event holds refs, numbers and texts. Its refs look a process up when they are used. It holds no error,
frame, message, actor or state, so that what keeps an event keeps nothing of the program alive.

Events of one node are numbered in the order in which they happened. Each is made after the state that it
speaks of.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, Final

import attrs

from enfilade.actors.messages.ref import Ref
from enfilade.actors.observing.events.event import Event
from enfilade.actors.observing.events.reasons import Why

__all__ = [
    "KINDS",
    "CallTimedOut",
    "ChildRemoved",
    "ChildRestarted",
    "ChildStartFailed",
    "ChildStarted",
    "ChildTerminated",
    "DeadLetterEvent",
    "Event",
    "Failure",
    "Frame",
    "GroupJoined",
    "GroupLeft",
    "GuestCutShort",
    "GuestLimited",
    "GuestTrapped",
    "HandlerDetached",
    "LoopHeld",
    "MailboxOverflowed",
    "MessageShown",
    "Missed",
    "NameRegistered",
    "NameReleased",
    "NodeLinkDown",
    "NodeLinkUp",
    "NodeOpened",
    "NodeRefused",
    "NodeStopped",
    "NodeStopping",
    "ObservationChanged",
    "OperatorActed",
    "PoolDiscarded",
    "ProcessCrashed",
    "ProcessDeadlock",
    "ProcessEnded",
    "ProcessRefused",
    "ProcessSlow",
    "ProcessStarted",
    "ProcessUnkillable",
    "SupervisorGaveUp",
    "WorkerLost",
]


@attrs.frozen
class Missed:
    """Stands in an iteration for the events that a full buffer has dropped; `count` is how many."""

    count: int


# Supervisors. `supervisor` is the supervisor's process; `child_id` is None under a dynamic one.


@attrs.frozen(eq=False, repr=False)
class ChildStarted(Event):
    """A child has started as `ref`, not by a restart; `restart_number` counts its restarts so far."""

    kind: ClassVar[str] = "child.started"

    supervisor: Ref[Any]
    child_id: Hashable
    ref: Ref[Any]
    restart_number: int


@attrs.frozen(eq=False, repr=False)
class ChildTerminated(Event):
    """A child has ended, as its supervisor has just learned."""

    kind: ClassVar[str] = "child.terminated"

    supervisor: Ref[Any]
    child_id: Hashable
    ref: Ref[Any]
    reason: Why
    will_restart: bool


@attrs.frozen(eq=False, repr=False)
class ChildRestarted(Event):
    """A child that ended as `old`, for `reason`, runs again as `ref`.

    Attributes:
        seconds: the time from its end, as the supervisor learned of it, to now.
        in_period: how many restarts this supervisor has made within its period, this one included.
        intensity: how many it may make.
    """

    kind: ClassVar[str] = "child.restarted"

    supervisor: Ref[Any]
    child_id: Hashable
    old: Ref[Any]
    ref: Ref[Any]
    reason: Why
    seconds: float | None
    in_period: int
    intensity: int


@attrs.frozen(eq=False, repr=False)
class ChildStartFailed(Event):
    """A child could not be started.

    Attributes:
        attempt: which attempt it was since the child ran last: 1 first.
        next_in: seconds until the next one; None if none follows.
    """

    kind: ClassVar[str] = "child.start_failed"

    supervisor: Ref[Any]
    child_id: Hashable
    reason: Why
    attempt: int
    next_in: float | None


@attrs.frozen(eq=False, repr=False)
class ChildRemoved(Event):
    """A child is no longer listed: a temporary one that ended, or one that was deleted."""

    kind: ClassVar[str] = "child.removed"

    supervisor: Ref[Any]
    child_id: Hashable


@attrs.frozen(eq=False, repr=False)
class SupervisorGaveUp(Event):
    """A supervisor ends, because it would have made `restarts` restarts within `period` seconds, the last for
    that child, which had ended for `reason`.
    """

    kind: ClassVar[str] = "supervisor.gave_up"

    supervisor: Ref[Any]
    child_id: Hashable
    reason: Why
    restarts: int
    period: float


# Processes.


@attrs.frozen(eq=False, repr=False)
class ProcessStarted(Event):
    """A process begins."""

    kind: ClassVar[str] = "process.started"

    ref: Ref[Any]
    actor: str | None
    parent: Ref[Any]
    name: str | None
    label: str | None


@attrs.frozen(eq=False, repr=False)
class ProcessEnded(Event):
    """A process has ended; it was there for `seconds`."""

    kind: ClassVar[str] = "process.ended"

    ref: Ref[Any]
    actor: str | None
    parent: Ref[Any]
    name: str | None
    label: str | None
    reason: Why
    seconds: float


@attrs.frozen
class Frame:
    """A place in code."""

    file: str
    line: int
    function: str


@attrs.frozen
class Failure:
    """An exception without what it holds: its type, text, notes, and frames, the innermost last."""

    type: str
    text: str
    notes: tuple[str, ...]
    frames: tuple[Frame, ...]


@attrs.frozen
class MessageShown:
    """The message that a process was handling.

    Attributes:
        kind: "call", "cast" or "message".
        what: the method of a call or cast, the type of a message; None for a call whose method is not known.
        sender: the calling process; None.
    """

    kind: str
    what: str | None
    sender: Ref[Any] | None


@attrs.frozen(eq=False, repr=False)
class ProcessCrashed(Event):
    """A process has crashed: the crash report.

    Attributes:
        ref, actor, name, label: the process, and what it runs.
        supervisor, child_id: its supervisor, and its id there; None.
        reason: what it ends with.
        exception: what its code raised; None if it was something else, such as a trap.
        message: what it was handling; None.
        queued: how many messages were waiting.
        restarts: how often its supervisor had restarted it before.
        state: what its `format_status` returned, as text; None if it has none of its own.
        uptime: seconds that it was there.
        handled: messages that it has handled since counting began; None if messages are not counted.
        trace_id: the trace that it was working for, as 32 hexadecimal digits; None.
    """

    kind: ClassVar[str] = "process.crashed"

    ref: Ref[Any]
    actor: str | None
    name: str | None
    label: str | None
    supervisor: Ref[Any] | None
    child_id: Hashable
    reason: Why
    exception: Failure | None
    message: MessageShown | None
    queued: int
    restarts: int
    state: str | None
    uptime: float
    handled: int | None
    trace_id: str | None


@attrs.frozen(eq=False, repr=False)
class ProcessUnkillable(Event):
    """A killed process did not end in time, and was given up; `stack` is where its task is."""

    kind: ClassVar[str] = "process.unkillable"

    ref: Ref[Any]
    stack: str


@attrs.frozen(eq=False, repr=False)
class ProcessSlow(Event):
    """A handler has held the loop for so many seconds."""

    kind: ClassVar[str] = "process.slow"

    ref: Ref[Any]
    seconds: float


@attrs.frozen(eq=False, repr=False)
class ProcessRefused(Event):
    """A process was sent a cast that it does not understand; `error` says what was wrong with it."""

    kind: ClassVar[str] = "process.refused"

    ref: Ref[Any]
    error: str


@attrs.frozen(eq=False, repr=False)
class ProcessDeadlock(Event):
    """These calls wait for one another in a circle."""

    kind: ClassVar[str] = "process.deadlock"

    calls: tuple[str, ...]


# Names, mailboxes, messages.


@attrs.frozen(eq=False, repr=False)
class NameRegistered(Event):
    """A process has a name now."""

    kind: ClassVar[str] = "name.registered"

    name: str
    ref: Ref[Any]


@attrs.frozen(eq=False, repr=False)
class NameReleased(Event):
    """A process no longer has a name."""

    kind: ClassVar[str] = "name.released"

    name: str
    ref: Ref[Any]


@attrs.frozen(eq=False, repr=False)
class MailboxOverflowed(Event):
    """Messages found a mailbox full. At most one event a second is made for each process.

    Attributes:
        ref: the process.
        policy: the policy of its mailbox.
        capacity: how many messages it holds.
        dropped: how many messages found no room since the last such event, the present one included.
    """

    kind: ClassVar[str] = "mailbox.overflowed"

    ref: Ref[Any]
    policy: str
    capacity: int
    dropped: int


@attrs.frozen(eq=False, repr=False)
class DeadLetterEvent(Event):
    """A message did not reach `ref`. `Node.dead_letters` has the messages themselves.

    Attributes:
        message: its type.
        contents: the message as text; None while only those listen who may not see it.
    """

    kind: ClassVar[str] = "message.dead"

    ref: Ref[Any]
    reason: Why
    message: str
    contents: str | None


@attrs.frozen(eq=False, repr=False)
class CallTimedOut(Event):
    """A call has had no reply in time.

    Attributes:
        caller: who has called; None for plain code.
        method: what; None for a request that is no method.
    """

    kind: ClassVar[str] = "call.timed_out"

    caller: Ref[Any] | None
    target: Ref[Any]
    method: str | None
    seconds: float


# Groups, pools, guests, workers.


@attrs.frozen(eq=False, repr=False)
class GroupJoined(Event):
    """A process of the node has joined a group of a scope."""

    kind: ClassVar[str] = "group.joined"

    scope: str
    group: str
    ref: Ref[Any]


@attrs.frozen(eq=False, repr=False)
class GroupLeft(Event):
    """A process of the node has left a group of a scope, or has ended."""

    kind: ClassVar[str] = "group.left"

    scope: str
    group: str
    ref: Ref[Any]


@attrs.frozen(eq=False, repr=False)
class PoolDiscarded(Event):
    """A pool had no room for a job, or nobody waits for it any more; `job` is its type."""

    kind: ClassVar[str] = "pool.discarded"

    ref: Ref[Any]
    job: str


@attrs.frozen(eq=False, repr=False)
class GuestCutShort(Event):
    """The base of the events of guests that were cut short.

    Attributes:
        ref: the guest.
        trap: the kind of trap.
        text: what there is to say beyond that.
        backtrace: its frames, the innermost first.
    """

    ref: Ref[Any]
    trap: str
    text: str
    backtrace: tuple[str, ...]


@attrs.frozen(eq=False, repr=False)
class GuestTrapped(GuestCutShort):
    """A guest was cut short by a trap."""

    kind: ClassVar[str] = "guest.trapped"


@attrs.frozen(eq=False, repr=False)
class GuestLimited(GuestCutShort):
    """A guest was cut short because it has reached a limit."""

    kind: ClassVar[str] = "guest.limited"


@attrs.frozen(eq=False, repr=False)
class WorkerLost(Event):
    """The OS process of the worker of that name has ended, or its connection, unasked."""

    kind: ClassVar[str] = "worker.lost"

    worker: str
    reason: Why


# Nodes.


@attrs.frozen(eq=False, repr=False)
class NodeLinkUp(Event):
    """The node link to `peer` is up."""

    kind: ClassVar[str] = "node.up"

    peer: str


@attrs.frozen(eq=False, repr=False)
class NodeLinkDown(Event):
    """The node link to `peer` is over."""

    kind: ClassVar[str] = "node.down"

    peer: str
    reason: str


@attrs.frozen(eq=False, repr=False)
class NodeRefused(Event):
    """A node that wanted to connect was refused."""

    kind: ClassVar[str] = "node.refused"

    reason: str


@attrs.frozen(eq=False, repr=False)
class LoopHeld(Event):
    """One step has held up the loop for so long, as the watchdog has seen (`NodeConfig.watchdog`).

    Attributes:
        ref: the process whose code it was; None for a task of none.
        place: the function, with its place in the code.
        seconds: how long.
    """

    kind: ClassVar[str] = "loop.held"

    ref: Ref[Any] | None
    place: str
    seconds: float


@attrs.frozen(eq=False, repr=False)
class NodeOpened(Event):
    """The node is open: its program goes on within the block of `open_node`."""

    kind: ClassVar[str] = "node.opened"


@attrs.frozen(eq=False, repr=False)
class NodeStopping(Event):
    """The shutdown of the node begins.

    Attributes:
        reason: why: the error that ends the node, or `Shutdown` if its block is left.
    """

    kind: ClassVar[str] = "node.stopping"

    reason: Why


@attrs.frozen(eq=False, repr=False)
class NodeStopped(Event):
    """All processes of the node have ended: the last event. `reason` is that of the shutdown."""

    kind: ClassVar[str] = "node.stopped"

    reason: Why


@attrs.frozen(eq=False, repr=False)
class HandlerDetached(Event):
    """The handler of that id raised `error`, and was detached."""

    kind: ClassVar[str] = "handler.detached"

    id: Hashable
    error: str


@attrs.frozen(eq=False, repr=False)
class OperatorActed(Event):
    """An operator has done something to the node or to a process, or has looked at what holds data.

    Attributes:
        operator: the name of the operator's node.
        action: what it did, such as "kill", or the view that it opened.
        on: the process; None for the whole node.
    """

    kind: ClassVar[str] = "operator.acted"

    operator: str
    action: str
    on: Ref[Any] | None


@attrs.frozen(eq=False, repr=False)
class ObservationChanged(Event):
    """Observers have come or gone, or the counting of messages has begun or ended.

    Attributes:
        observers: how many watches there are.
        is_counting: whether messages are counted.
    """

    kind: ClassVar[str] = "observation.changed"

    observers: int
    is_counting: bool


def _leaves(cls: type[Event]) -> list[type[Event]]:
    return [leaf for child in cls.__subclasses__() for leaf in (_leaves(child) or [child])]


KINDS: Final[dict[str, type[Event]]] = {cls.kind: cls for cls in _leaves(Event) if cls.kind}
"""The class of each kind of event. (Classes that attrs has made others of are there for a while, too.)"""
