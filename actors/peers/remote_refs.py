"""Refs to processes of other nodes.

A `HeldRef` carries the token that proves that its serial number was handed out by its home node, and
remembers the node link that has seen it, so that it is presented once and only where it has to be.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.messages.ref import Carrier, RemoteRef

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.transport.wire import Keyed

__all__ = ["HeldRef", "PeerCarrier", "RemoteNameRef"]


class PeerCarrier(Carrier, Protocol):
    """The carrier of a node that may have a node link now."""

    @property
    def peer(self) -> object | None:
        """The node link, or None."""

    @property
    def most_references(self) -> int:
        """Number of refs of this node that it may hold."""

    @property
    def proofs(self) -> MutableMapping[tuple[int, bytes], Proof]:
        """The proofs of the refs to its processes that are in use here."""


class Proof:
    """The use of a token over a node link: one for all refs of this node that have the token.

    Attributes:
        shown_to: the node link that has seen the proof.
        boundless_for: the node link over which it was said that its mailbox has no bound.
    """

    __slots__ = ("__weakref__", "boundless_for", "shown_to")

    def __init__(self, shown_to: object = None) -> None:
        self.shown_to = shown_to
        self.boundless_for: object = None


class HeldRef(RemoteRef[Any]):
    """A ref to a process of another node, with the token that proves that it was handed out.

    Attributes:
        target: its serial number there: how frames name it.
        token: the proof, which its home node or a third one has sent; empty when none is needed.
        proof: who has seen it.
    """

    __slots__ = ("proof", "target", "token")

    def __init__(
        self,
        home: Node,
        carrier: PeerCarrier,
        serial: int,
        token: bytes = b"",
        limit: float | None = None,
        proof: Proof | None = None,
    ) -> None:
        super().__init__(home, carrier, serial, limit)
        self.target = serial
        self.token = token
        if proof is not None:
            self.proof = proof
        elif token:
            self.proof = carrier.proofs.setdefault((serial, token), Proof())
        else:
            self.proof = Proof(carrier.peer)

    def _limited_to(self, seconds: float) -> HeldRef:
        return HeldRef(
            self._home,
            self._carrier,  # type: ignore[arg-type]
            self.target,
            self.token,
            seconds,
            self.proof,
        )


class RemoteNameRef(RemoteRef[Any]):
    """A name on another node; signals reach the process that holds it when they arrive there.

    Attributes:
        target: the name, or the key of an actor: how frames name the process.
    """

    __slots__ = ("target",)

    is_name = True

    def __init__(
        self, home: Node, carrier: PeerCarrier, target: str | Keyed, limit: float | None = None
    ) -> None:
        super().__init__(home, carrier, 0, limit)
        self.target = target

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RemoteNameRef)
            and self.target == other.target
            and self.node_name == other.node_name
            and self.incarnation == other.incarnation
        )

    def __hash__(self) -> int:
        return hash(self.target)

    def __repr__(self) -> str:
        return f"<{self.node_name}:{self.target}>"

    def _limited_to(self, seconds: float) -> RemoteNameRef:
        return RemoteNameRef(self._home, self._carrier, self.target, seconds)  # type: ignore[arg-type]
