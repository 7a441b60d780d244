"""The order of the rows of a table: keys by which values of all kinds can be compared, and what keeps them
sorted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Final

from enfilade.actors.messages.safe_text import safe_str

__all__ = ["Key", "SortedKeys", "key_of"]

Key = tuple[int, Any, int]
"""The kind of a value, the value, and the place of the row among those that are equal."""

BLOCK: Final = 512
"""How many keys a block has; one with twice as many is divided."""


def key_of(value: Any, place: int, sign: int) -> Key:
    """The key of a row: numbers first, then texts, then nothing. With a `sign` of -1 the largest value comes
    first; among equals the row of the least `place`, in both directions.
    """
    if value is None or isinstance(value, dict | list):
        return (2, 0, place)
    if isinstance(value, int | float):
        return (0, sign * value, place)
    text = value if isinstance(value, str) else safe_str(value)
    return (1, _Backwards(text) if sign < 0 else text, place)


class _Backwards(str):
    """A text that is sorted in the other direction."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


class SortedKeys:
    """Keys in order, in blocks, so that one is added or removed without moving all others."""

    def __init__(self) -> None:
        self._blocks: list[list[Key]] = []
        self._lasts: list[Key] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: Key) -> None:
        """Add a key, which is not among them."""
        self._count += 1
        if not self._blocks:
            self._blocks.append([key])
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, key)
        if len(block) >= 2 * BLOCK:
            self._blocks[at : at + 1] = block[:BLOCK], block[BLOCK:]
            self._lasts[at : at + 1] = block[BLOCK - 1], block[-1]
        else:
            self._lasts[at] = block[-1]

    def remove(self, key: Key) -> None:
        """Remove a key, which is among them."""
        self._count -= 1
        at = bisect_left(self._lasts, key)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self._lasts[at] = block[-1]
        else:
            del self._blocks[at], self._lasts[at]

    def between(self, first: int, last: int) -> Iterator[Key]:
        """The keys from place `first` up to place `last`, which is not included."""
        for block in self._blocks:
            if last <= 0:
                return
            if first < len(block):
                yield from block[max(0, first) : last]
            first -= len(block)
            last -= len(block)
