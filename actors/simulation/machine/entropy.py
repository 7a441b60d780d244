"""Chance: one seed, and a stream of draws for each purpose.

A draw of one stream never moves another, so a kind of fault that is added leaves the traffic as it was. Only
`random()` and `getrandbits()` of Python's generator are used: what else it makes of them may change.
"""

from __future__ import annotations

import math
import random
from collections.abc import MutableSequence, Sequence
from typing import Any, TypeVar

__all__ = ["Entropy", "Stream"]

T = TypeVar("T")


class Stream:
    """A stream of draws.

    Args:
        seed: a text; it is hashed with SHA-512, so that similar texts give independent streams.
    """

    __slots__ = ("_bits", "random")

    def __init__(self, seed: str) -> None:
        generator = random.Random(seed)
        self._bits = generator.getrandbits
        self.random = generator.random
        """Draw a float from 0 to 1, 1 excluded."""

    def below(self, count: int) -> int:
        """Draw an integer from 0 to `count`, `count` excluded."""
        return int(self.random() * count)

    def between(self, low: float, high: float) -> float:
        """Draw a float between two."""
        return low + (high - low) * self.random()

    def log_between(self, low: float, high: float) -> float:
        """Draw a float between two whose logarithm is uniform: each decade is as likely."""
        return math.exp(self.between(math.log(low), math.log(high)))

    def chance(self, share: float) -> bool:
        """Draw true in that share of all cases; draws nothing when it is 0."""
        return share > 0 and self.random() < share

    def choice(self, items: Sequence[T]) -> T:
        """Draw one of some items."""
        return items[self.below(len(items))]

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Bring items into a random order."""
        for place in range(len(items) - 1, 0, -1):
            other = self.below(place + 1)
            items[place], items[other] = items[other], items[place]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Draw so many of some items, each at most once."""
        drawn = list(items)
        self.shuffle(drawn)
        return drawn[:count]

    def exponential(self, mean: float) -> float:
        """Draw the time until an event that happens once in `mean`."""
        return -mean * math.log(1.0 - self.random())

    def bytes(self, count: int) -> bytes:
        """Draw so many bytes."""
        return self._bits(8 * count).to_bytes(count, "big") if count else b""


class Entropy:
    """The streams of one seed.

    Args:
        seed: any integer.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, Stream] = {}

    def stream(self, name: str) -> Stream:
        """The stream of that name: the same one each time."""
        known = self._streams.get(name)
        if known is None:
            known = self._streams[name] = Stream(f"{self.seed}/{name}")
        return known
