"""The base of the views of a page: one looks at a node of its own, or at what is known of it anyway."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.observing.protocol import views
from enfilade.actors.observing.watches.client import State

__all__ = ["Drawn", "View"]

Drawn = Callable[[], Awaitable[None]]
"""Has the newest state drawn by the page, and returns when it has been."""


class View(ABC):
    """A view.

    Args:
        sights: all nodes.
        node: the number of the one that is shown.
        wish: what to show.
        interval: seconds between two states.
        drawn: see `Drawn`; the look at the node goes on when it returns.
    """

    def __init__(self, sights: Sequence[Sight], node: int, wish: Any, interval: float, drawn: Drawn) -> None:
        self.sights = sights
        self.sight = sights[node]
        self.wish = wish
        self._interval = interval
        self._drawn = drawn
        self._look: Look | None = None

    def asks(self) -> views.View | None:
        """The view of the node that is needed for the wish; None if what is known will do."""
        return None

    right: str = "observe"
    """The right by which the node is asked."""

    def open(self) -> None:
        """Begin to look. Not a checkpoint."""
        asked = self.asks()
        if asked is not None:
            look = Look(asked, self._take, interval=self._interval, right=self.right)
            self._look = self.sight.observed.look(look)

    def close(self) -> None:
        """Look no more. Not a checkpoint."""
        if self._look is not None:
            self.sight.observed.drop(self._look)
            self._look = None

    def change(self, wish: Any) -> None:
        """Show another wish of the same kind from now on. Not a checkpoint."""
        self.wish = wish
        asked = self.asks()
        if self._look is not None and asked is not None:
            self._look.change(asked)

    async def _take(self, state: State) -> None:
        assert self._look is not None
        self.take(state, self._look.shown)
        await self._drawn()

    def take(self, state: State, of: views.View) -> None:  # noqa: B027 (a view without a look gets none)
        """Take in the state of a view that `asks` has given."""

    @property
    def refused(self) -> str | None:
        """The reason for which the node does not show it; None."""
        return None if self._look is None else self._look.refused

    @abstractmethod
    def shown(self) -> dict[str, Any] | None:
        """The newest state, as JSON data; None while nothing is known."""
