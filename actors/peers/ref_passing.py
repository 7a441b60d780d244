"""Refs that pass between nodes.

A ref travels as the name and incarnation of its home node, the serial number there, a token, and where that
node can be called. The token proves that the home node has handed the ref out.

The node that a ref is sent to may use it, because sending it granted it. When it passes the ref on, the third
node presents the token on its own node link before the first use. An error or an exit reason grants nothing:
it may hold refs of which the other side was never meant to hear. Such a ref names its process and reaches
nobody, unless the other had it already.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from enfilade.actors.messages.errors import Refused
from enfilade.actors.messages.ref import NameRef, NodeRef, Ref, RemoteRef
from enfilade.actors.node.sharing import CheckedRef
from enfilade.actors.peers.mesh.global_ref import GlobalRef
from enfilade.actors.peers.mesh.keyed_ref import KeyedRef
from enfilade.actors.peers.remote_refs import HeldRef, PeerCarrier, Proof, RemoteNameRef
from enfilade.actors.peers.tokens import Giving
from enfilade.actors.processes.links import Alias
from enfilade.actors.processes.local_ref import LocalRef, process_of
from enfilade.transport.payload import External
from enfilade.transport.records import PayloadError
from enfilade.transport.wire import Keyed

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution

__all__ = ["Named", "RefPassing"]

REF: Final = 16
"""The code of refs in payloads."""

REFS: Final = (
    *(LocalRef, CheckedRef, Alias, HeldRef, RemoteRef, RemoteNameRef, NameRef, NodeRef),
    *(KeyedRef, GlobalRef),
)
"""The classes of refs, which all travel."""

MOST_NODES: Final = 1000
"""Other nodes that a peer may make known here, by refs to their processes that are still held."""


class Granted:
    """The refs of this node that one peer may address: they were sent to it, or it has a token for them.

    Args:
        living: finds the process or alias of a serial number, if it lives.

    Attributes:
        refs: the refs, by their serial numbers; None for one that did not live when it was looked for last.
    """

    __slots__ = ("_living", "_whole", "refs")

    def __init__(self, living: Callable[[int], Ref[Any] | None]) -> None:
        self.refs: dict[int, Ref[Any] | None] = {}
        self._living = living
        self._whole: set[int] = set()

    def __len__(self) -> int:
        return len(self.refs)

    def __contains__(self, serial: int) -> bool:
        return serial in self.refs

    def __getitem__(self, serial: int) -> Ref[Any] | None:
        """Return the ref; None when it was granted, and lives no more, or not yet: a global name is claimed
        for the number of a process before that is made.
        """
        ref = self.refs[serial]
        if ref is None:
            ref = self.refs[serial] = self._living(serial)
        return ref

    def is_whole(self, serial: int) -> bool:
        """Tell whether it was granted with the authority to end what has no name."""
        return serial in self._whole

    def add(self, serial: int, ref: Ref[Any] | None, limit: int, giving: Giving) -> bool:
        """Grant one more; return false when the peer holds `limit` living ones already."""
        if serial not in self.refs:
            if len(self.refs) >= limit:
                self.refs = {known: held for known, held in self.refs.items() if _lives(held)}
                self._whole &= self.refs.keys()
                if len(self.refs) >= limit:
                    return False
            self.refs[serial] = ref
        if giving is Giving.WHOLE:
            self._whole.add(serial)
        return True


def _lives(ref: Ref[Any] | None) -> bool:
    if isinstance(ref, Alias):
        return ref.active
    process = process_of(ref)
    return process is not None and process.ended is None


@attrs.frozen
class Named:
    """A ref that gives nothing, wherever it stands: it travels as any ref, and arrives as one."""

    ref: Ref[Any]


class RefPassing:
    """Passes refs between this node and one other.

    Attributes:
        granted: what the other may address.
        giving: the authority that goes with the refs that are being encoded.
    """

    __slots__ = ("__dict__", "granted")

    def __init__(self, distribution: Distribution, remote: PeerCarrier) -> None:
        self.granted = Granted(distribution.handouts.living)
        self.giving = Giving.WHOLE
        self._distribution = distribution
        self._remote = remote
        self._named: weakref.WeakValueDictionary[tuple[str, int], Any] = weakref.WeakValueDictionary()

    def externals(self) -> list[External]:
        """Return the translations of refs, for a codec."""
        named = External(Named, REF, self.lower_named, self.revive)
        return [*(External(kind, REF, self.lower, self.revive) for kind in REFS), named]

    def grant(self, ref: Ref[Any]) -> None:
        """Let the other node address a ref of this one.

        Raises:
            Refused: it holds as many as it may.
        """
        if not self.granted.add(ref.serial, ref, self._remote.most_references, self.giving):
            held = f"node {self._remote.node_name} holds {len(self.granted)} refs of this node"
            raise Refused(f"{held}, which is the limit; no more can be sent to it")

    def present(self, serial: int, token: bytes) -> bool:
        """Grant a ref that the other node was sent by a third; return false when its token is forged."""
        handouts = self._distribution.handouts
        giving = handouts.giving(serial, token)
        if giving is Giving.NOTHING:
            return False
        self.granted.add(serial, handouts.living(serial), self._remote.most_references, giving)
        return True

    def lower(self, ref: Ref[Any]) -> list[Any]:
        """Lower a ref to the fields that travel."""
        if isinstance(ref, KeyedRef):
            return ["", 0, [ref.kind, ref.key], b"", ""]
        if isinstance(ref, GlobalRef):
            return ["", 0, [ref.name], b"", ""]
        target: int | str
        token = b""
        giving = self.giving
        if isinstance(ref, RemoteRef):
            if not ref.incarnation:
                raise PayloadError(f"{ref} cannot travel yet: this node has not met node {ref.node_name}")
            carrier = self._distribution.remote_node(ref.node_name, ref.incarnation, "")
            address = "" if giving is Giving.NOTHING else self._address(ref.node_name, carrier.address)
            target = ref.target if isinstance(ref, RemoteNameRef) else ref.serial  # type: ignore[assignment]
            if isinstance(target, Keyed):
                return ["", 0, [target.kind, target.key], b"", ""]
            if isinstance(ref, HeldRef) and giving is not Giving.NOTHING:
                token = ref.token
        else:
            address = self._address(ref.node_name, self._distribution.address)
            if isinstance(ref, NameRef):
                target = ref.name
            else:
                target = ref.serial
                if giving is not Giving.NOTHING:
                    self.grant(ref)
                if target in self.granted:
                    known = Giving.WHOLE if self.granted.is_whole(target) else Giving.ADDRESS
                    token = self._distribution.handouts.token(ref, known)
        return [ref.node_name, ref.incarnation, target, token, address]

    def _address(self, name: str, address: str) -> str:
        return self._distribution.address_for(self._remote, name, address)

    def lower_named(self, named: Named) -> list[Any]:
        """Lower a ref that gives nothing to the fields of any ref."""
        giving, self.giving = self.giving, Giving.NOTHING
        try:
            return self.lower(named.ref)
        finally:
            self.giving = giving

    def revive(self, fields: list[Any]) -> Ref[Any]:
        """Make a ref of the fields that travelled.

        Raises:
            PayloadError: they are none, or name one node too many.
        """
        name, incarnation, target, token, address = fields
        if type(target) is list:
            return self._revive_wherever(*target)
        if not (
            type(name) is str
            and _is_number(incarnation, 64)
            and (type(target) is str or _is_number(target, 63))
            and type(token) is bytes
            and type(address) is str
        ):
            raise PayloadError(
                "a ref must have a node, an incarnation, a number or a name, a token, an address"
            )
        node = self._distribution.node
        if (name, incarnation) == (node.full_name, node.incarnation):
            return node.named(target) if isinstance(target, str) else self._distribution.local(target, token)
        carrier = self._distribution.remote_node(name, incarnation, address)
        if carrier is not self._remote:
            self._named[name, incarnation] = carrier
            if len(self._named) > MOST_NODES:
                raise PayloadError(f"node {self._remote.node_name} names more than {MOST_NODES} other nodes")
        if isinstance(target, str):
            return RemoteNameRef(node, carrier, target)
        proof = Proof(carrier.peer) if carrier is self._remote else None
        return HeldRef(node, carrier, target, token, proof=proof)

    def _revive_wherever(self, *target: object) -> Ref[Any]:
        """Make a ref to a global name, or to a keyed actor, which are wherever the registry says.

        Raises:
            PayloadError: it names none, or this node is in no mesh with a registry.
        """
        names, kinds = self._distribution.names, self._distribution.kinds
        if names is None or kinds is None:
            raise PayloadError(
                "a ref to a global name or to a keyed actor is of use to nodes of a mesh with a registry only"
            )
        try:
            if len(target) == 1:
                return names.named(*target)  # type: ignore[no-any-return]
            return kinds.revived(*target)  # type: ignore[no-any-return]
        except (TypeError, ValueError) as error:
            raise PayloadError(str(error)) from None

    def forget(self) -> None:
        """Withdraw all that was granted, because the node link is over."""
        self.granted = Granted(self._distribution.handouts.living)


def _is_number(value: Any, bits: int) -> bool:
    return type(value) is int and 0 <= value < 2**bits
