"""Keyed actors: which node has the actor of a key, and how signals find the way to it.

Keys fall into shards, and the registry says which node holds a shard (`shard_keeper`). Who was found is
remembered until that node says otherwise, or leaves. What is sent while a shard has no node waits here, in
order, for a bounded time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallError, CallTimeout, Moved, NoProcess, NoQuorum, NotConnected
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import NO_PROCESS
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.short_text import check_short
from enfilade.actors.peers.ledger import undeliverable
from enfilade.actors.peers.mesh.activations import MOST_WAITING, Activations
from enfilade.actors.peers.mesh.keyed_ref import ArrivedRef, HereRef, KeyedRef
from enfilade.actors.peers.mesh.kind import LONGEST_KEY, Kind, check_name
from enfilade.actors.peers.remote_call import RemoteCall
from enfilade.actors.peers.remote_refs import RemoteNameRef
from enfilade.actors.peers.waiting import Line, Room
from enfilade.transport.mesh.claims import Claims, Fence, shard_key
from enfilade.transport.mesh.registry import NoAnswer
from enfilade.transport.mesh.shard_keeper import ShardKeeper
from enfilade.transport.mesh.shards import shard_of
from enfilade.transport.records import register
from enfilade.transport.wire import Keyed

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.actors.peers.mesh.sought_ref import TimeLimit
    from enfilade.actors.peers.parties import Remote
    from enfilade.actors.processes.process import Process
    from enfilade.transport.mesh.directory import MeshNode

__all__ = ["KeyedActors"]

register(Fence, name="enfilade.Fence")

logger = logging.getLogger("enfilade.mesh")

POLL_SECONDS: Final = 0.1
"""Time between looks for the node of a shard that has none."""

FRESH_SECONDS: Final = 0.1
"""Seconds for which the registry is believed about a node that is about to leave."""

PAUSE: Final = 0.1
"""Seconds before a call is made again to an actor that has moved: the registry may be behind."""

PATIENCE: Final = 1.5
"""Leases for which messages wait for a shard to have a node."""

LEASE_SECONDS: Final = 6.0
"""The length of leases while this node does not know it."""


@attrs.frozen
class _Run:
    """A kind that this node runs."""

    kind: Kind
    activations: Activations
    keeper: ShardKeeper


@attrs.define(eq=False)
class _Looking:
    """What waits until it is known which node has a shard, of so many as its kind has."""

    shards: int
    waiting: Line[tuple[KeyedRef, signals.Signal, bool]]
    over: trio.Event = attrs.field(factory=trio.Event)
    error: CallError | None = None


class KeyedActors:
    """The keyed actors of a mesh, as one node sees them; it seeks them for the refs of the node.

    Args:
        distribution: the part of the node in the net.
        claims: of the node.
        nodes: returns the nodes of the mesh, this one included.
        kinds: what this node runs, by name.
        announce: is called when the node may run another kind, or one less: the mesh is to hear of it.

    Attributes:
        announce: see above.
        kinds_run: what this node runs, by name.
        refusals: messages that found no room to wait.
    """

    absences = (Moved,)

    def __init__(
        self,
        distribution: Distribution,
        claims: Claims,
        nodes: Callable[[], Sequence[MeshNode]],
        kinds: Mapping[str, Kind],
        announce: Callable[[], None],
    ) -> None:
        self.node = distribution.node
        self.announce = announce
        self.refusals = 0
        self._distribution = distribution
        self._claims = claims
        self._nodes = nodes
        self._fellow_names: dict[str, tuple[str, ...]] = {}  # as long as nobody comes, goes or changes
        self._shard_counts: dict[str, int] = {}
        self._leaving: dict[str, dict[tuple[str, int], float]] = {}
        self._owners: dict[tuple[str, int], Remote] = {}
        self._looking: dict[tuple[str, int], _Looking] = {}
        self._room = Room()
        self._changed = trio.Event()
        self._is_draining = False
        self.kinds_run: dict[str, _Run] = {name: self._run_of(name, kind) for name, kind in kinds.items()}

    def _run_of(self, name: str, kind: Kind) -> _Run:
        activations = Activations(
            self.node,
            name,
            kind,
            self,
            lambda shard: keeper.held_now(shard),
            lambda shard, held, lost: keeper.guard(shard, held, lost),
            self._room,
        )
        keeper = ShardKeeper(
            name,
            kind.parts,
            self._claims,
            own=self.node.full_name,
            fellows=lambda: self._fellows(name),
            holder=_Shards(self, name, activations),
            rebalances=kind.rebalance,
        )
        return _Run(kind, activations, keeper)

    # What users ask for.

    def keyed(self, kind: str, key: str) -> KeyedRef:
        """See `MeshView.keyed`."""
        check_name(kind)
        check_short(key, LONGEST_KEY, "a key")
        return KeyedRef(self.node, self, kind, key)

    def single(self, kind: str) -> KeyedRef:
        """See `MeshView.single`."""
        check_name(kind)
        return KeyedRef(self.node, self, kind, "")

    def ref(self, kind: str, key: str) -> KeyedRef:
        """Return the ref of a key; what the runtime itself uses."""
        return KeyedRef(self.node, self, kind, key)

    def revived(self, kind: object, key: object) -> KeyedRef:
        """Return the ref of a key that another node has sent.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(kind, str) or not isinstance(key, str) or len(key.encode()) > LONGEST_KEY:
            raise ValueError("a ref to a keyed actor must have a kind and a key")
        check_name(kind)
        return self.ref(kind, key)

    def fence(self, process: Process) -> Fence | None:
        """Return the fence of the shard of a process; None when it is no keyed actor that may run now."""
        for run in self.kinds_run.values():
            shard = run.activations.shard_under(process)
            if shard is not None:
                held = run.keeper.held_now(shard)
                return None if held is None else held.fence
        return None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return numbers of each kind that this node runs: shards held, actors there are, actors that were
        started, and shards handed over.
        """
        return {
            name: {
                "shards": len(run.keeper.held),
                "activations": len(run.activations),
                "started": run.activations.started,
                "moves": run.keeper.moves,
            }
            for name, run in self.kinds_run.items()
        }

    # What this node runs.

    @property
    def announced(self) -> tuple[tuple[str, int], ...]:
        """The kinds that this node runs now, each with its number of shards: none without a lease."""
        if self._is_draining or not self._claims.lease_left:
            return ()
        return tuple((name, run.kind.parts) for name, run in self.kinds_run.items() if run.keeper.may_run)

    def is_fellow(self, node: MeshNode) -> bool:
        """Tell whether another node runs a kind that this one runs."""
        return any(node.shards_of(name) for name in self.kinds_run)

    def _fellows(self, kind: str) -> tuple[str, ...]:
        """Return the names of the other nodes that run a kind now."""
        found = self._fellow_names.get(kind)
        if found is None:
            own = self.node.full_name
            found = self._fellow_names[kind] = tuple(
                each.name
                for each in self._nodes()
                if each.name != own and not each.is_draining and each.shards_of(kind)
            )
        return found

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the shards of this node until cancelled."""
        async with trio.open_nursery() as nursery:
            for run in self.kinds_run.values():
                await nursery.start(run.keeper.run)
            task_status.started()

    async def drain(self) -> None:
        """Hand over all shards, and take no other. A checkpoint."""
        self._is_draining = True
        async with trio.open_nursery() as nursery:
            for run in self.kinds_run.values():
                nursery.start_soon(run.keeper.drain)

    def mesh_changed(self) -> None:
        """Take note that nodes have come, gone or changed, or that this node has a lease again."""
        self._fellow_names.clear()
        self._shard_counts.clear()
        self._leaving = {each.name: {} for each in self._nodes() if each.is_draining}
        self.wake()
        for run in self.kinds_run.values():
            run.keeper.look_again()

    def wake(self) -> None:
        """Have those look again who wait for a shard to have a node."""
        self._changed.set()
        self._changed = trio.Event()

    def shard_is_free(self, kind: str, shard: int) -> None:
        """Take the word of another node that a shard is free."""
        run = self.kinds_run.get(kind)
        if run is not None:
            run.keeper.look_again(shard)

    def lost(self, keys: Sequence[str]) -> None:
        """Take note of what the node holds no longer."""
        lost = set(keys)
        for run in self.kinds_run.values():
            run.keeper.lost(lost)

    def node_left(self, name: str) -> None:
        """Take note that a node has left."""
        self._owners = {place: each for place, each in self._owners.items() if each.node_name != name}

    # The way to an actor.

    def shards_of(self, kind: str) -> int:
        """Return how many shards a kind has; 0 while no node is known that runs it."""
        run = self.kinds_run.get(kind)
        if run is not None and run.keeper.may_run:
            return run.kind.parts
        found = self._shard_counts.get(kind, 0)
        if not found:
            found = max((each.shards_of(kind) for each in self._nodes()), default=0)
            if found:
                self._shard_counts[kind] = found
        return found

    def _place(self, ref: KeyedRef) -> tuple[str, int]:
        shards = self.shards_of(ref.kind)
        return ref.kind, shard_of(ref.kind, ref.key, shards) if shards else -1

    def _here(self, place: tuple[str, int]) -> Activations | None:
        """Return the activations of a shard that this node takes messages for."""
        run = self.kinds_run.get(place[0])
        return run.activations if run is not None and run.activations.takes(place[1]) else None

    def known(self, ref: KeyedRef, now: float | None = None) -> Ref[Any] | None:
        """Return the way to an actor as far as it is known without asking; None, too, while others wait."""
        run = self.kinds_run.get(ref.kind)
        if run is not None and not self._looking:
            live = run.activations.live.get(ref.key)
            if live is not None:
                live.used_at = self.node.timers.now() if now is None else now
                return live.ref
        place = self._place(ref)
        if place in self._looking:
            return None
        if self._here(place) is not None:
            return HereRef(self.node, self, ref.kind, ref.key)
        return self._far(ref, place)

    def _far(self, ref: KeyedRef, place: tuple[str, int], *, forwarded: bool = False) -> Ref[Any] | None:
        owner = self._owners.get(place)
        if owner is None or self._distribution.is_over(owner):
            return None
        if owner.node_name in self._leaving and not self._is_fresh(place, owner.node_name):
            return None
        return RemoteNameRef(self.node, owner, Keyed(ref.kind, ref.key, forwarded))

    def _is_fresh(self, place: tuple[str, int], node: str) -> bool:
        """Tell whether the registry has just said that a node holds a shard which is about to leave: it hands
        over what it has, and then answers nothing any more.
        """
        return trio.current_time() - self._leaving[node].get(place, -math.inf) < FRESH_SECONDS

    async def find(self, ref: KeyedRef, limit: TimeLimit) -> Ref[Any]:
        """Find the way to an actor, behind what was sent to its shard before. A checkpoint.

        Args:
            ref: the actor.
            limit: the time after which to give up.

        Raises:
            NoProcess: no node has come to run it in time.
            NoQuorum: the registry does not answer.
        """
        await trio.lowlevel.checkpoint()
        while (known := self.known(ref)) is None:
            if not self._distribution.is_running:
                raise _stopped(ref)
            looking = self._look_for(self._place(ref))
            with trio.move_on_at(limit.deadline) as scope:
                await looking.over.wait()
            if scope.cancelled_caught:
                raise looking.error or self._absence(ref)
            if looking.error is not None:
                raise looking.error
        return known

    async def next_after(
        self, ref: KeyedRef, found: Ref[Any], asked: int, error: CallError, limit: TimeLimit
    ) -> Ref[Any]:
        """Find the way to an actor that has moved; see `Seeker`."""
        if limit.left <= PAUSE:
            raise CallTimeout(ref, limit.seconds)
        await trio.sleep(PAUSE)
        return await self.find(ref, limit)

    def forget(self, ref: KeyedRef) -> None:
        """Ask the registry when the shard of a key is used next."""
        self._owners.pop(self._place(ref), None)

    def deliver(
        self, ref: KeyedRef, signal: signals.Signal, *, forwarded: bool = False, found: bool = False
    ) -> None:
        """Deliver a signal to the actor of a key, in the order of all signals to its shard.

        Args:
            ref: the actor.
            signal: what it gets.
            forwarded: whether another node has sent it on already.
            found: whether the registry has just said who has the shard.
        """
        place = self._place(ref)
        looking = self._looking.get(place)
        if looking is None:
            here = self._here(place)
            if here is not None:
                here.deliver(ref.key, signal)
                return
            if isinstance(signal, signals.UNANSWERED) and not found:
                self._owners.pop(place, None)
            far = self._far(ref, place, forwarded=forwarded)
            if far is not None:
                far.deliver(signal)
                return
            if not self._distribution.is_running:
                self._fail(ref, signal, _stopped(ref))
                return
            looking = self._look_for(place)
        was_full = looking.waiting.is_full
        refusal = looking.waiting.add((ref, signal, forwarded), signal)
        if refusal:
            self.refusals += 1
            problem = f"{refusal} for the shard of {ref} to have a node"
            if not was_full:
                log(
                    logging.WARNING,
                    "messages for keys of %s are lost: %s",
                    ref.kind,
                    problem,
                    logger=logger,
                )
            self._fail(ref, signal, NoProcess(ref, problem=problem))

    def deliver_anew(self, kind: str, key: str, signal: signals.Signal) -> None:
        """Deliver a signal that waited here in vain, because the shard moves."""
        ref = self.ref(kind, key)
        if isinstance(signal, RemoteCall):
            signal.fail(Moved(ref))  # its caller asks anew
        else:
            self.deliver(ref, signal)

    def deliver_here(self, ref: HereRef, signal: signals.Signal) -> None:
        """Deliver a signal to an actor of this node, if its shard is still here."""
        here = self._here(self._place(self.ref(ref.kind, ref.key)))
        if here is not None:
            here.deliver(ref.key, signal)
        else:
            self.deliver_anew(ref.kind, ref.key, signal)

    def arrived(self, target: Keyed) -> ArrivedRef:
        """Return the ref of a key that another node's frame names."""
        return ArrivedRef(self.node, self, target)

    def take_in(self, ref: ArrivedRef, signal: signals.Signal) -> None:
        """Deliver a signal of another node; what is for a third one is sent on once, but for calls."""
        known = self.ref(ref.kind, ref.key)
        here = self._here(self._place(known)) if ref.kind in self.kinds_run else None
        if isinstance(signal, signals.Call) and signal.method == signals.ROOM:
            signal.reply(None)
        elif here is not None:
            here.deliver(ref.key, signal)
        elif isinstance(signal, signals.Call):
            signal.fail(Moved(known))
        elif isinstance(signal, signals.Send | signals.Cast) and not ref.target.forwarded:
            self.forget(known)
            self.deliver(known, signal, forwarded=True)
        else:
            undeliverable(self.node, known, signal, NO_PROCESS)

    def _fail(self, ref: KeyedRef, signal: signals.Signal, error: CallError) -> None:
        if isinstance(signal, signals.Call):
            signal.fail(error)
        else:
            undeliverable(self.node, ref, signal, NO_PROCESS)

    # Looking for the node of a shard.

    def _look_for(self, place: tuple[str, int]) -> _Looking:
        looking = self._looking.get(place)
        if looking is None:
            line: Line[tuple[KeyedRef, signals.Signal, bool]] = Line(self._room, MOST_WAITING)
            looking = self._looking[place] = _Looking(self.shards_of(place[0]), line)
            self._distribution.start_soon(self._look, place, looking)
        return looking

    async def _look(self, place: tuple[str, int], looking: _Looking) -> None:
        """Find the node of a shard, then deliver what waits for that."""
        lease = self._claims.lease_seconds or LEASE_SECONDS
        found = False
        try:
            with trio.move_on_after(PATIENCE * lease):
                while not await self._finds(place, looking):
                    with trio.move_on_after(POLL_SECONDS):
                        await self._changed.wait()
                found = True
        finally:
            del self._looking[place]
            for ref, signal, forwarded in looking.waiting.take():
                if isinstance(signal, signals.Call) and signal.settled:
                    continue  # nobody waits for it any more
                if found:
                    self.deliver(ref, signal, forwarded=forwarded, found=True)
                else:
                    self._fail(ref, signal, looking.error or self._absence(ref))
            looking.error = None if found else looking.error or self._absence(self.ref(place[0], ""))
            looking.over.set()

    async def _finds(self, place: tuple[str, int], looking: _Looking) -> bool:
        """Look once for the node of a shard; return whether the way is known."""
        kind, shard = place
        shards = self.shards_of(kind)
        if shards and shards != looking.shards:
            return True  # the keys fall into other shards than was thought
        if shard < 0:
            return False
        if self._here(place) is not None:
            return True
        try:
            claim = await self._claims.find(shard_key(kind, shard))
        except NoAnswer as error:
            looking.error = NoQuorum(kind, str(error))
            return False
        looking.error = None
        if self._here(place) is not None:
            return True
        if claim is None or claim.node == self.node.full_name:
            return False
        if all((each.name, each.incarnation) != (claim.node, claim.incarnation) for each in self._nodes()):
            return False
        if claim.node in self._leaving:
            self._leaving[claim.node][place] = trio.current_time()
        self._owners[place] = self._distribution.remote_node(claim.node, claim.incarnation, claim.node)
        return True

    def _absence(self, ref: KeyedRef) -> NoProcess:
        if not self.shards_of(ref.kind):
            return NoProcess(ref, problem=f"no node runs kind {safe_repr(ref.kind)}")
        return NoProcess(ref, problem=f"no node holds the shard of {ref} now")

    # What others are told.

    def tell_free(self, kind: str, shard: int, successor: str | None) -> None:
        """Tell the node that is to have a shard that it is free."""
        if successor is not None:
            self._distribution.start_soon(self._tell_free, kind, shard, successor)

    async def _tell_free(self, kind: str, shard: int, successor: str) -> None:
        with suppress(NotConnected):  # then it looks by itself in a while
            await self._distribution.tell_free(successor, kind, shard)


def _stopped(ref: KeyedRef) -> NoQuorum:
    return NoQuorum(ref.kind, "this node has stopped")


@attrs.frozen
class _Shards:
    """The actors of a kind, as the keeper of its shards sees them: a `ShardHolder`."""

    keyed: KeyedActors
    kind: str
    activations: Activations

    def gained(self, shard: int) -> None:
        self.activations.gained(shard)
        self.keyed.wake()

    def lost(self, shard: int) -> None:
        self.activations.lost(shard)

    async def vacate(self, shard: int) -> None:
        await self.activations.vacate(shard)

    def agreed(self) -> None:
        self.keyed.announce()

    def vacated(self, shard: int, successor: str | None) -> None:
        self.activations.vacated(shard)
        self.keyed.tell_free(self.kind, shard, successor)
