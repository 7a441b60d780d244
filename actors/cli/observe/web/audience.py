"""The nodes that pages look at: each is looked at only while a page does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from enfilade.actors.cli.observe.sight import Sight

__all__ = ["Audience"]


class Audience:
    """Opens and closes the sights of the nodes, and tells views when there is something new.

    Args:
        sights: the nodes.
    """

    def __init__(self, sights: Sequence[Sight]) -> None:
        self.sights: list[Sight] = []
        self._listeners: list[list[Callable[[], None]]] = []
        for sight in sights:
            self.add(sight)

    def add(self, sight: Sight) -> None:
        """Have another node that pages may look at. Not a checkpoint."""
        sight.on_change = partial(self._tell, len(self.sights))
        self.sights.append(sight)
        self._listeners.append([])

    def join(self, nodes: Sequence[int], listener: Callable[[], None]) -> None:
        """Look at these nodes, and call the listener when something has changed. Not a checkpoint."""
        for number in nodes:
            if not self._listeners[number]:
                self.sights[number].begin()
            self._listeners[number].append(listener)

    def leave(self, nodes: Sequence[int], listener: Callable[[], None]) -> None:
        """Look no more; what is known of the nodes stays. Not a checkpoint."""
        for number in nodes:
            self._listeners[number].remove(listener)
            if not self._listeners[number]:
                self.sights[number].end()

    def _tell(self, number: int) -> None:
        for listener in list(self._listeners[number]):
            listener()
