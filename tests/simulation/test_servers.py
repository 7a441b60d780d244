"""The simulated servers of a mesh: compared with a real one, and what they must keep under every fault."""

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors.simulation import ServerTrouble, World, run_simulation, swarm
from enfilade.actors.simulation.faults.kinds import LostRegistry
from enfilade.actors.simulation.faults.swarm import SERVERS
from enfilade.transport.mesh.connection import Connection, NoResponders
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.registry import MeshRegistry, NoAnswer, WrongRevision, make_bucket
from enfilade.transport.mesh.settings import MeshError, Server
from enfilade.transport.mesh.stream import Dial, dial
from enfilade.transport.mesh.watcher import Quiet
from enfilade.transport.simulated.servers.consensus import ELECTION, TICK, Memory, Replica
from enfilade.transport.simulated.servers.speech import matches
from enfilade.transport.simulated.ways import Port
from tests.transport.mesh.servers import needs_server, running

MESH = "default"
TOKENS = ("a", "b", "c")
PATTERNS = ("a", "a.b", "a.*", "*.b", "a.>", "b.>", "*.*.c", "c")
"""None of an inbox: of several subscriptions for it, a real server tells a random one that nobody answers."""


@attrs.define(eq=False)
class Visitor:
    """A program that is no node."""

    port: Port
    is_dead: bool = False


@asynccontextmanager
async def clients(
    servers: list[Server], dials: list[Dial], *, chance: random.Random, silence: float = 2.0
) -> AsyncIterator[list[Connection]]:
    """Clients, each connected, for the length of a block."""
    async with trio.open_nursery() as nursery:
        made = []
        for number, each in enumerate(dials):
            connection = Connection(
                servers,
                name=f"client {number}",
                inbox=f"inbox.{number}",
                watcher=Quiet(),
                entropy=chance.randbytes,
                random=chance.random,
                dial=each,
                silence=silence,
            )
            await nursery.start(connection.run)
            made.append(connection)
        yield made
        nursery.cancel_scope.cancel()


async def script(seed: int, connections: list[Connection]) -> list[Any]:
    """What clients see of a server, one step after another."""
    draws = random.Random(seed)
    steps: list[Any] = []
    seen: list[Any] = []
    open_ones: list[tuple[Connection, int]] = []
    registry = MeshRegistry(connections[0], MESH)
    revisions: dict[str, list[int]] = {}
    number = itertools.count()

    def hear(client: int, subscription: int, message: Message) -> None:
        seen.append(("heard", client, subscription, message.subject, message.payload))
        if message.reply and message.payload.startswith(b"?"):
            connections[client].publish(message.reply, b"!" + message.payload)

    for _ in range(120):
        client = draws.randrange(len(connections))
        connection = connections[client]
        subject = ".".join(draws.choices(TOKENS, k=draws.randint(1, 3)))
        match draws.choice(["listen", "leave", "say", "say", "ask", "write", "write", "read"]):
            case "listen":
                name = next(number)
                handler = partial(hear, client, name)
                open_ones.append((connection, connection.subscribe(draws.choice(PATTERNS), handler)))
            case "leave" if open_ones:
                left, which = open_ones.pop(draws.randrange(len(open_ones)))
                left.unsubscribe(which)
            case "say":
                connection.publish(subject, draws.randbytes(draws.choice([0, 5, 20_000])))
            case "ask":
                try:
                    answer = await connection.request(subject, b"?" + draws.randbytes(3))
                    seen.append(("answer", answer.payload))
                except NoResponders:
                    seen.append("nobody")
            case "write":
                known = revisions.setdefault(subject, [0])
                try:
                    revision = await registry.write(subject, draws.randbytes(4), draws.choice(known[-3:]))
                    known.append(revision)
                    seen.append(("written", revision))
                except WrongRevision:
                    seen.append("wrong revision")
            case "read":
                seen.append(await registry.read(subject))
        for each in connections:
            await each.settled()
        for each in connections:
            await each.settled()  # what was answered meanwhile
        steps.append(sorted(seen, key=repr))  # the order among receivers is the server's own business
        seen.clear()
    return steps


async def simulated(world: World, seed: int) -> list[Any]:
    world.open_servers("s1")
    await world.run(3.0)
    cluster = world.cluster
    assert cluster is not None
    dials = [partial(cluster.dial, Visitor(world.network.port(f"c{each}", "outside"))) for each in range(3)]
    async with clients(list(cluster.addresses.values()), dials, chance=random.Random(seed)) as made:
        return await script(seed, made)


async def real(directory: Path, seed: int) -> list[Any]:
    async with (
        running(directory, 1, "-js", "-sd", str(directory / f"{seed}")) as (server,),
        clients([server.server], [dial] * 3, chance=random.Random(seed), silence=60.0) as made,
    ):
        await make_bucket(made[0], MESH, began=1, lease=6.0, is_first=True)
        return await script(seed, made)


@needs_server
@pytest.mark.real
def test_a_simulated_server_does_what_a_real_one_does(tmp_path: Path) -> None:
    """The same steps of three clients: what each hears, what is answered, what the registry takes."""
    for seed in range(3):
        assert run_simulation(simulated, seed, seed=seed) == trio.run(real, tmp_path, seed)


def test_a_server_wants_what_a_client_says_in_order() -> None:
    """A client that says nonsense, or too much, is told so and left."""

    async def main(world: World, said: bytes) -> bytes:
        world.open_servers("s1")
        assert world.cluster is not None
        port = world.network.port("visitor", "outside")
        stream = await world.cluster.dial(Visitor(port), world.cluster.addresses["s1"])
        stream.send(memoryview(said))
        heard = b""
        with suppress(ConnectionError):
            while True:
                await stream.wait_readable()
                heard += stream.receive()
        return heard

    def say(said: bytes) -> bytes:
        return run_simulation(main, said, seed=1)

    assert b"-ERR 'Unknown Protocol Operation'" in say(b"HELLO\r\n")
    assert b"-ERR 'Maximum Payload Violation'" in say(b"PUB a 1048577\r\n" + bytes(1048577) + b"\r\n")
    assert b"-ERR 'Stale Connection'" in say(b"PING\r\n")


@pytest.mark.parametrize(
    ("pattern", "subject", "is_one"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b", "a.c", False),
    ],
)
def test_patterns_of_subjects(pattern: str, subject: str, is_one: bool) -> None:
    assert matches(pattern, subject) is is_one


# Agreement.


class Town:
    """Replicas whose words are lost, late, and twice, and which end and start again."""

    def __init__(self, seed: int, count: int) -> None:
        self.draws = random.Random(seed)
        self.names = [f"s{number}" for number in range(count)]
        self.memories = {name: Memory() for name in self.names}
        self.applied: dict[str, list[bytes]] = {}
        self.agreed: list[bytes] = []
        self.leaders: dict[int, str] = {}
        self.under_way: list[tuple[str, str, Any]] = []
        self.replicas: dict[str, Replica] = {}
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        """Start a replica, anew or for the first time."""
        self.applied[name] = []
        self.replicas[name] = Replica(
            name,
            [other for other in self.names if other != name],
            self.memories[name],
            say=lambda other, word: self.under_way.append((name, other, word)),
            apply=partial(self.apply, name),
            changed=lambda: None,
            draws=self.draws,
        )

    def apply(self, name: str, place: int, entry: bytes) -> None:
        """All apply the same entries in the same order."""
        applied = self.applied[name]
        assert place == len(applied) + 1
        applied.append(entry)
        if len(applied) > len(self.agreed):
            self.agreed.append(entry)
        assert self.agreed[: len(applied)] == applied

    def step(self, *, harm: float) -> None:
        """Let a moment pass."""
        for name, replica in self.replicas.items():
            if self.draws.random() < harm / 10:
                self.start(name)
            elif self.draws.random() > harm / 2:
                replica.tick()
            if replica is self.replicas[name] and replica.is_leader:
                assert self.leaders.setdefault(self.memories[name].term, name) == name
                replica.propose(self.draws.randbytes(4))
        self.draws.shuffle(self.under_way)
        words, self.under_way = self.under_way, []
        for sender, receiver, word in words:
            if self.draws.random() < harm:
                continue
            if self.draws.random() < harm:
                self.under_way.append((sender, receiver, word))
            self.replicas[receiver].heard(sender, word)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_servers_agree_whatever_befalls_them(count: int) -> None:
    """One leader in a term, one order of entries at all, and what was applied once is applied by all."""
    for seed in range(25):
        town = Town(seed, count)
        for _ in range(300):
            town.step(harm=0.2)
        before = len(town.agreed)
        for _ in range(round(6 * ELECTION[1] / TICK)):
            town.step(harm=0.0)
        assert len(town.agreed) > before
        assert min(map(len, town.applied.values())) >= before


async def counting(world: World, names: tuple[str, ...], seconds: float) -> tuple[int, int, int]:
    """Clients that count in the registry by compare-and-set: what it says, what was confirmed, unknown."""
    world.open_servers(lease=2.0)
    await world.run(3.0)
    cluster = world.cluster
    assert cluster is not None
    ports = [world.network.port(name, "outside") for name in names]
    dials = [partial(cluster.dial, Visitor(port)) for port in ports]
    confirmed = unknown = 0

    async def count(connection: Connection) -> None:
        nonlocal confirmed, unknown
        registry = MeshRegistry(connection, MESH)
        while not world.is_calm:
            await trio.sleep(0.05)
            try:
                found = await registry.read("count")
                value = int(found.value or b"0") + 1
            except NoAnswer:
                continue
            try:
                await registry.write("count", b"%d" % value, found.revision)
                confirmed += 1
            except WrongRevision:
                pass
            except NoAnswer:
                unknown += 1

    chance = random.Random(world.seed)
    async with clients(list(cluster.addresses.values()), dials, chance=chance) as made:
        kinds = tuple(kind for kind in SERVERS if kind not in ("registry lost", "host apart"))
        world.faults(swarm(kinds=kinds, hosts=names))
        async with trio.open_nursery() as nursery:
            for each in made:
                nursery.start_soon(count, each)
            await world.run(seconds)
            await world.calm(10.0)
        last = await MeshRegistry(made[0], MESH).read("count")
    return int(last.value or b"0"), confirmed, unknown


@pytest.mark.parametrize(
    "seeds",
    [pytest.param(range(6, 10), id="some"), pytest.param(range(10, 46), marks=pytest.mark.soak, id="more")],
)
def test_what_the_registry_confirms_it_keeps(seeds: range) -> None:
    """Whatever happens to servers and ways: nothing confirmed is lost, and nothing is counted twice."""
    troubled = 0
    for seed in seeds:
        value, confirmed, unknown = run_simulation(counting, ("c1", "c2", "c3"), 20.0, seed=seed)
        assert confirmed <= value <= confirmed + unknown
        assert confirmed > 0
        troubled += unknown > 0
    assert troubled > 0


# Faults.


async def told(world: World, fault: Any, seconds: float) -> list[str]:
    """What a client at the first server hears of a fault there, for so long."""
    world.open_servers()
    await world.run(3.0)
    cluster = world.cluster
    assert cluster is not None
    heard: list[str] = []

    class Listener(Quiet):
        def connection_lost(self, server: Server, why: str) -> None:
            heard.append(f"{world.now() - began:.0f} s, {server.port}: {why}")

    port = world.network.port("client", "outside")
    chance = random.Random(1)
    connection = Connection(
        list(cluster.addresses.values()),
        name="client",
        inbox="inbox",
        watcher=Listener(),
        entropy=chance.randbytes,
        random=chance.random,
        dial=partial(cluster.dial, Visitor(port)),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(connection.run)
        began = world.now()
        world.strike(fault)
        await world.run(seconds)
        heard.append(f"at {connection.server.port}" if connection.server else "nowhere")
        nursery.cancel_scope.cancel()
    return heard


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("killed", ["0 s, 4222: it closed the connection", "at 4223"]),
        ("power", ["2 s, 4222: it said nothing for 2 s", "at 4223"]),
        ("frozen", ["2 s, 4222: it said nothing for 2 s", "at 4223"]),
        ("retiring", ["0 s, 4222: it closed the connection", "at 4223"]),
        ("full", ["at 4222"]),
    ],
)
def test_how_a_client_hears_of_the_trouble_of_its_server(what: Any, expected: list[str]) -> None:
    assert run_simulation(told, ServerTrouble("s1", what, 20.0), 5.0, seed=1) == expected


def test_a_registry_that_is_full_takes_nothing_for_a_while() -> None:
    async def main(world: World) -> list[str]:
        world.open_servers()
        await world.run(3.0)
        cluster = world.cluster
        assert cluster is not None
        dials = [partial(cluster.dial, Visitor(world.network.port("client", "outside")))]
        seen = []
        async with clients(list(cluster.addresses.values()), dials, chance=random.Random(1)) as (one,):
            registry = MeshRegistry(one, MESH)
            world.strike(ServerTrouble("s1", "full", 5.0))
            for _ in range(2):
                try:
                    await registry.write("a", b"1", 0)
                    seen.append("written")
                except NoAnswer as error:
                    seen.append(str(error))
                await world.run(6.0)
        return seen

    assert run_simulation(main, seed=1) == ["maximum bytes exceeded", "written"]


def test_a_registry_that_is_lost_is_made_anew_with_a_later_epoch() -> None:
    async def main(world: World) -> tuple[int, int, bytes]:
        world.open_servers()
        await world.run(3.0)
        cluster = world.cluster
        assert cluster is not None
        dials = [partial(cluster.dial, Visitor(world.network.port("client", "outside")))]
        async with clients(list(cluster.addresses.values()), dials, chance=random.Random(1)) as (one,):
            registry = MeshRegistry(one, MESH)
            await registry.write("a", b"1", 0)
            (first, settled) = await registry.epoch()
            assert first is not None
            assert settled == first.began
            world.strike(LostRegistry(1.0))
            await world.run(6.0)
            (second, settled) = await registry.epoch()
            assert second is not None
            assert settled == 0
            return first.began, second.began, (await registry.read("a")).value

    first, second, value = run_simulation(main, seed=1)
    assert first < second
    assert value == b""


def test_a_world_refuses_servers_that_cannot_be() -> None:
    async def main(world: World, attempt: Callable[[World], Awaitable[object]]) -> None:
        await attempt(world)

    async def twice(world: World) -> None:
        world.open_servers()
        world.open_servers()

    async def of_a_host(world: World) -> None:
        await world.open_node("east")
        world.open_servers("east")

    async def unknown(world: World) -> None:
        mesh = world.open_servers("s1")
        await world.run(2.0)
        await world.open_node("east", mesh=attrs.evolve(mesh, servers="nats://127.0.0.1:1"))

    for attempt, error, text in (
        (twice, RuntimeError, "one cluster"),
        (of_a_host, ValueError, "a host 'east'"),
        (unknown, MeshError, "expected one of 127.0.0.1:4222"),
    ):
        with pytest.raises(error, match=text):
            run_simulation(main, attempt, seed=1)


def test_a_heal_of_everything_heals_the_ways_to_servers() -> None:
    async def main(world: World) -> None:
        world.open_servers("s1")
        await world.open_node("east")
        world.partition("east", "s1")
        assert world.way("east", "s1").is_silent
        world.heal()
        assert not world.way("east", "s1").is_silent
        assert not world.way("s1", "east").is_silent

    run_simulation(main, seed=1)
