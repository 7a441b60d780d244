"""The contents of messages as text, for who may see them. A class's own `format_message` comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.traced import bare
from enfilade.actors.processes.keyed_timers import Tick
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref

__all__ = ["bare_contents", "dead_contents_of", "formatted_contents"]


def dead_contents_of(message: Any, ref: Ref[Any], largest: int = 200) -> str:
    """The contents of a message that `ref` was sent and nobody took, as text: as the class of the
    process would have it, if it leads to one of this node, or did. Never raises.
    """
    process = process_of(ref)
    kind: Any = None if process is None else process.target  # the class also when it has ended
    if kind is None or _own_format(kind) is None:
        return safe_repr(message, largest)
    return formatted_contents(kind, bare_contents(message), largest)


def bare_contents(message: Any) -> Any:
    """A message as it is shown: of a call or cast its method and arguments."""
    message = bare(message)
    if type(message) is Tick:
        message = message.message
    kind = type(message)
    if kind is signals.Cast or issubclass(kind, signals.Call):
        return message.method, message.args, dict(message.kwargs)
    return message


def formatted_contents(actor: type, message: Any, largest: int) -> str:
    """Contents as the class of an actor would have them shown. Never raises."""
    own = _own_format(actor)
    if own is None:
        return safe_repr(message, largest)
    masked = _masked(own, message)
    return "<format_message failed>" if masked is None else safe_repr(masked[0], largest)


@attempt(None)
def _own_format(actor: type) -> Any:
    return getattr(actor, "format_message", None)


@attempt(None)
def _masked(own: Any, message: Any) -> tuple[Any]:
    return (own(message),)
