"""The mesh as a node sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.errors import NoQuorum
from enfilade.actors.messages.ref import Ref
from enfilade.actors.peers.mesh.global_names import GlobalNames
from enfilade.actors.peers.watchers import Watchers
from enfilade.transport.mesh import NodeLeft

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.actors.peers.mesh.global_ref import GlobalRef
    from enfilade.transport.mesh import MeshNode
    from enfilade.transport.mesh.directory import DirectoryEvent
    from enfilade.transport.mesh.membership import Membership

__all__ = ["MeshView"]


class MeshView:
    """The mesh that a node is in: `Node.mesh`.

    Which nodes there are is what this one has heard so far; views of different nodes differ for a moment. Who
    holds a global name is for the registry to say.
    """

    def __init__(self, distribution: Distribution, membership: Membership) -> None:
        announcer = membership.carrier.announcer
        self._announcer = announcer
        self._watchers = Watchers()
        self._names = None if membership.claims is None else GlobalNames(distribution, membership.claims)
        announcer.listener = self._heard

    def _heard(self, event: DirectoryEvent) -> None:
        if isinstance(event, NodeLeft) and self._names is not None:
            self._names.node_left(event.node.name)
        self._watchers.tell(event)

    def nodes(self) -> tuple[MeshNode, ...]:
        """The nodes of the mesh, this one included, in the order of their names. Not a checkpoint."""
        return self._announcer.directory.nodes

    def monitor(self, ref: Ref[Any]) -> None:
        """Have `NodeJoined` and `NodeLeft` sent to `ref`, until it ends. Not a checkpoint."""
        self._watchers.add(ref)

    def demonitor(self, ref: Ref[Any]) -> None:
        """Stop sending `NodeJoined` and `NodeLeft` to `ref`. Not a checkpoint."""
        self._watchers.remove(ref)

    # Global names.

    @property
    def names(self) -> GlobalNames:
        """The global names: what the runtime itself uses.

        Raises:
            NoQuorum: the node was opened with `Mesh(registry=False)`.
        """
        if self._names is None:
            raise NoQuorum("global names", "the node was opened with Mesh(registry=False)")
        return self._names

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
            TypeError: it is not a process of this node.
            ValueError: the name is empty or too long.
        """
        await self.names.register(name, ref)

    async def unregister(self, name: str) -> None:
        """Give back a global name that a process of this node holds. A checkpoint.

        Returns when others can have it, or the registry has not answered for two seconds.

        Raises:
            NoProcess: no process of this node holds it.
        """
        await self.names.unregister(name)

    async def whereis(self, name: str) -> Ref[Any] | None:
        """The process that holds a global name, on whichever node; None when nobody does. A checkpoint.

        Raises:
            NoQuorum: the registry does not answer.
            ValueError: the name is empty or too long.
        """
        return await self.names.whereis(name)

    def named(self, name: str) -> GlobalRef:
        """Return a ref to whoever holds a global name at the moment of use. Not a checkpoint.

        Raises:
            ValueError: the name is empty or too long.
        """
        return self.names.named(name)
