"""The passage of time in a world: so many seconds, until something holds, until nothing is under way."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Hashable
from typing import Any, Final

import trio

from enfilade.actors.simulation.machine.arguments import at_least_0, checked_predicate
from enfilade.actors.simulation.machine.clock import SimulationClock
from enfilade.transport.simulated.network import Network

__all__ = ["SETTLED", "Passage"]

SETTLED: Final = 1.0
"""Seconds in which nothing is due, when a world has settled."""


class Passage:
    """The part of a `World` that lets time pass."""

    clock: SimulationClock
    network: Network
    now: Callable[[], float]
    examine: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self._ends: dict[Hashable, float] = {}

    def call_at(self, when: float, run: Callable[[], Any]) -> None:
        """Call `run()` at the time `when` of the world, between two steps."""
        self.clock.call_at(when, run)

    def last(self, what: Hashable, seconds: float, end: Callable[[], Any]) -> None:
        """Let something that has begun last for so many seconds; of several times for the same the longest
        counts.

        Args:
            what: names it.
            seconds: how long from now on; infinite until `forget` is called.
            end: ends it.
        """
        until = self.now() + seconds
        self._ends[what] = max(until, self._ends.get(what, until))

        def over() -> None:
            if self._ends.get(what, math.inf) <= self.now():
                del self._ends[what]
                end()

        if until < math.inf:
            self.call_at(until, over)

    def forget(self, what: Hashable) -> None:
        """Let no span end something any more: it has ended."""
        self._ends.pop(what, None)

    async def run(self, seconds: float) -> None:
        """Let so many virtual seconds pass."""
        await trio.sleep(seconds)
        self.examine()

    async def run_until(
        self, predicate: Callable[[], Any], within: float, every: float = 0.01, name: str = ""
    ) -> None:
        """Let time pass until a predicate holds.

        Args:
            predicate: a function without arguments.
            within: virtual seconds that it has at most.
            every: virtual seconds between two questions, more than 0.
            name: what the failure is called; that of the function by default.

        Raises:
            AssertionError: it does not hold in time.
            TypeError: it cannot be called, or is an async function.
            ValueError: one of the times is less than it must be, or NaN.
        """
        checked_predicate(predicate)
        at_least_0(within)
        if not every > 0:
            raise ValueError(f"expected more than 0 seconds between two questions, got {every!r}")
        end = self.now() + within
        while not predicate():
            if self.now() >= end:
                raise AssertionError(f"{name or _shown(predicate)} did not hold within {within:g} s")
            await trio.sleep(min(every, end - self.now()))

    async def settle(self, within: float = 60.0) -> None:
        """Let time pass until nothing is under way and nothing is due within a second.

        Raises:
            AssertionError: that is not so within so many seconds: servers of a mesh, say, never rest.
        """
        gc.collect()
        await self.run(SETTLED / 10)  # in which everything begins that is about to
        await self.run_until(self._rests, within, SETTLED / 10, "rest")

    def _rests(self) -> bool:
        return not self.network.under_way and not self.clock.has_event_within(SETTLED)


def _shown(predicate: Callable[..., Any]) -> str:
    return getattr(predicate, "__qualname__", repr(predicate))
