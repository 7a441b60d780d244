"""A node's part in a net of nodes: the peers, what may be asked of them, and the watchers of their coming and
going.

This file does not know how signals travel; `peering.py` brings it together with the node links of
`transport`.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.errors import NodeStopped, NotConnected, RuntimeFault
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.loop_bypass import tasks_runnable
from enfilade.actors.messages.reasons import NO_CONNECTION, NO_PROCESS, SHUTDOWN, Reason
from enfilade.actors.messages.ref import Ref, RemoteRef
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.node.groups import Joined, Left
from enfilade.actors.peers.events import NodeDown, NodeUp
from enfilade.actors.peers.named_node import NamedNode
from enfilade.actors.peers.notices import Notices
from enfilade.actors.peers.offspring import Offspring
from enfilade.actors.peers.parties import Given, Link, Meeting, Remote
from enfilade.actors.peers.remote_refs import HeldRef, PeerCarrier, RemoteNameRef
from enfilade.actors.peers.site import Site
from enfilade.actors.peers.standing import Standing, standings_of
from enfilade.actors.peers.tokens import Handouts
from enfilade.actors.peers.watchers import Watchers
from enfilade.actors.processes import links, start
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.transport.attachment import Attachment
from enfilade.transport.carrier import CarrierError

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Distribution"]

MOST_MEMBERS: Final = 10_000
"""Members that a group may have on one other node."""

MOST_REFUSALS: Final = 256
"""Number of refusal reasons to remember, so that each is logged as a warning only once."""

DRAINING_PAUSE: Final = 0.02
"""Seconds between two looks for what has yet to end before a node leaves."""


class Distribution:
    """A node's part in a net of nodes. Made by `distributed`.

    Attributes:
        node: the node.
        address: where it can be called, or empty. Of several addresses the first, which is a door's.
        entries: what peers may spawn, by name, as far as the policy lets them.
        offspring: what they have spawned.
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
        self._mesh: Any = None
        self.address = ""
        self._addresses = addresses
        self.entries = entries
        self.handouts = Handouts(node)
        self.offspring = Offspring(node)
        self._rising: Link | None = None  # the peer that is being welcomed,
        self._fallen: list[str] = []  # and why it has been lost meanwhile
        self.rendezvous: Meeting
        self._make_remote = make_remote
        self._nodes: weakref.WeakValueDictionary[tuple[str, int], Remote] = weakref.WeakValueDictionary()
        self._current: dict[str, Remote] = {}
        self._named: weakref.WeakValueDictionary[str, NamedNode] = weakref.WeakValueDictionary()
        self._watchers = Watchers()
        # The scopes in which other nodes have told of groups.
        self._scopes: dict[str, set[str]] = {}
        self._refusals: set[str] = set()
        self._notices = Notices()
        self.is_running = False
        self._is_draining = False
        self._troubles: dict[str, str] = {}
        self._on_kill: Callable[[str], None] | None = None

    @async_block
    async def running(self) -> AsyncIterator[None]:
        """Connect and be connected for the length of a block."""
        addresses = [self.rendezvous.resolve(each) for each in self._addresses]
        self.address = addresses[0] if addresses else ""
        async with self.rendezvous.open(addresses, self.node.nursery):
            self.is_running = True
            self.node.groups.listen(self._group_changed)
            if self._mesh is not None and self._mesh.groups is not None:
                self.node.groups.publish_by(self._mesh.groups.publish)
            for scope in self.node.groups.scopes():
                for group in scope.local() if self._publishes(scope.name) else ():
                    self._group_changed(Joined(scope.name, group, ()))
            error: BaseException | None = None
            try:
                yield
            except BaseException as raised:
                error = raised  # which is the program's, and no business of the rendezvous
            self.node.groups.listen(None)
            self.node.groups.publish_by(None)
            for remote in self._current.values():
                remote.finish()
            self.is_running = False
        if error is not None:
            raise error

    # What users ask for.

    def enter(self, mesh: Any) -> None:
        """Take note of the mesh that the node is in: a `mesh.view.MeshView`."""
        self._mesh = mesh

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
        return int(self._mesh.incarnation_of(name)) if met is None else met.incarnation

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
                    self.attempt_failed(peer, error, is_known=is_known)
                except Exception as error:  # an argument that cannot travel
                    answer = error
            if not scope.cancel_called:
                then(answer)

        self.start_soon(reach)
        return lambda: ways_out[-1]()

    def monitor_nodes(self, ref: Ref[Any]) -> None:
        """Have `NodeUp` and `NodeDown` sent to `ref`, until it ends. Not a checkpoint."""
        self._watchers.add(ref)

    def demonitor_nodes(self, ref: Ref[Any]) -> None:
        """Stop sending `NodeUp` and `NodeDown` to `ref`. Not a checkpoint."""
        self._watchers.remove(ref)

    def sites(self) -> list[Site]:
        """See `services.Peers.sites`."""
        found = [] if self._mesh is None else self._mesh.sites()
        known = {site.name for site in found}
        found += [Site(name) for name in self.peers if name not in known]
        return [site for site in found if not site.is_leaving]

    def monitor_sites(self, ref: Ref[Any]) -> None:
        """See `services.Peers.monitor_sites`."""
        self._watchers.add(ref)
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
        answer = answers[0]
        if isinstance(answer, Reason):
            raise NotConnected(remote.node_name)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def drain(self) -> None:
        """Start nothing more for peers, end what their supervisors have here, and wait until the calls of
        peers that are being carried out are answered. A checkpoint.
        """
        self._is_draining = True
        node = self.node
        away = [each for each in node.processes.values() if is_a(each.parent, RemoteRef)]
        for process in away:
            process.deliver(signals.Exit(node.ref, SHUTDOWN, linked=False))
        while any(process.ended is None for process in away) or self._is_answering():  # noqa: ASYNC110 - once
            await trio.sleep(DRAINING_PAUSE)

    def _is_answering(self) -> bool:
        return any(remote.pending()["answering"] for remote in self._current.values())

    # What remote nodes ask for.

    def start_soon(self, run: Callable[..., Any], *args: Any) -> None:
        """Run a task until the node stops."""
        self.rendezvous.start_soon(run, *args)

    async def spawn_for(
        self,
        scope: trio.CancelScope,
        target: Any,
        given: Given,
        parent: Ref[Any] | None,
    ) -> start.Started[LocalRef[Any]] | Exception | None:
        """Spawn what a peer asked for. Return the process, the error, or None when the scope was cancelled.

        With a `parent`, a process of the peer, it is that one's child, and linked to it before it starts.

        All keyword arguments are the target's: a peer gives no names, and has no say in what `Node.spawn`
        lets this program decide.
        """
        answer: start.Started[LocalRef[Any]] | Exception | None = None
        if self._is_draining:
            return NodeStopped(self.node.full_name)
        with scope:
            try:
                process = start.create(self.node)
                if parent is not None:
                    links.link_remote_parent(process, parent)
                info = await start.start(process, target, tuple(given[0]), given[1], None)
                answer = start.Started(process.ref, info)  # type: ignore[arg-type]
            except (RuntimeFault, TypeError) as error:
                answer = error
        return answer

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

    def _group_changed(self, event: Joined | Left) -> None:
        members = self.node.groups.scope(event.scope).local_members(event.group)
        if self._publishes(event.scope):
            self._mesh.groups.tell(event.scope, event.group, members)
            return
        for name in self.peers:
            self._current[name].tell_members(event.scope, event.group, members)

    def _publishes(self, scope: str) -> bool:
        """Tell whether the members of a scope's groups are told to the mesh, and not over each node link."""
        return self._mesh is not None and self._mesh.groups is not None and bool(self._mesh.groups.has(scope))

    def members_told(
        self, node_name: str, scope: str, group: Hashable, refs: Iterable[Any], most: int
    ) -> None:
        """Take note of the members that a group has on a peer.

        Raises:
            ValueError: the peer has told of `most` groups already.
        """
        members: list[Ref[Any]] = [
            ref for ref in refs if isinstance(ref, HeldRef) and ref.node_name == node_name
        ]
        if len(members) > MOST_MEMBERS:
            raise ValueError(
                f"a group may have {MOST_MEMBERS} members on another node, this one has {len(members)}"
            )
        scopes = self._scopes.setdefault(node_name, set())
        told = [self.node.groups.scope(known).remote_groups(node_name) for known in scopes]
        is_new = scope not in scopes or group not in self.node.groups.scope(scope).remote_groups(node_name)
        if is_new and sum(max(1, len(groups)) for groups in told) >= most:
            raise ValueError(f"the limit of {most} groups is reached")
        scopes.add(scope)
        self.node.groups.scope(scope).replace_remote_group(node_name, group, members)

    # What the rendezvous tells.

    def peer_up(self, peer: Link) -> None:
        """See `enfilade.transport.peer.Host`.

        What is sent here may end the node link before it returns. The news of that waits, so that whoever
        watches nodes hears first that the link was up.
        """
        identity = peer.identity
        remote = self.remote_node(identity.name, identity.incarnation, "")
        self._current.get(identity.name, remote).is_superseded = True
        self._current[identity.name] = remote
        remote.is_superseded = False
        log(logging.INFO, "node %s is connected", identity.name, extra=self._extra("node.up", identity.name))
        self._rising = peer
        remote.connected(peer)
        for scope in self.node.groups.scopes():
            if self._publishes(scope.name):
                continue
            for group, members in scope.local().items():
                remote.tell_members(scope.name, group, members)
        self._rising = None
        self._watchers.tell(NodeUp(identity.name))
        if self.node.hooks.node_up:
            call(self.node.hooks.node_up, identity.name)
        if self._fallen:
            self._tell_down(peer, self._fallen.pop())

    def peer_frames(self, peer: Link, frames: Sequence[Any], handles: Sequence[Attachment]) -> None:
        """See `enfilade.transport.peer.Host`."""
        take_in = self._current[peer.identity.name].take_in
        self.node.dispatcher.run_then_dispatch(take_in, frames, handles)

    def peer_down(self, peer: Link, reason: str) -> None:
        """See `enfilade.transport.peer.Host`."""
        extra = self._extra("node.down", peer.name)
        log(logging.INFO, "node %s is no longer connected: %s", peer.name, reason, extra=extra)
        self._current[peer.name].lost()
        self.offspring.forget_ended(peer.name)
        for scope in self._scopes.pop(peer.name, ()):
            self.node.groups.scope(scope).replace_remote(peer.name, {})
        if peer is self._rising:
            self._fallen.append(reason)
        else:
            self._tell_down(peer, reason)

    def _tell_down(self, peer: Link, reason: str) -> None:
        self._watchers.tell(NodeDown(peer.name, reason))
        if self.node.hooks.node_down:
            call(self.node.hooks.node_down, peer.name, reason)

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
        if self.node.hooks.node_refused:
            call(self.node.hooks.node_refused, reason)

    def tasks_runnable(self) -> int:
        """See `enfilade.transport.peer.Host`."""
        return tasks_runnable()

    def _extra(self, event: str, peer: str | None = None) -> dict[str, Any]:
        """The fields of a line of the log about a node link."""
        fields = {"node": self.node.full_name, "zone": self.node.zone, "event": event}
        return fields if peer is None else {**fields, "peer": peer}


def _check_text(given: object, what: str) -> None:
    """Refuse what is no text where it is given, and not where it is taken apart."""
    if not isinstance(given, str):
        raise TypeError(f"{what} must be a text, got {safe_repr(given)}")
