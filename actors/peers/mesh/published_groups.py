"""Process groups that are published to a mesh: each node tells all others its members, once.

Each node is the authority over its own processes. A ref in a published group can be addressed by every node
of the mesh that the policy of its home node admits. A node takes the members of another only if its own
policy shares the scope with that node.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from enfilade.actors.messages.ref import Ref
from enfilade.actors.peers.notices import Notices
from enfilade.actors.peers.remote_refs import HeldRef
from enfilade.actors.peers.travelling_types import types
from enfilade.transport.file_descriptor import close_all
from enfilade.transport.payload import Codec
from enfilade.transport.policy import Identity, NotAdmitted, Policy
from enfilade.transport.records import PayloadError

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.transport.mesh.membership import Membership
    from enfilade.transport.mesh.published import Rows

__all__ = ["PublishedGroups"]

MOST_MEMBERS: Final = 10_000
"""Members that a group may have on one other node; what is beyond that is passed over."""

LONGEST_SCOPE: Final = 60
"""Bytes of the name of a scope, which a subject of at most 255 bytes is made of."""


class PublishedGroups:
    """The groups of one node that are published, and those of other nodes.

    Args:
        distribution: the part of the node in the net.
        membership: of the node in the mesh.
        patterns: shell patterns of the scopes that are published.
        policy: of the node.
    """

    def __init__(
        self,
        distribution: Distribution,
        membership: Membership,
        patterns: Sequence[str],
        policy: Policy,
    ) -> None:
        self._distribution = distribution
        self._groups = distribution.node.groups
        self._credentials_of = membership.carrier.credentials_of
        self._patterns = patterns
        self._policy = policy
        self._codec = Codec(types, origin=distribution.node.full_name)
        self._notices = Notices()
        self._published = membership.publish(self)

    def has(self, scope: str) -> bool:
        """Tell whether a scope is published."""
        matches = any(fnmatch.fnmatchcase(scope, pattern) for pattern in self._patterns)
        return matches and 0 < len(scope.encode()) <= LONGEST_SCOPE

    def tell(self, scope: str, group: Hashable, members: Sequence[Ref[Any]]) -> None:
        """Tell the mesh the members that a group has on this node."""
        try:
            payload, files = self._codec.encode(group)
        except PayloadError as error:
            self._notices.warn("the members of the group %r cannot travel: %s", group, error)
            return
        if files:
            close_all(files)
            self._notices.warn("the members of the group %r cannot travel", group)
            return
        token_of = self._distribution.handouts.token_of
        rows = [(ref.serial, token_of(ref.serial)) for ref in members[:MOST_MEMBERS]]
        self._published.set(scope, bytes(payload), rows)

    def gone(self, node: str) -> None:
        """Take note that a node is not in the mesh any more."""
        self._published.gone(node)

    # What others tell: see `published.Reader`.

    def follows(self, node: str, incarnation: int, scope: str) -> bool:
        """Tell whether this node publishes the scope, too, and its policy shares it with the other."""
        if not self.has(scope):
            return False
        zone = node.partition("@")[2]
        try:
            rights = self._policy.admit(Identity(node, zone, incarnation, self._credentials_of(node)))
        except NotAdmitted:
            return False
        return rights.shares(scope)

    def replaced(self, node: str, incarnation: int, scope: str, table: Mapping[bytes, Rows]) -> None:
        """See `Reader.replaced`."""
        groups = {}
        for key, rows in table.items():
            group = self._group(node, key)
            if group is not None:
                groups[group[0]] = self._members(node, incarnation, rows)
        self._groups.scope(scope).replace_remote(node, groups)

    def changed(self, node: str, incarnation: int, scope: str, key: bytes, rows: Rows) -> None:
        """See `Reader.changed`."""
        group = self._group(node, key)
        if group is not None:
            members = self._members(node, incarnation, rows)
            self._groups.scope(scope).replace_remote_group(node, group[0], members)

    def _group(self, node: str, key: bytes) -> tuple[Hashable] | None:
        """Decode a group; None when that cannot be done here."""
        try:
            group = self._codec.decode(msgspec.Raw(key))
            hash(group)
        except (PayloadError, TypeError, ValueError) as error:
            self._notices.warn("dropped the members of a group that node %s published: %s", node, error)
            return None
        return (group,)

    def _members(self, node: str, incarnation: int, rows: Rows) -> list[Ref[Any]]:
        remote = self._distribution.remote_node(node, incarnation, node)
        own = self._distribution.node
        return [HeldRef(own, remote, serial, token) for serial, token in rows[:MOST_MEMBERS]]
