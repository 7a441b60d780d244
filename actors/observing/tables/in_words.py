"""Messages and timers in words: what those see of them who may only observe."""

from __future__ import annotations

from typing import Any

from enfilade.actors.messages import signals
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, shown_name
from enfilade.actors.messages.traced import bare
from enfilade.actors.processes.keyed_timers import IdleTimer, Tick
from enfilade.actors.processes.timers import Timer

__all__ = ["message_in_words", "timer_in_words"]


def message_in_words(message: Any) -> dict[str, Any]:
    """A message without its contents.

    Returns:
        Its kind, "call", "cast" or "message"; the method of a call or cast, and the number of its arguments;
        the type of another message.
    """
    message = bare(message)
    if type(message) is Tick:
        message = message.message
    kind = type(message)
    if kind is signals.Cast or issubclass(kind, signals.Call):
        return {
            "kind": "cast" if kind is signals.Cast else "call",
            "method": safe_str(message.method),
            "type": None,
            "arguments": len(message.args) + len(message.kwargs),
        }
    return {"kind": "message", "method": None, "type": shown_name(kind), "arguments": None}


def timer_in_words(timer: Timer, now: float) -> dict[str, Any]:
    """A timer that is set.

    Returns:
        When it is `due_in`, in seconds; its kind, "message", "exit", "keyed", "idle" or "other"; the key of a
        keyed one; whether it is `periodic`; and the type of its message, if it sends one.
    """
    kind, key, periodic, message = _purpose(timer)
    return {
        "due_in": round(max(0.0, timer.deadline - now), 3),
        "kind": kind,
        "key": key,
        "periodic": periodic,
        "message": message,
    }


def _purpose(timer: Timer) -> tuple[str, str | None, bool, str | None]:
    """The purpose of a timer, by what its function is given."""
    args = timer.args
    if timer.fn is None:
        return "message", None, False, shown_name(type(args))
    if len(args) == 1 and type(args[0]) is Tick:
        tick = args[0]
        message = shown_name(type(tick.message))
        if type(tick.timers) is IdleTimer:
            return "idle", None, False, message
        return "keyed", safe_id(tick.key), tick.interval is not None, message
    if len(args) == 2:
        sent = args[1].message if type(args[1]) is signals.Notice else args[1]
        if type(sent) is signals.Exit:
            return "exit", None, False, None
        return "message", None, False, shown_name(type(sent))
    return "other", None, False, None
