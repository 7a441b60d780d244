"""Crashes: the exit reason of a process by what its code has raised."""

from __future__ import annotations

import contextlib

import trio

from enfilade.actors.messages.errors import RuntimeFault, StrayCancelled
from enfilade.actors.messages.reasons import Crashed, Exit, Reason, checked
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.tracebacks import members_of

__all__ = ["as_told", "reason_in", "reason_of", "without_cancelled"]


def reason_of(error: BaseException) -> Reason:
    """The exit reason of a process whose body raised `error`.

    A `trio.Cancelled` in it is not the process's own: what a process's own scope cancels never comes out.
    """
    return reason_in(error) if issubclass(type(error), Exit) else Crashed(without_cancelled(error))


def reason_in(error: BaseException) -> Reason:
    """The reason that `error`, an `Exit` or a `StartError`, carries: a subclass, or a peer, may have lost it,
    and then the error itself is the reason.
    """
    with contextlib.suppress(BaseException):
        return checked(error.reason)  # type: ignore[attr-defined]
    return Crashed(without_cancelled(error))


def as_told(error: BaseException, what: str) -> Exception:
    """Return what a process is told of `error`, which `what` has raised for it.

    A `KeyboardInterrupt` or a `trio.Cancelled`, say, must not be raised in its task.
    """
    if issubclass(type(error), Exception):
        return error  # type: ignore[return-value]
    told = RuntimeFault(f"{what} raised {safe_repr(error)}")
    told.__cause__ = error
    return told


def without_cancelled(error: BaseException) -> BaseException:
    """Return `error` without each `trio.Cancelled` in it, or `StrayCancelled` if nothing else is in it."""
    kind = type(error)
    if kind is trio.Cancelled:  # which has no subclasses
        return StrayCancelled(error)
    if not issubclass(kind, BaseExceptionGroup) or not _holds_cancelled(error):
        return error
    try:
        _, rest = error.split(trio.Cancelled)  # type: ignore[attr-defined]
    except BaseException:  # a group of the program's own may be unable to be split
        return StrayCancelled(error)
    return StrayCancelled(error) if rest is None else rest


def _holds_cancelled(group: BaseException) -> bool:
    """Look for a `trio.Cancelled` in a group, however deep, whatever its class defines."""
    pending = [group]
    while pending:
        kind = type(error := pending.pop())
        if kind is trio.Cancelled:  # which has no subclasses
            return True
        if issubclass(kind, BaseExceptionGroup):
            pending.extend(members_of(error))
    return False
