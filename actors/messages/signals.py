"""Signals: everything that processes send one another.

Everything between two processes is a signal: a message, a call, a link, an exit. Signals from one process
to another arrive in the order in which they were sent. A ref delivers a signal: to the process record when
it lives on this node, to a carrier (`ref.Carrier`), which translates it to frames, when it lives on
another one.

`Call` and `Cast` are also what lies in a mailbox; a plain message lies there bare, without a `Send` around
it.

Signals are made by the million, so those that nobody extends are msgspec's structs: made in C, for a quarter
of what another class costs. A cast, of which a hundred thousand may be queued, is moreover spared by the
cyclic garbage collector: what a cycle could go through are its arguments, which are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import msgspec

from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.kinds import is_among
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.safe_text import safe_arguments, safe_repr, safe_str

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.processes.record import Record

K = TypeVar("K", bound=type)

__all__ = [
    "DRAIN",
    "FILL",
    "NO_KWARGS",
    "ROOM",
    "STOP",
    "UNANSWERED",
    "Call",
    "Cast",
    "Demonitor",
    "Down",
    "Exit",
    "Link",
    "Monitor",
    "Notice",
    "Send",
    "Signal",
    "Unlink",
    "UnlinkAck",
    "described",
    "envelopes",
    "may_be_dropped",
    "undroppable",
]


# The methods of a `Call` that asks the process itself to stop, with the reason as its argument: at once, or
# when it has handled what it has. No actor's methods have such names.
STOP = "!stop"
DRAIN = "!drain"

# What a node asks another one on behalf of a sender that waits for room in a mailbox there: a `Call` that is
# answered when there is room, and a `Cast` with the number of that call and the message.
ROOM = "!room"
FILL = "!fill"


class Send(msgspec.Struct, frozen=True):
    """A plain message."""

    message: Any


class Notice(Send, frozen=True):
    """A plain message that no sender waits to see refused, such as a timer's: no bound keeps it out."""


class Cast(msgspec.Struct, frozen=True, gc=False):
    """A request without a reply."""

    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


# The keyword arguments of a request without any: nobody may change it.
NO_KWARGS: Mapping[str, Any] = {}


class Arrivals(dict[type, "Callable[[Record, Any], None]"]):
    """The functions that act on a signal that has reached a process, by the type of the signal."""

    def __missing__(self, kind: type) -> Callable[[Record, Any], None]:
        """A subclass, which only calls have, is treated as its base."""
        if kind is object:
            raise TypeError("only signals can be delivered; send a message with `send`")
        found = self[kind] = self[kind.__mro__[1]]
        return found


# The other files add theirs.
arrivals = Arrivals()

# The types of everything in a mailbox that is not a plain message: the other files add theirs.
envelopes: set[type] = {Cast}


def is_plain(message: Any) -> bool:
    """Tell whether `message`, out of a mailbox, is a plain message. Never raises."""
    return not is_among(message, envelopes)


_undroppable: set[int] = set()  # by identity, because the class of a message may not be hashable


def undroppable(kind: K) -> K:
    """Declare that no policy of a full mailbox drops messages of the class `kind`, which only the runtime
    sends: whoever gets them relies on every one.
    """
    _undroppable.add(id(kind))
    return kind


def may_be_dropped(message: Any) -> bool:
    """Tell whether a full mailbox may drop `message` in favour of a later one. Runs none of its code."""
    return id(type(message)) not in _undroppable


@attrs.define(eq=False)
class Call(Handle):
    """A request that wants a reply, seen from the callee.

    The one who has it owes it exactly one of `reply`, `fail` and `abandon`; what comes after the first is
    dropped, as is what comes after the caller gave up. Subclasses say where the outcome goes:
    `enfilade.actors.messages.request.Request` to a caller on this node, the node link's to another node.

    Attributes:
        method: the name of the public method.
        args: its positional arguments.
        kwargs: its keyword arguments.
        caller: the calling process; None outside of any.
        settled: whether the outcome is known, or no caller wants it any more.
    """

    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    caller: Ref[Any] | None = None
    settled: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        envelopes.add(cls)

    @property
    def given_up_by(self) -> Ref[Any] | None:
        """The process that asked, when it waits no longer: its scope was cancelled, or its time has passed.

        The node's own ref stands for plain code, as in `Process.parent`. None while the answer is wanted, and
        when it has been given.
        """
        return None

    @property
    def peer(self) -> str | None:
        """The name of the node that the call has come from; None for this one."""
        return None

    def when_given_up(self, fn: Callable[[], None]) -> None:
        """Have `fn` called when the caller gives up; now if it has. Not a checkpoint.

        It may also be called when there is an outcome, and must do nothing then.
        """

    def reply(self, value: Any) -> None:
        """Answer with `value`. Not a checkpoint."""
        raise AssertionError("a bare Call has no caller to reply to")

    def fail(self, error: BaseException) -> None:
        """Answer with `error`, which the caller's `call` raises. Not a checkpoint."""
        raise AssertionError("a bare Call has no caller to reply to")

    def abandon(self, reason: Reason) -> None:
        """Tell the caller that the callee ended with `reason` before it replied. Not a checkpoint."""
        raise AssertionError("a bare Call has no caller to reply to")

    def not_begun(self, reason: Reason) -> None:
        """As `abandon`, of a call that the callee had not taken out of its mailbox. Not a checkpoint."""
        self.abandon(reason)


def described(message: Any) -> str:
    """Describe a message in one line. Never raises."""
    if issubclass(type(message), Call | Cast):
        kind = "cast" if type(message) is Cast else "call"
        return f"{kind} {safe_str(message.method)}({safe_arguments(message.args, message.kwargs)})"
    return f"message {safe_repr(message)}"


# Stands for the call at hand when its caller runs the handler itself.
HANDED_OFF = Call("", (), {})


class Link(msgspec.Struct, frozen=True):
    """A request of `sender` to be linked."""

    sender: Ref[Any]


class Unlink(msgspec.Struct, frozen=True):
    """The end of a link by `sender`; to be acknowledged with the same `id`."""

    sender: Ref[Any]
    id: int


class UnlinkAck(msgspec.Struct, frozen=True):
    """The acknowledgement of the unlink `id` by `sender`: a later link of the pair is a new one."""

    sender: Ref[Any]
    id: int


class Monitor(msgspec.Struct, frozen=True):
    """A request of `watcher` to be notified of the receiver's end, under its own number `tag`."""

    watcher: Ref[Any]
    tag: int


class Demonitor(msgspec.Struct, frozen=True):
    """The end of the monitor `tag` of `watcher`."""

    watcher: Ref[Any]
    tag: int


class Down(msgspec.Struct, frozen=True):
    """The monitored process behind the receiver's monitor `tag` ended with `reason`."""

    tag: int
    reason: Reason


class Exit(msgspec.Struct, frozen=True):
    """An exit signal. `linked` tells one that a link carried from one that was sent on purpose."""

    sender: Ref[Any]
    reason: Reason
    linked: bool


# What nobody learns of that found no process: a name is looked up anew for it, and not remembered.
UNANSWERED = (Monitor, Exit)

Signal = Send | Cast | Call | Link | Unlink | UnlinkAck | Monitor | Demonitor | Down | Exit
