"""Scenes of what services are made of: calls that are put off, subscriptions, events of nodes."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import suppress
from typing import Any

import trio

from enfilade.actors import (
    CallError,
    Child,
    EventManager,
    Machine,
    MailboxFull,
    Node,
    NotConnected,
    Process,
    Supervisor,
    when,
)
from enfilade.actors.patterns.events import EventHandler
from enfilade.actors.simulation import World, swarm
from enfilade.transport import Policy, Settings

NAMES = ("east", "west", "south")

OPEN = Policy.same_user(exports="*", ends="*")
QUICK = Settings(period=2.0)


class Gate(Machine):
    """Lets calls through while it is open, and puts off those that come while it is closed."""

    initial = "closed"

    def __init__(self, world: World) -> None:
        self.history = world.history

    def pass_through(self, channel: str, number: int) -> int:
        """Note that a call has come through."""
        self.history.taken(channel, number)
        return number

    def turn(self, state: str) -> None:
        """Open or close it."""
        self.become(state)

    @when("closed", pass_through)
    def _wait(self, channel: str, number: int) -> int:
        self.postpone()


async def gates(world: World) -> None:
    """Three hosts that cast and call through each other's gates, which keep the order of each sender."""
    answered: Counter[str] = Counter()

    async def boot(node: Node) -> None:
        life = f"{node.name}.{world.hosts[node.name].lives}"
        draws = world.random(f"gate of {life}")
        child = Child(Gate, world, id="gate", name="gate")
        await node.spawn(Supervisor, [child], intensity=1000, period=1.0)

        async def keep(me: Process) -> None:
            for state in itertools.cycle(("open", "closed")):
                await trio.sleep(draws.exponential(0.3))
                node.named("gate").cast(Gate.turn, state)

        async def travel(me: Process, peer: str) -> None:
            channel = f"{life}>{peer}"
            for number in itertools.count():
                await trio.sleep(draws.exponential(0.2))
                with suppress(CallError, NotConnected, MailboxFull):
                    place = f"{peer}@{peer}"
                    ref = node.remote("gate", place)
                    if draws.chance(0.5):
                        ref.cast(Gate.pass_through, channel, number)
                        world.history.sent(channel, number, place)
                        continue
                    world.history.sent(channel, number, place)
                    answer = await ref.within(1.0).call(Gate.pass_through, channel, number)
                    world.demand(answer == number, "an answer belongs to its call")
                    answered[channel] += 1

        await node.spawn(keep)
        for peer in NAMES:
            if peer != node.name:
                await node.spawn(travel, peer)

    await _weathered(world, boot)
    answered.clear()
    await world.run_until(lambda: len(answered) == 6, 60, every=1.0, name="an answer through each gate")


class Paper(EventHandler):
    """Notes the events that it is given."""

    def __init__(self, read: list[int]) -> None:
        self.read = read

    def on_event(self, event: int) -> None:
        """Note one, which must be new."""
        self.read.append(event)


async def news(world: World) -> None:
    """Three hosts that tell each other's event managers what is new, and follow the events of their nodes."""
    read: dict[str, list[int]] = {}
    seen: dict[str, set[str]] = {}
    numbers = itertools.count()

    async def boot(node: Node) -> None:
        draws = world.random(f"news of {node.name}.{world.hosts[node.name].lives}")
        papers = read[node.name] = []
        peers = seen[node.name] = set()

        async def edit(me: Process) -> None:
            while True:
                manager = node.whereis("news")
                if manager is not None:
                    with suppress(CallError):
                        await manager.call(EventManager.add_handler, "paper", Paper, papers)
                        me.monitor(manager)
                        await me.receive()
                await trio.sleep(0.1)

        async def follow(me: Process) -> None:
            async with node.events("node.up", "node.down") as events:
                peers.update(node.peers)
                async for event in events:
                    (peers.add if event.kind == "node.up" else peers.discard)(event.peer)

        async def tell(me: Process) -> None:
            while True:
                await trio.sleep(draws.exponential(0.1))
                peer = draws.choice([name for name in NAMES if name != node.name])
                with suppress(CallError, NotConnected, MailboxFull), trio.move_on_after(1.0):
                    ref: Any = node.remote("news", f"{peer}@{peer}")
                    await ref.call(EventManager.notify, next(numbers))

        await node.spawn(Supervisor, [Child(EventManager, id="news", name="news")])
        for run in (edit, follow, tell):
            await node.spawn(run)

    await _weathered(world, boot)
    for host in world.hosts.values():
        assert seen[host.name] == set(host.node.peers), f"{host.node.peers}, and not {seen[host.name]}"
        assert len(read[host.name]) == len(set(read[host.name])), "each piece of news once"
        assert read[host.name], "there is news everywhere"


async def _weathered(world: World, boot: Any) -> None:
    hosts = [await world.open_node(name, boot=boot, policy=OPEN, settings=QUICK) for name in NAMES]
    world.connect(*hosts)
    world.faults(swarm())
    await world.run(15)
    await world.calm(15)
    world.check()
