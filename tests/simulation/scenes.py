"""Scenes: small systems that are simulated by many seeds. Each is an async function of its world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from enfilade.actors import (
    Actor,
    CallError,
    Child,
    MailboxFull,
    Node,
    NotConnected,
    Process,
    RemoteEntry,
    Supervisor,
)
from enfilade.actors.simulation import Block, Crash, Fault, Flaky, Freeze, Host, Partition, Skew, Slow, World
from enfilade.actors.simulation.entropy import Stream
from enfilade.transport import Policy, Settings

Scene = Callable[[World], Awaitable[None]]

OPEN = Policy.same_user(exports="*", groups="*", entries="*", ends="*")
QUICK = Settings(period=2.0)


class Ledger(Actor):
    """A named child: adds, and crashes on demand."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    def fail(self) -> None:
        raise ValueError("on purpose")


async def branch(node: Node) -> None:
    """A supervisor with a named child."""
    await node.spawn(Supervisor, [Child(Ledger, id="ledger", name="ledger")], intensity=100, period=1.0)


async def opened(world: World, *names: str, boot: Any = branch, **options: Any) -> list[Host]:
    """Hosts that are connected with each other."""
    options = {"policy": OPEN, "settings": QUICK, **options}
    hosts = [await world.open_node(name, boot=boot, **options) for name in names]
    world.connect(*hosts)
    return hosts


def trouble(world: World, names: list[str], within: float, every: float = 1.0) -> None:
    """Draw a fault every so often, from a stream of its own."""
    draws = world.random("trouble")
    seconds = 1.0
    while (seconds := seconds + draws.exponential(every)) < within:
        world.at(seconds, drawn_fault(draws, *draws.sample(names, 2)))


def drawn_fault(draws: Stream, one: str, other: str) -> Fault:
    """Draw a fault of one host, or between two."""
    span = draws.between(0.1, 4.0)
    faults: list[Fault] = [
        Crash(one, back=span),
        Crash(one, how="machine", back=span),
        Freeze(one, span),
        Slow(one, step=1e-4, seconds=span),
        Block(one, span / 4),
        Partition(one, other, span, how="silence"),
        Partition(one, other, span, how="reset", one_way=draws.chance(0.5)),
        Flaky(one, other, span, full=0.1, twice=0.1, reset=0.02, jitter=0.01),
        Skew(one, span),
    ]
    return draws.choice(faults)


async def chat(node: Node, draws: Stream, peers: list[Host], pause: float) -> None:
    """Send, call and watch across node links, for as long as the life lasts."""
    while True:
        await trio.sleep(draws.exponential(pause))
        peer = draws.choice(peers)
        try:
            ref = node.remote("ledger", peer.full_name)
            if draws.chance(0.5):
                ref.cast(Ledger.add, 1)
            elif draws.chance(0.1):
                ref.cast(Ledger.fail)
            else:
                with trio.move_on_after(1.0):
                    await ref.call(Ledger.add, 2)
        except (CallError, NotConnected, MailboxFull):
            pass


def talkative(world: World, name: str, others: list[str], pause: float) -> Callable[[Node], Awaitable[None]]:
    """A boot that starts a tree, and talks with the other hosts."""

    async def boot(node: Node) -> None:
        await branch(node)
        draws = world.random(f"chat of {name}.{world.hosts[name].lives}")
        peers = [world.hosts[other] for other in others if other in world.hosts]

        async def talk(me: Process) -> None:
            await chat(node, draws, peers or [world.hosts[name]], pause)

        await node.spawn(talk)

    return boot


async def messages(world: World) -> None:
    """Three hosts that send to, call and crash each other's ledgers, under faults of every kind."""
    names = ["east", "west", "south"]
    hosts = []
    for name in names:
        others = [other for other in names if other != name]
        boot = talkative(world, name, others, 0.05)
        hosts.append(await world.open_node(name, boot=boot, policy=OPEN, settings=QUICK))
    world.connect(*hosts, both=True)
    trouble(world, names, 15.0)
    await world.run(15)
    await world.calm(20)
    for host in hosts:
        assert len(host.node.peers) == 2, host  # type: ignore[union-attr]
        assert world.owners("ledger") == 3


async def handshakes(world: World) -> None:
    """Three hosts that call each other at once, with a secret, while connections break all the time."""
    names = ["east", "west", "south"]
    policy = Policy(rules=OPEN.rules, secret=b"open sesame")
    hosts = [await world.open_node(name, policy=policy, settings=QUICK) for name in names]
    world.connect(*hosts, both=True)
    for one in names:
        for other in names:
            if one != other:
                world.way(one, other).set(jitter=0.002, reset=0.05, full=0.05)
    trouble(world, names, 12.0, every=0.5)
    await world.run(12)
    await world.calm(20)
    for host in hosts:
        assert host.node is not None
        assert sorted(host.node.peers) == sorted(other.full_name for other in hosts if other is not host)
        assert host.node.distribution.rendezvous.handshakes == 0  # type: ignore[attr-defined]


class Emigrant(Actor):
    """A child that lives in another zone."""

    def home(self) -> str:
        return self.process.node.name


CHILDREN = 3


async def emigrants(world: World) -> None:
    """A host whose supervisors have children in other zones, while connections break within hand-overs."""
    names = ["office", "east", "west"]

    async def boot(node: Node) -> None:
        if node.name == "office":
            for number in range(CHILDREN):
                places = [f"{name}@{name}" for name in (("east", "west"), ("west", "east"))[number % 2]]
                child = Child(RemoteEntry("Emigrant", *places), id=number)
                await node.spawn(Supervisor, [child], intensity=1000, period=0.1, name=f"tree {number}")

    hosts = await opened(world, *names, boot=boot, entries={"Emigrant": Emigrant})
    draws = world.random("resets")
    for one, other in (("east", "office"), ("west", "office"), ("office", "east"), ("office", "west")):
        world.way(one, other).set(jitter=0.001, reset=draws.between(0.0, 0.1))
    trouble(world, names, 20.0, every=2.0)
    await world.run(20)
    await world.calm(30)
    assert emigrants_of(hosts) == CHILDREN


def emigrants_of(hosts: list[Host]) -> int:
    """How many children live, over all hosts."""
    nodes = [host.node for host in hosts if host.is_alive]
    return sum(
        isinstance(process.actor, Emigrant) and process.ended is None
        for node in nodes
        if node is not None
        for process in node.processes.values()
    )


async def quiet(world: World) -> None:
    """Three hosts that have nothing to say to each other."""
    await opened(world, "east", "west", "south")
    await world.run(60)
    assert world.now() >= 60.0


SCENES: dict[str, Scene] = {
    "messages": messages,
    "handshakes": handshakes,
    "emigrants": emigrants,
    "quiet": quiet,
}
