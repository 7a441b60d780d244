"""Case mesh-134 in simulation: fifty nodes on ten machines with three servers, 256 shards, 10,000 keys.

Ten nodes die, a machine is cut off, a server is killed, and all is healed. After each all keys answer; no key
ever has two actors that may act, and fences grow. With real processes, and fewer of them, the test is in
`tests/transport/mesh/test_fleet.py`. The soak has the whole case, the suite a smaller one. With `-s` it says
what it has seen.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import Actor, CallError, Kind, NoQuorum, NotConnected
from enfilade.actors.simulation import Host, ServerTrouble, World, run_simulation
from tests.simulation.mesh_scenes import OPEN

LEASE = 15.0
"""The shortest with three servers."""

AT_A_TIME = 100
"""Keys that are asked for at a time."""


@attrs.define
class Seen:
    """What the actors of keys have said when they acted: the greatest fence of each key, and how many."""

    world: World
    fences: dict[str, Any] = attrs.field(factory=dict)
    acts: int = 0

    def act(self, key: str, fence: Any) -> None:
        """Take in an act; without a fence who acts knows that it must not."""
        if fence is not None:
            self.acts += 1
            if fence < self.fences.get(key, fence):
                self.world.fail(AssertionError(f"{key}: fence {fence} after {self.fences[key]}"))
            self.fences[key] = fence


@attrs.define
class Fleet:
    """The nodes, and who asks them."""

    world: World
    seen: Seen
    hosts: list[Host]
    keys: list[str]

    async def answered(self, what: str, limit: float) -> None:
        """Call all keys until each has answered, from a node that lives and is not cut off."""
        asking = next(host for host in reversed(self.hosts) if host.is_alive)
        began = self.world.now()
        await self.world.on(asking, self._ask_all, asking)
        took = self.world.now() - began
        print(f"{what}: all {len(self.keys)} keys answer after {took:.1f} s", flush=True)
        assert took <= limit, what

    async def _ask_all(self, asking: Host) -> None:
        waiting = list(reversed(self.keys))

        async def ask() -> None:
            while waiting:
                key = waiting.pop()
                ref = asking.node.mesh.keyed("Account", key).within(5.0)
                while True:
                    try:
                        assert await ref.call(Acting.act) == key
                    except (CallError, NoQuorum, NotConnected):
                        await trio.sleep(0.2)
                    else:
                        break

        async with trio.open_nursery() as nursery:
            for _ in range(AT_A_TIME):
                nursery.start_soon(ask)


class Acting(Actor):
    """The actor of a key, which says when it acts."""

    seen: Seen

    def __init__(self, key: str) -> None:
        self.key = key

    def act(self) -> str:
        self.seen.act(self.key, self.process.fence)
        return self.key


async def run(world: World, nodes: int, keys: int, shards: int) -> None:
    """Run the case with so many of each."""
    seen = Seen(world)
    kind = type("Acting", (Acting,), {"seen": seen})
    mesh = world.open_servers("s1", "s2", "s3", lease=LEASE)
    await world.run(3.0)
    kinds = {"Account": Kind(kind, shards=shards, idle=3600.0)}
    names = [f"n{number}" for number in range(nodes)]
    hosts = [
        await world.open_node(name, zone=f"host{number % 10 + 1}", mesh=mesh, policy=OPEN, kinds=kinds)
        for number, name in enumerate(names)
    ]
    await world.run(2 * LEASE)
    fleet = Fleet(world, seen, hosts, [f"k{number}" for number in range(keys)])
    assert all(len(host.node.mesh.nodes()) == nodes for host in hosts)
    taken_over = 1.2 * LEASE + 10.0
    await fleet.answered("at first", taken_over)
    draws = world.random("fleet")
    for host in draws.sample(hosts[:-1], nodes // 5):
        world.crash(host, "machine")
    await fleet.answered(f"{nodes // 5} nodes killed", taken_over)
    cut = [host for host in hosts[:-1] if host.zone == "host4" and host.is_alive]
    world.partition(cut, tuple(world.servers))
    await fleet.answered("a machine cut off", taken_over)
    world.strike(ServerTrouble("s1", "killed", 5.0))
    await fleet.answered("a server killed", taken_over)
    world.heal()
    living = {f"{host.name}@{host.zone}" for host in hosts if host.is_alive}
    healed = world.now()
    while any({node.name for node in host.node.mesh.nodes()} != living for host in hosts if host.is_alive):
        await world.run(0.5)
        assert world.now() - healed < 6.0, "all know one another again, and none of the dead"
    print(f"all know one another again after {world.now() - healed:.1f} s", flush=True)
    await fleet.answered("healed", taken_over)
    print(f"{seen.acts} acts of {len(seen.fences)} keys; {world.now():.0f} s", flush=True)
    assert len(seen.fences) == keys


def test_mesh_134_a_fleet_of_ten_in_simulation() -> None:
    run_simulation(run, 10, 300, 32, seed=134)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_mesh_134_a_fleet_of_fifty_in_simulation() -> None:
    run_simulation(run, 50, 10_000, 256, seed=134)
