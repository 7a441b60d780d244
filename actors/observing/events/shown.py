"""Events as numbers and texts, for those who look from outside.

Without the right to inspect, what an error or a reason says is left out, and the event says that it is.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from enfilade.actors.messages.plain import is_word
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, told
from enfilade.actors.observing.events.reasons import Why
from enfilade.actors.observing.events.records import Event, Failure

__all__ = ["event_shown"]

SECRET: Final = {
    "process.crashed": ("state",),
    "process.refused": ("error",),
    "message.dead": ("contents",),
    "guest.trapped": ("text",),
    "guest.limited": ("text",),
    "process.unkillable": ("stack",),
    "handler.detached": ("error",),
}
"""The fields, by kind of event, whose texts only those see who may inspect."""

SHORT_IDS: Final = (type(None), int, str)
"""The kinds of ids of children that are told as they are."""

LARGEST_TEXT: Final = 8_192
"""Characters of a text of an event."""


def event_shown(event: Event, *, inspects: bool) -> dict[str, Any]:
    """The fields of an event, and its kind."""
    shown: dict[str, Any] = {"kind": event.kind}
    secret = () if inspects else SECRET.get(event.kind, ())
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if field.name == "child_id" and type(value) not in SHORT_IDS:
            value = safe_id(value)  # of several parts, say: as it is in tables
        shown[field.name] = None if field.name in secret else _shown(value, inspects)
    if secret:
        shown["hidden"] = True
    return shown


def _shown(value: Any, inspects: bool) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is str:
        return told(value, LARGEST_TEXT)
    if kind is int:
        return value if is_word(value) else safe_id(value)
    if isinstance(value, Ref):
        return {"serial": value.serial, "text": safe_str(value)}
    if isinstance(value, Why | Failure) and not inspects:
        fields = {name: _shown(inner, inspects) for name, inner in _fields(value) if name not in TEXTS}
        return {**fields, "hidden": True}
    if attrs.has(type(value)):
        return {name: _shown(inner, inspects) for name, inner in _fields(value)}
    if isinstance(value, tuple | list):
        return [_shown(inner, inspects) for inner in value]
    return safe_str(value) if inspects else safe_id(value)


TEXTS: Final = ("text", "notes")
"""The fields of reasons and errors that may hold data."""


def _fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name)) for field in attrs.fields(type(value))]
