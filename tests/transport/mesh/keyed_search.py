"""A search at random for two activations of one key at a time, in virtual time.

Three nodes run one kind. Everything above the registry is the real code: leases, claims, the keepers of
shards, activations, refs. The registry and what lies between the nodes are here, and harm comes by seed:
nodes are cut off from the registry or from one another, crash and start again, leave in order, have clocks
that run fast, slow, or jump as after a suspension; answers are late or lost; the registry loses its data.

Each handler that runs checks that no other activation of its key could run now, that fences never fall, and
that no call is carried out twice. What is left out to see that the search finds it is given as `Variant`.
"""

import enum
import hashlib
import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, ClassVar
from unittest import mock

import attrs
import msgspec
import trio
import trio.testing

from enfilade.actors import Actor, CallError, Kind, Node, NodeConfig, NotConnected, open_node
from enfilade.actors.messages import signals
from enfilade.actors.messages.ref import Ref
from enfilade.actors.node.runtime import NodeRuntime
from enfilade.actors.peers.mesh.activations import Activations
from enfilade.actors.peers.mesh.keyed import KeyedActors
from enfilade.actors.peers.remote_call import RemoteCall
from enfilade.actors.simulation.machine.scheduler import ordered
from enfilade.transport.mesh import MeshNode, witness
from enfilade.transport.mesh import claims as claims_module
from enfilade.transport.mesh.claims import Claims, Fence
from enfilade.transport.mesh.lease import VERSION, Place, Times
from enfilade.transport.mesh.registry import (
    EPOCH,
    SETTLED,
    Entry,
    Epoch,
    MeshRegistry,
    NoAnswer,
    WrongRevision,
)
from enfilade.transport.mesh.shard_keeper import ShardKeeper

LEASE = 2.0
KEYS = ("ann", "bob", "cy")
SHARDS = 3
DRIFT = 0.09
ANSWER_SECONDS = 0.7
DEAD_AFTER = 1.0
PATIENCE = 2 * LEASE + 6.0
HARM = [5, 3, 2, 2, 3, 0.5]
"""How often each kind of harm comes, of the six in `Search._harm`."""


class Variant(enum.Enum):
    """What is left out."""

    NOTHING = "nothing"
    LEASE = "actors go on though the lease is over"
    END = "a shard is given away before its actors have ended"
    WAIT = "an actor starts while the one before it is still ending"
    TIMES = "leases are broken before they are over"
    OUTCOME = "a call is made again though nobody knows what became of it"


class Violation(Exception):
    """Something happened that never may."""


class Probe(Actor):
    """An actor of a key, which tells the search when it runs."""

    search: ClassVar["Search"]

    def __init__(self, key: str) -> None:
        self.key = key
        self.search.processes.setdefault(key, []).append(self.process)

    async def act(self, number: int, seconds: float) -> int:
        """Run for a while; calls and casts alike."""
        self.search.acts(self.key, self.process, number)
        self.search.running.add(self.process)
        try:
            await trio.sleep(seconds)
        finally:
            self.search.running.discard(self.process)
        return number

    async def on_stop(self, reason: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.search.random.uniform(0, 1.0))


class Store(MeshRegistry):
    """The registry as one node reaches it: writes are faithful, answers may be lost, reads may be old."""

    def __init__(self, search: "Search", site: "Site") -> None:
        self.connection: Any = attrs.make_class("Connection", {"reconnects": attrs.field(default=0)})()
        self._search = search
        self._site = site

    async def _travel(self, began: float, session: int) -> None:
        """Be under way for a while, or be lost."""
        search, site = self._search, self._site
        delay = search.random.uniform(0.001, 0.02)
        if not search.calm and search.random.random() < search.slowness:
            delay = search.random.uniform(0, 2 * ANSWER_SECONDS)
        await trio.sleep(delay)
        is_lost = not search.calm and search.random.random() < search.loss
        is_lost = is_lost or self.connection.reconnects != session
        if is_lost or site.is_cut_off or trio.current_time() > began + ANSWER_SECONDS:
            await trio.sleep_until(max(trio.current_time(), began + ANSWER_SECONDS))
            raise NoAnswer("for the test")
        if site.is_over:
            await trio.sleep_forever()

    async def read(self, key: str) -> Entry:
        began, session = trio.current_time(), self.connection.reconnects
        await self._travel(began, session)
        is_stale = not self._search.calm and self._search.random.random() < 0.2
        entry = self._search.entry(key, self._search.random.uniform(0, LEASE) if is_stale else 0.0)
        await self._travel(began, session)
        return entry

    async def write(self, key: str, value: bytes, revision: int) -> int:
        began, session = trio.current_time(), self.connection.reconnects
        await self._travel(began, session)
        if self._search.entry(key).revision != revision:
            await self._travel(began, session)
            raise WrongRevision(key)
        written = self._search.write(key, value)
        await self._travel(began, session)
        return written


class Way:
    """The way from one site to one start of another: what `RemoteNode` is elsewhere."""

    def __init__(self, site: "Site", name: str, incarnation: int) -> None:
        self.site = site
        self.node_name = name
        self.incarnation = incarnation
        self.is_superseded = False
        self.peer = self
        self._free_at = 0.0

    @property
    def search(self) -> "Search":
        return self.site.search

    @property
    def other(self) -> "Site | None":
        """The other site, if it is that start of it and can be reached."""
        other = self.search.sites[self.node_name]
        is_there = other.incarnation == self.incarnation and not other.is_over
        return other if is_there and self.search.can_talk(self.site, other) else None

    def look(self) -> None:
        return

    def given_up(self, number: int) -> None:
        return

    def deliver(self, ref: Any, signal: signals.Signal) -> None:
        self.site.distribution.start_soon(self._carry, ref.target, signal)

    async def _carry(self, target: Any, signal: signals.Signal) -> None:
        self._free_at = max(self._free_at, trio.current_time() + self.search.random.uniform(0.001, 0.05))
        await trio.sleep_until(self._free_at)
        other = self.other
        if other is None:
            if isinstance(signal, signals.Call):
                signal.fail(NotConnected(self.node_name))
            return
        if isinstance(signal, signals.Call):
            call = signal

            def answer(_: int, succeeded: bool, value: Any) -> None:
                if self.other is None:
                    call.fail(NotConnected(self.node_name))
                elif succeeded:
                    call.reply(value)
                elif isinstance(value, BaseException):
                    call.fail(value)
                else:
                    call.abandon(value)

            there = RemoteCall(answer, 1, call.method, call.args, call.kwargs, None)
            other.keyed.take_in(other.keyed.arrived(target), there)
            while self.other is not None and not there.settled:  # noqa: ASYNC110 - cuts tell nobody
                await trio.sleep(0.2)  # a link that ends is told
            call.fail(NotConnected(self.node_name))
        else:
            other.keyed.take_in(other.keyed.arrived(target), signal)


class Distribution:
    """A site's part in the net."""

    is_running = True

    def __init__(self, site: "Site", node: Node, nursery: trio.Nursery) -> None:
        self.node = node
        self._site = site
        self._nursery = nursery
        self._ways: dict[tuple[str, int], Way] = {}

    def start_soon(self, run: Callable[..., Any], *args: Any) -> None:
        self._nursery.start_soon(run, *args)

    def is_over(self, way: Way) -> bool:
        return way.is_superseded

    def remote_node(self, name: str, incarnation: int, address: str) -> Way:
        return self._ways.setdefault((name, incarnation), Way(self._site, name, incarnation))

    async def tell_free(self, name: str, kind: str, shard: int) -> None:
        other = self._site.search.sites[name]
        if not other.is_over and self._site.search.can_talk(self._site, other):
            await trio.sleep(0.01)
            other.keyed.shard_is_free(kind, shard)


class Site:
    """One node, in one start after another."""

    def __init__(self, search: "Search", name: str) -> None:
        self.search = search
        self.name = name
        self.incarnation = 0
        self.rate = 1 + search.random.uniform(-DRIFT, DRIFT)
        self.jumped = 0.0
        self.jumped_at = -math.inf
        self.is_cut_off = False
        self.is_over = True
        self.heard: dict[str, tuple[MeshNode, float]] = {}
        self.keyed: KeyedActors
        self.claims: Claims
        self.distribution: Distribution
        self.scope = trio.CancelScope()
        self.leave = trio.Event()

    def clock(self) -> float:
        return trio.current_time() * self.rate + self.jumped

    def described(self) -> MeshNode:
        return MeshNode(self.name, self.incarnation, "", 0, (), self.keyed.announced)

    def nodes(self) -> tuple[MeshNode, ...]:
        """The directory of this site."""
        now = trio.current_time()
        others = [node for node, at in self.heard.values() if now - at < DEAD_AFTER]
        return (self.described(), *others)

    def activations(self) -> Activations:
        return self.keyed.kinds_run["Account"].activations

    async def live(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """One start, until it crashes or is asked to leave."""
        self.incarnation += 1
        self.scope, self.leave = trio.CancelScope(), trio.Event()
        short, _, zone = self.name.partition("@")
        search = self.search
        with self.scope:
            config = NodeConfig(runtime=search.runtime(), handle_interrupt=False)
            async with open_node(short, zone=zone, config=config) as node, trio.open_nursery() as nursery:
                self.distribution = Distribution(self, node, nursery)
                self.claims = Claims(
                    Store(search, self),
                    self.name,
                    self.incarnation,
                    clock=self.clock,
                    entropy=search.random.randbytes,
                )
                actor = type("Probing", (Probe,), {"search": search})
                kind = Kind(actor, idle=1.5, shards=SHARDS)
                self.keyed = KeyedActors(
                    self.distribution,
                    self.claims,
                    self.nodes,
                    {"Account": kind},  # type: ignore[arg-type]
                    lambda: self.keyed.mesh_changed(),
                )
                self.claims.others = lambda: [node.name for node in self.nodes()[1:]]
                self.claims.lost, self.claims.begun = self.keyed.lost, self.keyed.mesh_changed
                node.equip(peers=attrs.make_class("Peers", {"mesh": attrs.field(default=self.keyed)})())
                self.is_over = False
                await nursery.start(self.claims.run)
                await nursery.start(self.keyed.run)
                nursery.start_soon(self.listen)
                for _ in range(2):
                    nursery.start_soon(search.talk, self)
                task_status.started()
                await self.leave.wait()
                with trio.move_on_after(20):
                    await self.keyed.drain()
                    await self.claims.leave()
                self.is_over = True
                nursery.cancel_scope.cancel()
        self.is_over = True

    async def listen(self) -> None:
        """Hear of the others."""
        before: tuple[MeshNode, ...] = ()
        while True:
            for other in self.search.sites.values():
                if other is not self and not other.is_over and self.search.can_talk(self, other):
                    self.heard[other.name] = other.described(), trio.current_time()
            now = self.nodes()
            if now != before:
                for gone in {each.name for each in before} - {each.name for each in now}:
                    self.keyed.node_left(gone)
                before = now
                self.keyed.mesh_changed()
            await trio.sleep(0.3)

    def jump(self, seconds: float) -> None:
        """Have the clock jump, as if the machine had been suspended."""
        self.jumped += seconds
        self.jumped_at = trio.current_time()
        if not self.is_over:  # a suspended machine has not watched others; here no time has passed for them
            self.claims._others.begin_anew(self.claims._times)
            self.claims._era._since += seconds
            if self.claims._owner is not None:
                self.claims._owner.reconnected()

    def crash(self) -> None:
        """End without a word."""
        self.is_over = True
        self.scope.cancel()


class Search:
    """One run.

    Args:
        seed: of everything that is left to chance.
        variant: what is left out.
        seconds: how long faults happen; after them nothing fails any more.
    """

    def __init__(self, seed: int, variant: Variant = Variant.NOTHING, seconds: float = 30.0) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.log = hashlib.blake2b()
        self.variant = variant
        self.seconds = seconds
        self.loss = self.random.choice([0.002, 0.02, 0.08])
        self.slowness = self.random.choice([0.01, 0.05, 0.2])
        self.harm = self.random.choice([0.05, 0.2, 0.6])
        self.calm = False
        self.keys: dict[str, list[tuple[float, Entry]]] = {}
        self.revision = 0
        self.epoch = 1000
        self.cut: set[frozenset[str]] = set()
        self.fences: dict[str, Fence] = {}
        self.done: set[int] = set()
        self.numbers = 0
        self.answered = 0
        self.violation: Violation | None = None
        self.processes: dict[str, list[Any]] = {}
        self.running: set[Any] = set()
        self.sites = {name: Site(self, name) for name in ("a@x", "b@y", "c@z")}

    # The registry.

    def runtime(self) -> NodeRuntime:
        """What a node has instead of the machine: nothing that no seed determines."""
        return NodeRuntime(
            monotonic=trio.current_time,
            processor_time=trio.current_time,
            unix_time=trio.current_time,
            entropy=self.random.randbytes,
            random=self.random.random,
            is_deterministic=True,
        )

    def entry(self, key: str, age: float = 0.0) -> Entry:
        at = trio.current_time() - age
        return next(
            (found for since, found in reversed(self.keys.get(key, [])) if since <= at), Entry(b"", 0)
        )

    def write(self, key: str, value: bytes) -> int:
        self.revision += 1
        self.keys.setdefault(key, []).append((trio.current_time(), Entry(value, self.revision)))
        return self.revision

    def lose(self) -> None:
        """Lose all data: the servers begin anew, and so do connections to them."""
        self.keys.clear()
        self.revision, self.epoch = 0, self.epoch + 1000
        self.write(EPOCH, msgspec.msgpack.encode(Epoch(VERSION, self.epoch, LEASE)))
        for site in self.sites.values():
            if not site.is_over:
                site.claims._registry.connection.reconnects += 1

    # What is watched.

    def can_talk(self, one: Site, other: Site) -> bool:
        return frozenset((one.name, other.name)) not in self.cut

    def acting(self, key: str, process: Any) -> list[Any]:
        """The other activations of a key that run now, or would be given a turn, or have not ended here."""
        found = []
        self.processes[key] = [each for each in self.processes[key] if each.ended is None]
        for each in self.processes[key]:
            site = self.sites[each.node.full_name]
            if each is process or site.is_over or each.node is not site.keyed.node:
                continue
            may_run = each.exit_signal is None and each.extras().guard() is None
            goes_on = each in self.running and each.exit_signal is None
            if (
                may_run
                or each.node is process.node
                or (goes_on and trio.current_time() > site.jumped_at + 1.0)
            ):
                found.append(each)
        return found

    def acts(self, key: str, process: Any, number: int) -> None:
        """Check what must hold while a handler begins."""
        self.note(key, process.node.full_name, process.serial, number)
        if others := self.acting(key, process):
            self.fail(f"{key}: {process} and {others} at a time")
        site = self.sites[process.node.full_name]
        if site.is_over:
            return
        fence = site.keyed.fence(process) or Fence(0, 0)
        if fence < self.fences.get(key, Fence(0, 0)):
            self.fail(f"{key}: fence {fence} after {self.fences[key]}")
        self.fences[key] = fence
        if number in self.done:
            self.fail(f"{key}: call {number} is carried out twice")
        self.done.add(number)

    def note(self, *fields: object) -> None:
        """Take down what has happened."""
        self.log.update(repr((trio.current_time(), *fields)).encode())

    def fail(self, text: str) -> None:
        self.violation = self.violation or Violation(f"{text}, after {trio.current_time():.3f} s")

    # What happens.

    async def talk(self, site: Site) -> None:
        """Call and cast, again and again."""
        while not self.calm:
            key, number = self.random.choice(KEYS), self._number()
            seconds = self.random.choice([0.0, 0.0, 0.3, 1.0])
            ref = site.keyed.keyed("Account", key).within(LEASE)
            if self.random.random() < 0.3:
                ref.cast(Probe.act, number, seconds)
            else:
                with suppress(CallError):
                    await self._call(ref, number, seconds)
            await trio.sleep(self.random.expovariate(3.0))

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    async def _call(self, ref: Ref[Any], number: int, seconds: float) -> None:
        try:
            await ref.call(Probe.act, number, seconds)
            self.answered += 1
        except NotConnected:
            if self.variant is not Variant.OUTCOME:
                raise
            await ref.call(Probe.act, number, seconds)

    async def harm_all(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(self.random.expovariate(self.harm))
            if self.calm:
                return
            site = self.random.choice(list(self.sites.values()))
            nursery.start_soon(self._harm, site, self.random.uniform(0, 3 * LEASE))

    async def _harm(self, site: Site, seconds: float) -> None:
        match self.random.choices(["off", "cut", "crash", "leave", "jump", "lose"], HARM)[0]:
            case "off":
                site.is_cut_off = True
                await trio.sleep(seconds)
                site.is_cut_off = False
            case "cut":
                other = self.random.choice([each for each in self.sites.values() if each is not site])
                pair = frozenset((site.name, other.name))
                self.cut.add(pair)
                await trio.sleep(seconds)
                self.cut.discard(pair)
            case "crash":
                site.crash()
            case "leave":
                site.leave.set()
            case "jump":
                site.jump(self.random.uniform(0, 2 * LEASE))
            case "lose":
                self.lose()

    def heal(self) -> None:
        self.cut.clear()
        for site in self.sites.values():
            site.is_cut_off = False

    async def keep(self, site: Site) -> None:
        """Start a site again whenever it is over."""
        while True:
            await site.live()
            await trio.sleep(self.random.uniform(0.05, 2.0))

    async def main(self) -> None:
        self.lose()
        self.write(SETTLED, msgspec.msgpack.encode(self.epoch))
        async with trio.open_nursery() as nursery:
            for site in self.sites.values():
                nursery.start_soon(self.keep, site)
            nursery.start_soon(self.harm_all, nursery)
            with trio.move_on_after(self.seconds):
                while self.violation is None:  # noqa: ASYNC110 - handlers find it, anywhere
                    await trio.sleep(0.5)
            self.calm = True
            self.heal()
            if self.violation is None:
                await trio.sleep(PATIENCE)
                await self._check_answers()
            nursery.cancel_scope.cancel()
        if self.violation is not None:
            raise self.violation

    async def _check_answers(self) -> None:
        """Check that every key answers everywhere, now that nothing fails any more."""
        for site in self.sites.values():
            for key in KEYS:
                ref = site.keyed.keyed("Account", key).within(5.0)
                try:
                    with suppress(NotConnected):  # of a site that was asked to leave while there was harm
                        await ref.call(Probe.act, self._number(), 0.0)
                        continue
                    await ref.call(Probe.act, self._number(), 0.0)
                except CallError as error:
                    self.fail(
                        f"{key} does not answer at {site.name} though nothing fails any more: {error!r}"
                    )

    def run(self) -> int:
        """Run; return how many calls were answered.

        Raises:
            Violation: what must never happen has.
        """
        nowhere = mock.patch.object(witness, "own_place", return_value=Place("", 1, 1))
        with nowhere, _without(self.variant), ordered(self.seed):
            trio.run(self.main, clock=trio.testing.MockClock(autojump_threshold=0))
        return self.answered


@contextmanager
def _without_leases() -> Iterator[None]:
    guard = mock.patch.object(ShardKeeper, "guard", return_value=lambda: None)
    with guard, mock.patch.object(Activations, "lost", return_value=None):
        yield


def _without(variant: Variant) -> AbstractContextManager[Any]:
    """Leave something out."""
    match variant:
        case Variant.LEASE:
            return _without_leases()
        case Variant.END:
            return mock.patch.object(Activations, "vacate", mock.AsyncMock())
        case Variant.WAIT:
            deliver = Activations.deliver

            def eager(self: Activations, key: str, signal: signals.Signal) -> None:
                record = self._records.get(key)
                if record is not None and record.is_ending:
                    del self._records[key]
                deliver(self, key, signal)

            return mock.patch.object(Activations, "deliver", eager)
        case Variant.TIMES:
            return mock.patch.object(claims_module, "Times", lambda seconds: Times(seconds, 1.6, 0.6))
        case _:
            return nullcontext()
