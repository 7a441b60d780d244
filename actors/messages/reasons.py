"""Exit reasons: why a process ended.

Every process ends with exactly one reason, which its links and monitors are told. The reasons are those of
Erlang/OTP (reference manual, "Processes"; `supervisor`, "Restart"), as immutable records that compare by
value. Three shapes count as a normal end: `NORMAL`, `SHUTDOWN` and `Shutdown(detail)`; a supervisor restarts
a transient child after any other.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs

__all__ = [
    "KILL",
    "KILLED",
    "NORMAL",
    "NO_CONNECTION",
    "NO_PROCESS",
    "SHUTDOWN",
    "TIMEOUT",
    "Crashed",
    "Custom",
    "Exit",
    "Reason",
    "Shutdown",
    "Trapped",
    "checked",
    "reason_of",
]


@attrs.frozen
class Reason:
    """The base of all exit reasons.

    `is_normal` is true for the three shapes that supervisors take for an intended end.
    """

    is_normal: ClassVar[bool] = False


@attrs.frozen
class Normal(Reason):
    """The process had nothing left to do."""

    is_normal: ClassVar[bool] = True

    def __str__(self) -> str:
        return "normal"


@attrs.frozen
class Shutdown(Reason):
    """The process was told to stop, or stopped as intended; `detail` may say more."""

    detail: Any = None

    is_normal: ClassVar[bool] = True

    def __str__(self) -> str:
        return "shutdown" if self.detail is None else f"shutdown: {self.detail}"


@attrs.frozen
class Kill(Reason):
    """As an exit signal: die at once, untrappably. The victim's own reason becomes `KILLED`."""

    def __str__(self) -> str:
        return "kill"


@attrs.frozen
class Killed(Reason):
    """The process was ended by an untrappable `KILL`."""

    def __str__(self) -> str:
        return "killed"


@attrs.frozen
class ProcessMissing(Reason):
    """The other side of a link or monitor did not exist (any more) when it was set up."""

    def __str__(self) -> str:
        return "no process"


@attrs.frozen
class ConnectionLost(Reason):
    """The node of the other side cannot be reached."""

    def __str__(self) -> str:
        return "no connection"


@attrs.frozen
class TimedOut(Reason):
    """Something that had a time limit did not happen in time."""

    def __str__(self) -> str:
        return "timeout"


@attrs.frozen
class Crashed(Reason):
    """The process ended by an exception that it did not handle.

    `error` is that exception, whole: an exception group stays a group.
    """

    error: BaseException

    def __str__(self) -> str:
        return f"crashed: {self.error!r}"


@attrs.frozen
class Custom(Reason):
    """Any other reason; `value` should be immutable, and made of registered types if it is to cross nodes."""

    value: Any

    def __str__(self) -> str:
        return str(self.value)


@attrs.frozen
class Trapped(Reason):
    """A WebAssembly guest trapped.

    `kind` names the trap ("unreachable instruction", "limit exceeded", ...), `message` is what there is to
    say beyond that, `backtrace` the guest's frames, innermost first.
    """

    kind: str
    message: str = ""
    backtrace: Sequence[str] = ()

    def __str__(self) -> str:
        return f"trapped: {self.kind}: {self.message}" if self.message else f"trapped: {self.kind}"


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


def checked(reason: object) -> Reason:
    """Return `reason`, after checking its type.

    Raises:
        TypeError: `reason` is not a `Reason`.
    """
    if not isinstance(reason, Reason):
        raise TypeError(f"expected an exit Reason, got {reason!r}; wrap other values in Custom(...)")
    return reason


def reason_of(error: BaseException) -> Reason:
    """The exit reason of a process whose body raised `error`."""
    if isinstance(error, Exit):
        return error.reason
    return Crashed(error)
