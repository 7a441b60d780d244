"""The order of the rows of a table: keys by which values of all kinds can be compared, and what keeps them
sorted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import attrs

from enfilade.actors.messages.safe_text import safe_str

__all__ = ["NOTHING", "Key", "Order", "SortedKeys"]

Key = tuple[int, Any, int]
"""The kind of a value, the value, and the place of the row among those that are equal."""

BLOCK: Final = 512
"""How many keys a block has; one with twice as many is divided."""

KINDS: Final[dict[type, int]] = {int: 0, float: 0, bool: 0, str: 1, type(None): 2, dict: 2, list: 2}
"""The kind of a value, by its class; others are shown as texts."""

NOTHING: Final = KINDS[type(None)]

SAMPLED: Final = 32
"""Of so many keys of a run, one is looked at to find out how all of them are spread."""


@attrs.frozen
class Order:
    """An order of rows: numbers first, then texts, then nothing; among equals the row of the least place.

    Keys of a descending order are compared the other way round, so that texts can be keys as they are.

    Attributes:
        descending: whether the largest value comes first.
    """

    descending: bool

    def key(self, value: Any, place: int) -> Key:
        """The key of a row."""
        kind = KINDS.get(type(value), 1)
        if kind == 2:
            value = 0
        elif kind == 1 and type(value) is not str:
            value = safe_str(value)
        return (-kind, value, -place) if self.descending else (kind, value, place)

    def place(self, key: Key) -> int:
        """The place that a key was made of."""
        return -key[2] if self.descending else key[2]

    def is_after(self, key: Key, other: Key) -> bool:
        """Tell whether the row of `key` comes after that of `other`."""
        return key < other if self.descending else key > other

    def sorted(self, keys: Iterable[Key]) -> list[Key]:
        """Keys in this order."""
        return sorted(keys, reverse=self.descending)


class SortedKeys:
    """Keys in an order, in blocks, so that one is added or removed without moving all others."""

    def __init__(self, order: Order) -> None:
        self._is_reversed = order.descending
        self._blocks: list[list[Key]] = []
        self._lasts: list[Key] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def fill(self, runs: list[list[Key]]) -> Iterator[None]:
        """Put the first keys in, in steps of less than a millisecond.

        Args:
            runs: lists of keys, each in rising order. No key is in them twice.
        """
        if all(one[-1] < other[0] for one, other in pairwise(runs)):  # as those of serials are
            for run in runs:
                self._append(run)
                yield
            return
        sample = sorted(key for run in runs for key in run[::SAMPLED])
        yield
        places = [0] * len(runs)
        for border in (*sample[SAMPLED::SAMPLED], None):
            found: list[Key] = []
            for number, run in enumerate(runs):
                place = places[number]
                places[number] = len(run) if border is None else bisect_left(run, border, place)
                found += run[place : places[number]]
            found.sort()  # which merges what is sorted already
            self._append(found)
            yield

    def _append(self, keys: list[Key]) -> None:
        """Put keys behind all others."""
        blocks = [keys[at : at + BLOCK] for at in range(0, len(keys), BLOCK)]
        self._blocks += blocks
        self._lasts += [block[-1] for block in blocks]
        self._count += len(keys)

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

    def between(self, first: int, last: int) -> list[Key]:
        """The keys from place `first` up to place `last`, which is not included."""
        first, last = max(0, first), min(last, self._count)
        if self._is_reversed:
            return self._rising(self._count - last, self._count - first)[::-1]
        return self._rising(first, last)

    def _rising(self, first: int, last: int) -> list[Key]:
        keys: list[Key] = []
        for block in self._blocks:
            if last <= 0:
                break
            if first < len(block):
                keys += block[max(0, first) : last]
            first -= len(block)
            last -= len(block)
        return keys
