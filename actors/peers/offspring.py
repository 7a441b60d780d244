"""Offspring: the processes that peers start here.

They count against the limits of their peer for as long as they live, also when the node link is over and
made anew: otherwise a peer had only to call again to be allowed as many once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import NodeStopped, RuntimeFault
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import SHUTDOWN
from enfilade.actors.messages.ref import Ref, RemoteRef
from enfilade.actors.peers.parties import Given
from enfilade.actors.processes import links, start
from enfilade.actors.processes.local_ref import LocalRef

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Offspring"]

PAUSE: Final = 0.1
"""Seconds between two searches for those that have ended, while a peer has as many as it may."""


class Offspring:
    """Starts what peers ask for, and knows the living processes that each peer has started, by its name."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._serials: dict[str, set[int]] = {}
        self._searched: dict[str, float] = {}
        self._is_draining = False

    async def spawn(
        self, scope: trio.CancelScope, target: Any, given: Given, parent: Ref[Any] | None
    ) -> start.Started[LocalRef[Any]] | Exception | None:
        """Spawn what a peer asked for. Return the process, the error, or None when the scope was cancelled.

        With a `parent`, a process of the peer, it is that one's child, and linked to it before it starts.

        All keyword arguments are the target's: a peer gives no names, and has no say in what `Node.spawn`
        lets this program decide.
        """
        answer: start.Started[LocalRef[Any]] | Exception | None = None
        if self._is_draining:
            return NodeStopped(self._node.full_name)
        with scope:
            try:
                process = start.create(self._node)
                if parent is not None:
                    links.link_remote_parent(process, parent)
                info = await start.start(process, target, tuple(given[0]), given[1], None)
                answer = start.Started(process.ref, info)  # type: ignore[arg-type]
            except (RuntimeFault, TypeError) as error:
                answer = error
        return answer

    def shut_down(self) -> list[Process]:
        """Start nothing more, and shut down what supervisors of peers have here. Return these processes."""
        self._is_draining = True
        node = self._node
        away = [each for each in node.processes.values() if is_a(each.parent, RemoteRef)]
        for process in away:
            process.deliver(signals.Exit(node.ref, SHUTDOWN, linked=False))
        return away

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
