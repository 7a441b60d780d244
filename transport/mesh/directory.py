"""The nodes of a mesh, as far as this one has heard of them.

A node announces itself when it comes, whenever it hears of one that it did not know, and every now and then;
and it says when it leaves. Nothing is stored anywhere else, so views differ for a moment. These are the nodes
that can be called, and not those that are connected.

Nothing here does input or output, or looks at a clock.
"""

import math
from collections.abc import Collection
from typing import Final, TypeAlias

import attrs

from enfilade.transport.mesh.load import Load

__all__ = ["Directory", "DirectoryEvent", "MeshNode", "NodeChanged", "NodeJoined", "NodeLeft"]

SHORTEST: Final = 5.0
"""Seconds between a node's announcements in a mesh that is not very large."""

MOST_ANNOUNCEMENTS: Final = 200
"""How many a second everybody hears of all nodes together, at most."""

MOST_NODES: Final = 10_000
"""Nodes that are remembered; others are passed over."""

UNHEARD: Final = 4
"""Announcements that must fail to come until a node is gone."""


@attrs.frozen
class MeshNode:
    """A node of a mesh.

    Attributes:
        name: its full name.
        incarnation: of this start of it.
        host: the name of its machine.
        process: its process there.
        entries: what it offers to spawn, by name; its policy decides for whom.
        kinds: the kinds of keyed actors that it runs now, each with its number of shards.
        is_draining: whether it is about to leave, and takes on nothing new.
        labels: the words by which placement finds it.
        door: the path of its door on its machine; empty without one.
        machine: tells apart machines, and on one machine namespaces of processes; empty without a door.
        load: how busy it was when it was heard last.
        connected: whether this node has a node link with it.
    """

    name: str
    incarnation: int
    host: str
    process: int
    entries: tuple[str, ...] = ()
    kinds: tuple[tuple[str, int], ...] = ()
    is_draining: bool = False
    labels: tuple[str, ...] = ()
    door: str = ""
    machine: str = ""
    load: Load = attrs.field(default=Load(), eq=False)
    connected: bool = attrs.field(default=False, eq=False)

    def shards_of(self, kind: str) -> int:
        """Return the number of shards of `kind`, if the node runs that; 0 when it does not."""
        return next((shards for name, shards in self.kinds if name == kind), 0)


@attrs.frozen
class NodeJoined:
    """`node` is in the mesh: it joined, or was heard of for the first time."""

    node: MeshNode


@attrs.frozen
class NodeLeft:
    """`node` is no longer in the mesh, for the `reason` given in words."""

    node: MeshNode
    reason: str


@attrs.frozen
class NodeChanged:
    """`node`, of the mesh, announces something else about itself than before."""

    node: MeshNode


DirectoryEvent: TypeAlias = NodeJoined | NodeLeft | NodeChanged


class Directory:
    """The nodes of a mesh, this one included.

    Args:
        own: this node.
    """

    def __init__(self, own: MeshNode) -> None:
        self.own = own
        self._nodes: dict[str, tuple[MeshNode, float]] = {}
        self._anew_at = -math.inf

    def __len__(self) -> int:
        return 1 + len(self._nodes)

    @property
    def interval(self) -> float:
        """Seconds between the announcements of a node: the more nodes, the more seldom."""
        return max(SHORTEST, len(self) / MOST_ANNOUNCEMENTS)

    @property
    def nodes(self) -> tuple[MeshNode, ...]:
        """All nodes, in the order of their names."""
        others = [node for node, _ in self._nodes.values()]
        return tuple(sorted([self.own, *others], key=lambda node: node.name))

    def others(self) -> Collection[str]:
        """Return the names of the other nodes."""
        return self._nodes.keys()

    def find(self, name: str) -> MeshNode | None:
        """Return a node by its name; None when it is not known."""
        if name == self.own.name:
            return self.own
        known = self._nodes.get(name)
        return None if known is None else known[0]

    def announced(self, node: MeshNode, now: float) -> list[DirectoryEvent]:
        """Note that a node says what it is. Another start of it has left."""
        if node.name == self.own.name:
            return []
        known = self._nodes.get(node.name)
        if known is None and len(self._nodes) >= MOST_NODES:
            return []
        events: list[DirectoryEvent] = []
        if known is not None and known[0].incarnation != node.incarnation:
            events.append(NodeLeft(known[0], "another incarnation of it came"))
        if known is None or events:
            events.append(NodeJoined(node))
        elif known[0] != node:
            events.append(NodeChanged(node))
        self._nodes[node.name] = node, now
        return events

    def loaded(self, name: str, incarnation: int, load: Load) -> None:
        """Note how busy a start of a node is, which is nothing that anybody is told."""
        known = self._nodes.get(name)
        if known is not None and known[0].incarnation == incarnation:
            self._nodes[name] = attrs.evolve(known[0], load=load), known[1]

    def left(self, name: str, incarnation: int, reason: str) -> list[DirectoryEvent]:
        """Note that a start of a node has left, or is dead."""
        known = self._nodes.get(name)
        if known is None or known[0].incarnation != incarnation:
            return []
        del self._nodes[name]
        return [NodeLeft(known[0], reason)]

    def listen_anew(self, now: float) -> None:
        """Count silence from now on: this node has heard nobody for a while."""
        self._anew_at = now
        self._nodes = {name: (node, now) for name, (node, _) in self._nodes.items()}

    def pass_time(self, now: float) -> list[DirectoryEvent]:
        """Find out who has not been heard of for too long."""
        limit = (UNHEARD + 1) * self.interval
        return self._gone(now - limit, f"it was not heard of for {limit:g} s")

    def unheard(self) -> list[str]:
        """Return the names of those who have not been heard of since silence was counted anew."""
        return [name for name, (_, heard_at) in self._nodes.items() if heard_at <= self._anew_at]

    def pass_over(self) -> list[DirectoryEvent]:
        """Find out who has not been heard of since silence was counted anew: all have been asked since."""
        return self._gone(self._anew_at, "it does not answer since there is a server again")

    def _gone(self, latest: float, reason: str) -> list[DirectoryEvent]:
        """Take note that whoever was heard of no later than that has left."""
        gone = [node for node, heard_at in self._nodes.values() if heard_at <= latest]
        return [event for node in gone for event in self.left(node.name, node.incarnation, reason)]
