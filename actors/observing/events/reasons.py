"""Exit reasons as records, which hold nothing of the program."""

from __future__ import annotations

from typing import Any, Final

import attrs

from enfilade.actors.messages.reasons import (
    KILL,
    KILLED,
    NO_CONNECTION,
    NO_PROCESS,
    NORMAL,
    TIMEOUT,
    Reason,
)
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_str, shown_name
from enfilade.actors.observing.events.light_ref import light

__all__ = ["EMPTY", "Why", "why", "why_of_error"]

LARGEST_TEXT: Final = 2_000
"""Characters of the text of a reason."""


@attrs.frozen
class Why:
    """An exit reason without what it holds.

    Attributes:
        type: the kind of reason, such as "Crashed"; for one that a program made, the name of its class.
        text: what it says.
        is_normal: true for the three kinds of a normal end.
        by: the process that asked for the end; None.
    """

    type: str
    text: str
    is_normal: bool
    by: Ref[Any] | None = None

    def __str__(self) -> str:
        return self.text


EMPTY: Final[dict[type[Reason], tuple[str, str, bool]]] = {
    type(reason): (shown_name(type(reason)), safe_str(reason), reason.is_normal)
    for reason in (NORMAL, KILL, KILLED, NO_PROCESS, NO_CONNECTION, TIMEOUT)
}
"""What is said of the reasons that hold nothing."""


def why_of_error(error: BaseException | None) -> Why:
    """The record of what ends a node: an error, or, if None, that its block is left. Never raises."""
    if error is None:
        return Why("Shutdown", "the block of the node is left", True)
    is_normal = type(error) is SystemExit and error.code in (None, 0)
    return Why(shown_name(type(error)), safe_str(error, LARGEST_TEXT), is_normal)


def why(reason: Reason) -> Why:
    """The record of a reason. Never raises."""
    kind = type(reason)
    if type(kind) is type and kind in EMPTY:  # another metaclass may make classes that cannot be looked up
        return Why(*EMPTY[kind], light(reason.by))
    return Why(shown_name(kind), safe_str(reason, LARGEST_TEXT), reason.is_normal, light(reason.by))
