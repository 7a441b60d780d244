"""Exit reasons and errors: as guests know them, and as the node knows those of guests."""

from __future__ import annotations

from typing import Any

from enfilade.actors.messages.errors import NoProcess, ProcessDied, StartError
from enfilade.actors.messages.reasons import (
    KILL,
    KILLED,
    NO_CONNECTION,
    NO_PROCESS,
    NORMAL,
    TIMEOUT,
    Crashed,
    Custom,
    Reason,
    Shutdown,
    Trapped,
)
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.hostcalls.abi.actor_types import ActorReason, ReasonKind
from enfilade.hostcalls.engine import Trap

__all__ = ["abi_reason", "reason_of_guest", "trapped", "why"]

LARGEST_TEXT = 1_000  # characters of an error or a reason that a guest is told

_KINDS: dict[Reason, ReasonKind] = {
    KILL: ReasonKind.KILL,
    KILLED: ReasonKind.KILLED,
    NO_PROCESS: ReasonKind.NO_PROCESS,
    NO_CONNECTION: ReasonKind.NO_CONNECTION,
    TIMEOUT: ReasonKind.TIMEOUT,
    NORMAL: ReasonKind.NORMAL,
}
_REASONS = {kind: reason for reason, kind in _KINDS.items()}


def abi_reason(reason: Reason) -> ActorReason:
    """An exit reason as guests see it."""
    match reason:
        case Shutdown(detail):
            return ActorReason(ReasonKind.SHUTDOWN, "" if detail is None else safe_str(detail, LARGEST_TEXT))
        case Trapped(kind, message):
            return ActorReason(ReasonKind.TRAPPED, f"{kind}: {message}" if message else kind)
        case Crashed(error):
            return ActorReason(ReasonKind.CRASHED, safe_repr(error, LARGEST_TEXT))
        case Custom(value):
            return ActorReason(ReasonKind.OTHER, safe_str(value, LARGEST_TEXT))
    return ActorReason(_KINDS.get(reason, ReasonKind.OTHER))


def reason_of_guest(reason: ActorReason) -> Reason:
    """The exit reason that a guest gives."""
    if reason.kind is ReasonKind.SHUTDOWN:
        return Shutdown(reason.detail or None)
    return _REASONS.get(reason.kind) or Custom(reason.detail)


def trapped(trap: Trap) -> Trapped:
    """The exit reason of a guest that was cut short."""
    frames: Any = [str(frame) for frame in trap.backtrace]
    return Trapped(str(trap.kind), trap.message, frames)


def why(error: BaseException) -> str:
    """Describe an error in one line, for a guest."""
    match error:
        case ProcessDied(reason=reason):
            return f"the process ended: {reason}"
        case NoProcess():
            return "no process"
        case StartError(reason=Custom(text)):
            return safe_str(text, LARGEST_TEXT)
        case StartError(reason=reason):
            return f"the start failed: {reason}"
    return safe_str(error, LARGEST_TEXT)
