"""The speed of simulations: `python -m tests.simulation.speed`. Processor time of one process, medians of 5.

The reference load: five hosts with a tree of ten processes each, fifteen actions from host to host a second
in all (a send, a call, a monitor, a spawn), and a fault every five seconds.
"""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import trio

from enfilade.actors import (
    CallError,
    Child,
    MailboxFull,
    Node,
    NotConnected,
    Process,
    Supervisor,
)
from enfilade.actors.simulation import Crash, Freeze, Partition, World, run_simulation
from enfilade.actors.simulation.fault_schedule import Fault
from enfilade.transport import Settings
from tests.simulation.scenes import Emigrant, Ledger, opened

HOSTS = ("a", "b", "c", "d", "e")
CHILDREN = 9
"""Children of the supervisor of a tree; the ledger among them has a name."""

ACTIONS = 15
"""Actions in a second, from all hosts together."""

PAUSE = 5.0
"""Seconds between two faults."""

SECONDS = 180.0
TIMES = 5


def tree(world: World, *, is_busy: bool) -> Callable[[Node], Awaitable[None]]:
    """A boot: a tree, and a process that acts on other hosts."""

    async def boot(node: Node) -> None:
        children = [Child(Ledger, id=number, name=f"ledger {number}") for number in range(CHILDREN)]
        await node.spawn(Supervisor, children, intensity=1000, period=1.0)
        draws = world.random(f"actions of {node.name}.{world.hosts[node.name].lives}")

        async def act(me: Process) -> None:
            for number in itertools.count():
                await trio.sleep(draws.exponential(len(HOSTS) / ACTIONS))
                peer = draws.choice([f"{name}@{name}" for name in HOSTS if name != node.name])
                ref = node.remote(f"ledger {draws.below(CHILDREN)}", peer)
                with suppress(CallError, NotConnected, MailboxFull), trio.move_on_after(1.0):
                    match number % 4:
                        case 0:
                            ref.cast(Ledger.add, 1)
                        case 1:
                            await ref.call(Ledger.add, 1)
                        case 2:
                            found = await node.whereis_on(peer, "ledger 0")
                            if found is not None:
                                me.demonitor(me.monitor(found), flush=True)
                        case _:
                            emigrant = await node.spawn_on(peer, "Emigrant")
                            await emigrant.stop(timeout=1.0)

        if is_busy:
            await node.spawn(act)

    return boot


@attrs.frozen
class Figure:
    """One run: virtual seconds, seconds of the processor, events and steps."""

    virtual: float
    seconds: float
    events: int
    steps: int


def measure(main: Callable[[World], Awaitable[object]], seed: int) -> Figure:
    """Run a world, and measure it."""
    worlds: list[World] = []

    async def run(world: World) -> None:
        worlds.append(world)
        await main(world)

    began = time.process_time()
    run_simulation(run, seed=seed)
    (world,) = worlds
    return Figure(world.now(), time.process_time() - began, world.log.count, world.steps)


async def reference_load(world: World, *, is_busy: bool = True) -> None:
    """The load that the goals are about; without its traffic and its faults, if it is not busy."""
    boot = tree(world, is_busy=is_busy)
    await opened(world, *HOSTS, boot=boot, settings=Settings(), entries={"Emigrant": Emigrant})
    draws = world.random("faults")
    for number in range(1, round(SECONDS / PAUSE)) if is_busy else ():
        one, other = draws.sample(HOSTS, 2)
        fault: Fault = draws.choice(
            [Crash(one), Freeze(one), Partition(one, other), Partition(one, other, how="reset")]
        )
        world.at(number * PAUSE, fault)
    await world.run(SECONDS)


async def opened_and_dropped(world: World) -> None:
    """Three hosts, until they are connected."""
    hosts = await opened(world, "a", "b", "c")
    await world.run_until(lambda: all(len(host.node.peers) == 2 for host in hosts), within=10)


async def quiet_load(world: World) -> None:
    """The hosts of the reference load without its traffic."""
    await reference_load(world, is_busy=False)


def main() -> None:
    """Print the figures."""
    logging.disable()
    measure(opened_and_dropped, 0)  # imports what is imported on use
    for name, load in (("reference load", reference_load), ("without traffic", quiet_load)):
        figures = [measure(load, seed) for seed in range(TIMES)]
        ratio = statistics.median(each.virtual / each.seconds for each in figures)
        events = statistics.median(each.events / each.seconds for each in figures)
        steps = statistics.median(each.steps / each.seconds for each in figures)
        print(
            f"{name}: {ratio:.0f} s/s, {ratio / 60:.1f} virtual hours in a minute of the processor; ", end=""
        )
        print(f"{events:,.0f} events and {steps:,.0f} steps in a second of it")
    costs = [measure(opened_and_dropped, seed).seconds for seed in range(TIMES)]
    print(f"a world of three hosts, opened, connected, dropped: {1000 * statistics.median(costs):.0f} ms")


if __name__ == "__main__":
    main()
