"""The tape of a simulation: what chance has decided in single cases, so that a run can be played with fewer.

A case is named by its place, which goes on meaning the same when something else changes: the number of a
hand-over, or of a question. Each is drawn in any case, so that those that are left out move no other draw.
"""

from collections.abc import Hashable
from typing import TypeAlias

from enfilade.transport.simulated.ways import Draws

__all__ = ["Place", "Tape"]

Place: TypeAlias = Hashable
"""Names one case."""


class Tape:
    """The cases in which something came true, or must.

    Attributes:
        happened: the places at which something came true, in order, with the times.
        is_silent: whether nothing comes true but what is prescribed.
        prescribed: places at which something comes true whatever is drawn.
    """

    def __init__(self) -> None:
        self.happened: dict[Place, float] = {}
        self.is_silent = False
        self.prescribed: set[Place] = set()

    def decides(self, place: Place, share: float, draws: Draws, now: float) -> bool:
        """Draw whether something comes true at a place, in that share of all cases."""
        is_true = (draws.chance(share) and not self.is_silent) or place in self.prescribed
        if is_true:
            self.happened[place] = now
        return is_true
