"""Faults that strike together, in pairs, and while others last."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio

from enfilade.actors.simulation import (
    Block,
    Crash,
    Drift,
    Flaky,
    Flap,
    Freeze,
    Partition,
    Skew,
    Slow,
    Stranger,
    Strike,
    World,
    run_simulation,
)
from enfilade.actors.simulation.faults.patterns import Blackout, CrashLoop, RollingRestart, Swizzle
from tests.simulation.scenes import OPEN, QUICK, Ledger, branch


async def three(world: World) -> list[Any]:
    hosts = [await world.open_node(n, boot=branch, policy=OPEN, settings=QUICK) for n in "abc"]
    world.connect(*hosts)
    await world.run(1)
    return hosts


FAULTS = {
    "crash": Crash("a", back=1.0),
    "power": Crash("a", how="machine", back=1.0),
    "gone": Crash("a", back=None),
    "freeze": Freeze("a", 3.0),
    "freeze b": Freeze("b", 3.0),
    "slow": Slow("a", 0.01, 2.0),
    "block": Block("a", 2.5),
    "silence": Partition("a", "b", 3.0),
    "reset": Partition("a", ("b", "c"), 3.0, "reset"),
    "one way": Partition("b", "a", 3.0, one_way=True),
    "back": Skew("a", -3600.0),
    "drift": Drift("a", 2.0, 3.0),
    "full": Flaky("a", "b", 3.0, full=1.0),
    "twice": Flaky("a", "b", 3.0, twice=1.0, reset=0.1),
    "flap": Flap("a", "b"),
    "loop": CrashLoop("a"),
    "rolling": RollingRestart(("a", "b")),
    "blackout": Blackout(("a", "b", "c"), 1.5),
    "swizzle": Swizzle((("a", "b"), ("a", "c")), (("a", "c"), ("a", "b"))),
    "stale": Stranger("a", "stale", 2.0),
    "nonsense": Stranger("a", "nonsense", 2.0),
}

STRIDE = 7
"""One of so many pairs is tried: all of them take a minute, and find nothing."""


@pytest.mark.parametrize("first", FAULTS)
def test_two_faults_at_once(first: str) -> None:
    """Faults that overlap: afterwards all is as it must be, and everybody is answered."""
    place = list(FAULTS).index(first)
    for number, second in list(enumerate(FAULTS))[place % STRIDE :: STRIDE]:

        async def main(world: World, number: int = number, second: str = second) -> None:
            await three(world)
            world.at(2.0, FAULTS[first])
            world.at(2.0 + 0.4 * (number % 3), FAULTS[second])
            await world.run(4)
            await world.calm(25)
            world.check()
            assert world.owners("ledger") == 3
            for one, other in itertools.permutations("abc", 2):

                async def ask(one: str = one, other: str = other) -> int:
                    return await world.host(one).node.remote("ledger", f"{other}@{other}").call(Ledger.add, 1)

                assert await world.on(one, ask) >= 1, (first, second)

        try:
            run_simulation(main, seed=number)
        except BaseException as error:
            error.add_note(f"{first} and {second}")
            raise


def test_a_frozen_host_that_is_crashed_is_thawed_for_its_next_life() -> None:
    async def main(world: World) -> None:
        await three(world)
        world.freeze("a")
        await world.run(0.5)
        world.crash("a")
        await world.restart("a")
        await world.run(5)

        async def ask() -> int:
            return await world.host("b").node.remote("ledger", "a@a").call(Ledger.add, 1)

        assert await world.on("b", ask) == 1

    run_simulation(main, seed=1)


def test_restart_of_a_frozen_host() -> None:
    async def main(world: World) -> None:
        await three(world)
        world.freeze("a", 100.0)
        await world.restart("a", after=1.0)
        assert world.host("a").lives == 2
        await world.run(8)
        assert sorted(world.host("a").node.peers) == ["b@b", "c@c"]

    run_simulation(main, seed=1)


def test_a_crash_between_freeze_and_clock_steps() -> None:
    async def main(world: World) -> None:
        await three(world)
        woken: list[float] = []

        async def nap() -> None:
            await trio.sleep(2.0)
            woken.append(world.now())

        async def all_of_it() -> None:
            await nap()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.on, "a", all_of_it)
            await world.run(0.5)
            world.freeze("a", 1.0)
            world.skew_clock("a", 3600)
            world.drift_clock("a", 2.0)
            await world.run(0.2)
            world.skew_clock("a", -7200)
        assert len(woken) == 1
        assert 2.0 < woken[0] < 3.1

    run_simulation(main, seed=1)


def test_a_hold_that_is_released_after_a_crash() -> None:
    async def main(world: World) -> None:
        await three(world)
        world.hold("a", "b")
        await world.run(0.3)
        world.crash("b")
        await world.restart("b")
        world.release("a", "b", order="seeded")
        await world.run(10)
        assert "b@b" in world.host("a").node.peers
        world.check()

    run_simulation(main, seed=1)


@pytest.mark.parametrize(
    "what",
    [
        "crash sender",
        "crash receiver",
        "freeze sender",
        "freeze receiver",
        "reset",
        "cut",
        "silence",
        "one way",
        "full",
    ],
)
def test_strikes_at_the_hand_overs_of_strangers(what: Any) -> None:
    for place in range(1, 10):

        async def main(world: World, place: int = place) -> None:
            await world.open_node("a", boot=branch, policy=OPEN, settings=QUICK)
            await world.open_node("b", boot=branch, policy=OPEN, settings=QUICK)
            world.at(0.0, Strike(place, what))
            world.at(0.5, Stranger("a", "stale", 2.0))
            world.at(0.6, Stranger("a", "nonsense", 2.0, 1))
            await world.run(4)
            await world.calm(10)
            world.check()

        run_simulation(main, seed=place)
