"""The log of a world: a line for each event, and a digest that says whether two runs were the same.

A line holds the virtual time, the number of steps that all lives have taken, a kind, names, integers and
digests of batches. It never holds an address, a text of an exception, or a number that the machine gave out.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Sequence
from typing import Final

__all__ = ["Log", "difference", "first_difference"]

MARK: Final = 1000
"""Events between two digests that are kept."""

KEPT: Final = 100_000
"""Latest lines that are kept."""


class Log:
    """The events of one world, in order.

    Attributes:
        count: how many there were.
        marks: the running digest after each thousand events.
    """

    def __init__(self) -> None:
        self.count = 0
        self.marks: list[str] = []
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._digest = hashlib.sha256()

    def keep_all(self) -> None:
        """Keep every line from now on, however many there are."""
        self._lines = deque(self._lines)

    def write(self, now: float, steps: int, kind: str, *fields: object) -> None:
        """Note one event."""
        line = f"{now!r} {steps} {kind} {' '.join(map(str, fields))}\n"
        self._digest.update(line.encode())
        self._lines.append(line)
        self.count += 1
        if self.count % MARK == 0:
            self.marks.append(self._digest.hexdigest())

    @property
    def digest(self) -> str:
        """The digest over all events so far."""
        return self._digest.hexdigest()

    def tail(self, count: int, *, about: str = "") -> list[str]:
        """The last lines, without their ends.

        Args:
            count: how many.
            about: a word that each of them has; any line by default.
        """
        chosen = (line for line in reversed(self._lines) if not about or about in line.split())
        return [line.rstrip() for line in itertools.islice(chosen, count)][::-1]

    def lines(self) -> list[str]:
        """The lines that are kept: the latest."""
        return self.tail(len(self._lines))


def first_difference(one: Log, other: Log) -> tuple[int, str, str] | None:
    """The first event in which two logs differ: its number from 1, and both lines; None if they are equal.

    A log that ends there has an empty line. Of events whose lines are no longer kept, the first thousand with
    different digests is named, by its last event.
    """
    if (one.count, one.digest) == (other.count, other.digest):
        return None
    kept = max(log.count - len(log.lines()) for log in (one, other))
    for number, (mine, theirs) in enumerate(zip(one.marks, other.marks, strict=False), 1):
        if mine != theirs and number * MARK <= kept:
            return number * MARK, mine, theirs
    ours, others = (dict(enumerate(log.lines(), log.count - len(log.lines()) + 1)) for log in (one, other))
    for number in sorted(ours.keys() | others.keys()):
        mine, theirs = ours.get(number, ""), others.get(number, "")
        if number > kept and mine != theirs:
            return number, mine, theirs
    return None


def difference(one: Sequence[str], other: Sequence[str]) -> tuple[int, str, str] | None:
    """The first line in which two logs differ that were kept as text: its number from 1, and both; None if
    they are equal. Where one has ended its line says so.
    """
    for number, lines in enumerate(itertools.zip_longest(one, other, fillvalue="(it ends)"), 1):
        if lines[0] != lines[1]:
            return number, *lines
    return None
