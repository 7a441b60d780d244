"""Refs that pass between nodes.

A ref travels as the name and incarnation of its home node, the serial number there, a token, and where that
node can be called. The token proves that the home node has handed the ref out.

The node that a ref is sent to may use it, because sending it granted it. When it passes the ref on, the third
node presents the token on its own node link before the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.errors import Refused
from enfilade.actors.messages.ref import NameRef, Ref, RemoteRef
from enfilade.actors.peers.remote_refs import HeldRef, PeerCarrier, RemoteNameRef
from enfilade.actors.processes.links import Alias
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution

__all__ = ["RefPassing"]


class Granted:
    """What one peer may address: the refs of this node that were sent to it, or that it has a token for."""

    def __init__(self) -> None:
        self._refs: dict[int, Ref[Any] | None] = {}

    def __len__(self) -> int:
        return len(self._refs)

    def __contains__(self, serial: int) -> bool:
        return serial in self._refs

    def __getitem__(self, serial: int) -> Ref[Any] | None:
        """The ref; None when it was granted and is known to be dead."""
        return self._refs[serial]

    def add(self, serial: int, ref: Ref[Any] | None, limit: int) -> bool:
        """Grant one more; false when the peer holds `limit` living ones already."""
        if serial not in self._refs:
            if len(self._refs) >= limit:
                self._refs = {known: held for known, held in self._refs.items() if _lives(held)}
                if len(self._refs) >= limit:
                    return False
            self._refs[serial] = ref
        return True


def _lives(ref: Ref[Any] | None) -> bool:
    if isinstance(ref, Alias):
        return ref.active
    process = process_of(ref)
    return process is not None and process.ended is None


class RefPassing:
    """How refs pass between this node and one other.

    Attributes:
        granted: what the other may address.
    """

    def __init__(self, distribution: Distribution, remote: PeerCarrier) -> None:
        self.granted = Granted()
        self._distribution = distribution
        self._remote = remote

    def grant(self, ref: Ref[Any]) -> None:
        """Let the other node address a ref of this one.

        Raises:
            Refused: it holds as many as it may.
        """
        if not self.granted.add(ref.serial, ref, self._remote.most_references):
            held = f"node {self._remote.node_name} holds {len(self.granted)} refs of this node"
            raise Refused(f"{held}, which is the limit; no more can be sent to it")

    def present(self, serial: int, token: bytes) -> bool:
        """The other node has been handed a ref by a third; false when its token is forged."""
        handouts = self._distribution.handouts
        if not handouts.is_token(serial, token):
            return False
        self.granted.add(serial, handouts.living(serial), self._remote.most_references)
        return True

    def lower(self, ref: Ref[Any]) -> list[Any]:
        """What travels of a ref."""
        target: int | str
        token = b""
        if isinstance(ref, RemoteRef):
            address = self._distribution.remote_node(ref.node_name, ref.incarnation, "").address
            target = ref.target if isinstance(ref, RemoteNameRef) else ref.serial
            if isinstance(ref, HeldRef):
                token = ref.token
        else:
            address = self._distribution.address
            if isinstance(ref, NameRef):
                target = ref.name
            else:
                self.grant(ref)
                target, token = ref.serial, self._distribution.handouts.token(ref)
        return [ref.node_name, ref.incarnation, target, token, address]

    def revive(self, fields: list[Any]) -> Ref[Any]:
        """The ref of what travelled."""
        name, incarnation, target, token, address = fields
        node = self._distribution.node
        if (name, incarnation) == (node.full_name, node.incarnation):
            return node.named(target) if isinstance(target, str) else self._distribution.local(target, token)
        carrier = self._distribution.remote_node(name, incarnation, address)
        if isinstance(target, str):
            return RemoteNameRef(node, carrier, target)
        ref: HeldRef = HeldRef(node, carrier, target, token)
        if carrier is self._remote:
            ref.shown_to = carrier.peer
        return ref

    def forget(self) -> None:
        """The node link is over, and with it what it granted."""
        self.granted = Granted()
