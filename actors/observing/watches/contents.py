"""The contents of messages as text, for those who may trace. A class's own `format_message` comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.observing.events.contents import bare_contents, formatted_contents

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
    message = bare_contents(message)
    actor = process.body.actor
    asked = type(message if actor is None else actor)
    return own_texts.of(asked, formatted_contents, type(actor), message, largest)
