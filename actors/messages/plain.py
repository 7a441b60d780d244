"""Plain data: what JSON, a frame or an update carries, whatever the program has put there.

That is None, booleans, floats, numbers of one machine word, texts that are UTF-8, and lists and mappings of
these. Readers that keep a number in 64 bits refuse a larger one, and all encoders refuse half of a surrogate
pair. What is not plain is told in words, and who calls `plain` says in which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["LARGEST", "is_word", "plain"]

LARGEST: Final = 2**63 - 1
"""The largest number that everybody can read: a signed word holds it."""


def is_word(number: int) -> bool:
    """Tell whether a number is one that everybody can read: not beyond `LARGEST` on either side of 0."""
    return -LARGEST <= number <= LARGEST


def plain(
    value: Any, words: Callable[[Any], Any], depth: int = 0, key: Callable[[Any], Any] | None = None
) -> Any:
    """Make a value plain. Not a checkpoint.

    Args:
        value: anything.
        words: makes something plain of a value that is not.
        depth: how many lists and mappings may stand within one another; a deeper one is told in words.
        key: makes the key of a mapping, which is made plain then. None for a key as it is, with `words` for a
            mapping or list in its place.

    Returns:
        The value, or its like: a list for a tuple, an escape for what is no UTF-8 in a text, and words for
        what is of any other kind, or of a subclass of these. Raises only what `words` and `key` do.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float or (kind is int and is_word(value)):
        return value
    if kind is str:
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if depth and kind is dict:
        return {
            plain(inner if key is None else key(inner), words): plain(each, words, depth - 1, key)
            for inner, each in value.items()
        }
    if depth and (kind is list or kind is tuple):
        return [plain(each, words, depth - 1, key) for each in value]
    return words(value)
