"""Crash reports: what is to be known of a process whose code has failed, in words and numbers."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.reasons import Crashed, Reason
from enfilade.actors.messages.safe_text import safe_repr, safe_str, shown_name
from enfilade.actors.messages.tracebacks import program_part, trace_of
from enfilade.actors.observing.events.light_ref import light
from enfilade.actors.observing.events.records import Failure, Frame, MessageShown
from enfilade.actors.processes.actor import Actor, formatted_status

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["failure_of", "message_shown", "state_shown"]

FRAMES: Final = 50
NOTES: Final = 20
LARGEST_TEXT: Final = 2_000
LARGEST_NOTE: Final = 200
LARGEST_STATE: Final = 2_000
"""What a report holds of an exception, the innermost frames, and how many characters of each of its texts."""


def failure_of(reason: Reason, error: BaseException | None) -> Failure | None:
    """The exception of a crash, without what it holds. Never raises."""
    if error is None:
        error = reason.error if type(reason) is Crashed else None
    if error is None:
        return None
    frames = tuple(
        Frame(frame.f_code.co_filename, line, frame.f_code.co_qualname)
        for frame, line in (_walked(error) or [])[-FRAMES:]
    )
    notes = _notes_of(error) or ()
    return Failure(shown_name(type(error)), safe_str(error, LARGEST_TEXT), notes, frames)


@attempt(None)
def _walked(error: BaseException) -> list[tuple[Any, int]]:
    trace = trace_of(error)
    return list(traceback.walk_tb(trace and (program_part(trace) or trace)))


@attempt(None)
def _notes_of(error: BaseException) -> tuple[str, ...]:
    return tuple(safe_str(note, LARGEST_NOTE) for note in getattr(error, "__notes__", ())[:NOTES])


def message_shown(process: Process, error: BaseException | None) -> MessageShown | None:
    """The kind of the message at hand, and its method or type. Never raises."""
    message = process.body.at_hand
    if message is None:
        message = process.at_hand
    if message is None:
        return None
    if message is signals.HANDED_OFF:
        return MessageShown("call", None if error is None else _method_of(process, error), None)
    kind = type(message)
    if kind is signals.Cast:
        return MessageShown("cast", safe_str(message.method), None)
    if issubclass(kind, signals.Call):
        return MessageShown("call", safe_str(message.method) or None, light(message.caller))
    return MessageShown("message", shown_name(kind), None)


@attempt(None)
def _method_of(process: Process, error: BaseException) -> str | None:
    """The method of a call that its caller has run: the outermost handler among the frames."""
    names = {
        code: name
        for name, handler in (process.handlers or {}).items()
        if (code := getattr(handler, "__code__", None)) is not None
    }
    return next((names[frame.f_code] for frame, _ in _walked(error) or () if frame.f_code in names), None)


def state_shown(process: Process) -> str | None:
    """The state of an actor as its own `format_status` shows it, as text; None without one. Never raises."""
    actor = process.body.actor
    status = formatted_status(actor) if issubclass(type(actor), Actor) else None
    return None if status is None else safe_repr(status, LARGEST_STATE)
