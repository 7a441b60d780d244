"""The vital signs of a node: how busy its loop is, how late its timers are, and what it uses.

They are taken while somebody watches the node itself, and by an instrument that is asked once in a pass of
the loop, and not at every step.
"""

from __future__ import annotations

import functools
import gc
import math
import os
import platform
import threading
import time
import tracemalloc
from collections.abc import Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import trio

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.transport.policy import OBSERVE

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.timers import Timer

__all__ = ["Look", "Rates", "Vitals", "descriptors", "program_shown", "resident"]

LAG: Final = 0.01
"""Seconds of the timer whose lateness is measured."""

ROUND: Final = 5.0
"""Seconds between two measurements of how long a node link takes."""

K = TypeVar("K", bound=Hashable)


class Rates:
    """The growth of totals since they were seen last: no rate is older than the interval."""

    def __init__(self) -> None:
        self._before: dict[Any, float] = {}
        self._at = math.nan

    def of(self, totals: Mapping[K, float], now: float) -> dict[K, float | None]:
        """The growth of each total a second since the last time; None for one that is new."""
        seconds = now - self._at
        before, self._before, self._at = self._before, dict(totals), now
        return {
            name: round(max(0.0, total - before[name]) / seconds, 3)
            if name in before and seconds > 0
            else None
            for name, total in totals.items()
        }


@attrs.define(eq=False)
class Look:
    """The view of one observer: when it was told last, and what has gathered for it since.

    Attributes:
        since: when it was told last.
        busy: seconds for which the loop was not waiting.
        longest: the longest time between two waits of the loop.
        lag: how late a timer was at most.
        gc_pause: the longest collection of circles.
    """

    since: float
    busy: float = 0.0
    longest: float = 0.0
    lag: float = 0.0
    gc_pause: float = 0.0


class Vitals(Listener, trio.abc.Instrument):
    """The vital signs of one node, and of the loop that it runs in.

    Attributes:
        spawned, ended, restarted: processes that have started, ended, and started anew, while it listened.
        round_trips: seconds that each peer took to answer, last.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clock = node.runtime.monotonic
        self.spawned = self.ended = self.restarted = 0
        self.round_trips: dict[str, float] = {}
        self._looks: list[Look] = []
        self._woke: float | None = None
        self._gc_began = 0.0
        self._timers: list[Timer] = []

    # The length of it.

    def begin(self) -> Look:
        """Take signs from now on, for one observer more. Not a checkpoint."""
        look = Look(self._clock())
        self._looks.append(look)
        if len(self._looks) == 1:
            self._woke = None
            self._node.hooks.add(self)
            trio.lowlevel.add_instrument(self)
            gc.callbacks.append(self._collecting)
            self._timers = [self._after(LAG, self._late), self._after(0.0, self._round)]
        return look

    def end(self, look: Look) -> None:
        """One observer less; after the last one no signs are taken. Not a checkpoint."""
        self._looks.remove(look)
        if not self._looks:
            for timer in self._timers:
                timer.cancel()
            self._node.hooks.remove(self)
            trio.lowlevel.remove_instrument(self)
            gc.callbacks.remove(self._collecting)
            self.round_trips.clear()

    def _after(self, seconds: float, fn: Any) -> Timer:
        return self._node.timers.call_after(seconds, fn, self._node.timers.now() + seconds)

    # What happens.

    def process_started(self, process: Process) -> None:
        self.spawned += 1

    def process_ended(self, process: Process, reason: Reason) -> None:
        self.ended += 1

    def child_restarted(
        self,
        supervisor: Process,
        child_id: Hashable,
        old: Ref[Any],
        ref: Ref[Any],
        reason: Reason,
        in_period: int,
    ) -> None:
        self.restarted += 1

    def after_io_wait(self, timeout: float) -> None:
        """See `trio.abc.Instrument`."""
        self._woke = self._clock()

    def before_io_wait(self, timeout: float) -> None:
        """See `trio.abc.Instrument`."""
        if self._woke is not None:
            seconds = self._clock() - self._woke
            for look in self._looks:
                look.busy += seconds
                look.longest = max(look.longest, seconds)

    def _late(self, due: float) -> None:
        late = self._node.timers.now() - due
        for look in self._looks:
            look.lag = max(look.lag, late)
        self._timers[0] = self._after(LAG, self._late)

    def _round(self, due: float) -> None:
        """Ask each peer something that it knows, and see how long that takes."""
        self._timers[1] = self._after(ROUND, self._round)
        began = self._clock()
        for peer in self._node.peers:
            try:
                self._node.distribution.ask_whereis(peer, OBSERVE, partial(self._answered, peer, began))
            except NotConnected:
                continue

    def _answered(self, peer: str, began: float, _answer: object) -> None:
        if self._looks:
            self.round_trips[peer] = self._clock() - began

    def _collecting(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._gc_began = self._clock()
        else:
            seconds = self._clock() - self._gc_began
            for look in self._looks:
                look.gc_pause = max(look.gc_pause, seconds)

    # What is told.

    def told(self, look: Look) -> dict[str, Any]:
        """The loop and the memory, since the last time that this was asked for that observer: the share of
        the time for which the loop was not waiting, the longest time between two waits, how late a timer was;
        memory that is resident, what Python has allocated where that is traced, and what the collector of
        circles has done.
        """
        now = self._clock()
        seconds = now - look.since
        shown = {
            "loop": {
                "busy": round(min(1.0, look.busy / seconds), 4) if seconds > 0 else 0.0,
                "longest_step": round(look.longest, 6),
                "lag": round(look.lag, 6),
            },
            "memory": {
                "rss": resident(),
                "python": tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else None,
                "gc_counts": [generation["collections"] for generation in gc.get_stats()],
                "gc_pause": round(look.gc_pause, 6),
            },
        }
        look.since, look.busy, look.longest, look.lag, look.gc_pause = now, 0.0, 0.0, 0.0, 0.0
        return shown


def program_shown() -> dict[str, Any]:
    """The program that a node runs in, and what it uses."""
    return {
        **_made_of(),
        "descriptors": descriptors(),
        "threads": threading.active_count(),
        "cpu_seconds": round(time.process_time(), 3),
    }


@functools.cache
def _made_of() -> dict[str, Any]:
    from importlib import metadata  # late: it takes a thirtieth of the time of a short command

    return {
        "version": metadata.version("enfilade"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


@attempt(None)
def resident() -> int | None:
    """The resident memory of this OS process in bytes; None where that cannot be read."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@attempt(None)
def descriptors() -> int | None:
    """The number of open descriptors; None where that cannot be read."""
    return len(os.listdir("/proc/self/fd"))
