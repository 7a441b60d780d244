"""The last minutes of a node's numbers, as plots need them.

The node sends what is; what was, its observer remembers. A series is a number of each update: a field, or the
growth of a counter in a second. Where the counter has fallen, or nothing has been heard for a while, there is
a gap: None.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from enfilade.actors.cli.observe import words

__all__ = ["SERIES", "History", "Series"]

Fields = Mapping[str, Any]

LENGTH: Final = 600
"""Seconds that are remembered."""

LONGEST_STEP: Final = 15.0
"""Seconds between two updates above which they are not compared: the connection was lost in between."""


@attrs.frozen
class Series:
    """A number of a node over time.

    Attributes:
        name: identifies it.
        title: names it for people.
        shown: puts a value into words.
        of: finds it in the fields of the node, those before, and the seconds between the two; None.
        most: the value at the top of a plot, if there is a natural one.
    """

    name: str
    title: str
    shown: Callable[[float | None], str]
    of: Callable[[Fields, Fields, float], float | None]
    most: float | None = None


def _field(*path: str) -> Callable[[Fields, Fields, float], float | None]:
    return lambda now, before, seconds: _found(now, path)


def _growth(*path: str) -> Callable[[Fields, Fields, float], float | None]:
    def grown(now: Fields, before: Fields, seconds: float) -> float | None:
        new, old = _found(now, path), _found(before, path)
        if new is None or old is None or new < old or not 0 < seconds <= LONGEST_STEP:
            return None
        return (new - old) / seconds

    return grown


def _found(fields: Fields, path: tuple[str, ...]) -> float | None:
    value: Any = fields
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None


SERIES: Final = (
    Series("handled", "messages/s", words.number, _field("rates", "handled")),
    Series("busy", "loop busy", words.share, _field("loop", "busy"), most=1.0),
    Series("cpu", "CPU", words.share, _growth("cpu_seconds")),
    Series("processes", "processes", words.number, _field("processes")),
    Series("queued", "queued", words.number, _field("queued")),
    Series("rss", "memory", words.size, _field("memory", "rss")),
    Series("dead_letters", "dead letters/s", words.number, _growth("dead_letters")),
    Series("crashes", "crashes/s", words.number, _growth("crashes")),
)
"""The series, in the order in which they are shown; a node that does not tell one has no plot of it."""


class History:
    """The series of one node, as far back as is remembered."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._values: dict[str, deque[float | None]] = {series.name: deque() for series in SERIES}
        self._before: Fields = {}

    def note(self, at: float, fields: Fields) -> None:
        """Note the fields of the node at a moment, in seconds."""
        seconds = at - self._times[-1] if self._times else 0.0
        is_same = fields.get("incarnation") == self._before.get("incarnation")
        self._times.append(at)
        for series in SERIES:
            before = self._before if is_same else {}
            self._values[series.name].append(series.of(fields, before, seconds))
        self._before = dict(fields)
        while self._times[0] < at - LENGTH:
            self._times.popleft()
            for values in self._values.values():
                values.popleft()

    def has(self, series: Series) -> bool:
        """Tell whether there is any value of a series."""
        return any(value is not None for value in self._values[series.name])

    def last(self, series: Series) -> float | None:
        """The latest value of a series; None."""
        values = self._values[series.name]
        return values[-1] if values else None

    def latest(self, series: Series, seconds: float) -> list[float]:
        """The values of a series within the last seconds, oldest first."""
        if not self._times:
            return []
        since = self._times[-1] - seconds
        pairs = zip(self._times, self._values[series.name], strict=True)
        return [value for at, value in pairs if at >= since and value is not None]

    def plot(self, series: Series, count: int, seconds: float = LENGTH) -> list[float | None]:
        """The series in `count` equal parts of the last seconds, oldest first: the largest value of each.

        A part between two updates that belong together has the value of the later one.
        """
        found: list[float | None] = [None] * count
        if not self._times or not found:
            return found
        end, step = self._times[-1], seconds / count
        last = None
        for at, value in zip(self._times, self._values[series.name], strict=True):
            place = count - 1 - int((end - at) / step)
            if value is not None and place >= 0:
                if last is not None and at - last[0] <= LONGEST_STEP:
                    for between in range(last[1] + 1, place):
                        found[between] = value
                found[place] = value if found[place] is None else max(value, found[place] or 0)
                last = at, place
        return found
