"""The host of a node's node links: what a node does when one comes up, brings frames, and is over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.loop_bypass import tasks_runnable
from enfilade.actors.peers.events import NodeDown, NodeUp
from enfilade.actors.peers.notices import Notices
from enfilade.actors.peers.parties import Link, Remote
from enfilade.actors.peers.watchers import Watchers
from enfilade.transport.attachment import Attachment

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.peers.offspring import Offspring
    from enfilade.actors.peers.remote_groups import RemoteGroups

__all__ = ["PeerHost"]

MOST_REFUSALS: Final = 256
"""Number of refusal reasons to remember, so that each is logged as a warning only once."""


class PeerHost:
    """The owner of a node's node links: an `enfilade.transport.peer.Host`.

    Args:
        node: the node.
        remotes: the records of nodes as they are connected now, or were last, by their names; a link that is
            up enters its own.
        find: returns the record of one start of a node, by its name and incarnation.
        groups: what nodes tell one another of groups.
        offspring: what peers have started here.

    Attributes:
        watchers: the processes that are sent `NodeUp` and `NodeDown`.
    """

    def __init__(
        self,
        node: Node,
        remotes: dict[str, Remote],
        find: Callable[[str, int, str], Remote],
        groups: RemoteGroups,
        offspring: Offspring,
    ) -> None:
        self._node = node
        self._remotes = remotes
        self._find = find
        self._groups = groups
        self._offspring = offspring
        self.watchers = Watchers()
        self._rising: Link | None = None  # the peer that is being welcomed,
        self._fallen: list[str] = []  # and why it has been lost meanwhile
        self._refusals: set[str] = set()
        self._notices = Notices()

    def peer_up(self, peer: Link) -> None:
        """See `enfilade.transport.peer.Host`.

        What is sent here may end the node link before it returns. The news of that waits, so that whoever
        watches nodes hears first that the link was up.
        """
        identity = peer.identity
        remote = self._find(identity.name, identity.incarnation, "")
        self._remotes.get(identity.name, remote).is_superseded = True
        self._remotes[identity.name] = remote
        remote.is_superseded = False
        log(logging.INFO, "node %s is connected", identity.name, extra=self._extra("node.up", identity.name))
        self._rising = peer
        remote.connected(peer)
        self._groups.greet(remote)
        self._rising = None
        self.watchers.tell(NodeUp(identity.name))
        if self._node.hooks.node_up:
            call(self._node.hooks.node_up, identity.name)
        if self._fallen:
            self._tell_down(peer, self._fallen.pop())

    def peer_frames(self, peer: Link, frames: Sequence[Any], handles: Sequence[Attachment]) -> None:
        """See `enfilade.transport.peer.Host`."""
        take_in = self._remotes[peer.identity.name].take_in
        self._node.dispatcher.run_then_dispatch(take_in, frames, handles)

    def peer_down(self, peer: Link, reason: str) -> None:
        """See `enfilade.transport.peer.Host`."""
        extra = self._extra("node.down", peer.name)
        log(logging.INFO, "node %s is no longer connected: %s", peer.name, reason, extra=extra)
        self._remotes[peer.name].lost()
        self._offspring.forget_ended(peer.name)
        self._groups.forget(peer.name)
        if peer is self._rising:
            self._fallen.append(reason)
        else:
            self._tell_down(peer, reason)

    def _tell_down(self, peer: Link, reason: str) -> None:
        self.watchers.tell(NodeDown(peer.name, reason))
        if self._node.hooks.node_down:
            call(self._node.hooks.node_down, peer.name, reason)

    def attempt_failed(self, address: str, error: Exception, *, is_known: bool) -> None:
        """See `enfilade.transport.peer.Host`. Each reason is logged as a warning only once."""
        level = logging.INFO if is_known else logging.WARNING
        extra = self._extra("node.unreachable")
        log(level, "failed to connect to the node at %s: %s", address, error, extra=extra)

    def caller_refused(self, reason: str) -> None:
        """See `enfilade.transport.peer.Host`. Each reason is logged as a warning once, and no more than one
        reason a second.
        """
        level = logging.INFO if reason in self._refusals else logging.WARNING
        if len(self._refusals) >= MOST_REFUSALS:
            self._refusals.clear()
        self._refusals.add(reason)
        self._notices.warn("%s" if level == logging.WARNING else "again: %s", reason, level=level)
        if self._node.hooks.node_refused:
            call(self._node.hooks.node_refused, reason)

    def tasks_runnable(self) -> int:
        """See `enfilade.transport.peer.Host`."""
        return tasks_runnable()

    def _extra(self, event: str, peer: str | None = None) -> dict[str, Any]:
        """The fields of a line of the log about a node link."""
        fields = {"node": self._node.full_name, "zone": self._node.zone, "event": event}
        return fields if peer is None else {**fields, "peer": peer}
