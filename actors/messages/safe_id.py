"""Ids that the program has chosen, of children, groups and keys, as text for those who may only observe.

An id may be any hashable object, and its `repr` is code of the program, which may show data, or take long. So
only values of Python's own kinds are shown as they are, and of another object its class.
"""

from __future__ import annotations

import enum
from typing import Any, Final

from enfilade.actors.messages.kinds import is_among
from enfilade.actors.messages.safe_text import safe_str, shown_name

__all__ = ["safe_id"]

SHOWN: Final[frozenset[type]] = frozenset({str, int, float, bool, bytes, type(None)})


def safe_id(value: Any) -> str:
    """Return an id as text. Runs no code of the program, and never raises."""
    kind = type(value)
    if is_among(value, SHOWN):
        return safe_str(value)
    if kind is tuple:
        return safe_str(tuple(each if is_among(each, SHOWN) else _Shown(safe_id(each)) for each in value))
    if issubclass(kind, enum.Enum):
        return f"{shown_name(kind)}.{safe_str(object.__getattribute__(value, '_name_'))}"
    if issubclass(kind, str):
        return safe_str(str.__getitem__(value, slice(None)))
    return f"<{shown_name(kind)}>"


class _Shown:
    """A text in the place of a value in a tuple."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
