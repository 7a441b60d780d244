"""A node's part in a net of nodes: the peers, and what may be asked of them.

This file does not know how signals travel; `peering.py` brings it together with the node links of
`transport`.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.reasons import NO_CONNECTION, NO_PROCESS, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.peers.named_node import NamedNode
from enfilade.actors.peers.offspring import Offspring
from enfilade.actors.peers.parties import Given, Meeting, MeshPart, Remote
from enfilade.actors.peers.peer_host import PeerHost
from enfilade.actors.peers.remote_groups import RemoteGroups
from enfilade.actors.peers.remote_refs import HeldRef, PeerCarrier, RemoteNameRef
from enfilade.actors.peers.site import Site
from enfilade.actors.peers.standing import Standing, standings_of
from enfilade.actors.peers.tokens import Handouts
from enfilade.transport.carrier import CarrierError

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Distribution"]

DRAINING_PAUSE: Final = 0.02
"""Seconds between two looks for what has yet to end before a node leaves."""


class Distribution:
    """A node's part in a net of nodes. Made by `distributed`.

    Attributes:
        node: the node.
        address: where it can be called, or empty. Of several addresses the first, which is a door's.
        entries: what peers may spawn, by name, as far as the policy lets them.
        offspring: what they have spawned.
        groups: the groups of this node and of its peers.
        host: what is told of node links.
        is_running: whether other nodes can be called.
    """

    def __init__(
        self,
        node: Node,
        make_remote: Callable[[Distribution, str, int], Remote],
        *,
        addresses: Sequence[str],
        entries: Mapping[str, Any],
    ) -> None:
        self.node = node
        self._mesh: MeshPart | None = None
        self.address = ""
        self._addresses = addresses
        self.entries = entries
        self.handouts = Handouts(node)
        self.offspring = Offspring(node)
        self.rendezvous: Meeting
        self._make_remote = make_remote
        self._nodes: weakref.WeakValueDictionary[tuple[str, int], Remote] = weakref.WeakValueDictionary()
        self._current: dict[str, Remote] = {}
        self._named: weakref.WeakValueDictionary[str, NamedNode] = weakref.WeakValueDictionary()
        self.groups = RemoteGroups(node.groups, self.remotes)
        self.host = PeerHost(node, self._current, self.remote_node, self.groups, self.offspring)
        self.is_running = False
        self._troubles: dict[str, str] = {}
        self._on_kill: Callable[[str], None] | None = None

    @async_block
    async def running(self) -> AsyncIterator[None]:
        """Connect and be connected for the length of a block."""
        addresses = [self.rendezvous.resolve(each) for each in self._addresses]
        self.address = addresses[0] if addresses else ""
        async with self.rendezvous.open(addresses, self.node.nursery):
            self.is_running = True
            self.groups.begin()
            error: BaseException | None = None
            try:
                yield
            except BaseException as raised:
                error = raised  # which is the program's, and no business of the rendezvous
            self.groups.end()
            for remote in self._current.values():
                remote.finish()
            self.is_running = False
        if error is not None:
            raise error

    # What users ask for.

    def enter(self, mesh: MeshPart) -> None:
        """Take note of the mesh that the node is in."""
        self._mesh = mesh
        self.groups.published = mesh.groups

    @property
    def mesh(self) -> Any:
        """See `services.Peers.mesh`."""
        if self._mesh is None:
            name = self.node.full_name
            raise NotConnected(name, f"node {name} is in no mesh: open it with `mesh=`")
        return self._mesh

    @property
    def kinds(self) -> Any:
        """The keyed actors of the mesh: a `mesh.keyed.KeyedActors`; None without a registry."""
        return None if self._mesh is None else self._mesh.kinds_or_none

    @property
    def names(self) -> Any:
        """The global names of the mesh: a `mesh.global_names.GlobalNames`; None without a registry."""
        return None if self._mesh is None else self._mesh.names_or_none

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of the nodes that are connected."""
        return tuple(self.rendezvous.peers)

    def remotes(self) -> list[Remote]:
        """The nodes that are connected."""
        return [remote for remote in self._current.values() if remote.peer is not None]

    def standings(self) -> list[Standing]:
        """See `services.Peers.standings`."""
        return standings_of(self.rendezvous, self._current.get, self.node.timers.now())

    def rights_of(self, peer: str) -> Any:
        """See `services.Peers.rights_of`."""
        found = self.rendezvous.peers.get(peer)
        if found is None:
            raise NotConnected(peer)
        return found.rights

    def ask_whereis(self, peer: str, name: str, then: Callable[[Any], None]) -> None:
        """See `services.Peers.ask_whereis`."""
        self._peer_node(peer).ask_whereis(name, then)

    async def connect(self, address: str) -> str:
        """See `services.Peers.connect`."""
        _check_text(address, "an address")
        if self._mesh is not None and address.removeprefix("mesh:") == self.node.full_name:
            raise CarrierError(f"{self.node.full_name} is this node itself")
        address = self.rendezvous.resolve(address)
        peer = await self.rendezvous.connect(address)
        self._current[peer.name].address = address
        return peer.name

    def keep_connected(self, address: str) -> None:
        """See `services.Peers.keep_connected`."""
        _check_text(address, "an address")
        self.start_soon(self.rendezvous.keep, self.rendezvous.resolve(address))

    def disconnect(self, name: str) -> None:
        """End the node link to a node at once. Not a checkpoint."""
        peer = self.rendezvous.peers.get(name)
        if peer is not None:
            peer.end("this node has disconnected")

    def remote(self, name: str, peer: str) -> Ref[Any]:
        """See `services.Peers.remote`."""
        _check_text(name, "a name")
        _check_text(peer, "the name of a node")
        if peer in self.rendezvous.peers or not self._may_meet(peer):
            return self.far(name, peer)
        return RemoteNameRef(self.node, self._named.setdefault(peer, NamedNode(self, peer)), name)

    def _may_meet(self, name: str) -> bool:
        """Tell whether a text can be the name of another node of the mesh."""
        is_name = name.count("@") == 1 and "/" not in name
        return self._mesh is not None and is_name and name != self.node.full_name

    def met(self, name: str) -> Remote | None:
        """Return the record of a peer that is connected; None when it is not."""
        remote = self._current.get(name)
        return None if remote is None or remote.peer is None else remote

    def incarnation_of(self, name: str) -> int:
        """Return which start of a node is known now; 0 when none is."""
        met = self.met(name)
        if met is not None:
            return met.incarnation
        return 0 if self._mesh is None else self._mesh.incarnation_of(name)

    def far(self, target: Any, peer: str) -> Ref[Any]:
        """Return a ref to what a frame names on a peer: a name, or the key of an actor."""
        return RemoteNameRef(self.node, self._peer_node(peer), target)

    async def tell_free(self, peer: str, kind: str, shard: int) -> None:
        """Tell a node of the mesh that it can have a shard of a kind. A checkpoint.

        Raises:
            NotConnected: it cannot be reached.
        """
        (await self.meet(peer)).tell_free(kind, shard)

    async def whereis_on(self, peer: str, name: str) -> Ref[Any] | None:
        """See `services.Peers.whereis_on`."""
        _check_text(name, "a name")
        remote = await self.meet(peer)
        return await self._answer(remote, lambda then: remote.ask_whereis(name, then))  # type: ignore[no-any-return]

    async def spawn_on(self, peer: str, entry: str, /, *args: Any, **kwargs: Any) -> Ref[Any]:
        """See `services.Peers.spawn_on`."""
        _check_text(entry, "an entry")
        remote = await self.meet(peer)
        return await self._answer(  # type: ignore[no-any-return]
            remote, lambda then: remote.ask_spawn(entry, (args, kwargs), then)
        )

    def start_on(
        self,
        peer: str,
        entry: str,
        parent: Ref[Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        then: Callable[[Any], None],
    ) -> Callable[[], None]:
        """See `services.Peers.start_on`."""
        if self._mesh is not None and self.is_running and peer not in self.rendezvous.peers:
            return self._reach_and_start(peer, entry, (args, kwargs), parent, then)
        remote = self._peer_node(peer)
        number = remote.ask_spawn(entry, (args, kwargs), then, parent)
        return lambda: remote.abandon(number)

    def _reach_and_start(
        self, peer: str, entry: str, given: Given, parent: Ref[Any], then: Callable[[Any], None]
    ) -> Callable[[], None]:
        """Connect to a node of the mesh first; otherwise as `start_on`."""
        scope = trio.CancelScope()
        ways_out: list[Callable[[], None]] = [scope.cancel]

        async def reach() -> None:
            answer: Any = NO_CONNECTION
            with scope:
                try:
                    remote = await self.meet(peer)
                    self._troubles.pop(peer, None)
                    if not scope.cancel_called:
                        number = remote.ask_spawn(entry, given, then, parent)
                        ways_out.append(lambda: remote.abandon(number))
                        return
                except NotConnected as error:
                    is_known, self._troubles[peer] = self._troubles.get(peer) == str(error), str(error)
                    self.host.attempt_failed(peer, error, is_known=is_known)
                except Exception as error:  # an argument that cannot travel
                    answer = error
            if not scope.cancel_called:
                then(answer)

        self.start_soon(reach)
        return lambda: ways_out[-1]()

    def monitor_nodes(self, ref: Ref[Any]) -> None:
        """Have `NodeUp` and `NodeDown` sent to `ref`, until it ends. Not a checkpoint."""
        self.host.watchers.add(ref)

    def demonitor_nodes(self, ref: Ref[Any]) -> None:
        """Stop sending `NodeUp` and `NodeDown` to `ref`. Not a checkpoint."""
        self.host.watchers.remove(ref)

    def sites(self) -> list[Site]:
        """See `services.Peers.sites`."""
        found = [] if self._mesh is None else self._mesh.sites()
        known = {site.name for site in found}
        found += [Site(name) for name in self.peers if name not in known]
        return [site for site in found if not site.is_leaving]

    def monitor_sites(self, ref: Ref[Any]) -> None:
        """See `services.Peers.monitor_sites`."""
        self.host.watchers.add(ref)
        if self._mesh is not None:
            self._mesh.seekers.add(ref)

    def listen_for_kills(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the name of each node on which this one kills a process."""
        self._on_kill = listener

    def killing(self, peer: str) -> None:
        """Note that a `KILL` is on its way to a process of the node `peer`."""
        if self._on_kill is not None:
            self._on_kill(peer)

    def _peer_node(self, name: str) -> Remote:
        remote = self.met(name)
        if remote is None:
            connected = ", ".join(self.peers) or "none"
            if name == self.node.full_name:
                itself = "it is this node itself: use `whereis`, `named` and `spawn`"
                raise NotConnected(name, f"node {safe_repr(name)} is not connected: {itself}")
            raise NotConnected(name, f"node {safe_repr(name)} is not connected; connected nodes: {connected}")
        return remote

    async def meet(self, name: str) -> Remote:
        """Return the record of a peer; in a mesh, connect to it first if that is needed. A checkpoint then.

        Raises:
            NotConnected: it is not connected, or cannot be reached.
        """
        _check_text(name, "the name of a node")
        if self._mesh is not None and name not in self.rendezvous.peers:
            try:
                await self.connect(name)
            except Exception as error:
                raise NotConnected(
                    name, f"node {safe_repr(name)} is not connected: {safe_str(error)}"
                ) from error
        return self._peer_node(name)

    async def _answer(self, remote: Remote, ask: Callable[[Callable[[Any], None]], int]) -> Any:
        answered = trio.Event()
        answers: list[Any] = []

        def then(answer: Any) -> None:
            answers.append(answer)
            answered.set()

        number = ask(then)
        try:
            await answered.wait()
        except trio.Cancelled:
            remote.abandon(number)
            raise
        answer = answers.pop()
        if isinstance(answer, Reason):
            raise NotConnected(remote.node_name)
        try:
            if isinstance(answer, BaseException):
                raise answer
            return answer
        finally:
            del answer  # whose traceback holds this frame

    async def drain(self) -> None:
        """Start nothing more for peers, end what their supervisors have here, and wait until the calls of
        peers that are being carried out are answered. A checkpoint.
        """
        away = self.offspring.shut_down()
        while any(process.ended is None for process in away) or self._is_answering():  # noqa: ASYNC110 - once
            await trio.sleep(DRAINING_PAUSE)

    def _is_answering(self) -> bool:
        return any(remote.pending()["answering"] for remote in self._current.values())

    # What remote nodes ask for.

    def start_soon(self, run: Callable[..., Any], *args: Any) -> None:
        """Run a task until the node stops."""
        self.rendezvous.start_soon(run, *args)

    def local(self, serial: int, token: bytes) -> Ref[Any]:
        """Return the ref of this node that a peer sent; one that is forged or dead reaches nobody."""
        ref = self.handouts.living(serial) if self.handouts.giving(serial, token) else None
        if ref is None:
            nowhere = self.remote_node(self.node.full_name, self.node.incarnation, "")
            ref = HeldRef(self.node, nowhere, serial, token)
        return ref

    def remote_node(self, name: str, incarnation: int, address: str) -> Remote:
        """Find the record of one start of a node, or make it."""
        remote = self._nodes.get((name, incarnation))
        if remote is None:
            remote = self._nodes[name, incarnation] = self._make_remote(self, name, incarnation)
        if address and not remote.address:
            remote.address = address
        return remote

    def address_for(self, remote: PeerCarrier, name: str, address: str) -> str:
        """Return the address of a node as another one can use it: in a mesh, nodes are called by their names.

        Args:
            remote: the other one.
            name: the full name of the node.
            address: where this node calls it.
        """
        peer = self.rendezvous.peers.get(remote.node_name)
        if peer is None or peer.identity.credentials.mesh is None or not address.startswith("/"):
            return address
        return name if self._mesh is not None and self._mesh.knows(name) else ""

    def no_way_to(self, ref: Ref[Any]) -> str:
        """Say why a process cannot be reached whose node is not connected, and has no address here."""
        if self._mesh is None or self._mesh.knows(ref.node_name):
            return f"{ref} cannot be reached: its node is not connected"
        where = "it can be reached on its own machine only"
        return f"{ref} cannot be reached: node {ref.node_name} is not in the mesh; {where}"

    def is_over(self, remote: Remote) -> bool:
        """Tell whether that start of the node is known to have ended, because a later one is known."""
        return remote.is_superseded or remote.node_name == self.node.full_name

    def reason_for(self, remote: Remote) -> Reason:
        """Give the reason why a node without a node link cannot be reached."""
        return NO_PROCESS if self.is_over(remote) else NO_CONNECTION

    def may_call(self, remote: Remote) -> bool:
        """Tell whether a node without a node link can be called."""
        return bool(remote.address) and self.is_running and not self.is_over(remote)

    def call_on_demand(self, remote: Remote, call: int) -> None:
        """Call a node in order to deliver what waits for the call of that number; see `waiting.Waiting`."""
        self.start_soon(remote.call, self.rendezvous.connect, call)


def _check_text(given: object, what: str) -> None:
    """Refuse what is no text where it is given, and not where it is taken apart."""
    if not isinstance(given, str):
        raise TypeError(f"{what} must be a string, got {safe_repr(given)}")
