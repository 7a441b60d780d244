"""Sums over all processes of a node, which are told at once however many there are.

They are those of the last round. A round of a node with few processes is gone at each question; one of very
many goes on a little each time, so that they are some seconds old.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from enfilade.actors.observing.measurements.node_numbers import SUMMED, add_to_sums

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.tables.walker import Walker
    from enfilade.actors.processes.process import Process

__all__ = ["Sums"]

LEAST: Final = 4_096
"""How many processes a round goes on by each time, at least: some milliseconds."""

SHARE: Final = 0.2
"""The share of an interval's budget that goes into it beyond that."""

SOME: Final = 64
"""How many processes are looked at between two looks at the clock."""


class Sums:
    """The numbers of `SUMMED`, over all processes.

    Args:
        node: whose processes they are.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: dict[str, int] | None = None
        self._adding: dict[str, int] = {}
        self._left: list[Process] = []

    async def told(self, walker: Walker, budget: float, interval: float) -> dict[str, int]:
        """The sums. A checkpoint, if that takes long: the first round is waited for.

        Args:
            walker: does the work.
            budget: the share of the time that it may take.
            interval: seconds until the next question.
        """
        if self._known is not None and walker.turn.locked():
            return self._known
        async with walker.turn:
            if not self._left:
                self._adding = dict.fromkeys(SUMMED, 0)
                self._left = list(self._node.processes.values())
            if self._known is None:
                await walker.work(self._add_some, budget)
            else:
                await walker.work(partial(self._add_some, max(0, len(self._left) - LEAST)), budget)
                await walker.work(self._add_some, budget, budget * interval * SHARE)
            if not self._left:
                self._known = self._adding
        assert self._known is not None
        return self._known

    def forget(self) -> None:
        """Keep nothing any more. Not a checkpoint."""
        self._known, self._left = None, []

    def _add_some(self, least: int = 0) -> bool:
        """Add those of some processes; tell whether more than `least` are left."""
        left = self._left
        count = min(SOME, len(left) - least)
        if count > 0:
            for process in left[-count:]:
                add_to_sums(self._adding, process)
            del left[-count:]
        return len(left) > least
