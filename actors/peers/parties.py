"""The parties to a net of nodes, as `Distribution` sees them: node links and their source, nodes, a mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.peers.remote_refs import PeerCarrier

if TYPE_CHECKING:
    import trio

    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.peers.site import Site
    from enfilade.actors.peers.watchers import Watchers
    from enfilade.transport.attachment import Attachment

__all__ = ["Given", "Link", "Meeting", "MeshPart", "Remote"]

Given = tuple[Sequence[Any], Mapping[str, Any]]
"""Positional and keyword arguments."""


class Link(Protocol):
    """A node link: `enfilade.transport.peer.Peer`."""

    @property
    def name(self) -> str: ...

    @property
    def carrier(self) -> Any: ...

    @property
    def identity(self) -> Any: ...

    @property
    def rights(self) -> Any: ...

    @property
    def ended(self) -> trio.Event: ...

    def end(self, reason: str) -> None: ...


class Meeting(Protocol):
    """The source of node links: `enfilade.transport.rendezvous.Rendezvous`."""

    @property
    def peers(self) -> Mapping[str, Link]: ...

    @property
    def ways(self) -> Sequence[Any]: ...

    @property
    def kept(self) -> Mapping[str, Any]: ...

    nearer: Callable[[str], str | None]

    def resolve(self, address: str) -> str: ...

    def open(self, addresses: Sequence[str], nursery: trio.Nursery) -> AbstractAsyncContextManager[None]: ...

    async def connect(self, address: str) -> Link: ...

    async def keep(self, address: str) -> None: ...

    def start_soon(self, run: Callable[..., Any], *args: Any) -> None: ...


class Remote(PeerCarrier, Protocol):
    """One start of another node: `remote_node.RemoteNode`."""

    address: str
    is_superseded: bool

    def ask_whereis(self, name: str, then: Callable[[Any], None]) -> int: ...

    def ask_spawn(
        self, entry: str, given: Given, then: Callable[[Any], None], parent: Ref[Any] | None = None
    ) -> int: ...

    def abandon(self, number: int) -> None: ...

    async def call(self, connect: Callable[[str], Any], call: int) -> None: ...

    @property
    def references(self) -> int: ...

    @property
    def copying(self) -> int: ...

    @property
    def ledger(self) -> Any: ...

    def pending(self) -> dict[str, int]: ...

    def take_in(self, frames: Sequence[Any], handles: Sequence[Attachment]) -> None: ...

    def connected(self, peer: Any) -> None: ...

    def tell_free(self, kind: str, shard: int) -> None: ...

    def tell_members(self, scope: str, group: Any, refs: Sequence[Ref[Any]]) -> None: ...

    def finish(self) -> None: ...

    def lost(self) -> None: ...


class MeshPart(Protocol):
    """The mesh that the node is in: `mesh.view.MeshView`."""

    @property
    def groups(self) -> Any: ...

    @property
    def kinds_or_none(self) -> Any: ...

    @property
    def names_or_none(self) -> Any: ...

    @property
    def seekers(self) -> Watchers: ...

    def knows(self, name: str) -> bool: ...

    def incarnation_of(self, name: str) -> int: ...

    def sites(self) -> list[Site]: ...
