"""Scenes of what comes together badly: storms of restarts, clocks that go apart, kills, and hand-overs."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import trio

from enfilade.actors import (
    KILL,
    SHUTDOWN,
    Actor,
    CallError,
    Child,
    Global,
    Guest,
    Kind,
    MailboxFull,
    Node,
    NoQuorum,
    NotConnected,
    Pool,
    Process,
    Ref,
    Supervisor,
    Worker,
)
from enfilade.actors.simulation import Host, HostCrashed, World, swarm
from enfilade.actors.simulation.machine.custody import LIFE
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoRead, IoWrite
from enfilade.hostcalls.abi import catalogue as hostcalls
from enfilade.transport import Policy, Settings
from tests.hostcalls.guests import PUPPET, GuestError, Puppet
from tests.simulation.mesh_scenes import FAULTS, KEYS, LEASE, Holder, Outside, opened, talk, weathered

NAMES = ("east", "west", "south")
QUICK = Settings(period=2.0)
NEAR = Policy.same_user(exports="*", ends="*")
MESH = Policy.same_mesh(exports="*", ends="*")

LOST = (CallError, NotConnected, NoQuorum, MailboxFull)


class Clerk(Worker):
    """Does each job once, and dies of some."""

    def __init__(self, done: Counter[str]) -> None:
        self.done = done

    async def work(self, job: str) -> str:
        self.done[job] += 1
        if job.endswith("7"):
            raise ValueError("on purpose")
        await trio.sleep(0.01)
        return job.upper()


def workers_of(node: Node, pool: Ref[Any] | None) -> list[Process]:
    """The workers of a pool that live."""
    return [p for p in node.processes.values() if p.ended is None and p.parent == pool]


async def storms(world: World) -> None:
    """A pool in a mesh, whose workers and which itself die all the time, while its callers are cut off."""
    done: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    mesh = world.open_servers()
    await world.run(3)

    async def boot(node: Node) -> None:
        life = f"{node.name}.{world.hosts[node.name].lives}"
        draws = world.random(f"jobs of {life}")
        if node.name == "shop":
            child = Child(Pool, Clerk, done, size=3, intensity=10_000, id="pool", name="pool")
            await node.spawn(Supervisor, [child], intensity=10_000, period=1.0)

            async def rage(me: Process) -> None:
                while not world.is_calm:
                    await trio.sleep(draws.exponential(0.4))
                    pool = node.whereis("pool")
                    if pool is not None:
                        victims = [pool, *(worker.ref for worker in workers_of(node, pool))]
                        for victim in draws.sample(victims, 1 + draws.below(3)):
                            victim.exit(KILL)

            await node.spawn(rage)
            return

        async def submit(me: Process, which: int) -> None:
            for number in itertools.count():
                await trio.sleep(draws.exponential(0.1))
                job = f"{life}-{which}-{number}"
                with suppress(*LOST, ValueError):
                    pool: Any = node.remote("pool", "shop@shop")
                    answer = await pool.within(2.0).call(Pool.submit, job)
                    world.demand(answer == job.upper(), "an answer belongs to its job")
                    answered[job] += 1

        for which in range(3):
            await node.spawn(submit, which)

    options: dict[str, Any] = {"mesh": mesh, "boot": boot, "policy": MESH, "settings": QUICK}
    hosts = [await world.open_node(name, **options) for name in ("shop", "east", "west")]
    world.faults(swarm(kinds=(*FAULTS, "halves", "isolated", "flap", "cut"), rates=(0.02, 0.3)))
    await world.run(20)
    await world.calm(20)
    before = sum(answered.values())
    await world.run(5)
    assert sum(answered.values()) > before + 10
    assert max(done.values()) == 1, done.most_common(3)
    assert max(answered.values()) == 1, answered.most_common(3)
    assert set(answered) <= set(done)
    shop = hosts[0].node
    assert len(workers_of(shop, shop.whereis("pool"))) == 3
    assert len(shop.processes) == 5, "the supervisor, the pool and its workers"
    world.check()


async def apart(world: World) -> None:
    """Weather in which each clock goes wrong for good, as far as leases allow, and hosts hear no server."""
    draws = world.random("apart")
    rates = draws.sample((0.91, 1.0, 1.09), 3)
    for name, rate in zip(NAMES, rates, strict=True):
        world.drift_clock(name, rate)
    for _ in range(6):
        host, seconds = draws.choice(NAMES), draws.between(LEASE / 2, 3 * LEASE)
        if draws.chance(0.4):
            world.freeze(host, seconds)
        else:
            world.partition(host, tuple(world.servers), one_way=draws.chance(0.3))
        await world.run(seconds)
        world.heal()
        await world.run(draws.between(0.0, LEASE))


class Sole(Holder):
    """Notes itself among all that there are."""

    def __init__(self, world: World, outside: Outside, key: str, there: list[Sole]) -> None:
        super().__init__(world, outside, key)
        there.append(self)


async def drifting(world: World) -> None:
    """A child of which there is one in the mesh, and hosts whose clocks go apart: at no instant do two
    have a fence.
    """
    outside = Outside()
    there: list[Sole] = []

    def holders() -> Iterator[Sole]:
        for sole in there:
            process = sole.process
            host = world.hosts[process.node.name]
            if host.is_alive and host.latest is process.node and process.ended is None:
                before = LIFE.set(host.life)  # whose clock decides how long a lease lasts
                try:
                    if process.fence is not None:
                        yield sole
                finally:
                    LIFE.reset(before)

    world.always("one holder", lambda: len(list(holders())) <= 1, every=0.05)

    async def boot(node: Node) -> None:
        child = Child(Sole, world, outside, "bank", there, name=Global("bank", taken="wait"), id="bank")
        await node.spawn(Supervisor, [child], intensity=1000, period=1.0)
        await talk(world, node, lambda draws: node.mesh.named("bank"))

    async def ask(node: Node) -> None:
        number = f"at last, {node.name}"
        assert await node.mesh.named("bank").within(5.0).call(Holder.act, number, 0.0) == number

    await weathered(world, await opened(world, boot), apart, ask)
    assert len(list(holders())) == 1


WIDTH = 4
"""Bytes of a number in a channel."""


async def pipes(world: World) -> None:
    """Two guests on each host with a channel between them, one of which is killed again and again: what is
    read is what was written, in order.
    """
    read: Counter[str] = Counter()
    told: Counter[str] = Counter()

    async def boot(node: Node) -> None:
        draws = world.random(f"pipes of {node.name}.{world.hosts[node.name].lives}")
        capabilities = ("ActorMessage", "ChannelLifecycle", "ChannelReader", "ChannelWriter")

        async def pump(me: Process) -> None:
            while True:
                ends = [await node.spawn(Guest(PUPPET, capabilities=capabilities)) for _ in range(2)]
                for end in ends:
                    me.monitor(end)
                try:
                    await converse(*map(Puppet, ends))
                except (GuestError, CallError):
                    told[node.name] += 1
                for end in ends:
                    end.exit(KILL)
                for _ in ends:
                    await me.receive()

        async def converse(writer: Puppet, reader: Puppet) -> None:
            slot = await writer.do(hostcalls.CHANNEL_CREATE, ChannelCreate(64, ChannelBackpressure.PARK))
            handle = await writer.do(hostcalls.CHANNEL_SHARE, slot)
            out = await writer.do(hostcalls.CHANNEL_STRONG_WRITER_CREATE, slot)
            there = await reader.do(hostcalls.CHANNEL_ATTACH, handle)
            into = await reader.do(hostcalls.CHANNEL_STRONG_READER_CREATE, there)
            lasts = draws.exponential(2.0)

            async def write() -> None:
                for number in itertools.count():
                    await trio.sleep(draws.exponential(0.02))
                    payload = number.to_bytes(WIDTH, "big")
                    await writer.do(hostcalls.CHANNEL_STRONG_WRITE, IoWrite(out, payload))

            async def kill() -> None:
                await trio.sleep(lasts)
                draws.choice((writer, reader)).ref.exit(KILL)
                await trio.sleep(draws.exponential(0.5))  # in which the other one goes on, or waits for good
                nursery.cancel_scope.cancel()

            async def take() -> None:
                for number in itertools.count():
                    payload = (await reader.do(hostcalls.CHANNEL_STRONG_READ, IoRead(into, 64))).payload
                    expected = number.to_bytes(WIDTH, "big")
                    world.demand(payload == expected, f"{node.name} reads {expected!r}, got {payload!r}")
                    read[node.name] += 1

            async with trio.open_nursery() as nursery:
                for work in (write, take, kill):
                    nursery.start_soon(_until_lost, work)
            told[node.name] += 1

        await node.spawn(pump)

    hosts = [await world.open_node(name, boot=boot, policy=NEAR) for name in NAMES[:2]]
    world.faults(swarm(kinds=("crash", "power", "freeze", "slow", "block", "drift"), rates=(0.02, 0.3)))
    await world.run(15)
    await world.calm(5)
    assert set(read) == {host.name for host in hosts}
    assert told  # on one host perhaps none: how long two guests last is drawn
    for host in hosts:
        guests = [p for p in host.node.processes.values() if p.ended is None and "Guest" in repr(p.target)]
        assert len(guests) <= 2, guests
    world.check()


async def _until_lost(work: Any) -> None:
    with suppress(GuestError, CallError):
        await work()


class Sibling(Actor):
    """Notes when it starts and when it is stopped."""

    def __init__(self, diary: list[tuple[str, int]], number: int) -> None:
        self.diary = diary
        self.number = number
        diary.append(("start", number))

    def fail(self) -> None:
        """Crash."""
        raise ValueError("on purpose")

    def on_stop(self, reason: object) -> None:
        if reason == SHUTDOWN:  # which it has from its supervisor
            self.diary.append(("stop", self.number))


async def families(world: World) -> None:
    """Supervisors of each strategy on each host, whose children crash several at a time: the order in which
    they start and stop is that of the strategy.
    """
    diaries: dict[tuple[str, int, str], list[tuple[str, int]]] = defaultdict(list)
    count = 4

    async def boot(node: Node) -> None:
        life = world.hosts[node.name].lives
        draws = world.random(f"families of {node.name}.{life}")
        for strategy in ("one_for_one", "one_for_all", "rest_for_one"):
            diary = diaries[node.name, life, strategy]
            children = [
                Child(Sibling, diary, number, id=number, name=f"{strategy} {number}")
                for number in range(count)
            ]
            await node.spawn(Supervisor, children, strategy=strategy, intensity=10_000, period=0.1)

        async def rage(me: Process) -> None:
            while not world.is_calm:
                await trio.sleep(draws.exponential(0.3))
                place = draws.choice(NAMES)
                strategy = draws.choice(("one_for_one", "one_for_all", "rest_for_one"))
                for number in draws.sample(range(count), 1 + draws.below(count)):
                    name = f"{strategy} {number}"
                    with suppress(*LOST):
                        ref: Any = (
                            node.named(name) if place == node.name else node.remote(name, f"{place}@{place}")
                        )
                        if draws.chance(0.5):
                            ref.cast(Sibling.fail)
                        else:
                            ref.exit(KILL)

        for _ in range(2):
            await node.spawn(rage)

    hosts = [await world.open_node(name, boot=boot, policy=NEAR, settings=QUICK) for name in NAMES]
    world.connect(*hosts)
    world.faults(swarm())
    await world.run(15)
    await world.calm(10)
    world.check()
    for host in hosts:
        for strategy in ("one_for_one", "one_for_all", "rest_for_one"):
            diary = diaries[host.name, host.lives, strategy]
            latest = {number: place for place, (what, number) in enumerate(diary) if what == "start"}
            order = [latest[number] for number in range(count)]
            if strategy != "one_for_one":
                assert order == sorted(order), f"{host}, {strategy}: {diary[-20:]}"
            if strategy == "one_for_all":
                assert order == list(range(order[0], order[0] + count)), f"{host}: {diary[-20:]}"
            for (what, number), (then, following) in itertools.pairwise(diary):
                if what == then == "stop":
                    assert number > following, f"{host}, {strategy}: {following} is stopped after {number}"


async def hand_overs(world: World) -> None:
    """Nodes that hand over what they hold, and stop, and come again, while others call, and servers fail."""
    outside = Outside()

    class Account(Holder):
        def __init__(self, key: str) -> None:
            super().__init__(world, outside, key)

    async def boot(node: Node) -> None:
        child = Child(Holder, world, outside, "bank", name=Global("bank", taken="wait"), id="bank")
        await node.spawn(Supervisor, [child], intensity=1000, period=1.0)

        def one(draws: Any) -> Any:
            mesh = node.mesh
            return mesh.named("bank") if draws.chance(0.4) else mesh.keyed("Account", draws.choice(KEYS))

        await talk(world, node, one)

    async def ask(node: Node) -> None:
        for ref, key in ((node.mesh.named("bank"), "bank"), (node.mesh.keyed("Account", "ann"), "ann")):
            number = f"at last, {node.name}, {key}"
            assert await ref.within(5.0).call(Holder.act, number, 0.0) == number

    async def weather(world: World) -> None:
        draws = world.random("hand-overs")
        kinds = ("crash", "freeze", "block", "drift", "server killed", "server frozen", "server apart")
        world.faults(swarm(kinds=kinds, rates=(0.01, 0.1)))
        for _ in range(5):
            await world.run(draws.between(0.5, 4.0))
            await replaced(world, world.hosts[draws.choice(NAMES)], draws.chance(0.7))

    hosts = await opened(world, boot, kinds={"Account": Kind(Account, idle=1.5, shards=3)})
    await weathered(world, hosts, weather, ask)
    assert len(outside.done) > 9


async def replaced(world: World, host: Host, is_drained: bool) -> None:
    """Let a host's node hand over what it holds, stop, and come again; it may be crashed meanwhile."""
    if not host.is_alive or host.latest is None:
        return
    with suppress(HostCrashed, *LOST), trio.move_on_after(10.0):
        if is_drained:
            await world.on(host, host.latest.mesh.drain, 3.0)
        await world.close(host)
    with suppress(NoQuorum):
        await world.restart(host, after=0.5)
