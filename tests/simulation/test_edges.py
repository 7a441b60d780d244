"""Worlds at their edges: within each other, cancelled, at odd times, with odd seeds and crashes."""

from __future__ import annotations

import os
import random
import secrets
import select
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Child, Node, Supervisor
from enfilade.actors.simulation import (
    Crash,
    Freeze,
    HostCrashed,
    Partition,
    SimulationClock,
    Slow,
    Stuck,
    World,
    run_simulation,
    simulate,
)
from enfilade.fields import is_nan
from enfilade.transport import Policy, Settings

OPEN = Policy.same_user(exports="*", ends="*")
QUICK = Settings(period=2.0)


class Ledger(Actor):
    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total


async def branch(node: Node) -> None:
    await node.spawn(Supervisor, [Child(Ledger, id="ledger", name="ledger")], intensity=100, period=1.0)


async def two(world: World) -> list[Any]:
    hosts = [await world.open_node(n, boot=branch, policy=OPEN, settings=QUICK) for n in ("a", "b")]
    world.connect(*hosts)
    await world.run(1)
    return hosts


async def nothing(world: World) -> None:
    await two(world)
    await world.run(1)


def state() -> tuple[Any, ...]:
    """What a world replaces, and must put back."""
    return (
        os.urandom,
        time.monotonic,
        time.sleep,
        random.getstate(),
        trio.to_thread.run_sync,
        sys.get_asyncgen_hooks(),
        threading.Condition.wait,
        select.select,
        uuid.uuid1,
    )


def test_files_and_to_thread_work_in_place() -> None:
    async def main(world: World) -> Any:
        host = await world.open_node("bank")

        async def read() -> str:
            async with await trio.open_file(__file__) as file:
                return await file.readline()

        began = world.now()
        line = await world.on(host, read)
        return line, world.now() - began

    line, took = run_simulation(main, seed=1)
    assert line.startswith('"""')
    assert took == 0.0


def test_a_world_within_a_world() -> None:
    async def main(world: World) -> None:
        await two(world)
        with pytest.raises(RuntimeError, match="another world"):
            async with simulate(seed=2):
                pass
        await world.run(1)
        assert world.hosts["a"].node.peers == ("b@b",)

    run_simulation(main, seed=1)


def test_a_world_within_code_of_a_host() -> None:
    async def main(world: World) -> None:
        host = await world.open_node("a")

        async def inner() -> None:
            async with simulate(seed=2):
                pass

        with pytest.raises(RuntimeError, match="another world"):
            await world.on(host, inner)
        await world.run(1)

    run_simulation(main, seed=1)


def test_run_simulation_within_a_world() -> None:
    async def main(world: World) -> None:
        with pytest.raises(RuntimeError):
            run_simulation(nothing, seed=2)
        await nothing(world)

    run_simulation(main, seed=1)
    run_simulation(nothing, seed=3)


def test_one_world_after_another_in_one_run() -> None:
    digests = []

    async def main() -> None:
        for _ in range(3):
            async with simulate(seed=5) as world:
                await nothing(world)
                digests.append(world.digest)

    trio.run(main, clock=SimulationClock())
    alone: list[str] = []

    async def once(world: World) -> None:
        await nothing(world)
        alone.append(world.digest)

    run_simulation(once, seed=5)
    assert digests[0] == alone[0]


@pytest.mark.parametrize("where", ["before", "opening", "running", "calm", "on"])
def test_a_world_that_is_cancelled_leaves_nothing(where: str) -> None:
    before = state()

    async def main() -> str:
        with trio.CancelScope() as scope:
            async with simulate(seed=1) as world:
                if where == "before":
                    scope.cancel()
                if where == "opening":

                    async def boot(node: Node) -> None:
                        scope.cancel()
                        await trio.sleep_forever()

                    await world.open_node("a", boot=boot)
                await two(world)
                if where == "running":
                    world.call_at(world.now() + 1, scope.cancel)
                    await world.run(10)
                if where == "calm":
                    world.call_at(world.now() + 1, scope.cancel)
                    await world.calm(10)
                if where == "on":
                    world.call_at(world.now() + 1, scope.cancel)
                    await world.on("a", trio.sleep_forever)
                raise AssertionError("it went on")
        assert scope.cancelled_caught
        return "over"

    assert trio.run(main, clock=SimulationClock()) == "over"
    assert state() == before
    run_simulation(nothing, seed=1)


def test_a_world_with_a_deadline_around_it() -> None:
    async def main() -> bool:
        with trio.move_on_after(5) as scope:
            async with simulate(seed=1) as world:
                await two(world)
                await world.run(100)
        return scope.cancelled_caught

    assert trio.run(main, clock=SimulationClock())


class Odd(BaseException):
    pass


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_bad_times_are_refused(seconds: float) -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]
        for call in (
            lambda: world.freeze(host, seconds),
            lambda: world.slow(host, step=seconds),
            lambda: world.slow(host, blocked=seconds),
            lambda: world.way("a", "b").set(latency=seconds),
            lambda: world.eventually("x", lambda: True, within=seconds),
            lambda: world.always("x", lambda: True, every=seconds),
        ):
            with pytest.raises(ValueError):  # noqa: PT011
                call()
        if is_nan(seconds):
            with pytest.raises(ValueError, match="NaN"):
                world.at(seconds, Crash("a"))
        waiting: list[Callable[[], Any]] = [
            lambda: world.run(seconds),
            lambda: world.restart(host, after=seconds),
            lambda: world.calm(seconds),
            lambda: world.run_until(lambda: True, seconds),
            lambda: world.settle(seconds),
        ]
        for waits in waiting:
            with pytest.raises(ValueError):  # noqa: PT011
                await waits()

    run_simulation(main, seed=1)


def test_run_for_ever_is_stuck_or_refused() -> None:
    async def main(world: World) -> None:
        await world.run(float("inf"))

    began = time.monotonic()
    with pytest.raises((Stuck, ValueError)):
        run_simulation(main, seed=1)
    assert time.monotonic() - began < 20


def test_nobody_goes_on() -> None:
    async def main(world: World) -> None:
        await trio.sleep_forever()

    with pytest.raises(Stuck, match="nothing can ever run again"):
        run_simulation(main, seed=1)


@pytest.mark.parametrize("seed", [0, -1, 2**80, -(2**70), True])
def test_any_integer_is_a_seed(seed: int) -> None:
    digests = []

    async def main(world: World) -> None:
        await nothing(world)
        digests.append(world.digest)

    for _ in range(2):
        run_simulation(main, seed=seed)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("seed", [1.0, "1", None, b"1"])
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(TypeError, match="a seed is an integer"):
        run_simulation(nothing, seed=seed)


def test_a_failure_says_its_seed() -> None:
    async def main(world: World) -> None:
        await two(world)
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd") as caught:
        run_simulation(main, seed=4711)
    assert any("seed 4711" in note for note in caught.value.__notes__)


def test_streams_of_names_are_independent_and_the_same() -> None:
    async def main(world: World) -> Any:
        return [world.random("x").random() for _ in range(3)], world.random("y").random()

    assert run_simulation(main, seed=1) == run_simulation(main, seed=1)
    assert run_simulation(main, seed=1) != run_simulation(main, seed=2)


def test_chance_of_a_life_is_another_in_the_next() -> None:
    async def main(world: World) -> Any:
        host = await world.open_node("a")
        draws = []
        for _ in range(2):
            draw = lambda: (secrets.token_hex(), uuid.uuid4(), os.urandom(4), random.Random().random())  # noqa: E731
            draws.append(await world.on(host, draw))
            await world.restart(host)
        return draws

    first = run_simulation(main, seed=1)
    assert first == run_simulation(main, seed=1)
    assert first[0] != first[1]


def test_a_host_that_crashes_itself() -> None:
    after = []

    async def main(world: World) -> None:
        host = (await two(world))[0]

        async def suicide() -> None:
            world.crash(host)
            await trio.lowlevel.checkpoint()
            after.append(1)

        with pytest.raises(HostCrashed):
            await world.on(host, suicide)
        await world.run(1)
        await world.restart(host)
        await world.run(2)
        assert host.node.peers == ("b@b",)

    run_simulation(main, seed=1)
    assert not after


def test_a_crash_within_a_predicate_is_no_hang() -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]
        fired = []

        def ask() -> bool:
            if not fired and world.now() > 1.5:
                fired.append(1)
                world.crash(host)
            return True

        world.always("x", ask)
        await world.run(3)
        assert not host.is_alive

    run_simulation(main, seed=1)


@pytest.mark.parametrize("fault", [Crash("nobody"), Freeze("nobody")])
def test_a_fault_of_an_unknown_host_is_named(fault: Any) -> None:
    async def main(world: World) -> None:
        await two(world)
        world.at(2.0, fault)
        await world.run(3)

    with pytest.raises((ValueError, KeyError), match="nobody"):
        run_simulation(main, seed=1)


def test_restart_twice_at_once() -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.restart, host)
            nursery.start_soon(world.restart, host)
        await world.run(2)
        assert host.is_alive
        assert host.node.peers == ("b@b",)

    run_simulation(main, seed=1)


def test_close_twice_and_crash_after() -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]
        await world.close(host)
        await world.close(host)
        world.crash(host)
        assert not host.is_alive
        await world.restart(host)
        await world.run(2)
        assert host.node.peers == ("b@b",)

    run_simulation(main, seed=1)


def test_close_a_host_that_was_crashed() -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]
        world.crash(host)
        with trio.fail_after(5):
            await world.close(host)
        await world.close_nodes()

    run_simulation(main, seed=1)


def test_close_a_frozen_host_waits_for_the_thaw() -> None:
    async def main(world: World) -> float:
        host = (await two(world))[0]
        world.freeze(host, 3.0)
        began = world.now()
        await world.close(host)
        return world.now() - began

    assert run_simulation(main, seed=1) >= 3.0


def test_on_with_what_is_no_function() -> None:
    async def main(world: World) -> None:
        await world.on("a", 3)  # type: ignore[arg-type]

    async def opened(world: World) -> None:
        await two(world)
        await main(world)

    with pytest.raises(TypeError):
        run_simulation(opened, seed=1)


def test_on_base_exceptions_do_not_hang() -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]

        def leave() -> None:
            raise SystemExit(3)

        await world.on(host, leave)

    with pytest.raises(BaseException):  # noqa: PT011, B017
        run_simulation(main, seed=1)
    run_simulation(nothing, seed=1)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), Odd("x")], ids=lambda e: type(e).__name__
)
def test_main_raises_what_is_no_exception(error: BaseException) -> None:
    before = state()

    async def main(world: World) -> None:
        await two(world)
        raise error

    with pytest.raises(type(error)):
        run_simulation(main, seed=1)
    assert state() == before
    run_simulation(nothing, seed=1)


@pytest.mark.parametrize(
    "error", [ValueError("boot"), SystemExit(1), Odd("x")], ids=lambda e: type(e).__name__
)
def test_boot_raises(error: BaseException) -> None:
    before = state()

    async def main(world: World) -> None:
        async def boot(node: Node) -> None:
            raise error

        await world.open_node("a", boot=boot)

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        run_simulation(main, seed=1)
    assert type(caught.value) is type(error) or isinstance(caught.value, BaseExceptionGroup), repr(
        caught.value
    )
    assert state() == before
    run_simulation(nothing, seed=1)


def test_boot_never_ends() -> None:
    async def never(node: Node) -> None:
        await trio.sleep_forever()

    async def main(world: World) -> None:
        with trio.move_on_after(10) as scope:
            await world.open_node("a", boot=never)
        assert scope.cancelled_caught
        assert "a" in world.hosts, "it has a life, which still boots"
        world.crash("a")

    run_simulation(main, seed=1)


def test_freeze_for_ever_then_calm_thaws() -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]
        world.freeze(host)
        await world.run(10)
        await world.calm(10)
        world.check()
        assert host.node.peers == ("b@b",)

    run_simulation(main, seed=1)


def test_freeze_twice_the_longer_counts() -> None:
    async def main(world: World) -> float:
        host = (await two(world))[0]
        world.freeze(host, 1.0)
        world.freeze(host, 3.0)
        began = world.now()
        await world.on(host, lambda: None)
        return world.now() - began

    assert run_simulation(main, seed=1) == pytest.approx(3.0)


@pytest.mark.parametrize("how", ["silence", "reset"])
def test_partitions_that_overlap_end_one_by_one(how: Any) -> None:
    """The short one ends within the long one, which goes on; one without an end is not ended by either."""

    async def main(world: World) -> list[bool]:
        await two(world)
        way = world.way("a", "b")
        seen = []
        for fault in (Partition("a", "b", 5.0, how), Partition("b", "a", 1.0, how)):
            world.at(1.5, fault)
        for when in (2.0, 4.0, 7.0):
            await trio.sleep(when - world.now())
            seen.append(way.is_silent or way.is_cut)
        world.partition("a", "b", how=how)
        world.at(8.0, Partition("a", "b", 0.5, how))
        await world.run(5)
        seen.append(way.is_silent or way.is_cut)
        world.heal()
        seen.append(way.is_silent or way.is_cut)
        return seen

    assert run_simulation(main, seed=1) == [True, True, False, True, False]


def test_slow_processors_that_overlap() -> None:
    async def main(world: World) -> list[float]:
        host = (await two(world))[0]
        costs = []
        for seconds in (3.0, 1.0):
            world.at(1.5, Slow("a", 1e-4, seconds))
        for when in (2.0, 4.0, 5.0):
            await trio.sleep(when - world.now())
            costs.append(host.life.step_cost)
        return costs

    assert run_simulation(main, seed=1) == [1e-4, 1e-4, 0.0]
