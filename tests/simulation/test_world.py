"""The beginning and the end of a world, and what it demands."""

import gc
import importlib
import itertools
import logging
import os
import random
import sys
import time
import warnings
import weakref
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio._core import _run as trio_run
from trio.testing import MockClock

from enfilade.actors import Node, NodeConfig, rare
from enfilade.actors.simulation import (
    Crash,
    Freeze,
    Stuck,
    World,
    run_simulation,
    simulate,
)
from enfilade.actors.simulation.machine import scheduler
from enfilade.actors.simulation.machine.clock import LOOK
from enfilade.actors.simulation.world import COLLECT
from enfilade.transport import Settings
from enfilade.transport.door_carrier import DoorCarrier
from tests.simulation.scenes import OPEN
from tests.simulation.test_custody import function_process, simulated


@pytest.mark.parametrize("clock", [None, MockClock()], ids=["system", "mock"])
def test_sim_13_another_clock_is_refused(clock: Any) -> None:
    async def main() -> None:
        async with simulate(seed=1):
            raise AssertionError("no world has begun")

    with pytest.raises(RuntimeError, match=r"simulation_clock.*run_simulation"):
        trio.run(main, clock=clock)


def state() -> tuple[Any, ...]:
    names = ("time", "monotonic", "sleep", "perf_counter")
    return (
        os.urandom,
        random.getstate(),
        trio.to_thread.run_sync,
        [getattr(time, name) for name in names],
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
        gc.isenabled(),
        logging.getLogger("enfilade").filters,
    )


async def raises(world: World) -> None:
    raise KeyError("the block")


async def is_cancelled(world: World) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.run(1)
    raise KeyError("cancelled")


async def fails_to_boot(world: World) -> None:
    async def boot(node: Node) -> None:
        raise KeyError("boot")

    await world.open_node("a", boot=boot)


@pytest.mark.parametrize("main", [raises, is_cancelled, fails_to_boot], ids=lambda fn: fn.__name__)
def test_sim_15_everything_is_put_back(main: Any) -> None:
    before = state()
    with pytest.raises(KeyError) as caught:
        simulated(main, 77)
    assert any("seed 77" in note for note in caught.value.__notes__)
    assert state() == before
    simulated(world_of_one)


async def world_of_one(world: World) -> None:
    await world.open_node("a")


def test_one_world_at_a_time() -> None:
    async def main(world: World) -> None:
        async with simulate(seed=2):
            raise AssertionError("no second world has begun")

    with pytest.raises(RuntimeError, match="another world runs"):
        simulated(main)


def test_sim_18_a_standstill_is_an_error_at_once() -> None:
    async def main(world: World) -> None:
        async def boot(node: Node) -> None:
            await node.spawn(function_process, label="waits")

        await world.open_node("a", boot=boot)
        await trio.sleep_forever()

    with pytest.raises(Stuck, match=r"<life 0 of a>: function_process"):
        simulated(main)


def test_sim_18_a_task_that_never_waits_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enfilade.actors.simulation.world.MOST_STEPS", 2 * COLLECT)

    async def main(world: World) -> None:
        async def boot(node: Node) -> None:
            await node.spawn(function_process, label="innocent")

        host = await world.open_node("a", boot=boot)

        async def spin() -> None:
            await trio.sleep(1)
            while True:
                await trio.lowlevel.checkpoint()

        await world.on(host, spin)

    with pytest.raises(Stuck, match="time stands still at 1 s: a task of <life 0 of a> never waits"):
        simulated(main)


def test_sim_18_a_test_that_never_waits_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enfilade.actors.simulation.machine.clock.MOST_ROUNDS", 2 * LOOK)

    async def main(world: World) -> None:
        await world.open_node("a")
        await world.run(1)
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Stuck, match="time stands still at 1 s: a task of no host never waits"):
        simulated(main)


@pytest.mark.parametrize("option", [{"workers": 2}, {"carrier": DoorCarrier()}])
def test_sim_21_what_is_real_cannot_be_an_option(option: dict[str, Any]) -> None:
    async def main(world: World) -> None:
        await world.open_node("a", **option)

    with pytest.raises(ValueError, match="means nothing in a world"):
        simulated(main)


def test_sim_69_a_predicate_that_fails_for_one_step() -> None:
    """The world fails, though it is true again at once."""

    async def main(world: World) -> None:
        shown: list[int] = []
        world.always("shown is short", lambda: len(shown) < 2)
        host = await world.open_node("a")

        async def run() -> None:
            shown.extend([1, 2])
            await trio.lowlevel.checkpoint()
            shown.clear()

        await world.on(host, run)
        await world.run(1)

    with pytest.raises(AssertionError, match=r"'shown is short' does not hold at 0 s, after step \d+"):
        simulated(main)


def test_a_predicate_that_takes_long_is_asked_less_often() -> None:
    async def main(world: World) -> int:
        asked: list[float] = []
        world.always("asked", lambda: asked.append(world.now()) or True, every=0.5)  # type: ignore[func-returns-value]
        host = await world.open_node("a")

        async def run() -> None:
            for _ in range(100):
                await trio.sleep(0.1)

        await world.on(host, run)
        assert all(later - earlier > 0.49 for earlier, later in itertools.pairwise(asked))
        return len(asked)

    assert 15 <= simulated(main) <= 21


def test_what_must_hold_in_the_end_has_its_time_after_the_faults() -> None:
    async def main(world: World, within: float) -> float:
        done: list[float] = []
        world.eventually("it is done", lambda: done, within=within)
        host = await world.open_node("a")

        async def run() -> None:
            await trio.sleep(30)
            done.append(world.now())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.on, host, run)
            await world.calm(1)
            assert done
        return world.now()

    assert 30 <= run_simulation(main, 60.0, seed=1) < 31
    with pytest.raises(AssertionError, match="'it is done' did not hold within 20 s after the faults ended"):
        run_simulation(main, 20.0, seed=1)


def test_no_warning_is_left_behind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulated(world_of_one)


def test_configuration_is_kept() -> None:
    async def main(world: World) -> None:
        host = await world.open_node("a", config=NodeConfig(call_timeout=7.0), policy=OPEN)
        assert host.node.config.call_timeout == 7.0

    simulated(main)


def test_rare_things_happen_in_worlds_alone() -> None:
    """In the share that was asked for; by the seed; and a further place moves no other."""

    def draws(world: World, names: list[str]) -> Any:
        async def ask() -> dict[str, list[bool]]:
            found: dict[str, list[bool]] = {name: [] for name in names}
            for _ in range(1000):
                for name in names:
                    found[name].append(rare(name, 0.1))
            return found

        return ask

    async def main(world: World, names: list[str]) -> dict[str, list[bool]]:
        host = await world.open_node("east")
        assert not any(rare("miss", 1.0) for _ in range(10))
        assert any(world.rare("mine", 0.5) for _ in range(100))
        return await world.on(host, draws(world, names))  # type: ignore[no-any-return]

    alone = run_simulation(main, ["miss"], seed=3)["miss"]
    assert run_simulation(main, ["full", "miss"], seed=3)["miss"] == alone
    assert run_simulation(main, ["miss"], seed=4)["miss"] != alone
    assert 50 < sum(alone) < 150
    assert not rare("miss", 1.0)


def test_isolated_modules_begin_anew_with_each_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each life counts for itself, under both forms of import; the test's own module stays what it was."""
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "__init__.py").write_text("")
    (tmp_path / "bank" / "books.py").write_text("count = 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    books = importlib.import_module("bank.books")
    seen: list[tuple[str, int, int]] = []

    async def boot(node: Node) -> None:
        import bank.books
        from bank import books as same

        bank.books.count += 1
        await trio.sleep(1)
        bank.books.count += 1
        seen.append((node.name, bank.books.count, same.count))

    async def main(world: World) -> None:
        world.isolate("bank.books")
        async with trio.open_nursery() as nursery:
            for name in ("east", "west"):
                nursery.start_soon(partial(world.open_node, name, boot=boot))
        await world.restart(world.hosts["east"])

    run_simulation(main, seed=1)
    assert sorted(seen) == [("east", 2, 2), ("east", 2, 2), ("west", 2, 2)]
    assert sys.modules["bank.books"] is books
    assert books.count == 0


def test_the_seed_draws_settings() -> None:
    """For half of the hosts; what the program has set otherwise stays; the options say what was drawn."""
    turns: Counter[int] = Counter()

    async def main(world: World) -> None:
        world.draw_settings()
        hosts = [
            await world.open_node(name, config=NodeConfig(grace=7.0), settings=Settings(peers=3))
            for name in ("east", "west")
        ]
        for host in hosts:
            assert host.node.config.grace == 7.0
            assert host.options["settings"].peers == 3
            turns[host.node.config.turn] += 1
            assert (f"{host.name}: period" in world.options) == (
                host.options["settings"] != Settings(peers=3)
            )

    for seed in range(20):
        run_simulation(main, seed=seed)
    assert turns[64] > turns[1] > 0


def test_faults_wait_for_the_hosts_that_are_opened_behind_them() -> None:
    """What strikes at once does so when the world goes on, not while its schedule is given."""

    async def main(world: World) -> None:
        world.faults([(0.0, Crash("east", back=None))])
        east = await world.open_node("east")
        await world.run(1)
        assert not east.is_alive

    run_simulation(main, seed=1)


def test_a_fault_of_an_unknown_host_is_refused_by_name() -> None:
    async def main(world: World) -> None:
        await world.open_node("east")
        world.faults([(0.5, Freeze("esat"))])
        await world.run(1)

    with pytest.raises(ValueError, match=r"expected a host of the world \('east'\), got 'esat'"):
        run_simulation(main, seed=1)


def test_a_world_settles_when_nothing_is_under_way() -> None:
    """One with servers of a mesh, which never rest, says so."""

    async def main(world: World) -> None:
        east, west = [await world.open_node(name, policy=OPEN) for name in ("east", "west")]
        world.connect(east, west)
        world.way(east, west).set(latency=1.5)
        await world.settle()
        assert world.now() > 1.5
        assert east.node.peers == ("west@west",)
        world.open_servers()
        with pytest.raises(AssertionError, match="rest did not hold within 5 s"):
            await world.settle(within=5.0)

    run_simulation(main, seed=1)


@pytest.mark.parametrize("is_spared", [True, False])
def test_what_there_was_before_a_world_is_spared_the_collector(
    is_spared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when other objects are spared already. Crashed worlds leave much for good, and each collection of
    a later one looked through all of it.
    """
    monkeypatch.setattr(scheduler, "_is_spared", lambda: is_spared)
    left = [[]]  # type: ignore[var-annotated]

    async def main(world: World) -> None:
        assert not any(thing is left for thing in gc.get_objects())
        own = [[]]  # type: ignore[var-annotated]
        assert any(thing is own for thing in gc.get_objects())

    run_simulation(main, seed=1)


def test_a_world_keeps_no_garbage_of_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they stay spared for good, circles in them are collected first."""

    class Circle:
        def __init__(self) -> None:
            self.itself = self

    monkeypatch.setattr(scheduler, "_is_spared", lambda: True)
    circle = weakref.ref(Circle())

    async def main(world: World) -> None:
        assert circle() is None

    run_simulation(main, seed=1)
