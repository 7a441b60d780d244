"""Leases of other nodes: how long each was seen unchanged, and the end of those that are over.

Whoever wants what a dead node held must have seen its lease unchanged for 1.2 leases. One that began to look
when it knew of the death would wait that long after it, and not after the last renewal. So each node looks at
two others all the time, and breaks their leases when they are over: then all see that what they held is free.
These two are the next in an order of names by a checksum, so that nodes that are lost together, because their
names and sites are alike, are seldom those that look at one another. A node that has left the directory is
looked at until its lease is over.
"""

import logging
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

import msgspec

from enfilade.transport.mesh import witness
from enfilade.transport.mesh.lease import Lease, Place, Times, Watch, broken, lease_key
from enfilade.transport.mesh.registry import MeshRegistry, WrongRevision

__all__ = ["OtherLeases"]

logger = logging.getLogger("enfilade.mesh")

SHARE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""Time between looks at the lease of the next node: so much of a lease, and these seconds at most."""

NODES_A_SECOND: Final = 200
"""Looks of all nodes in a second, at most: in a mesh of more nodes than that, each looks more seldom."""

LEAST_PAUSE: Final = 0.05

GUARDED: Final = 2
"""Nodes that each one looks at."""


class OtherLeases:
    """The leases of other nodes, as one node knows them.

    Args:
        registry: of the mesh.
        node: the full name of this node.
        place: where it runs.
        clock: seconds that run during suspend, too.
    """

    def __init__(self, registry: MeshRegistry, node: str, place: Place, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._node = node
        self._place = place
        self._clock = clock
        self._times = Times(0.0)
        self._watches: dict[str, Watch] = {}
        self._session = -1
        self._guarded: set[str] = set()

    def begin_anew(self, times: Times) -> None:
        """Forget what was seen: revisions begin anew, or leases have another length."""
        self._times = times
        self._watches.clear()

    def session(self) -> int:
        """Return the number of the connection to the registry; what another one has shown is forgotten."""
        session = self._registry.connection.reconnects
        if session != self._session:
            self._session = session
            self._watches.clear()
        return session

    async def look(self, node: str) -> tuple[Lease | None, int, bool]:
        """Read the lease of a node, its revision, and tell whether it may be broken. A checkpoint.

        Raises:
            NoAnswer: the registry does not answer.
        """
        entry = await self._registry.read(lease_key(node))
        lease = entry.read_as(Lease)
        watch = self._watches.setdefault(node, Watch(self._times))
        watch.seen(entry.revision, self._clock())
        return lease, entry.revision, watch.is_over(self._clock()) or self.is_witness(lease)

    def is_witness(self, lease: Lease | None) -> bool:
        """Tell whether the kernel of this machine says that the process of a lease is no more."""
        return lease is not None and not lease.is_broken and witness.is_gone(lease.place, self._place)

    async def end(self, node: str, lease: Lease | None, revision: int, term: int) -> None:
        """Break a lease that may be broken, unless it has changed. A checkpoint."""
        with suppress(WrongRevision):
            value = msgspec.msgpack.encode(broken(lease, term))
            await self._registry.write(lease_key(node), value, revision)
            logger.info("the lease of %s has expired: it was not renewed, or its process has ended", node)

    # The nodes that this one looks at all the time.

    def guard(self, others: Collection[str]) -> None:
        """Take note of the other nodes that there are."""
        ring = sorted((self._node, *others), key=lambda name: (zlib.crc32(name.encode()), name))
        own = ring.index(self._node)
        self._guarded.difference_update(others)
        self._guarded.update((ring[own + 1 :] + ring[:own])[:GUARDED])

    async def look_around(self, others: Collection[str]) -> None:
        """Look at the leases of those that this node guards, and break what is over. A checkpoint.

        Raises:
            NoAnswer: the registry does not answer.
        """
        self.guard(others)
        for node in sorted(self._guarded):
            session = self.session()
            lease, revision, may_break = await self.look(node)
            if session != self._registry.connection.reconnects:
                return  # it may be another registry by now
            if lease is None or lease.is_broken:
                self._guarded.discard(node)
            elif may_break:
                await self.end(node, lease, revision, lease.term)

    def pause(self, nodes: int) -> float:
        """Return how long to wait before the next look, in a mesh of so many nodes."""
        usual = max(min(LONGEST_PAUSE, SHARE * self._times.seconds), nodes / NODES_A_SECOND, LEAST_PAUSE)
        watches = [self._watches[node] for node in self._guarded if node in self._watches]
        left = min((watch.left(self._clock()) for watch in watches), default=usual)
        return max(LEAST_PAUSE, min(usual, left))
