"""The load of a node: how late its loop is, and how many processes it has.

A node measures it with its heart-beats, which are due at fixed times: a loop that has much to do runs them
late. It tells its load with each beat and each announcement.

Nothing here does input or output, or looks at a clock.
"""

from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["Load", "LoadMeter"]

WEIGHT: Final = 0.2
"""The part of the last measurement in the mean."""

STEP: Final = 0.01
"""Seconds of lateness that make a difference: less is chance."""

LONGEST: Final = 1000.0
"""Seconds of lateness beyond which nothing is told apart; what is no number counts as that, too."""


@attrs.frozen
class Load:
    """The load of a node at one moment.

    Attributes:
        lateness: seconds by which its loop was late, as a mean in which the last few seconds count most.
        processes: how many it has.
    """

    lateness: float = 0.0
    processes: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """The figure that loads are compared by: lateness first, in steps of 10 ms, then processes."""
        lateness = self.lateness if 0 <= self.lateness < LONGEST else LONGEST
        return int(lateness / STEP), self.processes


class LoadMeter:
    """The measurement of this node's load.

    Attributes:
        load: of this moment.
        processes: counts the processes of the node.
    """

    def __init__(self) -> None:
        self.load = Load()
        self.processes: Callable[[], int] = int

    def woken(self, late: float) -> None:
        """Note that the loop ran something so many seconds after it was due."""
        lateness = (1 - WEIGHT) * self.load.lateness + WEIGHT * max(0.0, late)
        self.load = Load(round(lateness, 4), self.processes())
