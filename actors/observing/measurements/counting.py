"""Counting: how many messages each process handles, and how long that takes, while somebody wants to know.

The dispatcher adds the messages of each turn to a dict, if it is given one; that is all that counting costs a
sync actor. Once a second the dict is taken and an empty one put in its place, so that its keys are the
processes that were active, and rates are those of the last second. Calls that their callers run themselves go
through a layer over `DispatchedBody.hand_off` while any node of the program counts.

How long handlers run is sampled, because to read the clock at each turn would cost half a message: see
`sampling`. A process is busy for the share of all samples that have found it running.

The messages of sync and async actors are counted, and the hostcalls of guests. Other processes take their
messages themselves.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.layers import put_on, take_off
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.observing.sampling.sampler import Sampler, Samples, new_sampler
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.timers import Timer

__all__ = ["Counts"]

TICK: Final = 1.0
"""Seconds for which a rate is measured."""

AT_ONCE: Final = 1_024
PAUSE: Final = 0.001
"""How many processes are gone through at once, and seconds until the next ones."""


class _Second:
    """What was counted and sampled in about a second.

    Args:
        taken: the messages of each process.
        seconds: how long it was.
        samples: who was found running.
        gone: the addresses of those that have ended in it, which may have been given to others since.

    Attributes:
        taken: those messages that are not in the rates yet.
        rates: messages a second, of each serial.
        shares: the share of the samples, of each serial.
    """

    def __init__(
        self, taken: dict[Process, int], seconds: float, samples: Samples, gone: Container[int]
    ) -> None:
        self.taken = taken
        self.seconds = seconds
        self.rates: dict[int, float] = {}
        self.shares = {
            process.serial: count / samples.count
            for process, count in samples.by_process.items()
            if process.ended is None
        }
        self._samples = samples
        self._gone = gone
        self._left = iter(list(taken))

    def some(self) -> Iterator[tuple[Process, int]]:
        """Take in the next processes and their messages; fewer than `AT_ONCE` are the last."""
        by_address, gone = self._samples.by_address, self._gone
        for process in itertools.islice(self._left, AT_ONCE):
            count = self.taken.pop(process, 0)  # none of one that has ended meanwhile
            serial = process.serial
            if count:
                self.rates[serial] = count / self.seconds
            found = by_address.get(id(process), 0)
            if found and process.ended is None and id(process) not in gone:
                self.shares[serial] = self.shares.get(serial, 0.0) + found / self._samples.count
            yield process, count


NOTHING: Final = Samples(0, {}, {})


class Counts(Listener):
    """The counts of one node.

    Attributes:
        ended: messages that processes handled which have ended since, by their class.
        listeners: are told, after each second, the serials of those that were active in it, or in the one
            before.
        new_sampler: makes what takes samples of who runs.
    """

    def __init__(self, node: Node, changed: Callable[[bool], None]) -> None:
        self._node = node
        self._changed = changed
        self._users = 0
        self._since = 0.0
        self._timer: Timer | None = None
        self._sampler: Sampler | None = None
        self._to_switch: list[Process] = []
        self.ended: Counter[str] = Counter()
        self.listeners: list[Callable[[Iterable[int]], None]] = []
        self.new_sampler: Callable[[Node], Sampler | None] = new_sampler
        self._clear()

    def _clear(self) -> None:
        self._totals: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        self._gone: set[int] = set()
        self._shown = self._taken = _Second({}, 1.0, NOTHING, ())

    @property
    def is_on(self) -> bool:
        """True while messages are counted."""
        return self._users > 0

    @property
    def is_sampled(self) -> bool:
        """True while it is found out how long handlers run."""
        return self._sampler is not None

    @property
    def total(self) -> int:
        """Messages that all actors together have handled since counting began."""
        now = self._node.dispatcher.counted or {}
        known = self.ended.total() + sum(self._totals.values())
        return known + sum(self._taken.taken.values()) + sum(now.values())

    def begin(self) -> None:
        """Count, for one user more. Not a checkpoint."""
        self._users += 1
        if self._users > 1:
            return
        self._clear()
        self.ended.clear()
        self._since = self._node.timers.now()
        self._node.dispatcher.counted = {}
        _HAND_OFF.begin()
        self._node.hooks.add(self)
        self._switch_hostcalls(True)
        self._sampler = self.new_sampler(self._node)
        self._timer = self._node.timers.call_after(TICK, self._tick)
        self._changed(True)

    def end(self) -> None:
        """One user less; after the last one nothing is counted. Not a checkpoint."""
        if not self._users:  # the node has stopped before
            return
        self._users -= 1
        if self._users:
            return
        assert self._timer is not None
        self._timer.cancel()
        if self._sampler is not None:
            self._sampler.end()
            self._sampler = None
        self._node.hooks.remove(self)
        _HAND_OFF.end()
        self._node.dispatcher.counted = None
        self._switch_hostcalls(False)
        self._clear()
        self._changed(False)

    def close(self) -> None:
        """Count no more, whoever still does: the node has stopped. Not a checkpoint."""
        self._users = min(self._users, 1)
        self.end()

    def _switch_hostcalls(self, on: bool) -> None:
        """Have guests count their hostcalls, or no more: some of the processes now, the others soon."""
        self._to_switch = list(self._node.processes.values())
        self._switch_some(self._to_switch, on)

    def _switch_some(self, left: list[Process], on: bool) -> None:
        if left is not self._to_switch:
            return  # it has been switched again since
        for process in left[-AT_ONCE:]:
            process.body.count_hostcalls(on)
        del left[-AT_ONCE:]
        if left:
            self._node.timers.call_after(PAUSE, self._switch_some, left, on)

    def _tick(self) -> None:
        now = self._node.timers.now()
        taken, self._node.dispatcher.counted = self._node.dispatcher.counted or {}, {}
        gone, self._gone = self._gone, set()
        samples = NOTHING if self._sampler is None else self._sampler.take()
        self._taken = _Second(taken, now - self._since, samples, gone)
        self._since = now
        self._sum_up()

    def _sum_up(self) -> None:
        """Add some of the second to the sums, and show the second when all of it is there."""
        second, summed = self._taken, 0
        for process, count in second.some():
            summed += 1
            if count:
                self._totals[process.serial] = self._totals.get(process.serial, 0) + count
        if summed == AT_ONCE:
            self._timer = self._node.timers.call_after(PAUSE, self._sum_up)
            return
        for serial, share in second.shares.items():
            self._seconds[serial] = self._seconds.get(serial, 0.0) + share * second.seconds
        before, self._shown = self._shown, second
        for listener in self.listeners:
            listener(itertools.chain(before.rates, before.shares, second.rates, second.shares))
        self._timer = self._node.timers.call_after(TICK, self._tick)

    def process_ended(self, process: Process, reason: Reason) -> None:
        counted = self._node.dispatcher.counted
        handled = self._totals.pop(process.serial, 0) + self._taken.taken.pop(process, 0)
        handled += 0 if counted is None else counted.pop(process, 0)
        if handled:
            self.ended[actor_name(process) or ""] += handled
        self._gone.add(id(process))
        self._seconds.pop(process.serial, None)
        for shown in (self._shown.rates, self._shown.shares):
            shown.pop(process.serial, None)

    def handled(self, ref: Ref[Any]) -> int | None:
        """Messages that an actor of this node has handled since counting began; None for what is not an actor
        of this node, or has ended. Not a checkpoint.
        """
        process = process_of(ref)
        if process is None or process.node is not self._node or process.ended is not None:
            return None
        return self._handled(process)

    def of(self, process: Process) -> dict[str, Any]:
        """The columns of a process that are counted, or sampled."""
        return {column: value(self, process) for column, value in VALUES.items()}

    def reader(self, column: str) -> Callable[[Process], Any]:
        """The function that tells one of these columns of a process."""
        return partial(VALUES[column], self)

    def _handled(self, process: Process) -> int | None:
        if not self.is_on or process.body.kind != "actor":
            return None
        now = self._node.dispatcher.counted or {}
        return self._totals.get(process.serial, 0) + self._taken.taken.get(process, 0) + now.get(process, 0)

    def _rate(self, process: Process) -> float | None:
        if not self._users or process.body.kind != "actor":
            return None
        rate = self._shown.rates.get(process.serial)
        return 0.0 if rate is None else round(rate, 3)

    def _busy(self, process: Process) -> float | None:
        if self._sampler is None:
            return None
        share = self._shown.shares.get(process.serial)
        return 0.0 if share is None else round(share, 4)

    def _seconds_of(self, process: Process) -> float | None:
        return round(self._seconds.get(process.serial, 0.0), 3) if self.is_sampled else None


VALUES: Final[dict[str, Callable[[Counts, Process], Any]]] = {
    "handled": Counts._handled,
    "rate": Counts._rate,
    "busy": Counts._busy,
    "seconds": Counts._seconds_of,
}
"""What makes the value of each column that is counted, or sampled."""


def _counting(plain: Callable[..., Any]) -> Callable[..., Any]:
    def hand_off(self: DispatchedBody, handler: Any, args: Any, kwargs: Any) -> Any:
        process = self.process
        counted = process.dispatcher.counted
        if counted is not None:  # this is on the path of each call: a test and an addition
            try:
                counted[process] += 1
            except KeyError:
                counted[process] = 1
        return plain(self, handler, args, kwargs)

    return hand_off


class _HandOff:
    """The layer that counts hand-offs, while any node of the program counts."""

    def __init__(self) -> None:
        self._users = 0

    def begin(self) -> None:
        """Put it on, for the first user. Not a checkpoint."""
        self._users += 1
        if self._users == 1:
            put_on(DispatchedBody, "hand_off", _counting)

    def end(self) -> None:
        """Take it off again, for the last user. Not a checkpoint."""
        self._users -= 1
        if not self._users:
            take_off(DispatchedBody, "hand_off", _counting)


_HAND_OFF: Final = _HandOff()
