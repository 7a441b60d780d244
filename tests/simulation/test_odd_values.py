"""What a world is given that makes no sense, or is given in another way."""

from __future__ import annotations

import math
from typing import Any

import pytest

from enfilade.actors import Node
from enfilade.actors.simulation import Crash, World, run_simulation, simulated, swarm
from tests.simulation.scenes import OPEN, QUICK, branch
from tests.simulation.test_combined_faults import three

SAYS = "expected|must|names|seed"


def test_sets_of_hosts_and_zones() -> None:
    async def main(world: World) -> str:
        await three(world)
        world.partition({"a"}, {"b", "c"})
        await world.run(10)
        assert world.host("a").node.peers == ()
        assert set(world.host("b").node.peers) == {"c@c"}
        world.heal({"a"}, {"b", "c"})
        await world.run(10)
        assert len(world.host("a").node.peers) == 2
        return world.digest

    assert run_simulation(main, seed=1) == run_simulation(main, seed=1)


@pytest.mark.parametrize("what", ["nobody", "", 5, None, [5], ["nobody"]])
def test_a_partition_of_nobody_is_refused(what: Any) -> None:
    async def main(world: World) -> None:
        await three(world)
        with pytest.raises((ValueError, TypeError), match=SAYS):
            world.partition("a", what)
        with pytest.raises((ValueError, TypeError), match=SAYS):
            world.way("a", what)

    run_simulation(main, seed=1)


def test_a_core_may_be_given_by_names() -> None:
    async def main(world: World) -> None:
        await three(world)
        world.partition("c", ["a", "b"])
        world.freeze("c")
        world.crash("a")
        await world.calm(10, core=["a", "b"])
        assert world.host("a").is_alive
        assert world.host("a").node.peers == ("b@b",)
        with pytest.raises(ValueError, match="a host of the world"):
            await world.calm(1, core=["a", "nobody"])
        await world.calm(10)
        assert len(world.host("c").node.peers) == 2

    run_simulation(main, seed=1)


@pytest.mark.parametrize("every", [0, -1, 0.0, float("nan")])
def test_run_until_wants_time_to_pass(every: float) -> None:
    async def main(world: World) -> None:
        with pytest.raises(ValueError, match=SAYS):
            await world.run_until(lambda: False, within=1, every=every)

    run_simulation(main, seed=1)


def test_run_until_takes_no_async_predicate() -> None:
    async def predicate() -> bool:
        return False

    async def main(world: World) -> None:
        with pytest.raises(TypeError, match=SAYS):
            await world.run_until(predicate, within=1)  # type: ignore[arg-type]

    run_simulation(main, seed=1)


def test_run_until_ends_in_time() -> None:
    async def main(world: World) -> None:
        await world.run_until(lambda: True, within=0)
        assert world.now() == 0
        with pytest.raises(AssertionError, match=r"within 1\.005 s"):
            await world.run_until(lambda: world.now() > 5, within=1.005)
        assert world.now() == pytest.approx(1.005, abs=0.02)
        with pytest.raises(AssertionError):
            await world.run_until(lambda: world.now() > 5, within=1, every=60.0)
        assert world.now() <= 2.1

    run_simulation(main, seed=1)


@pytest.mark.parametrize("when", ["soon", None, [1]])
def test_a_time_that_is_none(when: Any) -> None:
    async def main(world: World) -> None:
        await world.open_node("a")
        with pytest.raises((TypeError, ValueError), match=SAYS):
            world.at(when, Crash("a"))
        with pytest.raises((TypeError, ValueError), match=SAYS):
            world.faults([(when, Crash("a"))])

    run_simulation(main, seed=1)


@pytest.mark.parametrize(
    "schedule",
    [
        5,
        "x",
        [Crash("a")],
        [(1.0,)],
        [(1.0, "crash")],
        [("x", Crash("a"))],
        [(float("nan"), Crash("a"))],
        {1.0: Crash("a")},
        [(1.0, Crash("a"), 2)],
    ],
)
def test_a_schedule_that_is_none_is_refused_at_once(schedule: Any) -> None:
    begun = []

    async def main(world: World) -> None:
        begun.append(world)

    with pytest.raises((TypeError, ValueError), match=SAYS):
        run_simulation(main, seed=1, schedule=schedule)
    assert not begun


@pytest.mark.parametrize("host", [5, 1.5, b"a", ["a"], object()])
def test_what_is_no_host(host: Any) -> None:
    async def main(world: World) -> None:
        await world.open_node("a")
        for call in (world.crash, world.freeze, world.thaw, world.slow, world.disk):
            with pytest.raises((TypeError, ValueError), match="host"):
                call(host)

    run_simulation(main, seed=1)


@pytest.mark.parametrize("seed", [None, 1.5, "7", b"7", [7]])
def test_what_is_no_seed_is_refused_by_all(seed: Any) -> None:
    async def main(world: World) -> None: ...

    with pytest.raises(TypeError, match=SAYS):
        run_simulation(main, seed=seed)
    if seed is not None:
        with pytest.raises(TypeError, match=SAYS):
            simulated(seed=seed)
    with pytest.raises(TypeError, match=SAYS):
        simulated(seeds=[seed])


@pytest.mark.parametrize("seeds", [0, -1, [], (), range(0), iter(())])
def test_no_seeds(seeds: Any) -> None:
    with pytest.raises(ValueError, match="at least one"):
        simulated(seeds=seeds)


@pytest.mark.parametrize("seeds", [1.5, object()])
def test_seeds_that_are_none(seeds: Any) -> None:
    with pytest.raises(TypeError, match="seed"):
        simulated(seeds=seeds)


def test_both_or_neither() -> None:
    for options in ({}, {"seed": 1, "seeds": 2}, {"seed": None, "seeds": None}):
        with pytest.raises(TypeError, match="seed"):
            simulated(**options)


@pytest.mark.parametrize("schedule", [5, [Crash("a")], "x"])
def test_simulated_refuses_a_schedule_that_is_none(schedule: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=SAYS):
        simulated(seed=1, schedule=schedule)


def test_main_that_is_no_function() -> None:
    with pytest.raises(TypeError, match=SAYS):
        run_simulation(None, seed=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=SAYS):
        run_simulation(lambda world: 5, seed=1)  # type: ignore[arg-type, return-value]

    async def main(world: World) -> int:
        return 5

    assert run_simulation(main, seed=1) == 5


def test_times_of_what_lasts_are_refused() -> None:
    async def main(world: World) -> None:
        await three(world)
        for bad in (-1.0, math.nan):
            with pytest.raises(ValueError, match=SAYS):
                world.freeze("a", bad)
            with pytest.raises(ValueError, match=SAYS):
                await world.run(bad)
            with pytest.raises(ValueError, match=SAYS):
                await world.calm(bad)
            with pytest.raises(ValueError, match=SAYS):
                await world.restart("a", after=bad)
            with pytest.raises(ValueError, match=SAYS):
                world.slow("a", step=bad)
            with pytest.raises(ValueError, match=SAYS):
                world.eventually("x", lambda: True, within=bad)
            with pytest.raises(ValueError, match=SAYS):
                world.keep_apart("a", "b", bad)
        assert not world.is_calm
        assert world.host("a").lives == 1

    run_simulation(main, seed=1)


def test_digests_do_not_depend_on_looking() -> None:
    async def main(world: World, looks: bool) -> str:
        await three(world)
        world.faults(swarm())
        for _ in range(10):
            await world.run(1)
            if looks:
                repr(world), world.events, world.digest, world.owners("ledger"), world.host("a").node.peers
        return world.digest

    assert run_simulation(main, True, seed=3) == run_simulation(main, False, seed=3)


def test_a_swarm_of_nothing_and_of_what_there_is_not() -> None:
    for kinds in (("nothing",), "crash", ("crash", 5)):
        with pytest.raises((TypeError, ValueError), match=SAYS):
            swarm(kinds=kinds)  # type: ignore[arg-type]
    for rates in ((-1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, 0.0), 5):
        with pytest.raises((TypeError, ValueError), match=SAYS):
            swarm(rates=rates)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["lifo", None, 1])
def test_an_order_that_is_none(order: Any) -> None:
    async def main(world: World) -> None:
        await three(world)
        world.hold("a", "b")
        with pytest.raises(ValueError, match=SAYS):
            world.release("a", "b", order=order)

    run_simulation(main, seed=1)


def test_a_boot_that_fails_in_a_later_life() -> None:
    lives = []

    async def boot(node: Node) -> None:
        lives.append(1)
        if len(lives) == 2:
            raise KeyError("second")

    async def main(world: World) -> None:
        await world.open_node("a", boot=boot)
        with pytest.raises(KeyError):
            await world.restart("a")
        assert not world.host("a").is_alive
        await world.restart("a")
        assert world.host("a").is_alive
        assert world.host("a").lives == 3

    run_simulation(main, seed=1)


def test_a_world_that_is_over_is_of_no_use() -> None:
    worlds = []

    async def main(world: World) -> None:
        worlds.append(world)
        await world.open_node("a")

    run_simulation(main, seed=1)
    (world,) = worlds
    assert not world.host("a").is_alive
    assert world.digest
    world.crash("a")
    world.check()
    assert isinstance(world.events, list)


def test_partition_and_zone_of_several() -> None:
    async def main(world: World) -> None:
        for name, zone in (("a", "left"), ("b", "left"), ("c", "right")):
            await world.open_node(name, zone=zone, boot=branch, policy=OPEN, settings=QUICK)
        world.connect("a", "b", "c")
        await world.run(1)
        world.partition("left", "right", how="reset")
        await world.run(3)
        assert world.host("a").node.peers == ("b@left",)
        assert world.host("c").node.peers == ()
        world.heal("a", "c")
        await world.run(20)
        assert world.host("c").node.peers == ("a@left",)
        world.heal()
        await world.run(20)
        assert len(world.host("c").node.peers) == 2

    run_simulation(main, seed=1)
