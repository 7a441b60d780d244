"""The mesh as a node sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages.errors import NoQuorum
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.peers.events import SiteFound
from enfilade.actors.peers.mesh.global_names import GlobalNames
from enfilade.actors.peers.mesh.keyed import KeyedActors
from enfilade.actors.peers.mesh.published_groups import PublishedGroups
from enfilade.actors.peers.mesh.status import MeshStatus, status_of, tally_of
from enfilade.actors.peers.site import Site
from enfilade.actors.peers.watchers import Watchers
from enfilade.transport.mesh import NodeLeft
from enfilade.transport.mesh.presence import LOST

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.actors.peers.mesh.global_ref import GlobalRef
    from enfilade.actors.peers.mesh.keyed_ref import KeyedRef
    from enfilade.actors.peers.mesh.kind import Kind
    from enfilade.actors.processes.process import Process
    from enfilade.transport.mesh import MeshNode
    from enfilade.transport.mesh.claims import Fence
    from enfilade.transport.mesh.directory import DirectoryEvent
    from enfilade.transport.mesh.heartbeats import Watch
    from enfilade.transport.mesh.membership import Membership
    from enfilade.transport.mesh.presence import Death
    from enfilade.transport.policy import Policy

__all__ = ["MeshView"]

LEAVING_SECONDS: Final = 10.0
"""Time for a node that stops to hand over its keyed actors."""


class MeshView:
    """The mesh that a node is in: `Node.mesh`.

    Which nodes there are is what this one has heard so far; views of different nodes differ for a moment. Who
    holds a global name is for the registry to say.

    Attributes:
        seekers: what the runtime itself uses: those who are told of nodes that may be of use to them.
        groups: what the runtime itself uses: the process groups that are published; None without any.
    """

    def __init__(
        self,
        distribution: Distribution,
        membership: Membership,
        policy: Policy,
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        self._distribution = distribution
        self._membership = membership
        self._announcer = membership.carrier.announcer
        membership.carrier.meter.processes = lambda: len(distribution.node.processes)
        membership.carrier.resent = lambda: tally_of(distribution, membership).resent
        self._watchers = Watchers()
        self.seekers = Watchers()
        self.groups: PublishedGroups | None = None
        if membership.mesh.groups:
            self.groups = PublishedGroups(distribution, membership, membership.mesh.groups, policy)
        self._fellows: dict[str, Watch] = {}
        self.names_or_none: GlobalNames | None = None
        self.kinds_or_none: KeyedActors | None = None
        claims = membership.claims
        if claims is not None:
            self.names_or_none = GlobalNames(distribution, claims)
            self.kinds_or_none = KeyedActors(distribution, claims, self._known, kinds or {}, self._announce)
            claims.lost, claims.begun = self._lost, self._announce
        self._announcer.listener = self._heard

    async def begin(self) -> None:
        """Announce the node, and begin to run keyed actors: it can be reached from here on."""
        await self._membership.announce()
        if self.kinds_or_none is not None:
            self._announce()
            await self._membership.run(self.kinds_or_none.run)

    async def drain(self, timeout: float = LEAVING_SECONDS) -> bool:
        """Have other nodes take over what they can of this one, which is about to leave. A checkpoint.

        From here on other nodes see that it drains: they start nothing on it, and it claims no part of a
        kind. Its keyed actors handle what they have, and end in order; their keys are free for others then.
        The children that supervisors of other nodes have here are shut down, so that these start them
        elsewhere. Last, calls of other nodes that are being carried out may finish. Names and other
        processes stay until the node stops. Leaving the block of `open_node` hands over keyed actors first.

        Args:
            timeout: seconds to wait for all that.

        Returns:
            Whether all was done in time.

        Raises:
            TypeError, ValueError: `timeout` is not a number of seconds.
        """
        check_seconds(timeout, "a time limit")
        self._announcer.change(kinds=(), is_draining=True)
        with trio.move_on_after(timeout) as scope:
            if self.kinds_or_none is not None:
                await self.kinds_or_none.drain()
            await self._distribution.drain()
        return not scope.cancelled_caught

    async def hand_over(self) -> None:
        """Hand over keyed actors, because the node stops; cancellation does not hasten it."""
        if self.kinds_or_none is not None and self.kinds_or_none.kinds_run:
            self._announcer.change(kinds=(), is_draining=True)
            with trio.move_on_after(LEAVING_SECONDS, shield=True):
                await self.kinds_or_none.drain()

    def _announce(self) -> None:
        """Tell the mesh which kinds this node runs now."""
        if self.kinds_or_none is not None:
            self._announcer.change(kinds=self.kinds_or_none.announced)
            self.kinds_or_none.mesh_changed()

    def _lost(self, keys: Sequence[str]) -> None:
        """Take note of what the node holds no longer."""
        if self.names_or_none is not None and self.kinds_or_none is not None:
            self.names_or_none.lost(keys)
            self.kinds_or_none.lost(keys)
            self._announce()

    def _heard(self, event: DirectoryEvent) -> None:
        node = event.node
        if isinstance(event, NodeLeft):
            if self.groups is not None:
                self.groups.gone(node.name)
            if self.names_or_none is not None:
                self.names_or_none.node_left(node.name)
            if self.kinds_or_none is not None:
                self.kinds_or_none.node_left(node.name)
        self._attend(node, is_present=not isinstance(event, NodeLeft))
        if self.kinds_or_none is not None:
            self.kinds_or_none.mesh_changed()
        self._watchers.tell(event)
        if not isinstance(event, NodeLeft):
            self.seekers.tell(SiteFound(node.name))

    def _attend(self, node: MeshNode, *, is_present: bool) -> None:
        """Listen to the heart-beats of nodes that run kinds of this one: their death is to be known soon."""
        kinds, heartbeats = self.kinds_or_none, self._membership.carrier.heartbeats
        wanted = node.incarnation if is_present and kinds is not None and kinds.is_fellow(node) else None
        known = self._fellows.get(node.name)
        if known is not None and known.incarnation != wanted:
            heartbeats.unwatch(self._fellows.pop(node.name))
        if wanted is not None and node.name not in self._fellows:
            self._fellows[node.name] = heartbeats.watch(node.name, wanted, self._fellow_died)

    def _fellow_died(self, death: Death) -> None:
        """Take note that a fellow is dead; it is watched on when this node knows nothing of it for now."""
        del self._fellows[death.node]
        if death.reason == LOST:
            watch = self._membership.carrier.heartbeats.watch(
                death.node, death.incarnation, self._fellow_died
            )
            self._fellows[death.node] = watch

    def _known(self) -> tuple[MeshNode, ...]:
        return self._announcer.directory.nodes

    def nodes(self) -> tuple[MeshNode, ...]:
        """The nodes of the mesh, this one included, in the order of their names. Not a checkpoint."""
        own, peers = self._announcer.directory.own, set(self._distribution.peers)
        return tuple(
            attrs.evolve(node, load=self._membership.carrier.meter.load)
            if node.name == own.name
            else attrs.evolve(node, connected=node.name in peers)
            for node in self._known()
        )

    def status(self) -> MeshStatus:
        """The node's part in the mesh at this moment, in figures. Not a checkpoint."""
        published = 0 if self.groups is None else self.groups.ignored
        return status_of(self._distribution, self._membership, self.kinds_or_none, published)

    def knows(self, name: str) -> bool:
        """Tell whether a node of this name is in the mesh: what the runtime itself uses."""
        return self._announcer.directory.find(name) is not None

    def incarnation_of(self, name: str) -> int:
        """Return which start of a node is in the mesh; 0 when none is known: what the runtime itself uses."""
        node = self._announcer.directory.find(name)
        return 0 if node is None else node.incarnation

    def door_of(self, name: str) -> str | None:
        """The door of a node of the mesh on this machine, if this node has one, too: what the runtime itself
        uses.
        """
        own, node = self._announcer.directory.own, self._announcer.directory.find(name)
        if node is None or not node.door or not own.machine or node.machine != own.machine:
            return None
        return node.door

    def sites(self) -> list[Site]:
        """The other nodes of the mesh on which processes can be started: what the runtime itself uses."""
        directory, heartbeats = self._announcer.directory, self._membership.carrier.heartbeats
        return [
            Site(
                node.name,
                node.entries,
                node.labels,
                None if heartbeats.is_quiet(node.name) else node.load.rank,
                node.host == directory.own.host,
                node.is_draining,
            )
            for node in directory.nodes
            if node.name != directory.own.name
        ]

    def monitor(self, ref: Ref[Any]) -> None:
        """Have `NodeJoined`, `NodeChanged` and `NodeLeft` sent to `ref`, until it ends. Not a checkpoint.

        Raises:
            TypeError: `ref` is not a ref.
        """
        self._watchers.add(ref)

    def demonitor(self, ref: Ref[Any]) -> None:
        """Stop sending these to `ref`. Not a checkpoint.

        Raises:
            TypeError: `ref` is not a ref.
        """
        self._watchers.remove(ref)

    # Global names.

    @property
    def names(self) -> GlobalNames:
        """The global names: what the runtime itself uses.

        Raises:
            NoQuorum: the node was opened with `Mesh(registry=False)`.
        """
        if self.names_or_none is None:
            raise NoQuorum("global names", "the node was opened with Mesh(registry=False)")
        return self.names_or_none

    async def register(self, name: str, ref: Ref[Any]) -> None:
        """Give a global name to a process of this node. A checkpoint; cancelled, the name is given back.

        The process may have several. When its node loses its lease it is sent `NameLost`, and goes on.

        Args:
            name: 1 to 60 bytes in UTF-8.
            ref: the process.

        Raises:
            NameTaken: a process has the name already: `holder`.
            NoQuorum: the registry does not answer, or the node has no lease; the name is given back if it was
                taken.
            NoProcess: the process has ended.
            TypeError: it is not a process of this node, or the name is no text.
            ValueError: the name is empty or too long.
        """
        await self.names.register(name, ref)

    async def unregister(self, name: str) -> None:
        """Give back a global name that a process of this node holds. A checkpoint.

        Returns when others can have it, or the registry has not answered for two seconds.

        Raises:
            NoProcess: no process of this node holds it.
            TypeError, ValueError: the name is no text, or it is empty or too long.
        """
        await self.names.unregister(name)

    async def whereis(self, name: str) -> Ref[Any] | None:
        """The process that holds a global name, on whichever node; None when nobody does. A checkpoint.

        Raises:
            NoQuorum: the registry does not answer.
            TypeError, ValueError: the name is no text, or it is empty or too long.
        """
        return await self.names.whereis(name)

    def named(self, name: str) -> GlobalRef:
        """Return a ref to whoever holds a global name at the moment of use. Not a checkpoint.

        Raises:
            TypeError, ValueError: the name is no text, or it is empty or too long.
        """
        return self.names.named(name)

    # Keyed actors.

    @property
    def kinds(self) -> KeyedActors:
        """The keyed actors: what the runtime itself uses.

        Raises:
            NoQuorum: the node was opened with `Mesh(registry=False)`.
        """
        if self.kinds_or_none is None:
            raise NoQuorum("keyed actors", "the node was opened with Mesh(registry=False)")
        return self.kinds_or_none

    def keyed(self, kind: str, key: str) -> KeyedRef:
        """Return a ref to the actor of a key, which starts with the first message. Not a checkpoint.

        A call waits for a node that can run it, within its time limit and 1.5 leases at most, and then raises
        `NoProcess`; or `NoQuorum`, if the registry does not answer.

        Args:
            kind: the name under which nodes run it: 1 to 48 bytes in UTF-8.
            key: 1 to 1024 bytes in UTF-8.

        Raises:
            NoQuorum: the node was opened with `Mesh(registry=False)`.
            TypeError, ValueError: the name or the key is no text, or it is empty or too long.
        """
        return self.kinds.keyed(kind, key)

    def single(self, kind: str) -> KeyedRef:
        """Return a ref to the single actor of a kind. Not a checkpoint.

        Args:
            kind: the name under which nodes run it.

        Raises:
            NoQuorum, TypeError, ValueError: as of `keyed`.
        """
        return self.kinds.single(kind)

    def fence(self, process: Process) -> Fence | None:
        """Return the fence of a process: see `Process.fence`."""
        fence = None if self.names_or_none is None else self.names_or_none.fence(process)
        if fence is None and self.kinds_or_none is not None:
            fence = self.kinds_or_none.fence(process)
        return fence
