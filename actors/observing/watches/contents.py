"""The contents of messages as text, for those who may trace. A class's own `format_message` comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.traced import bare
from enfilade.actors.processes.keyed_timers import Tick

if TYPE_CHECKING:
    from enfilade.actors.observing.watches.own_texts import OwnTexts
    from enfilade.actors.processes.process import Process

__all__ = ["contents_of"]


def contents_of(process: Process, message: Any, own_texts: OwnTexts, largest: int) -> str | None:
    """The contents of a message to a process, as text. Never raises.

    Args:
        process: the process.
        message: the message, as it lies in the mailbox; of a call or cast, `(method, args, kwargs)` is shown.
        own_texts: asks the program's code for it.
        largest: characters.
    """
    message = bare(message)
    if type(message) is Tick:
        message = message.message
    kind = type(message)
    if kind is signals.Cast or issubclass(kind, signals.Call):
        message = (message.method, message.args, dict(message.kwargs))
    actor = process.body.actor
    asked = type(message if actor is None else actor)
    return own_texts.of(asked, _formatted, type(actor), message, largest)


def _formatted(actor: type, message: Any, largest: int) -> str:
    own = getattr(actor, "format_message", None)
    if own is None:
        return safe_repr(message, largest)
    masked = _masked(own, message)
    return "<format_message failed>" if masked is None else safe_repr(masked[0], largest)


@attempt(None)
def _masked(own: Any, message: Any) -> tuple[Any]:
    return (own(message),)
