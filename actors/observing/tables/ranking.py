"""Rankings: the processes of a node that match, in an order, which is kept while somebody looks.

A window over a hundred thousand processes would cost a walk and a sort at each update. A ranking walks once,
and sorts runs of what it finds, which are merged at the end.
From then on it looks again at those of which something was noted: they have started or ended, have got or
lost a name, have handled messages, or were not at rest when they were seen last. So its cost follows the
activity, not the population. Some things happen without a note: a suspended process is sent a message, say.
So each update also goes on with a round of all processes for a while, and takes up to `SWEPT` of them anyway:
a node with no more is looked at as a whole each time.

Watches that want the same order of the same processes share one ranking.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.observing.tables.order import NOTHING, Key, Order, SortedKeys
from enfilade.actors.observing.tables.searching import reader, search
from enfilade.actors.observing.tables.walker import LOOK, Pace

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.measurements.counting import Counts
    from enfilade.actors.observing.protocol.views import TableView
    from enfilade.actors.observing.tables.walker import Walker
    from enfilade.actors.processes.process import Process

__all__ = ["Ranking", "Rankings"]

SWEPT: Final = 1_024
"""How many processes a round of all goes on by at each update, at least."""

LIVELY: Final = 2_048
"""How many processes that were not at rest are looked at again at each update."""

RUN: Final = 1_024
"""How many keys are sorted at a time, while all processes are looked at for the first time."""

SWEEPING: Final = 0.2
"""The share of an update's budget that goes into the round of all, once there was one."""

ONCE: Final = 0.9
"""The share of an interval within which that is done once, for all watches together."""


class Ranking(Listener):
    """The processes that match, in an order.

    Args:
        node: whose processes they are.
        match: which of them.
        column: what they are sorted by; None for the order in which they have started.
        descending: whether the largest value comes first.
        counts: tells those columns that are counted.

    Attributes:
        order: how they are compared.
        users: how many pictures use it.
        looked: how many processes it has looked at so far.
    """

    def __init__(self, node: Node, match: str, column: str | None, descending: bool, counts: Counts) -> None:
        self._node = node
        self._value_of = None if column is None else reader(column, counts)
        self.order = Order(descending and column is not None)
        self._sorted = SortedKeys(self.order)
        self._keys: dict[int, Key] = {}
        self._noted: dict[int, None] = {}
        self._lively: dict[int, None] = {}
        self._round: list[int] = sorted(node.processes, reverse=True)
        self._run: list[Key] = []
        self._runs: list[list[Key]] = []
        self._filling: Iterator[None] | None = None
        self._is_whole = False
        self._swept_at = -math.inf
        self._is_shown = search(match, counts)
        self._pace = None if self._is_shown is None else Pace()
        self.users = 0
        self.looked = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def _at_a_time(self) -> int:
        """How many processes are looked at between two looks at the clock."""
        return LOOK if self._pace is None else self._pace.count

    # What is noted.

    def note(self, serials: Iterable[int]) -> None:
        """Look at these processes again, because something has happened with them."""
        self._noted.update(dict.fromkeys(serials))

    def process_started(self, process: Process) -> None:
        self._noted[process.serial] = None

    def process_ended(self, process: Process, reason: Reason) -> None:
        if process.serial in self._keys:
            self._noted[process.serial] = None
        else:
            self._noted.pop(process.serial, None)

    def name_registered(self, process: Process, name: str) -> None:
        self._noted[process.serial] = None

    def name_released(self, process: Process, name: str) -> None:
        self._noted[process.serial] = None

    # What is looked at.

    async def refresh(self, walker: Walker, budget: float, interval: float) -> None:
        """Bring it up to date. The walker's turn must be the caller's. A checkpoint, if it takes long."""
        if not self._is_whole:
            await walker.work(self._gather, budget, pace=self._pace)
            await walker.work(self._fill, budget)
            self._is_whole = True
            await self._look_at_noted(walker, budget)
            return
        await self._look_at_noted(walker, budget)
        if not self._round:
            self._round = sorted(self._node.processes, reverse=True)
        await walker.work(partial(self._sweep, max(0, len(self._round) - SWEPT)), budget, pace=self._pace)
        now = trio.current_time()
        if now - self._swept_at >= interval * ONCE:  # if not, it was for another watch
            self._swept_at = now
            await walker.work(self._sweep, budget, budget * interval * SWEEPING, self._pace)

    def _gather(self) -> bool:
        """Make the keys of some processes of the first round; tell whether there are more."""
        some = self._round[-self._at_a_time :]
        del self._round[-self._at_a_time :]
        self.looked += len(some)
        processes, keys, run, lively = self._node.processes, self._keys, self._run, self._lively
        is_shown, value_of, key_of = self._is_shown, self._value_of, self.order.key
        for serial in reversed(some):  # as `_key` does, which would cost as much again
            process = processes.get(serial)
            if process is None or process.ended is not None:
                continue
            if (not process.idle or process.queue) and len(lively) < LIVELY:
                lively[serial] = None
            if is_shown is None or is_shown(process):
                keys[serial] = key = (
                    (NOTHING, 0, serial) if value_of is None else key_of(value_of(process), serial)
                )
                run.append(key)
        if run and (len(run) >= RUN or not self._round):
            run.sort()
            self._runs.append(run)
            self._run = []
        return bool(self._round)

    def _fill(self) -> bool:
        """Put some of the keys in their places; tell whether there are more. What has happened with their
        processes meanwhile was noted.
        """
        if self._filling is None:
            self._filling, self._runs = self._sorted.fill(self._runs), []
        return next(self._filling, self._filling) is None

    async def _look_at_noted(self, walker: Walker, budget: float) -> None:
        """Look at those that something was noted of; what is noted meanwhile is for the next time."""
        noted, self._noted = self._noted, {}
        lively, self._lively = self._lively, {}
        active = list(self._node.dispatcher.counted or ())
        left = itertools.chain(noted, lively, (process.serial for process in active))
        try:
            await walker.work(partial(self._look_at_some, left), budget, pace=self._pace)
        finally:
            self._noted.update(dict.fromkeys(left))  # those that a cancellation has kept it from

    def _look_at_some(self, left: Iterator[int]) -> bool:
        looked = 0
        for serial in itertools.islice(left, self._at_a_time):
            self._look(serial)
            looked += 1
        return looked == self._at_a_time

    def _sweep(self, least: int = 0) -> bool:
        """Look at some processes of the round; tell whether more than `least` of it are left."""
        left = self._round
        for _ in range(min(self._at_a_time, len(left) - least)):
            self._look(left.pop())
        return len(left) > least

    def _look(self, serial: int) -> None:
        """Put a process in its place, or take it out."""
        self.looked += 1
        process = self._node.processes.get(serial)
        key = None if process is None or process.ended is not None else self._key(process)
        before = self._keys.get(serial)
        if key == before:
            return
        if before is not None:
            self._sorted.remove(before)
        if key is None:
            del self._keys[serial]
        else:
            self._keys[serial] = key
            self._sorted.add(key)

    def _key(self, process: Process) -> Key | None:
        serial = process.serial
        if (process.queue or not process.idle) and len(self._lively) < LIVELY:
            self._lively[serial] = None
        if self._is_shown is not None and not self._is_shown(process):
            return None
        value_of = self._value_of
        return self.order.key(None if value_of is None else value_of(process), serial)

    # What is shown.

    def keys(self, first: int, last: int) -> list[Key]:
        """The keys from place `first` up to place `last`, which is not included. Their places are serials."""
        return self._sorted.between(first, last)


class Roll:
    """The processes of a node in the order in which they have started. Nothing is kept of them.

    Attributes:
        order: see `Ranking`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._serials: list[int] = []
        self.order = Order(False)

    def __len__(self) -> int:
        return len(self._node.processes)

    async def refresh(self, walker: Walker, budget: float, interval: float) -> None:
        """See `Ranking.refresh`."""
        self._serials = sorted(self._node.processes)

    def keys(self, first: int, last: int) -> list[Key]:
        """See `Ranking.keys`."""
        return [self.order.key(None, serial) for serial in self._serials[first:last]]


class Rankings:
    """The rankings that the watches of a node want, each once.

    Attributes:
        rankings: those that there are, by what is wanted.
    """

    def __init__(self, node: Node, counts: Counts) -> None:
        self._node = node
        self._counts = counts
        self.rankings: dict[tuple[str, str | None, bool], Ranking] = {}

    def begin(self, view: TableView) -> Ranking | Roll:
        """The ranking for a view, for one picture more. Not a checkpoint."""
        wanted = self._wanted(view)
        if wanted == EVERYBODY:
            return Roll(self._node)
        ranking = self.rankings.get(wanted)
        if ranking is None:
            ranking = self.rankings[wanted] = Ranking(self._node, *wanted, self._counts)
            self._node.hooks.add(ranking)
            self._counts.listeners.append(ranking.note)
        ranking.users += 1
        return ranking

    def end(self, view: TableView) -> None:
        """One picture less; after the last one nothing is kept of it. Not a checkpoint."""
        wanted = self._wanted(view)
        ranking = self.rankings.get(wanted)
        if ranking is None:
            return
        ranking.users -= 1
        if not ranking.users:
            del self.rankings[wanted]
            self._node.hooks.remove(ranking)
            self._counts.listeners.remove(ranking.note)

    def _wanted(self, view: TableView) -> tuple[str, str | None, bool]:
        return view.match.strip(), view.sort, view.descending and view.sort is not None


EVERYBODY: Final = ("", None, False)
"""What is wanted of a ranking that needs none."""
