"""Standstills of a world: nothing in it can ever run again, or one of its instants never ends."""

import math
from typing import Final

__all__ = ["MOST_STEPS", "Instant", "Stuck"]

MOST_STEPS: Final = 1_000_000
"""Steps within one instant after which it is taken for one that never ends."""


class Stuck(RuntimeError):
    """Nothing in the world can ever run again, because each task waits for another; or its time stands still,
    because a task goes on at once again and again.
    """


class Instant:
    """The instant at which a world is.

    Args:
        most: steps that it may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = -math.inf
        self._begun = 0

    def never_ends(self, now: float, steps: int) -> bool:
        """Tell whether too much has happened without that time passes. To be asked now and then.

        Args:
            now: the world's time.
            steps: of the world, so far.
        """
        if now != self._now:
            self._now, self._begun = now, steps
        return steps - self._begun >= self._most
