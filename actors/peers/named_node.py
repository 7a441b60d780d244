"""A node of the mesh that is known by its name alone: the way to what has a name there.

A ref to a name on a node that is not connected leads here. What is sent with it has the node called, and goes
on over the node link of whichever start of the node answers.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.reasons import NO_CONNECTION
from enfilade.actors.peers.ledger import CALLING, undeliverable
from enfilade.actors.peers.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from enfilade.actors.messages.ref import RemoteRef
    from enfilade.actors.node.node import Node
    from enfilade.actors.peers.parties import Remote
    from enfilade.actors.peers.remote_refs import Proof

__all__ = ["NamedNode"]


class Meeter(Protocol):
    """Meets nodes of the mesh by their names: `distribution.Distribution`."""

    node: Node

    @property
    def is_running(self) -> bool: ...

    def met(self, name: str) -> Remote | None: ...

    def incarnation_of(self, name: str) -> int: ...

    async def meet(self, name: str) -> Remote: ...

    def start_soon(self, run: Callable[..., Any], *args: Any) -> None: ...


class NamedNode:
    """Whichever start of a node of the mesh can be met: the carrier of refs to names there.

    Attributes:
        node_name: `name@zone`.
    """

    def __init__(self, meeter: Meeter, node_name: str) -> None:
        self.node_name = node_name
        self._meeter = meeter
        self._waiting = Waiting(meeter.node, node_name)

    @property
    def incarnation(self) -> int:
        """Which start of it is known now; 0 when none is."""
        return self._meeter.incarnation_of(self.node_name)

    @property
    def peer(self) -> object | None:
        """See `PeerCarrier`."""
        met = self._meeter.met(self.node_name)
        return None if met is None else met.peer

    @property
    def most_references(self) -> int:
        """See `PeerCarrier`."""
        met = self._meeter.met(self.node_name)
        return 0 if met is None else met.most_references

    @property
    def proofs(self) -> MutableMapping[tuple[int, bytes], Proof]:
        """See `PeerCarrier`: a name needs none."""
        return {}

    def deliver(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        """Carry a signal, behind those that wait; see `ref.Carrier`."""
        if self._waiting.is_open:
            self._waiting.add(ref, signal)
            return
        met = self._meeter.met(self.node_name)
        if met is not None:
            met.deliver(ref, signal)
        elif isinstance(signal, CALLING) and self._meeter.is_running:
            call = self._waiting.open()
            self._waiting.add(ref, signal)
            self._meeter.start_soon(self._meet, call)
        else:
            undeliverable(self._meeter.node, ref, signal, NO_CONNECTION)

    async def _meet(self, call: int) -> None:
        """Meet the node, and deliver what waits for it; fail what cannot be delivered."""
        trouble = f"node {self.node_name} was being called when this node stopped"
        try:
            met = await self._meeter.meet(self.node_name)
            self._waiting.deliver(met.deliver)
        except NotConnected as error:
            trouble = str(error)
        finally:
            self._waiting.fail(call, lambda ref, signal: self._fail(ref, signal, trouble))

    def _fail(self, ref: RemoteRef[Any], signal: signals.Signal, trouble: str) -> None:
        if isinstance(signal, signals.Call):
            signal.fail(NotConnected(self.node_name, trouble))
        else:
            undeliverable(self._meeter.node, ref, signal, NO_CONNECTION)

    def look(self) -> None:
        """See `ref.Carrier`."""
        met = self._meeter.met(self.node_name)
        if met is not None:
            met.look()

    def given_up(self, number: int) -> None:
        """See `ref.Carrier`."""
        met = self._meeter.met(self.node_name)
        if met is not None:
            met.given_up(number)

    async def send_wait(self, ref: RemoteRef[Any], message: Any) -> None:
        """Carry a message when there is room for it on the way; see `ref.Carrier`."""
        try:
            met = await self._meeter.meet(self.node_name)
        except NotConnected:
            undeliverable(self._meeter.node, ref, signals.Send(message), NO_CONNECTION)
        else:
            self._waiting.deliver(met.deliver)  # sent before, and perhaps by the same process
            await met.send_wait(ref, message)
