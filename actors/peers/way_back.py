"""The way back to another node, as the inward half of a `RemoteNode` sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.messages import signals
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import RemoteRef
from enfilade.actors.peers.remote_refs import HeldRef
from enfilade.actors.peers.tokens import Giving
from enfilade.transport import wire
from enfilade.transport.attachment import Attachment

if TYPE_CHECKING:
    from enfilade.transport.peer import Peer

__all__ = ["Outward"]


class Outward(Protocol):
    """The other direction, which carries the answers: `remote_node.RemoteNode`."""

    @property
    def node_name(self) -> str: ...

    @property
    def peer(self) -> Peer | None: ...

    def deliver(self, ref: RemoteRef[Any], signal: signals.Signal) -> None: ...

    def reply(self, number: int, succeeded: bool, value: Any) -> None: ...

    def answer(self, number: int, succeeded: bool, value: Any) -> None: ...

    def say(self, frame: wire.Frame, files: Sequence[Attachment] = ()) -> None: ...

    def encode(self, value: Any, giving: Giving = ...) -> tuple[Any, Sequence[Attachment], bool]: ...

    def encode_reason(self, reason: Reason) -> Any: ...

    def ref(self, serial: int) -> HeldRef: ...
