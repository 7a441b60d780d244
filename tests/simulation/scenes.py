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
from enfilade.actors.simulation import Host, World, swarm
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


class Recorder(Actor):
    """Notes the numbered messages that it is sent."""

    def __init__(self, world: World) -> None:
        self.history = world.history

    def on_message(self, message: Any) -> None:
        self.history.taken(*message)


async def branch(node: Node) -> None:
    """A supervisor with a named child."""
    await node.spawn(Supervisor, [Child(Ledger, id="ledger", name="ledger")], intensity=100, period=1.0)


async def opened(world: World, *names: str, boot: Any = branch, **options: Any) -> list[Host]:
    """Hosts that are connected with each other."""
    options = {"policy": OPEN, "settings": QUICK, **options}
    hosts = [await world.open_node(name, boot=boot, **options) for name in names]
    world.connect(*hosts)
    return hosts


async def chat(world: World, node: Node, draws: Stream, peers: list[Host], pause: float) -> None:
    """Send and call across node links, for as long as the life lasts."""
    numbers = dict.fromkeys((peer.name for peer in peers), 0)
    while True:
        await trio.sleep(draws.exponential(pause))
        peer = draws.choice(peers)
        try:
            ref = node.remote("ledger", peer.full_name)
            if draws.chance(0.5):
                channel = f"{node.incarnation}>{peer.name}"
                node.remote("recorder", peer.full_name).send((channel, numbers[peer.name]))
                world.history.sent(channel, numbers[peer.name])
                numbers[peer.name] += 1
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
        await node.spawn(Recorder, world, name="recorder")
        draws = world.random(f"chat of {name}.{world.hosts[name].lives}")
        peers = [world.hosts[other] for other in others if other in world.hosts]

        async def talk(me: Process) -> None:
            await chat(world, node, draws, peers or [world.hosts[name]], pause)

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
    world.faults(swarm())
    await world.run(15)
    await world.calm(20)
    for host in hosts:
        assert len(host.node.peers) == 2, host
        assert world.owners("ledger") == 3
    world.check()


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
    world.faults(swarm(rates=(0.05, 2.0)))
    await world.run(12)
    await world.calm(20)
    for host in hosts:
        assert sorted(host.node.peers) == sorted(other.full_name for other in hosts if other is not host)
    world.check()


class Emigrant(Actor):
    """A child that lives in another zone."""

    def home(self) -> str:
        return self.process.node.name


CHILDREN = 3


async def opened_emigrants(world: World) -> list[Host]:
    """An office whose supervisors have children on two other hosts."""

    async def boot(node: Node) -> None:
        if node.name == "office":
            for number in range(CHILDREN):
                places = [f"{name}@{name}" for name in (("east", "west"), ("west", "east"))[number % 2]]
                child = Child(RemoteEntry("Emigrant", *places), id=number)
                await node.spawn(Supervisor, [child], intensity=1000, period=0.1, name=f"tree {number}")

    return await opened(world, "office", "east", "west", boot=boot, entries={"Emigrant": Emigrant})


async def emigrants(world: World) -> None:
    """Children in other zones, while connections break within hand-overs."""
    hosts = await opened_emigrants(world)
    draws = world.random("resets")
    for one, other in (("east", "office"), ("west", "office"), ("office", "east"), ("office", "west")):
        world.way(one, other).set(jitter=0.001, reset=draws.between(0.0, 0.1))
    world.faults(swarm())
    await world.run(20)
    await world.calm(30)
    world.check()
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
