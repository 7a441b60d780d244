"""Strangers in a mesh: clients of its servers that are no nodes, or say that they are others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pytest

from enfilade.actors import CallError, NotConnected
from enfilade.actors.simulation import ServerTrouble, Stranger, World, run_simulation, swarm
from enfilade.actors.simulation.checkers.history import Down
from enfilade.actors.simulation.faults.stranger_calls import Story
from enfilade.transport import Policy
from tests.simulation.scenes import Ledger, branch

SECRET = b"open sesame"

OPEN = Policy.same_mesh(exports="*")


def ignored(world: World) -> int:
    """How many messages host east has passed over, because they made no sense."""
    carrier: Any = world.host("east").node.mesh._membership.carrier  # type: ignore[attr-defined]
    return sum(part.ignored for part in (carrier, carrier.announcer, carrier.heartbeats, carrier.doubts))


SOAK = pytest.mark.soak


@pytest.mark.parametrize(
    ("has_secret", "draws"),
    [
        pytest.param(False, (0, 1), id="open"),
        pytest.param(True, (2, 3), id="secret"),
        pytest.param(False, range(2, 20), id="open for long", marks=SOAK),
        pytest.param(True, range(4, 20), id="secret for long", marks=SOAK),
    ],
)
@pytest.mark.parametrize("what", get_args(Story))
def test_calls_of_others_do_not_notice(what: Story, has_secret: bool, draws: Sequence[int]) -> None:
    """But for a stale one: without certificates a client of the servers can speak as any node, and its word
    is taken for a moment. What makes no sense is passed over.
    """
    passed_over = 0
    for draw in draws:
        counts: list[int] = []

        async def main(world: World, draw: int = draw, counts: list[int] = counts) -> float:
            mesh = world.open_servers()
            await world.run(3)
            policy = Policy(rules=OPEN.rules, secret=SECRET if has_secret else None)
            for name in ("east", "west"):
                await world.open_node(name, mesh=mesh, boot=branch, policy=policy)
            _, west = world.hosts.values()
            world.at(world.now() + 2.0, Stranger("east", what, 4.0, draw))
            longest = 0.0

            async def call() -> None:
                nonlocal longest
                ref = west.node.remote("ledger", "east@east")
                await ref.call(Ledger.add, 1)
                for _ in range(60):
                    began = world.now()
                    try:
                        await ref.call(Ledger.add, 1)
                    except (CallError, NotConnected):
                        assert what == "stale"
                    longest = max(longest, world.now() - began)
                    await world.run(0.1)

            await world.on(west, call)
            await world.calm(15)
            world.check()
            assert world.struck == {"Stranger": 1}
            assert bool(world.history.of(Down)) <= (what == "stale")
            assert await world.on(west, west.node.remote("ledger", "east@east").call, Ledger.add, 1) > 30
            counts.append(ignored(world))
            return longest

        longest = run_simulation(main, seed=draw)
        if what != "stale":
            assert longest < 0.1
        passed_over += sum(counts)
    assert (passed_over > 10 * len(draws)) == (what == "nonsense")


def test_a_swarm_of_them_while_servers_come_and_go() -> None:
    struck = 0
    for seed in range(4):

        async def main(world: World) -> None:
            nonlocal struck
            mesh = world.open_servers()
            await world.run(3)
            policy = Policy(rules=OPEN.rules, secret=SECRET)
            for name in ("east", "west"):
                await world.open_node(name, mesh=mesh, boot=branch, policy=policy)
            world.faults(swarm(kinds=("stranger", "server killed"), rates=(3.0, 3.0)))
            await world.run(10)
            await world.calm(15)
            west = world.host("west")
            assert await world.on(west, west.node.remote("ledger", "east@east").call, Ledger.add, 1) == 1
            world.check()
            struck += world.struck.get("Stranger", 0)

        run_simulation(main, seed=seed)
    assert struck > 20


def test_nobody_is_there() -> None:
    """No server, or no host: whoever calls hears nothing, and goes again."""

    async def main(world: World) -> None:
        mesh = world.open_servers()
        await world.run(3)
        await world.open_node("east", mesh=mesh, boot=branch, policy=OPEN)
        for server in world.servers:
            world.at(world.now(), ServerTrouble(server, "power", 5.0))
        world.at(world.now() + 0.1, Stranger("east", "nonsense", 2.0))
        await world.run(10)
        world.crash("east", "machine")
        for what in get_args(Story):
            world.at(world.now(), Stranger("east", what, 1.0))
        await world.run(3)
        await world.calm(15)
        world.check()

    run_simulation(main, seed=1)
