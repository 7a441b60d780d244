"""A mesh of many nodes on ten hosts, and one that everything happens to. The soak has these tests.

With `-s` they print what they measured. Case mesh-134 is of fifty nodes and 10,000 keys. Twelve and 1,000
are what two processors carry beside other work, because each node hears all others: the work grows with
the square of their number. Everything else is as the case says: ten hosts, three servers, 256 shards, what is
killed, cut and healed, and what a node may weigh. The whole case is `ENFILADE_FLEET_NODES=50
ENFILADE_FLEET_KEYS=10000`; it wants a machine with more processors.
"""

import os
import random
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import CallError, Node, Ref, open_node
from tests.transport.mesh.fleet import LEASE, Fleet, Holder, answered, clock, judge, running
from tests.transport.mesh.hosts import Hosts
from tests.transport.mesh.members import until
from tests.transport.mesh.servers import needs_server
from tests.transport.mesh.sites import POLICY

pytestmark = [pytest.mark.real, pytest.mark.soak, pytest.mark.zones, needs_server]

NODES = int(os.environ.get("ENFILADE_FLEET_NODES", "12"))
KEYS = int(os.environ.get("ENFILADE_FLEET_KEYS", "1000"))
SECONDS = float(os.environ.get("ENFILADE_FLEET_SECONDS", "600"))
SEED = int(os.environ.get("ENFILADE_FLEET_SEED", "1"))

MESSAGES = 1000.0
"""Messages a second that all nodes together send to one another while everything happens to them."""

AGAIN = 20 * (1.2 * LEASE + 10)
"""Seconds within which all keys answer again on a machine that is overloaded; what it took is printed."""

IDLE_SECONDS = 10.0
"""Time for which nodes are watched that nobody calls."""

HEAVIEST = 45 * 1024
"""Kilobytes of a node."""


@pytest.fixture
def ten_hosts() -> Iterator[Hosts]:
    made = Hosts(10)
    with made.running():
        yield made


@pytest.fixture
def three_hosts() -> Iterator[Hosts]:
    made = Hosts(3)
    with made.running():
        yield made


async def timed(node: Node, keys: list[str], what: str) -> None:
    began = clock()
    await answered(node, keys, AGAIN)
    print(f"{what}: all {len(keys)} keys answer after {clock() - began:.1f} s", flush=True)


@pytest.mark.timeout(3600)
async def test_mesh_134_many_nodes_on_ten_hosts(ten_hosts: Hosts, tmp_path: Path) -> None:
    """A fifth is killed, a host cut off, a server killed: all keys answer and the group agrees after each."""
    choice = random.Random(SEED)
    names = [f"n{number}@host{number % 10 + 1}" for number in range(NODES)]
    keys = [str(number) for number in range(KEYS)]
    async with running(tmp_path, ten_hosts, names) as fleet:
        began = clock()
        await fleet.start(names)
        took = f"{clock() - began:.1f} s, and {fleet.processor():.1f} s of the processor"
        print(f"{NODES} nodes on 10 hosts after {took}", flush=True)
        mesh = fleet.site.mesh("driver@hub", groups=["fleet"])
        async with open_node("driver", zone="hub", mesh=mesh, policy=POLICY) as driver:
            await until_all(lambda: len(driver.mesh.nodes()) == NODES + 1)
            group = driver.scope("fleet")
            await until_all(lambda: nodes_of(group.members("all")) == set(names))
            await timed(driver, keys, "at first")
            heavy = fleet.memory()
            print(f"kilobytes of a node: {heavy[0]} to {heavy[-1]}, median {heavy[NODES // 2]}", flush=True)
            assert heavy[NODES // 2] <= HEAVIEST
            before, began = fleet.processor(), clock()
            await trio.sleep(IDLE_SECONDS)
            share = (fleet.processor() - before) / (clock() - began) / NODES
            print(f"of a processor, at rest: {100 * share:.2f} % a node", flush=True)
            for name in choice.sample(names, NODES // 5):
                fleet.kill(name)
            await until_all(lambda: nodes_of(group.members("all")) == set(fleet.programs))
            await timed(driver, keys, f"{NODES // 5} nodes killed")
            ten_hosts.cut(4)
            await timed(driver, keys, "a host cut off")
            there = {name for name in fleet.programs if not name.endswith("@host4")}
            await until_all(lambda: nodes_of(group.members("all")) == there)
            fleet.signal_server(0, signal.SIGKILL)
            await timed(driver, keys, "a server killed")
            ten_hosts.heal(4)
            await until_all(lambda: len(driver.mesh.nodes()) == NODES - NODES // 5 + 1)
            await until_all(lambda: nodes_of(group.members("all")) == set(fleet.programs))
            await timed(driver, keys, "healed")
        print(dict(judge(fleet.told())))


def nodes_of(members: Iterable[Ref[Any]]) -> set[str]:
    """The nodes that have joined a group."""
    return {each.node_name for each in members}


async def until_all(condition: object) -> None:
    with trio.fail_after(600):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - fifty nodes agree in their own time
            await trio.sleep(0.1)


class Trouble:
    """Does one thing after another to a fleet, as a seed says; each is over before the next.

    Attributes:
        done: how often each was done.
    """

    def __init__(self, fleet: Fleet, hosts: Hosts, names: list[str], seed: int) -> None:
        self._fleet = fleet
        self._hosts = hosts
        self._names = names
        self._random = random.Random(seed)
        self.done: dict[str, int] = {}

    async def one(self) -> None:
        """Do something, and undo it."""
        does = self._random.choice([self._kill, self._stop, self._cut, self._kill_server, self._stop_server])
        name = does.__name__.strip("_")
        self.done[name] = self.done.get(name, 0) + 1
        await does()
        await trio.sleep(self._random.uniform(0, 10))

    async def _kill(self) -> None:
        name = self._random.choice(self._names)
        self._fleet.kill(name)
        await trio.sleep(self._random.choice([0.0, 2.0, 10.0]))
        await self._fleet.start([name])

    async def _stop(self) -> None:
        program = self._fleet.programs[self._random.choice(self._names)]
        program.kill(signal.SIGSTOP)
        await trio.sleep(self._random.choice([1.0, 5.0, 25.0]))
        program.kill(signal.SIGCONT)

    async def _cut(self) -> None:
        host = self._random.randint(1, 3)
        self._hosts.cut(host)
        await trio.sleep(self._random.choice([1.0, 6.0, 25.0]))
        self._hosts.heal(host)

    async def _kill_server(self) -> None:
        self._fleet.signal_server(self._random.randint(0, 2), signal.SIGKILL)

    async def _stop_server(self) -> None:
        number = self._random.randint(0, 2)
        self._fleet.signal_server(number, signal.SIGSTOP)
        await trio.sleep(self._random.choice([1.0, 5.0]))
        self._fleet.signal_server(number, signal.SIGCONT)


@pytest.mark.timeout(6000)
async def test_mesh_135_everything_happens_to_a_mesh(three_hosts: Hosts, tmp_path: Path) -> None:
    """For ten minutes; then all keys and the name answer, the group is whole, and nothing has leaked."""
    names = [f"n{number}@host{number % 3 + 1}" for number in range(6)]
    keys = [str(number) for number in range(200)]
    async with running(tmp_path, three_hosts, names, MESSAGES) as fleet:
        await fleet.start(names)
        mesh = fleet.site.mesh("driver@hub", groups=["fleet"])
        async with open_node("driver", zone="hub", mesh=mesh, policy=POLICY) as driver:
            await answered(driver, keys, AGAIN)
            before = fleet.descriptors()
            trouble = Trouble(fleet, three_hosts, names, SEED)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use, driver, keys)
                end = clock() + SECONDS
                while clock() < end:
                    await trouble.one()
                nursery.cancel_scope.cancel()
            print(f"seed {SEED}: {trouble.done}", flush=True)
            await answered(driver, keys, AGAIN)
            bank = driver.mesh.named("bank").within(5.0)
            with trio.fail_after(AGAIN):
                while True:
                    try:
                        await bank.call(Holder.act)
                    except CallError:
                        await trio.sleep(0.2)
                    else:
                        break
            homes = lambda: sorted(ref.node_name for ref in driver.scope("fleet").members("all"))  # noqa: E731
            await until(lambda: homes() == sorted(names))
            after = fleet.descriptors()
            for pid in before.keys() & after.keys():
                assert after[pid] <= before[pid] + 20, "descriptors leak"
            heavy = fleet.memory()
            print(f"kilobytes of a node: {heavy[0]} to {heavy[-1]}", flush=True)
            assert heavy[-1] <= 2 * HEAVIEST, "memory leaks"
        print(dict(judge(fleet.told())))


async def use(node: Node, keys: list[str]) -> None:
    """Call the holder of the name and the actors of keys until cancelled."""
    bank = node.mesh.named("bank").within(2.0)
    answers: dict[str, int] = {}
    while True:
        for key in keys:
            for ref in (bank, node.mesh.keyed("Account", key).within(2.0)):
                with trio.move_on_after(3):
                    try:
                        answers[key] = await ref.call(Holder.act)
                    except CallError:
                        await trio.sleep(0.05)
