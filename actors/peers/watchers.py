"""The processes that are told of events of a kind."""

from __future__ import annotations

from typing import Any

from enfilade.actors.messages.guarded import guarded
from enfilade.actors.messages.ref import Ref, checked_ref
from enfilade.actors.processes.local_ref import process_of

__all__ = ["Watchers"]


class Watchers:
    """The processes that are told of events, in the order in which they asked for it."""

    def __init__(self) -> None:
        self._watchers: dict[Ref[Any], None] = {}

    def add(self, ref: Ref[Any]) -> None:
        """Have events sent to `ref`, until it ends.

        Raises:
            TypeError: it is not a ref.
        """
        self._watchers[checked_ref(ref)] = None

    def remove(self, ref: Ref[Any]) -> None:
        """Stop sending events to `ref`.

        Raises:
            TypeError: it is not a ref.
        """
        self._watchers.pop(checked_ref(ref), None)

    def tell(self, event: object) -> None:
        """Send an event to all."""
        for watcher in list(self._watchers):
            process = process_of(watcher)
            if process is None:
                guarded(watcher.send, event)
            elif process.ended is None:
                process.put(event)  # the runtime's own: no bound refuses it
            else:
                del self._watchers[watcher]
