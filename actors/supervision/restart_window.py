"""Restart intensity: how a supervisor notices that restarting does not help.

Source: stdlib's `supervisor`, "Tuning the Intensity and Period". OTP counts in whole seconds and walks the
list of restarts each time; here the clock is a float and old entries leave at the other end, with the same
inclusive rule.
"""

from __future__ import annotations

from collections import deque

__all__ = ["RestartWindow"]


class RestartWindow:
    """The restart instants of the last `period` seconds: how a supervisor notices that restarting does not
    help.

    Attributes:
        instants: those that counted at the last one, itself included.
    """

    __slots__ = ("instants", "intensity", "period")

    def __init__(self, intensity: int, period: float) -> None:
        self.intensity = intensity
        self.period = period
        self.instants: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Count a restart at `now`; False when that makes more than `intensity` of them within `period`.

        An instant exactly `period` seconds old still counts. Amortised O(1), where OTP walks the list.
        """
        instants = self.instants
        oldest = now - self.period
        while instants and instants[0] < oldest:
            instants.popleft()
        instants.append(now)
        return len(instants) <= self.intensity

    def within(self, now: float) -> int:
        """The number of restarts within the period that ends `now`."""
        oldest = now - self.period
        return sum(1 for instant in self.instants if instant >= oldest)

    def take_back(self) -> None:
        """The restart that was counted last was none.

        If it is no longer there, it has left the window, and so have all before it.
        """
        if self.instants:
            self.instants.pop()
