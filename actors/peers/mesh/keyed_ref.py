"""Refs to keyed actors: they reach the actor of a key, on whichever node it is, and start it if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.messages import signals
from enfilade.actors.messages.ref import HomeRef, Ref
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.peers.mesh.sought_ref import Seeker, SoughtRef

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.transport.wire import Keyed

__all__ = ["ArrivedRef", "HereRef", "KeyedRef"]


class Kinds(Seeker, Protocol):
    """The keyed actors of the mesh: `keyed.KeyedActors`."""

    def deliver(self, ref: KeyedRef, signal: signals.Signal) -> None: ...

    def deliver_here(self, ref: HereRef, signal: signals.Signal) -> None: ...

    def take_in(self, ref: ArrivedRef, signal: signals.Signal) -> None: ...


class _KeyRef(HomeRef[Any]):
    """What refs to keyed actors share: a kind and a key instead of a process.

    Attributes:
        kind: the name of the kind.
        key: the key; empty for a single actor.
    """

    __slots__ = ("_kinds", "key", "kind")

    is_name = True

    def __init__(self, node: Node, kinds: Kinds, kind: str, key: str, limit: float | None = None) -> None:
        self._home = node
        self._kinds = kinds
        self.kind = kind
        self.key = key
        self.limit = limit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _KeyRef) and (self.kind, self.key) == (other.kind, other.key)

    def __hash__(self) -> int:
        return hash((self.kind, self.key))

    def __repr__(self) -> str:
        return f"<{safe_str(self.kind)}/{safe_str(self.key)}>" if self.key else f"<{safe_str(self.kind)}>"

    def _limited_to(self, seconds: float) -> Ref[Any]:
        return type(self)(self._home, self._kinds, self.kind, self.key, seconds)


class HereRef(_KeyRef):
    """The actor of a key whose shard this node has; it runs, or is started now."""

    __slots__ = ()

    def deliver(self, signal: signals.Signal) -> None:
        self._kinds.deliver_here(self, signal)


class ArrivedRef(_KeyRef):
    """The actor of a key that another node takes this one to have.

    Attributes:
        target: how the other node's frame names it.
    """

    __slots__ = ("target",)

    def __init__(self, node: Node, kinds: Kinds, target: Keyed) -> None:
        super().__init__(node, kinds, target.kind, target.key)
        self.target = target

    def deliver(self, signal: signals.Signal) -> None:
        self._kinds.take_in(self, signal)


class KeyedRef(SoughtRef, _KeyRef):
    """The actor of a key, or the single actor of a kind, on whichever node of the mesh it is.

    Messages and calls start it, wherever its shard is; what comes while the shard has no node waits. A call,
    or an order to stop, that was certainly not carried out, because the actor is on another node by now, is
    made again, within its time limit. To monitor it is to watch the actor that there is now, and an exit
    signal is for that one: both ask the registry who has it. It cannot be linked to. `send_wait`
    waits for the way to its node, and for room in its mailbox on this node only. Two are equal when their
    kinds and keys are.
    """

    __slots__ = ("_seeker",)

    def __init__(self, node: Node, kinds: Kinds, kind: str, key: str, limit: float | None = None) -> None:
        super().__init__(node, kinds, kind, key, limit)
        self._seeker = kinds

    def deliver(self, signal: signals.Signal) -> None:
        if isinstance(signal, signals.Link):
            raise TypeError(f"{self} is a key, which has one actor after another: monitor it instead")
        self._kinds.deliver(self, signal)
