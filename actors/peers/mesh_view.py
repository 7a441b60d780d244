"""The mesh as a node sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.ref import Ref
from enfilade.actors.peers.watchers import Watchers

if TYPE_CHECKING:
    from enfilade.transport.mesh import MeshNode
    from enfilade.transport.mesh.announcer import Announcer

__all__ = ["MeshView"]


class MeshView:
    """The mesh that a node is in: `Node.mesh`.

    It is what the node has heard so far. Views of different nodes differ for a moment.
    """

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._watchers = Watchers()
        announcer.listener = self._watchers.tell

    def nodes(self) -> tuple[MeshNode, ...]:
        """The nodes of the mesh, this one included, in the order of their names. Not a checkpoint."""
        return self._announcer.directory.nodes

    def monitor(self, ref: Ref[Any]) -> None:
        """Have `NodeJoined` and `NodeLeft` sent to `ref`, until it ends. Not a checkpoint."""
        self._watchers.add(ref)

    def demonitor(self, ref: Ref[Any]) -> None:
        """Stop sending `NodeJoined` and `NodeLeft` to `ref`. Not a checkpoint."""
        self._watchers.remove(ref)
