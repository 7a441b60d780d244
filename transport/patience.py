"""Holding the loop for a peer that is about to speak.

When a peer speaks again within some microseconds, it costs less to wait for it on the spot than to go round
the loop: no system calls that announce the wait, no thread that must be woken to wake the loop, no task
switches. But what holds the loop keeps everybody else from having a turn. So that is done only while no task
waits for its turn, for a moment each, not for longer than a slice without going round the loop, and seldom
while nothing comes of it.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["Patience"]

SLICE: Final = 0.002
"""Seconds without going round the loop."""

LONGEST_REST: Final = 1024
"""Opportunities to let pass at most, after the peer stayed silent again and again."""

COMPANY: Final = 64
"""Opportunities to let pass when others wait for the same peer, too."""


class Patience:
    """Learns for one node link when it is worth holding the loop.

    Args:
        clock: seconds that never go back.
        tasks_runnable: tells how many tasks wait for their turn.
    """

    def __init__(self, clock: Callable[[], float], tasks_runnable: Callable[[], int]) -> None:
        self._clock = clock
        self._tasks_runnable = tasks_runnable
        self._rest = 0
        self._penalty = 1
        self._since = self._last = 0.0

    def is_worth_it(self) -> bool:
        """Decide whether to hold the loop now."""
        if self._rest:
            self._rest -= 1
            return False
        now = self._clock()
        if now - self._last > SLICE:
            self._since = now
        self._last = now
        if now - self._since > SLICE:
            return False
        return self._tasks_runnable() == 0

    def learn(self, came: bool) -> None:
        """Learn whether the peer spoke while the loop was held."""
        if came:
            self._penalty = max(1, self._penalty // 2)
        else:
            self._rest = self._penalty = min(LONGEST_REST, 2 * self._penalty)

    def have_company(self) -> None:
        """Note that several wait for the peer: what comes is better taken in together."""
        self._rest = max(self._rest, COMPANY)

    def went_round(self) -> None:
        """Note that the loop has been round."""
        self._last = 0.0
