"""The walk: how a node with very many processes is looked at without holding anybody up.

One walk at a time goes through a node, whoever asked for it. It works for a millisecond, gives the loop back,
and rests until it has used no more than its budget of the time. What that takes longer than an interval makes
the interval longer.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import attrs
import trio

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.observing.protocol.matching import Match
from enfilade.actors.observing.tables.order import Key, Order
from enfilade.actors.observing.tables.rows import row_of_ended

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.protocol.views import TableView
    from enfilade.actors.processes.process import Process

__all__ = ["LOOK", "Grave", "Pace", "Table", "Walker", "Window"]

T = TypeVar("T")

STEP: Final = 0.001
"""Seconds of a step."""

LOOK: Final = 64
"""After how many rows the walk looks at the clock."""

MOST: Final = 16
"""How many things of unknown cost are done between two looks at the clock: the next ones may be dear."""

RUN: Final = 1_024
"""How many keys are sorted at a time."""

CREDIT: Final = 2
"""How many steps may follow one another for a rest that there was anyway: between two updates, say."""

GRAVES: Final = 1_024
"""How many processes that have ended are shown for a while."""


@attrs.frozen
class Window:
    """A window of a table: the number of rows in all, of those that match, and the rows of the window."""

    total: int
    matched: int
    rows: list[dict[str, Any]]


class Table(Protocol):
    """A table, whose items are its rows."""

    def items(self) -> Iterator[dict[str, Any] | None]:
        """The rows, in the order of the table; None for a step without one."""


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


class Pace:
    """The number of things of unknown cost that are done between two looks at the clock: more, if it is low.

    Attributes:
        count: the number.
    """

    def __init__(self) -> None:
        self.count = 1

    def took(self, seconds: float) -> None:
        """Note the time that so many things have taken."""
        if seconds > STEP / 4:
            self.count = max(1, self.count // 2)
        elif seconds < STEP / 8 and self.count < MOST:
            self.count *= 2


class Walker:
    """The walker of one node.

    Attributes:
        turn: held by whoever it works for.
        clock: what it measures its steps by, in seconds.
        processor_time: what it measures by what is no step, in seconds.
        seconds: how long it has worked so far.
    """

    def __init__(self, node: Node) -> None:
        self.clock = node.runtime.monotonic
        self.processor_time = node.runtime.processor_time
        self._since_rest = 0.0
        self._paid_until = -math.inf
        self.turn = trio.Lock()
        self.seconds = 0.0

    async def each(self, items: Iterable[T], budget: float) -> Any:
        """Iterate over `items` in steps, with rests between them. A checkpoint after each step."""
        began = self.clock()
        for number, item in enumerate(items):
            yield item
            if number % LOOK == LOOK - 1:
                now = self.clock()
                if self.worked(now - began) >= STEP:
                    await self._rest(budget)
                    now = self.clock()
                began = now
        self.worked(self.clock() - began)

    async def work(
        self,
        some: Callable[[], bool],
        budget: float,
        limit: float = math.inf,
        pace: Pace | None = None,
    ) -> None:
        """Call `some`, which does a little, until it returns false, in steps with rests between them. A
        checkpoint after each step.

        Args:
            some: does what takes much less than a step.
            budget: the share of the time that is worked.
            limit: seconds of work after which it is left at that.
            pace: how much `some` does, if that can be more or less.
        """
        until = self.seconds + limit
        began = self.clock()
        is_going_on = True
        while is_going_on and self.seconds < until:
            is_going_on = some()
            now = self.clock()
            if pace is not None:
                pace.took(now - began)
            if self.worked(now - began) >= STEP:
                await self._rest(budget)
                now = self.clock()
            began = now

    def worked(self, seconds: float) -> float:
        """Note work; return how much there was since the last rest, whoever it was for."""
        self.seconds += seconds
        self._since_rest += seconds
        return self._since_rest

    async def _rest(self, budget: float) -> None:
        """Rest for the work since the last rest, after the rests that others have begun: all work together is
        within the largest of the budgets. The time in which nobody had work just before it is a rest, too.
        """
        worked, self._since_rest = self._since_rest, 0.0
        now = trio.current_time()
        began = max(self._paid_until, now - worked - CREDIT * STEP / budget)
        self._paid_until = began + worked / budget
        await trio.sleep(max(0.0, self._paid_until - now))

    async def window(self, table: Table, view: TableView, budget: float) -> Window:
        """The window of a table that `view` asks for: a walk through all of it."""
        async with self.turn:
            return await self._window(table, view, budget)

    async def _window(self, table: Table, view: TableView, budget: float) -> Window:
        match = Match(view.match)
        column = view.sort
        order = Order(view.descending and column is not None)
        total = matched = 0
        runs: list[list[_Found]] = [[]]
        async for item in self.each(table.items(), budget):
            if item is None:
                continue
            total += 1
            if not (match.is_open or match(item.get)):
                continue
            matched += 1
            key = order.key(None if column is None else item.get(column), matched)
            runs[-1].append(_Found(key, item))
            if len(runs[-1]) == RUN:
                runs[-1].sort(key=_key, reverse=order.descending)
                runs.append([])
        runs[-1].sort(key=_key, reverse=order.descending)
        merged = heapq.merge(*runs, key=_key, reverse=order.descending)
        chosen: list[Any] = []
        async for number, found in self.each(_first(merged, view.first + view.count), budget):
            if number >= view.first:
                chosen.append(found.item)
        return Window(total, matched, chosen)


class _Found(NamedTuple):
    """A row that matches, and its key."""

    key: Key
    item: Any


def _key(found: _Found) -> Key:
    return found.key


def _first(items: Iterable[T], count: int) -> Iterator[tuple[int, T]]:
    for place, item in enumerate(items):
        if place >= count:
            return
        yield place, item
