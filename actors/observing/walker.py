"""The walk: how a node with very many processes is looked at without holding anybody up.

One walk at a time goes through a node, whoever asked for it. It works for a millisecond, gives the loop back,
and rests until it has used no more than its budget of the time. What that takes longer than an interval makes
the interval longer.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import trio

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.matching import Match
from enfilade.actors.observing.rows import key_of, row_of, row_of_ended

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.views import TableView
    from enfilade.actors.processes.process import Process

__all__ = ["Grave", "Walker", "Window"]

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

    async def window(self, view: TableView, grave: Grave, budget: float) -> Window:
        """The window of the table of processes that `view` asks for."""
        async with self._turn:
            return await self._window(view, grave, budget)

    async def _window(self, view: TableView, grave: Grave, budget: float) -> Window:
        match = Match(view.match)
        ended = grave.since(self._node.timers.now() - view.grave) if view.grave else []
        buried = {row["serial"]: row for row in ended if match.is_open or match(row)}
        processes = list(self._node.processes.values())
        total, matched = len(processes) + len(ended), len(buried)
        runs: list[list[tuple[Any, int]]] = [[]]
        column = view.sort or "serial"
        is_sorted = view.sort is not None
        sign = -1 if is_sorted and view.descending else 1
        async for process in self.each(processes, budget):
            if process.ended is not None or not (match.is_open or match(row_of(process))):
                continue
            matched += 1
            runs[-1].append((_order(key_of(process, column), sign), process.serial))
            if len(runs[-1]) == RUN:
                runs[-1].sort()
                runs.append([])
        runs[-1].sort()
        runs.append(sorted((_order(row.get(column), sign), serial) for serial, row in buried.items()))
        last = view.first + view.count
        chosen: list[int] = []
        async for place, (_, serial) in self.each(_first(heapq.merge(*runs), last), budget):
            if place >= view.first:
                chosen.append(serial)
        rows = []
        for serial in chosen:
            row = buried.get(serial)
            if row is None:
                process = self._node.processes.get(serial)
                if process is None:
                    continue
                row = row_of(process)
            rows.append(row)
        return Window(total, matched, rows)

    async def sums(self, budget: float) -> dict[str, int]:
        """The sums over all processes."""
        sums = dict.fromkeys(("queued", "links", "monitors", "watchers"), 0)
        async with self._turn:
            async for process in self.each(list(self._node.processes.values()), budget):
                sums["queued"] += len(process.queue)
                sums["links"] += len(process.links or ())
                sums["monitors"] += len(process.monitors or ())
                sums["watchers"] += len(process.watchers or ())
        return sums


def _order(key: Any, sign: int) -> tuple[int, Any]:
    """A key by which values of all kinds can be sorted: numbers first, then texts, then nothing."""
    if key is None or isinstance(key, dict):
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
