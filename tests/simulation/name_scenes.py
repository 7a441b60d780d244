"""Scenes of names and of orderly ends: who has a name, and what an actor does before it stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from enfilade.actors import (
    Actor,
    CallError,
    Child,
    MailboxFull,
    NameTaken,
    Node,
    NotConnected,
    Process,
    Ref,
    Supervisor,
)
from enfilade.actors.simulation import World, swarm
from enfilade.actors.simulation.checkers.history import Down, Named
from enfilade.transport import Policy, Settings

NAMES = ("east", "west", "south")

OPEN = Policy.same_user(exports="*", ends="*")
QUICK = Settings(period=2.0)

BURST = 5
"""Messages that are sent before an order to stop."""


async def weathered(world: World, boot: Callable[[Node], Awaitable[None]]) -> None:
    """Three hosts under faults of every kind, and their recovery."""
    hosts = [await world.open_node(name, boot=boot, policy=OPEN, settings=QUICK) for name in NAMES]
    world.connect(*hosts)
    world.faults(swarm())
    await world.run(15)
    await world.calm(10)
    world.check()


async def names(world: World) -> None:
    """Three hosts on each of which processes compete for a name, and which look it up on each other."""

    async def boot(node: Node) -> None:
        draws = world.random(f"names of {node.name}.{world.hosts[node.name].lives}")

        async def sit(me: Process) -> None:
            while True:
                await trio.sleep(draws.exponential(0.3))
                try:
                    node.register("desk", me.ref)
                except NameTaken:
                    continue
                await trio.sleep(draws.exponential(0.3))
                if draws.chance(0.3):
                    raise ValueError("on purpose")
                node.unregister("desk")

        async def look(me: Process) -> None:
            while True:
                await trio.sleep(draws.exponential(0.2))
                peer = draws.choice([name for name in NAMES if name != node.name])
                with suppress(CallError, NotConnected), trio.move_on_after(1.0):
                    found = await node.whereis_on(f"{peer}@{peer}", "desk")
                    owners = [e.serial for e in world.history.of(Named) if e.host == peer]
                    world.demand(found is None or found.serial in owners, f"{found} has had the name")

        for _ in range(3):
            await node.spawn(Supervisor, [Child(sit, id="sit")], intensity=1000, period=1.0)
        await node.spawn(look)

    await weathered(world, boot)


class Till(Actor):
    """Notes the numbers that it is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    async def tell(self, number: str) -> None:
        await trio.sleep(0.01)
        self.told.append(number)


async def draining(world: World) -> None:
    """Three hosts, each of which stops the till of the next one, after what was told before is done."""
    told: list[str] = []
    stopped: set[Ref[Till]] = set()
    emptied = 0

    async def boot(node: Node) -> None:
        life = world.hosts[node.name].lives - 1
        draws = world.random(f"tills of {node.name}.{life}")
        await node.spawn(Supervisor, [Child(Till, told, id="till", name="till")], intensity=1000, period=1.0)

        # One host alone stops a till: what comes after an order to stop is not done any more.
        neighbour = NAMES[(NAMES.index(node.name) + 1) % len(NAMES)]

        def breaks() -> int:
            return sum((e.host, e.life) == (node.name, life) for e in world.history.of(Down))

        async def close(me: Process) -> None:
            nonlocal emptied
            while True:
                await trio.sleep(draws.exponential(0.5))
                with suppress(CallError, NotConnected, MailboxFull):
                    ref = await node.whereis_on(f"{neighbour}@{neighbour}", "till")
                    if ref is None or ref in stopped:
                        continue
                    stopped.add(ref)
                    before = breaks()
                    numbers = [f"{node.incarnation:x} {draws.random()}" for _ in range(BURST)]
                    for number in numbers:
                        ref.cast(Till.tell, number)
                    await ref.stop(timeout=3.0, drain=True)
                    # What is cast over a node link that breaks may be lost.
                    if breaks() == before:
                        missing = [number for number in numbers if number not in told]
                        world.demand(not missing, f"what {node.name} has told {ref} is done before it stops")
                        emptied += 1

        await node.spawn(close)

    await weathered(world, boot)
    assert emptied > 3
    assert len(told) == len(set(told))
