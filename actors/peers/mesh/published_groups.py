"""Process groups that are published to a mesh: each node tells all others its members, once.

Each node is the authority over its own processes. A ref in a published group can be addressed by every node
of the mesh that the policy of its home node admits. A node takes the members of another, and what it says
to a group, only if its own policy shares the scope with that node.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.node.groups import hand_out
from enfilade.actors.peers.notices import Notices
from enfilade.actors.peers.ref_passing import RefPassing
from enfilade.actors.peers.remote_refs import HeldRef
from enfilade.actors.peers.tokens import Giving
from enfilade.actors.peers.travelling_types import types
from enfilade.transport.file_descriptor import close_all
from enfilade.transport.mesh.published import PAGE_BYTES
from enfilade.transport.payload import Codec
from enfilade.transport.policy import Identity, NotAdmitted, Policy, Rights
from enfilade.transport.records import PayloadError

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.transport.mesh.membership import Membership
    from enfilade.transport.mesh.published import Rows

__all__ = ["PublishedGroups"]

MOST_MEMBERS: Final = 10_000
"""Members that a group may have on one other node; what is beyond that is passed over."""

MOST_REFERENCES: Final = 1000
"""Refs in one message to a group."""

LONGEST_SCOPE: Final = 60
"""Bytes of the name of a scope, which a subject of at most 255 bytes is made of."""


class _Everybody:
    """Whoever hears what is said to a group: what refs are lowered for that are in it."""

    node_name = ""
    incarnation = 0
    peer = None
    most_references = MOST_REFERENCES


class _Passing(RefPassing):
    """Passes refs to whoever hears what is said to a group, and from them: to be sent to, and not to end."""

    def __init__(self, distribution: Distribution) -> None:
        everybody: Any = _Everybody()
        super().__init__(distribution, everybody)
        self.giving = Giving.ADDRESS

    def _address(self, name: str, address: str) -> str:
        return name if self._distribution.mesh.knows(name) else ""


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
        self._passing = _Passing(distribution)
        self._messages = Codec(types, externals=self._passing.externals(), origin=distribution.node.full_name)
        self._messages.without_descriptors = "everybody in a group"
        self._notices = Notices()
        self._published = membership.publish(self)

    @property
    def ignored(self) -> int:
        """Messages that were passed over, because they made no sense."""
        return self._published.ignored

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

    def publish(self, scope: str, group: Hashable, message: Any) -> bool:
        """Tell the mesh a message to the members of a group; return False if the scope is not published.

        Raises:
            PayloadError: the message, or the group, cannot travel.
        """
        if not self.has(scope):
            return False
        try:
            key, said = (
                self._encoded(codec, what)
                for codec, what in ((self._codec, group), (self._messages, message))
            )
        finally:
            self._passing.forget()
        if len(key) + len(said) > PAGE_BYTES:
            raise PayloadError(
                f"a message to a group must have at most {PAGE_BYTES} bytes, got {len(said)}: "
                "send it to each member"
            )
        self._published.say(scope, key, said)
        return True

    @staticmethod
    def _encoded(codec: Codec, value: Any) -> bytes:
        payload, files = codec.encode(value)
        if files:
            close_all(files)
            raise PayloadError("what is said to a group must be short, and have no files")
        return bytes(payload)

    def gone(self, node: str) -> None:
        """Take note that a node is not in the mesh any more."""
        self._published.gone(node)

    # What others tell: see `published.Reader`.

    def follows(self, node: str, incarnation: int, scope: str) -> bool:
        """Tell whether this node publishes the scope, too, and its policy shares it with the other."""
        return self._rights(node, incarnation, scope) is not None

    def _rights(self, node: str, incarnation: int, scope: str) -> Rights | None:
        """Return the rights of a node, if it is one with which this node shares the scope."""
        if not self.has(scope):
            return None
        zone = node.partition("@")[2]
        try:
            rights = self._policy.admit(Identity(node, zone, incarnation, self._credentials_of(node)))
        except NotAdmitted:
            return None
        return rights if rights.shares(scope) else None

    def said(self, node: str, incarnation: int, scope: str, key: bytes, what: bytes) -> None:
        """See `Reader.said`. Nothing is decoded unless there is a member to have it."""
        group, rights = self._group(node, key), self._rights(node, incarnation, scope)
        members = [] if group is None else self._groups.scope(scope).local_members(group[0])
        if not members or rights is None:
            return
        self._messages.limits = rights.limits
        try:
            message = self._messages.decode(msgspec.Raw(what))
        except Exception as error:  # the records of the program check themselves
            self._notices.warn("dropped what node %s said to the group %r: %s", node, group, safe_str(error))
            return
        self._distribution.node.dispatcher.run_then_dispatch(hand_out, members, message)

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
