"""Exit reasons: why a process ended.

Every process ends with exactly one reason, which its links and monitors are told. The reasons are those of
Erlang/OTP (reference manual, "Processes"; `supervisor`, "Restart"), as immutable records that compare by
value. Three shapes count as a normal end: `NORMAL`, `SHUTDOWN` and `Shutdown(detail)`; a supervisor restarts
a transient child after any other.

A reason may hold an object of the program: an error, or anything that `Shutdown` and `Custom` take. Whatever
that object does when it is shown, compared or hashed, the reason itself can be. The runtime looks at the kind
of a reason alone, never at what it holds.

A reason also says who asked for the end, `Reason.by`, where somebody did: the sender of the exit signal, or
of the order to stop. That belongs to one end, not to the kind of end, so it counts neither in comparisons nor
in the `repr`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.safe_text import (
    safe_record,
    safe_repr,
    safe_str,
)

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref

__all__ = [
    "KILL",
    "KILLED",
    "NORMAL",
    "NO_CONNECTION",
    "NO_PROCESS",
    "REASONS",
    "SHUTDOWN",
    "TIMEOUT",
    "Crashed",
    "Custom",
    "Exit",
    "LeaseLost",
    "Reason",
    "Shutdown",
    "Trapped",
    "asked_by",
    "checked",
]


R = TypeVar("R", bound="Reason")


LARGEST = 1_000
"""The number of characters that a reason says of what it holds."""


@attrs.frozen(eq=False, repr=False)
class Reason:
    """The base of all exit reasons.

    `is_normal` is true for the three shapes that supervisors take for an intended end.

    Attributes:
        by: the process that asked for the end by an exit signal or an order to stop, as in `tractor`'s
            `ContextCancelled.canceller`; the ref of its node, if that was plain code or the node itself. None
            when the process ended by itself, and for kinds that a program made. A link passes it on, also to
            another node.
    """

    by: Ref[Any] | None = attrs.field(default=None, init=False, repr=False)

    is_normal: ClassVar[bool] = False

    def __repr__(self) -> str:
        return safe_record(self)

    def __eq__(self, other: object) -> bool:
        """Compare kind and contents; contents that refuse to be compared are equal to themselves alone."""
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        names = _names(self)
        return not names or all(_equal(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        return hash((type(self), *(_hash(getattr(self, name)) for name in _names(self))))


def _names(reason: Reason) -> tuple[str, ...]:
    return reason.__match_args__


@attempt(False)
def _equal(one: object, other: object) -> bool:
    return one is other or bool(one == other)


@attempt(0)
def _hash(value: object) -> int:
    return hash(value)


@attrs.frozen(eq=False, repr=False)
class Normal(Reason):
    """The process had nothing left to do."""

    is_normal: ClassVar[bool] = True

    def __str__(self) -> str:
        return "normal"


@attrs.frozen(eq=False, repr=False)
class Shutdown(Reason):
    """The process was told to stop, or stopped as intended; `detail` may say more."""

    detail: Any = None

    is_normal: ClassVar[bool] = True

    def __str__(self) -> str:
        return "shutdown" if self.detail is None else f"shutdown: {safe_str(self.detail, LARGEST)}"


@attrs.frozen(eq=False, repr=False)
class Kill(Reason):
    """As an exit signal: die at once, untrappably. The victim's own reason becomes `KILLED`."""

    def __str__(self) -> str:
        return "kill"


@attrs.frozen(eq=False, repr=False)
class Killed(Reason):
    """The process was ended by an untrappable `KILL`."""

    def __str__(self) -> str:
        return "killed"


@attrs.frozen(eq=False, repr=False)
class ProcessMissing(Reason):
    """The other side of a link or monitor did not exist (any more) when it was set up."""

    def __str__(self) -> str:
        return "no process"


@attrs.frozen(eq=False, repr=False)
class ConnectionLost(Reason):
    """The node of the other side cannot be reached."""

    def __str__(self) -> str:
        return "no connection"


@attrs.frozen(eq=False, repr=False)
class TimedOut(Reason):
    """Something that had a time limit did not happen in time."""

    def __str__(self) -> str:
        return "timeout"


@attrs.frozen(eq=False, repr=False)
class Crashed(Reason):
    """The process ended by an exception that it did not handle.

    `error` is that exception, whole: an exception group stays a group. Its traceback names files, lines and
    functions, but keeps none of their variables, unless `NodeConfig.keep_tracebacks` is set.
    """

    error: BaseException

    def __str__(self) -> str:
        return f"crashed: {safe_repr(self.error, LARGEST)}"


@attrs.frozen(eq=False, repr=False)
class Custom(Reason):
    """Any other reason; `value` should be immutable, and made of registered types if it is to cross nodes."""

    value: Any

    def __str__(self) -> str:
        return safe_str(self.value, LARGEST)


@attrs.frozen(eq=False, repr=False)
class Trapped(Reason):
    """A WebAssembly guest trapped.

    `kind` names the trap ("unreachable instruction", "limit exceeded", ...), `message` is what there is to
    say beyond that, `backtrace` the guest's frames, innermost first.
    """

    kind: str
    message: str = ""
    backtrace: Sequence[str] = ()

    def __str__(self) -> str:
        kind = f"trapped: {safe_str(self.kind)}"
        return f"{kind}: {safe_str(self.message, LARGEST)}" if self.message else kind


@attrs.frozen(eq=False, repr=False)
class LeaseLost(Reason):
    """The process may only run while its node holds `name` in the mesh, and the node no longer does."""

    name: str

    def __str__(self) -> str:
        return f"lease lost: the node no longer holds {safe_repr(self.name)}"


REASONS = frozenset(
    {
        Normal,
        Shutdown,
        Kill,
        Killed,
        ProcessMissing,
        ConnectionLost,
        TimedOut,
        Crashed,
        Custom,
        LeaseLost,
        Trapped,
    }
)

NORMAL = Normal()
SHUTDOWN = Shutdown()
KILL = Kill()
KILLED = Killed()
NO_PROCESS = ProcessMissing()
NO_CONNECTION = ConnectionLost()
TIMEOUT = TimedOut()


class Exit(Exception):
    """Raised inside a process, ends that process with `reason`.

    In `__init__` or `on_start` it makes the start fail with that reason.
    """

    def __init__(self, reason: Reason = NORMAL) -> None:
        super().__init__(reason)
        self.reason = checked(reason)


def asked_by(reason: R, by: Ref[Any] | None) -> R:
    """Return `reason` as that of an end that `by` asked for; one of a program's own kinds stays as it is."""
    kind = type(reason)
    if type(kind) is not type or kind not in REASONS or reason.by is by:
        return reason
    made = object.__new__(kind)
    names: tuple[str, ...] = kind.__match_args__
    for name in names:
        object.__setattr__(made, name, getattr(reason, name))
    object.__setattr__(made, "by", by)
    return made


def checked(reason: object) -> Reason:
    """Return `reason`, after checking its type.

    Raises:
        TypeError: `reason` is not a `Reason`.
    """
    if not issubclass(type(reason), Reason):
        raise TypeError(f"expected an exit Reason, got {safe_repr(reason)}; wrap other values in Custom(...)")
    return reason  # type: ignore[return-value]
