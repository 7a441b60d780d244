"""Plain data: what every observer can read, whatever the program calls its processes and ids."""

from __future__ import annotations

from typing import Any, Final

from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str

__all__ = ["INT_BITS", "plain"]

DEPTH: Final = 16
"""How deep the data of a view are, at most."""

INT_BITS: Final = 64
"""Bits of a number that every observer can read."""


def plain(value: Any, depth: int = DEPTH) -> Any:
    """Make data of which nothing stands in the way of an update: numbers, texts, lists and mappings.

    Args:
        value: the data of an update.
        depth: how deep they may be.

    Returns:
        The same, with another text in the place of one that cannot be encoded, of a number that is too large,
        and of an object of any other kind. Never raises.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        return value if value.bit_length() < INT_BITS else safe_str(value)
    if kind is str:
        return value.encode("utf-8", "backslashreplace").decode()
    if depth and kind is dict:
        return {plain(key, 0): plain(inner, depth - 1) for key, inner in value.items()}
    if depth and (kind is list or kind is tuple):
        return [plain(inner, depth - 1) for inner in value]
    return safe_id(value)
