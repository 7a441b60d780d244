"""Scenes of nodes in a mesh, with simulated servers: global names and keyed actors, under faults of both.

What an actor does for its name or key is written to something outside of all nodes, which takes in no fence
below one that it has seen. So whoever still acts for what another one has got is found.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import trio

from enfilade.actors import (
    Actor,
    CallError,
    Child,
    Global,
    Kind,
    MailboxFull,
    Node,
    NoQuorum,
    NotConnected,
    Process,
    Supervisor,
)
from enfilade.actors.simulation import Host, World, swarm
from enfilade.actors.simulation.faults.swarm import SERVERS
from enfilade.transport import Policy

OPEN = Policy.same_mesh(exports="*", entries="*", ends="*", groups="*", kinds="*")

NAMES = ("east", "west", "south")
KEYS = ("ann", "bob", "cy")
FAULTS = ("crash", "power", "freeze", "slow", "block", "drift", *SERVERS)

LEASE = 2.0
RECOVERY = 20.0
"""Seconds in which everything must be there again: elections, a registry that is new, leases."""


@attrs.define
class Outside:
    """What several actors act on, one after another; and the numbers that were carried out."""

    fences: dict[str, Any] = attrs.field(factory=dict)
    done: dict[str, None] = attrs.field(factory=dict)

    def act(self, key: str, fence: Any) -> None:
        """Take in what somebody does who has that fence; without one it knows that it must not."""
        if fence is None:
            return
        if fence < self.fences.get(key, fence):
            raise AssertionError(f"{key}: fence {fence} after {self.fences[key]}")
        self.fences[key] = fence

    def carry_out(self, number: str) -> None:
        """Take in a call, which must not come twice."""
        if number in self.done:
            raise AssertionError(f"call {number} was carried out twice")
        self.done[number] = None


class Holder(Actor):
    """Acts for a name or a key, and must not be there twice."""

    def __init__(self, world: World, outside: Outside, key: str) -> None:
        self.world = world
        self.outside = outside
        self.key = key

    async def act(self, number: str, seconds: float) -> str:
        """Act, take some time, and act again."""
        self.check()
        self.outside.carry_out(number)
        await trio.sleep(seconds)
        self.check()
        return number

    def check(self) -> None:
        """Act once."""
        try:
            self.outside.act(self.key, self.process.fence)
        except AssertionError as error:
            self.world.fail(error)


async def talk(world: World, node: Node, ref: Callable[[Any], Any]) -> None:
    """Have a process of a node call holders now and then, for as long as the life lasts."""
    draws = world.random(f"talk of {node.name}.{world.hosts[node.name].lives}")

    async def talking(me: Process) -> None:
        for count in itertools.count(1):
            await trio.sleep(draws.exponential(0.2))
            number = f"{node.incarnation:x}.{count}"
            with suppress(CallError, NotConnected, NoQuorum, MailboxFull):
                answer = await ref(draws).within(3.0).call(Holder.act, number, draws.exponential(0.1))
                world.demand(answer == number, "an answer belongs to its call")

    await node.spawn(talking)


async def drawn(world: World) -> None:
    """Weather of every kind."""
    world.faults(swarm(kinds=FAULTS, rates=(0.01, 0.3)))
    await world.run(40)


async def contested(world: World) -> None:
    """Weather in which one host after another hears no server, for as long as its lease or longer."""
    draws = world.random("contest")
    for _ in range(4):
        host, seconds = draws.choice(NAMES), draws.between(LEASE, 4 * LEASE)
        world.partition(host, tuple(world.servers), one_way=draws.chance(0.3))
        await world.run(seconds)
        world.heal()
        await world.run(draws.between(0.0, LEASE))


Weather = Callable[[World], Awaitable[None]]


async def weathered(
    world: World, hosts: list[Host], weather: Weather, ask: Callable[[Node], Awaitable[Any]]
) -> None:
    """Let faults strike; afterwards every host gets an answer, and the world is as it must be."""
    await weather(world)
    await world.calm(RECOVERY)
    for host in hosts:
        try:
            await world.on(host, ask, host.node)
        except (CallError, NoQuorum) as error:
            raise AssertionError(f"{host} gets no answer") from error
    world.check()


async def opened(world: World, boot: Callable[[Node], Awaitable[Any]], **options: Any) -> list[Host]:
    """Hosts of a mesh with three servers. In some a node that loses its lease is dead, too."""
    dead_after = world.random("patience").choice((0.0, 30.0))
    mesh = world.open_servers(lease=LEASE, **({"dead_after": dead_after} if dead_after else {}))
    await world.run(3.0)
    return [await world.open_node(name, mesh=mesh, boot=boot, policy=OPEN, **options) for name in NAMES]


async def global_names(world: World, weather: Weather = drawn) -> None:
    """A child of which there is one in the mesh."""
    outside = Outside()

    async def boot(node: Node) -> None:
        child = Child(Holder, world, outside, "bank", name=Global("bank", taken="wait"), id="bank")
        await node.spawn(Supervisor, [child], intensity=1000, period=1.0)
        await talk(world, node, lambda draws: node.mesh.named("bank"))

    async def ask(node: Node) -> None:
        number = f"at last, {node.name}"
        assert await node.mesh.named("bank").within(5.0).call(Holder.act, number, 0.0) == number
        assert await node.mesh.whereis("bank") is not None

    await weathered(world, await opened(world, boot), weather, ask)
    assert len(outside.done) > 3


async def keyed_actors(world: World, weather: Weather = drawn) -> None:
    """Keyed actors that move when nodes die, and are nowhere twice."""
    outside = Outside()

    async def boot(node: Node) -> None:
        await talk(world, node, lambda draws: node.mesh.keyed("Account", draws.choice(KEYS)))

    async def ask(node: Node) -> None:
        for key in KEYS:
            number = f"at last, {node.name}, {key}"
            assert await node.mesh.keyed("Account", key).within(5.0).call(Holder.act, number, 0.0) == number

    class Account(Holder):
        def __init__(self, key: str) -> None:
            super().__init__(world, outside, key)

    kinds = {"Account": Kind(Account, idle=1.5, shards=3)}
    await weathered(world, await opened(world, boot, kinds=kinds), weather, ask)
    assert len(outside.done) > 9


async def activations(world: World) -> None:
    """Keyed actors that take their time to start, and fail at it, while nodes die and are lost."""
    outside = Outside()
    draws = world.random("activations")

    async def boot(node: Node) -> None:
        await talk(world, node, lambda draws: node.mesh.keyed("Account", draws.choice(KEYS)))

    class Account(Holder):
        def __init__(self, key: str) -> None:
            super().__init__(world, outside, key)

        async def on_start(self) -> None:
            self.check()
            await trio.sleep(draws.exponential(0.5))
            self.check()
            if draws.chance(0.3) and not world.is_calm:
                raise ValueError("on purpose")

    async def ask(node: Node) -> None:
        for key in KEYS:
            number = f"at last, {node.name}, {key}"
            assert await node.mesh.keyed("Account", key).within(9.0).call(Holder.act, number, 0.0) == number

    kinds = {"Account": Kind(Account, idle=0.5, shards=3)}
    await weathered(world, await opened(world, boot, kinds=kinds), drawn, ask)


async def rolling(world: World) -> None:
    """Nodes that are drained, closed and started again, one after another, while others call keyed actors: a
    caller that asks again gets its answer.
    """
    outside = Outside()
    unanswered: list[str] = []

    class Account(Holder):
        def __init__(self, key: str) -> None:
            super().__init__(world, outside, key)

    async def boot(node: Node) -> None:
        draws = world.random(f"calls of {node.name}.{world.hosts[node.name].lives}")

        async def insist(me: Process) -> None:
            for count in itertools.count(1):
                await trio.sleep(draws.exponential(0.2))
                for attempt in range(5):
                    number = f"{node.incarnation:x}.{count}.{attempt}"
                    with suppress(CallError, NotConnected, NoQuorum, MailboxFull):
                        ref = node.mesh.keyed("Account", draws.choice(KEYS)).within(3.0)
                        assert await ref.call(Holder.act, number, 0.01) == number
                        break
                    await trio.sleep(0.5)
                else:
                    unanswered.append(number)

        await node.spawn(insist)

    hosts = await opened(world, boot, kinds={"Account": Kind(Account, idle=5.0, shards=6)})
    await world.run(5)
    for host in hosts * 2:
        await world.on(host, host.node.mesh.drain, 5.0)
        await world.close(host)
        await world.run(world.random("pauses").between(0.1, 2.0))
        await world.restart(host)
        await world.run(5)
    assert not unanswered
    assert len(outside.done) > 50
    await world.calm(5)
    world.check()
