"""Offspring: the processes that peers have started here.

They count against the limits of their peer for as long as they live, also when the node link is over and
made anew: otherwise a peer had only to call again to be allowed as many once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Offspring"]

PAUSE: Final = 0.1
"""Seconds between two searches for those that have ended, while a peer has as many as it may."""


class Offspring:
    """The living processes that each peer has started, by the peer's name."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._serials: dict[str, set[int]] = {}
        self._searched: dict[str, float] = {}

    def add(self, peer: str, serial: int) -> None:
        """Note that a peer has started a process."""
        self._serials.setdefault(peer, set()).add(serial)

    def has(self, peer: str, serial: int) -> bool:
        """Tell whether a peer has started the process with this number."""
        return serial in self._serials.get(peer, ())

    def room(self, peer: str, limit: int) -> int:
        """Count how many more a peer may start that may have `limit`."""
        serials = self._serials.get(peer, ())
        now = trio.current_time()
        if len(serials) >= limit and now >= self._searched.get(peer, now):
            self.forget_ended(peer)
            self._searched[peer] = now + PAUSE
        return limit - len(self._serials.get(peer, ()))

    def forget_ended(self, peer: str) -> None:
        """Forget those of a peer that have ended."""
        living = {serial for serial in self._serials.pop(peer, ()) if serial in self._node.processes}
        self._searched.pop(peer, None)
        if living:
            self._serials[peer] = living
