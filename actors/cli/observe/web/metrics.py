"""`/metrics` of the page's server: the metrics of the nodes, measured while somebody asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from enfilade.actors.cli.observe.observed import Look, Observed
from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.gate import HEADERS
from enfilade.actors.cli.observe.web.http import Answer
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.scrapes import AT_A_TIME, text_of
from enfilade.actors.observing.protocol.views import MetricsView
from enfilade.actors.observing.telemetry.metrics import Readings
from enfilade.actors.observing.watches.client import State

__all__ = ["PageMetrics"]

KEPT: Final = 120.0
"""Seconds after the last request until the nodes are measured no more: those who ask do it every minute."""

PATIENCE: Final = 3.0
"""Seconds that the first readings of a node are waited for; without them it is left out."""

EVERY: Final = 5.0
"""Seconds between two readings."""


class PageMetrics:
    """The metrics of the nodes that pages look at.

    Args:
        audience: the nodes.
        now: the clock, in seconds.
    """

    def __init__(self, audience: Audience, now: Callable[[], float]) -> None:
        self._audience = audience
        self._now = now
        self._until = -math.inf
        self._readers: list[_Reader] = []
        self._limit = trio.CapacityLimiter(AT_A_TIME)

    async def answer(self, accept: str) -> Answer:
        """The answer to who asks. A checkpoint.

        Args:
            accept: the value of the header field Accept.
        """
        async with self._limit:
            self._until = self._now() + KEPT
            known = {reader.observed for reader in self._readers}
            found = [sight.observed for sight in self._audience.sights if sight.observed not in known]
            self._readers += map(_Reader, found)
            with trio.move_on_after(PATIENCE):
                for reader in self._readers:
                    if reader.observed.is_up:
                        await reader.settled.wait()
            try:
                kind, text = text_of(self._readers, accept)
            except Refusal as refusal:
                return Answer(501, f"{refusal}\n".encode(), headers=HEADERS)
            return Answer(200, text, kind, HEADERS)

    def rest(self) -> None:
        """Measure no more, if nobody has asked for a while. Not a checkpoint."""
        if self._now() > self._until:
            for reader in self._readers:
                reader.close()
            self._readers = []

    async def run(self) -> None:
        """Rest whenever nobody asks any more, until cancelled. A checkpoint."""
        while True:
            await trio.sleep(KEPT / 10)
            self.rest()


class _Reader:
    """The last readings of one node.

    Attributes:
        observed: the node.
        settled: set once there are readings.
    """

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.settled = trio.Event()
        self._readings: Readings | None = None
        self._look = observed.look(Look(MetricsView(True), self._take, interval=EVERY))

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.observed.name

    @property
    def readings(self) -> Readings | None:
        """The last readings; None while the node is not connected."""
        return self._readings if self.observed.is_up else None

    async def refresh(self) -> None:
        """Nothing: it reads all the time."""

    async def _take(self, state: State) -> None:
        self._readings = state.fields["readings"]
        self.settled.set()

    def close(self) -> None:
        self.observed.drop(self._look)
