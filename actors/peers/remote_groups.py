"""Groups over several nodes: what a node tells its peers of the members of its groups, and hears of theirs.

Each node tells every peer who of its own processes is in which group. Where a mesh publishes the groups of a
scope, that one is told instead, once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.ref import Ref
from enfilade.actors.node.groups import Groups, Joined, Left
from enfilade.actors.peers.remote_refs import HeldRef

if TYPE_CHECKING:
    from enfilade.actors.peers.parties import Remote

__all__ = ["RemoteGroups"]

MOST_MEMBERS: Final = 10_000
"""Members that a group may have on one other node."""


class RemoteGroups:
    """The groups of a node as its peers know them, and those of its peers as it does.

    Args:
        groups: those of the node.
        remotes: returns the nodes that are connected.

    Attributes:
        published: the groups that the mesh publishes, a `mesh.published_groups.PublishedGroups`; None without
            any.
    """

    def __init__(self, groups: Groups, remotes: Callable[[], Iterable[Remote]]) -> None:
        self._groups = groups
        self._remotes = remotes
        self.published: Any = None
        # The scopes in which other nodes have told of groups.
        self._scopes: dict[str, set[str]] = {}

    def begin(self) -> None:
        """Tell of groups from now on, and the mesh of those that there are."""
        self._groups.listen(self._changed)
        if self.published is not None:
            self._groups.publish_by(self.published.publish)
        for scope in self._groups.scopes():
            if self._publishes(scope.name):
                for group in scope.local():
                    self._changed(Joined(scope.name, group, ()))

    def end(self) -> None:
        """Tell of no group any more."""
        self._groups.listen(None)
        self._groups.publish_by(None)

    def greet(self, remote: Remote) -> None:
        """Tell a node whose node link is up of the groups that there are."""
        for scope in self._groups.scopes():
            if not self._publishes(scope.name):
                for group, members in scope.local().items():
                    remote.tell_members(scope.name, group, members)

    def _changed(self, event: Joined | Left) -> None:
        members = self._groups.scope(event.scope).local_members(event.group)
        if self._publishes(event.scope):
            self.published.tell(event.scope, event.group, members)
            return
        for remote in self._remotes():
            remote.tell_members(event.scope, event.group, members)

    def _publishes(self, scope: str) -> bool:
        """Tell whether the members of a scope's groups are told to the mesh, and not over each node link."""
        return self.published is not None and bool(self.published.has(scope))

    def told(self, node_name: str, scope: str, group: Hashable, refs: Iterable[Any], most: int) -> None:
        """Take note of the members that a group has on a peer.

        Raises:
            ValueError: the peer has told of `most` groups already.
        """
        members: list[Ref[Any]] = [
            ref for ref in refs if isinstance(ref, HeldRef) and ref.node_name == node_name
        ]
        if len(members) > MOST_MEMBERS:
            raise ValueError(
                f"a group may have {MOST_MEMBERS} members on another node, this one has {len(members)}"
            )
        scopes = self._scopes.setdefault(node_name, set())
        known = [self._groups.scope(each).remote_groups(node_name) for each in scopes]
        is_new = scope not in scopes or group not in self._groups.scope(scope).remote_groups(node_name)
        if is_new and sum(max(1, len(groups)) for groups in known) >= most:
            raise ValueError(f"the limit of {most} groups is reached")
        scopes.add(scope)
        self._groups.scope(scope).replace_remote_group(node_name, group, members)

    def forget(self, node_name: str) -> None:
        """Forget the groups of a node whose node link is over."""
        for scope in self._scopes.pop(node_name, ()):
            self._groups.scope(scope).replace_remote(node_name, {})
