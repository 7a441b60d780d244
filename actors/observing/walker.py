"""The walk: how a node with very many processes is looked at without holding anybody up.

One walk at a time goes through a node, whoever asked for it. It works for a millisecond, gives the loop back,
and rests until it has used no more than its budget of the time. What that takes longer than an interval makes
the interval longer.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import attrs
import trio

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.matching import Match
from enfilade.actors.observing.node_numbers import SUMMED, add_to_sums
from enfilade.actors.observing.rows import row_of_ended

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.views import TableView
    from enfilade.actors.processes.process import Process

__all__ = ["Grave", "Table", "Walker", "Window"]

T = TypeVar("T")

STEP: Final = 0.001
"""Seconds of a step."""

LOOK: Final = 64
"""After how many rows the walk looks at the clock."""

RUN: Final = 1_024
"""How many keys are sorted at a time."""

GRAVES: Final = 1_024
"""How many processes that have ended are shown for a while."""


@attrs.frozen
class Window:
    """A window of a table: the number of rows in all, of those that match, and the rows of the window."""

    total: int
    matched: int
    rows: list[dict[str, Any]]


class Table(Protocol):
    """A table.

    Attributes:
        key: the column that tells its rows apart.
    """

    key: str

    def items(self) -> Iterator[Any]:
        """The items, in the order of the table; None for a step without one."""

    def place(self, item: Any, count: int) -> int:
        """The place of an item among all; `count` is its place among those that match."""

    def value(self, item: Any, column: str) -> Any:
        """The value of a column, without making the whole row where that can be avoided."""

    def row(self, item: Any) -> dict[str, Any] | None:
        """The row of an item; None when it is gone."""


class Grave(Listener):
    """The processes that have ended a short while ago.

    Attributes:
        rows: when each ended, and its row, oldest first.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.rows: deque[tuple[float, dict[str, Any], Reason]] = deque(maxlen=GRAVES)

    def process_ended(self, process: Process, reason: Reason) -> None:
        self.rows.append((self._now(), row_of_ended(process, reason), reason))

    def since(self, moment: float) -> list[dict[str, Any]]:
        """The rows of the processes that have ended after that moment, oldest first."""
        return [row for at, row, _ in self.rows if at >= moment]


class Walker:
    """The walker of one node.

    Attributes:
        seconds: how long it has worked so far.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._turn = trio.Lock()
        self.seconds = 0.0

    async def each(self, items: Iterable[T], budget: float) -> Any:
        """Iterate over `items` in steps, with rests between them. A checkpoint after each step."""
        clock = self._node.runtime.monotonic
        began = clock()
        for number, item in enumerate(items):
            yield item
            if number % LOOK == LOOK - 1 and (used := clock() - began) >= STEP:
                self.seconds += used
                await trio.sleep(used * (1 - budget) / budget)
                began = clock()
        self.seconds += clock() - began

    async def window(
        self, table: Table, view: TableView, ended: list[dict[str, Any]], budget: float
    ) -> Window:
        """The window of a table that `view` asks for; `ended` are rows that it has beside its own."""
        async with self._turn:
            return await self._window(table, view, ended, budget)

    async def _window(
        self, table: Table, view: TableView, ended: list[dict[str, Any]], budget: float
    ) -> Window:
        match = Match(view.match)
        column = view.sort
        sign = -1 if column is not None and view.descending else 1
        buried = [row for row in ended if match.is_open or match(row)]
        total, matched = len(ended), len(buried)
        runs: list[list[_Found]] = [[]]
        async for item in self.each(table.items(), budget):
            if item is None:
                continue
            total += 1
            row = None if match.is_open else table.row(item)
            if not (match.is_open or (row is not None and match(row))):
                continue
            matched += 1
            key = NO_KEY if column is None else _order(table.value(item, column), sign)
            runs[-1].append(_Found(key, table.place(item, matched), item, None))
            if len(runs[-1]) == RUN:
                runs[-1].sort(key=_place)
                runs.append([])
        runs[-1].sort(key=_place)
        graves = [
            _Found(NO_KEY if column is None else _order(row.get(column), sign), row[table.key], None, row)
            for row in buried
        ]
        merged = heapq.merge(*runs, sorted(graves, key=_place), key=_place)
        chosen: list[_Found] = []
        async for number, found in self.each(_first(merged, view.first + view.count), budget):
            if number >= view.first:
                chosen.append(found)
        rows = [table.row(found.item) if found.row is None else found.row for found in chosen]
        return Window(total, matched, [row for row in rows if row is not None])

    async def sums(self, budget: float) -> dict[str, int]:
        """The sums over all processes."""
        sums = dict.fromkeys(SUMMED, 0)
        async with self._turn:
            async for process in self.each(list(self._node.processes.values()), budget):
                add_to_sums(sums, process)
        return sums


NO_KEY: Final = (0, 0)


class _Found(NamedTuple):
    """A row that matches: the key that it is sorted by, its place among equals, and what it is made of."""

    key: tuple[int, Any]
    place: int
    item: Any
    row: dict[str, Any] | None


def _place(found: _Found) -> tuple[tuple[int, Any], int]:
    return found[0], found[1]


def _order(key: Any, sign: int) -> tuple[int, Any]:
    """A key by which values of all kinds can be sorted: numbers first, then texts, then nothing."""
    if key is None or isinstance(key, dict | list):
        return (2, 0)
    if isinstance(key, int | float):
        return (0, sign * key)
    text = key if isinstance(key, str) else safe_str(key)
    return (1, _Backwards(text) if sign < 0 else text)


class _Backwards(str):
    """A text that is sorted in the other direction."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def _first(items: Iterable[T], count: int) -> Iterator[tuple[int, T]]:
    for place, item in enumerate(items):
        if place >= count:
            return
        yield place, item
