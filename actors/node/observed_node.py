"""The part of a node by which a program looks at it: its events, counts, and views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import Any

from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.ref import Ref
from enfilade.actors.node.services import Observation

__all__ = ["ObservedNode"]


class ObservedNode(Handle):
    """A node that can be looked at."""

    full_name: str
    _observation: Observation | None

    @property
    def observation(self) -> Observation:
        """The events of this node, and those who are told. Raises `NotConnected` if nothing observes it."""
        if self._observation is None:
            raise NotConnected(self.full_name, f"node {self.full_name} is not observed")
        return self._observation

    def events(
        self, *kinds: str, buffer: int = 1000, match: Callable[[Any], bool] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Iterate over the events of these kinds for the length of a block. See `Observation.events`."""
        return self.observation.events(*kinds, buffer=buffer, match=match)

    def send_events(self, ref: Ref[Any], *kinds: str) -> None:
        """Have events sent to a process of this node. See `Observation.send_events`."""
        self.observation.send_events(ref, *kinds)

    def attach(
        self,
        id: Hashable,  # noqa: A002 (the field's name)
        kinds: str | tuple[str, ...],
        handler: Callable[[Any, Any], object],
        config: Any = None,
    ) -> None:
        """Have a function run in the step that causes an event. See `Observation.attach`."""
        self.observation.attach(id, kinds, handler, config)

    def detach(self, id: Hashable) -> bool:  # noqa: A002 (the field's name)
        """Run that function no more; return true if it was attached. Not a checkpoint."""
        return self.observation.detach(id)

    def counting(self) -> AbstractAsyncContextManager[Any]:
        """Count the messages that actors handle, for the length of a block. See `Observation.counting`."""
        return self.observation.counting()

    @property
    def crashes(self) -> tuple[Any, ...]:
        """The last crash reports, oldest first."""
        return self.observation.crashes

    @property
    def timeline(self) -> tuple[Any, ...]:
        """The last events of supervisors and of node links, oldest first."""
        return self.observation.timeline

    def watch(
        self, view: Any, interval: float = 1.0, budget: float = 0.05
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Watch a view of this node for the length of a block. See `Observation.watch`."""
        return self.observation.watch(view, interval, budget)
