"""A number of events a second, which may be exceeded once and is made up for by a pause."""

from __future__ import annotations

from enfilade.hostcalls.resources.clock import Clock

_SHORTEST = 0.001
"""Seconds that a pause has at least: shorter ones cost more than they are worth."""


class Rate:
    """A number of events a second, counted when they have happened: `left` falls below 0, and who caused that
    waits until it is 0 again. A second's worth may happen at once.

    Args:
        limit: events a second.
        clock: the time that passes.
        now: its time now.

    Attributes:
        left: events that may happen before a pause.
    """

    __slots__ = ("_clock", "_limit", "_since", "left")

    def __init__(self, limit: float, clock: Clock, now: float) -> None:
        self._limit = limit
        self._clock = clock
        self._since = now
        self.left = limit

    def pause(self) -> float:
        """Seconds to wait before the next event; 0 if there is no need to."""
        if self.left >= 0:
            return 0.0
        now = self._clock.monotonic()
        self.left = min(self._limit, self.left + (now - self._since) * self._limit)
        self._since = now
        return 0.0 if self.left >= 0 else max(_SHORTEST, -self.left / self._limit)
