"""A world as its users meet it: names of hosts, values without sense, predicates that fail, real things."""

import inspect
import logging
import math
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Child, Node, Supervisor
from enfilade.actors.simulation import (
    REGISTER,
    Block,
    Crash,
    DiskFailure,
    Distance,
    Drift,
    Flaky,
    Flap,
    Freeze,
    Nondeterministic,
    Partition,
    ServerTrouble,
    Slow,
    Strike,
    World,
    block,
    run_simulation,
    simulated,
    swarm,
)
from enfilade.actors.simulation.faults.patterns import Blackout
from enfilade.actors.simulation.machine.custody import LocalClock
from enfilade.actors.simulation.machine.entropy import Stream
from tests.simulation.scenes import OPEN


class Till(Actor):
    """An actor of whose methods one waits: so its handlers have a task of their own."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    def compute(self, seconds: float) -> None:
        time.sleep(seconds)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)


async def shop(node: Node) -> None:
    await node.spawn(Supervisor, [Child(Till, id="till", name="till")])


async def two(world: World) -> None:
    """Hosts a and b, connected."""
    for name in "ab":
        await world.open_node(name, boot=shop, policy=OPEN)
    world.connect("a", "b")
    await world.run(1)


def test_hosts_may_be_given_by_their_names() -> None:
    async def main(world: World) -> None:
        await two(world)
        a, b = world.hosts.values()
        assert world.host("a") is world.host(a) is a
        world.freeze("a", 1.0)
        world.slow("a", step=0.0)
        world.skew_clock("b", 1.0)
        assert world.disk("a") is a.disk
        world.crash("a")
        await world.restart("a", after=1.0)
        assert await world.on("a", lambda: a.node.whereis("till") is not None)
        await world.close("b")
        assert (a.is_alive, b.is_alive) == (True, False)
        for use in (world.crash, world.freeze, world.thaw, world.slow, world.disk, world.connect):
            with pytest.raises(ValueError, match=r"a host of the world \('a', 'b'\), got 'c'"):
                use("c")

    run_simulation(main, seed=1)


def test_a_host_of_another_world_is_none_of_this_one() -> None:
    async def main(world: World) -> Any:
        return await world.open_node("a")

    async def other(world: World) -> None:
        await world.open_node("a")
        world.crash(stranger)

    stranger = run_simulation(main, seed=1)
    with pytest.raises(ValueError, match="a host of the world"):
        run_simulation(other, seed=1)


def test_a_name_is_free_again_after_a_boot_that_failed() -> None:
    async def boot(node: Node) -> None:
        raise KeyError("boot")

    async def main(world: World) -> None:
        with pytest.raises(KeyError):
            await world.open_node("a", boot=boot)
        await world.open_node("a")

    run_simulation(main, seed=1)


BAD_FAULTS: dict[str, Callable[[], object]] = {
    "crash": lambda: Crash("a", how="meteor"),  # type: ignore[arg-type]
    "back": lambda: Crash("a", back=-1.0),
    "freeze": lambda: Freeze("a", math.nan),
    "slow": lambda: Slow("a", -1.0),
    "block": lambda: Block("a", -1.0),
    "partition": lambda: Partition("a", "b", how="fire"),  # type: ignore[arg-type]
    "place": lambda: Strike(0),
    "blow": lambda: Strike(1, "melt"),  # type: ignore[arg-type]
    "share": lambda: Flaky("a", "b", full=3.0),
    "delay": lambda: Flaky("a", "b", latency=-1.0),
    "disk": lambda: DiskFailure("a", "dance"),  # type: ignore[arg-type]
    "server": lambda: ServerTrouble("s", "melt"),  # type: ignore[arg-type]
    "distance": lambda: Distance(-1.0),
    "drift": lambda: Drift("a", 0.0),
    "flap": lambda: Flap("a", "b", times=0),
    "blackout": lambda: Blackout(()),
    "rates": lambda: swarm(rates=(2.0, 1.0)),
    "no rate": lambda: swarm(rates=(0.0, 1.0)),
    "latencies": lambda: swarm(latencies=()),
}


@pytest.mark.parametrize("make", BAD_FAULTS.values(), ids=BAD_FAULTS)
def test_a_fault_that_makes_no_sense_is_refused_when_it_is_made(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make()


BAD_CALLS: dict[str, Callable[[World], object]] = {
    "crash": lambda world: world.crash("a", "meteor"),  # type: ignore[arg-type]
    "freeze": lambda world: world.freeze("a", -1.0),
    "slow": lambda world: world.slow("a", step=math.nan),
    "blocked": lambda world: world.slow("a", blocked=-1.0),
    "skew": lambda world: world.skew_clock("a", math.nan),
    "drift": lambda world: world.drift_clock("a", -1.0),
    "partition": lambda world: world.partition("a", "b", how="fire"),  # type: ignore[arg-type]
    "bandwidth": lambda world: world.way("a", "b").set(bandwidth=0.0),
    "swarm": lambda world: world.faults(swarm(hosts=("nobody",))),
}


@pytest.mark.parametrize("use", BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_value_that_makes_no_sense_is_refused(use: Callable[[World], object]) -> None:
    async def main(world: World) -> None:
        await two(world)
        with pytest.raises(ValueError, match=r"\w"):
            use(world)
        with pytest.raises(ValueError, match="at least 0 seconds"):
            await world.restart("a", after=-1.0)

    run_simulation(main, seed=1)


def test_what_is_no_fault_is_refused_at_once() -> None:
    async def main(world: World) -> None:
        for wrong in ("crash", Crash):
            with pytest.raises(TypeError, match=r"a fault such as|a list of"):
                world.faults(wrong)  # type: ignore[arg-type]
        for give in (lambda: world.at(1.0, "crash"), lambda: world.faults([(1.0, "crash")])):  # type: ignore[arg-type, list-item]
            with pytest.raises(TypeError, match="a fault such as"):
                give()

    run_simulation(main, seed=1)


def test_seeds_are_integers_and_there_is_one() -> None:
    async def main(world: World) -> None: ...

    with pytest.raises(TypeError, match="a seed is an integer, got '7'"):
        run_simulation(main, seed="7")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a seed is an integer"):
        simulated(seeds=["7"])  # type: ignore[list-item]
    for none in (0, -1, []):
        with pytest.raises(ValueError, match="would never run"):
            simulated(seeds=none)
    with pytest.raises(TypeError, match="an async function"):
        simulated(seed=1)(lambda world: None)  # type: ignore[arg-type, return-value]


# Properties.


def test_what_a_predicate_raises_fails_the_world() -> None:
    """And not trio; the next world begins as if nothing had been."""

    async def main(world: World, ask: Callable[[World], None]) -> None:
        await two(world)
        ask(world)
        await world.calm(5)

    def wrong() -> bool:
        raise KeyError("predicate")

    for ask in (
        lambda world: world.always("wrong", wrong),
        lambda world: world.sometimes("wrong", wrong),
        lambda world: world.eventually("wrong", wrong, within=1.0),
    ):
        with pytest.raises(KeyError, match="predicate"):
            run_simulation(main, ask, seed=1)
    run_simulation(main, lambda world: None, seed=1)


def test_always_is_asked_after_events_of_the_world_too() -> None:
    """A crash after which nothing runs is seen at once, and what is wrong from the beginning at the end."""

    async def crashed(world: World) -> None:
        await world.open_node("a")
        world.always("all live", lambda: not world.crashes)
        world.at(5.0, Crash("a", back=None))
        await world.run(100)

    async def never(world: World) -> None:
        world.always("never", lambda: False)

    with pytest.raises(AssertionError, match="'all live' does not hold at 5 s"):
        run_simulation(crashed, seed=1)
    with pytest.raises(AssertionError, match="'never' does not hold at 0 s"):
        run_simulation(never, seed=1)


def test_eventually_wants_a_calm() -> None:
    async def main(world: World) -> None:
        world.eventually("something", lambda: True, within=1.0)
        await world.run(5)
        world.check()

    with pytest.raises(AssertionError, match="'something' was never asked for: call `calm`"):
        run_simulation(main, seed=1)


def test_a_model_refuses_operations_that_it_does_not_have() -> None:
    async def main(world: World) -> None:
        world.history.answered(world.history.called("ann", "key", "dance"), None)
        world.linearizable(REGISTER)

    with pytest.raises(ValueError, match="read, write, compare_and_set, got ann: dance"):
        run_simulation(main, seed=1)


# Inside and outside of hosts.


OUTSIDE: dict[str, Callable[[Node], Any]] = {
    "call": lambda node: node.named("till").call(Till.add, 1),
    "cast": lambda node: node.named("till").cast(Till.add, 1),
    "send": lambda node: node.named("till").send("hello"),
    "far call": lambda node: node.remote("till", "a@a").call(Till.add, 1),
    "far cast": lambda node: node.remote("till", "a@a").cast(Till.add, 1),
    "spawn": lambda node: node.spawn(Till),
}


@pytest.mark.parametrize("use", OUTSIDE.values(), ids=OUTSIDE)
def test_the_test_itself_may_use_no_ref(use: Callable[[Node], Any]) -> None:
    async def main(world: World) -> None:
        await two(world)
        node = world.hosts["b"].node

        async def trespass() -> None:
            result = use(node)
            if inspect.isawaitable(result):
                await result

        with pytest.raises(RuntimeError, match=r"await world\.on\(host, function\)"):
            await trespass()
        assert await world.on("b", node.named("till").call, Till.add, 0) == 0

    run_simulation(main, seed=1)


REAL: dict[str, Callable[[], object]] = {
    "a name": lambda: socket.getaddrinfo("localhost", 80),
    "an event of threads": lambda: threading.Event().wait(0.01),
    "descriptors": lambda: select.select([], [], [], 0.0),
    "a timer": lambda: signal.alarm(1),
    "a signal": lambda: os.kill(os.getpid(), 0),
}


@pytest.mark.parametrize("use", REAL.values(), ids=REAL)
def test_sim_16_more_of_what_is_real_is_refused(use: Callable[[], object]) -> None:
    async def main(world: World) -> None:
        await world.open_node("a")
        await world.on("a", use)

    with pytest.raises(Nondeterministic, match="code of host 'a'"):
        run_simulation(main, seed=1)


def test_the_test_itself_may_use_threads_that_take_no_time() -> None:
    """The clock cannot wait for one, so the function runs at once."""

    async def main(world: World) -> bool:
        here = threading.get_ident()
        return await trio.to_thread.run_sync(threading.get_ident) == here

    assert run_simulation(main, seed=1)


def test_records_of_all_loggers_say_whose_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """Also of one that is made in the world, and of one of the user's; the dead write none."""
    caplog.set_level("WARNING")

    def tell(world: World) -> None:
        for name in ("bank", "enfilade.new"):
            logging.getLogger(name).warning("alive")
        world.crash("a")
        logging.getLogger("bank").warning("dead")

    async def main(world: World) -> None:
        await world.open_node("a")
        await world.run(2)
        with pytest.raises(Exception, match="crashed"):
            await world.on("a", tell, world)

    run_simulation(main, seed=1)
    told = [vars(record) for record in caplog.records]
    assert [(each["msg"], each["node"], each["virtual_time"]) for each in told] == [("alive", "a", 2.0)] * 2


# Time.


def test_sim_38_who_asks_a_host_that_computes_gets_the_answer_when_it_is_done() -> None:
    async def main(world: World) -> None:
        await two(world)
        b = world.hosts["b"].node
        began = world.now()
        await world.on("b", b.remote("till", "a@a").call, Till.compute, 0.5)
        assert 0.5 < world.now() - began < 0.51

    run_simulation(main, seed=1)


def test_code_of_a_host_can_hold_its_loop() -> None:
    with pytest.raises(RuntimeError, match="only code of a simulated host"):
        block(1.0)

    async def main(world: World) -> None:
        await world.open_node("a")
        with pytest.raises(ValueError, match="at least 0"):
            await world.on("a", block, -1.0)
        began = world.now()
        await world.on("a", block, 0.5)
        assert await world.on("a", lambda: time.process_time()) == 0.5
        assert world.now() - began == 0.5

    run_simulation(main, seed=1)


def test_sim_34_what_was_due_comes_in_its_order() -> None:
    """Also for tasks of the user's that sleep."""
    woken: list[float] = []

    async def main(world: World) -> None:
        await world.open_node("a")

        async def nap(seconds: float) -> None:
            await trio.sleep(seconds)
            woken.append(seconds)

        async def naps() -> None:
            async with trio.open_nursery() as nursery:
                for seconds in (3, 1, 5, 2, 4):
                    nursery.start_soon(nap, seconds)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.on, "a", naps)
            await world.run(0.1)
            world.freeze("a", 7.0)
        assert world.now() == pytest.approx(7.1)

    for seed in range(5):
        woken.clear()
        run_simulation(main, seed=seed)
        assert woken == [1, 2, 3, 4, 5]


def test_the_time_of_a_world_that_is_over_is_its_end() -> None:
    worlds: list[World] = []

    async def main(world: World) -> None:
        worlds.append(world)
        await two(world)

    run_simulation(main, seed=1)
    assert worlds[0].now() == 1.0
    assert worlds[0].events == worlds[0].history.events


def test_a_wall_clock_can_be_put_little_by_little() -> None:
    async def main(world: World) -> None:
        await world.open_node("a")

        async def error() -> float:
            return round(await world.on("a", lambda: time.time()) - 1767225600.0 - world.now(), 6)

        world.skew_clock("a", 1.0, jump=False)
        seen = [await error()]
        await world.run(1000)
        seen.append(await error())
        world.skew_clock("a", 10.0)
        world.skew_clock("a", -0.25, jump=False)
        await world.run(2000)
        seen.append(await error())
        assert seen == [0.0, 0.5, 10.75]

    run_simulation(main, seed=1)


# Monotonic clocks that drift.


async def nap(seconds: float) -> tuple[float, float]:
    """Sleep; return what this host's clocks say of that."""
    began, before = time.monotonic(), trio.current_time()
    await trio.sleep(seconds)
    return round(time.monotonic() - began, 6), round(trio.current_time() - before, 6)


def test_a_clock_that_drifts_is_right_for_its_own_host() -> None:
    """Who sleeps ten seconds of it has slept more or less of the world's, also across a change."""

    async def main(world: World) -> None:
        await two(world)

        async def slept(host: str) -> float:
            began = world.now()
            assert await world.on(host, nap, 10.0) == (10.0, 10.0)
            return round(world.now() - began, 6)

        world.drift_clock("a", 2.0)
        assert [await slept("a"), await slept("b")] == [5.0, 10.0]
        world.at(world.now() + 2.0, Drift("a", 0.5, 100.0))
        assert await slept("a") == 2.0 + 6.0 / 0.5
        await world.restart("a")
        assert await slept("a") == 20.0
        assert await world.on("a", lambda: time.time()) == await world.on("b", lambda: time.time())
        await world.calm(1)
        assert await slept("a") == 10.0
        world.check()

    run_simulation(main, seed=1)


def test_who_has_waited_for_a_clock_is_not_too_early() -> None:
    """Or a timer would look at the clock, wait for no time at all, and look again, for ever."""
    draws = Stream("roundings")
    clock = LocalClock()
    for step in range(10_000):
        now = step * draws.random()
        clock = clock.at_rate(draws.between(0.5, 2.0), now)
        shown = clock.local(now) + draws.exponential(1.0)
        assert clock.local(clock.in_world(shown)) >= shown
    assert clock.in_world(math.inf) == math.inf
    assert clock.in_world(-math.inf) == -math.inf


def test_drifts_of_one_clock_that_overlap_end_one_by_one() -> None:
    async def main(world: World) -> None:
        host = await world.open_node("a")
        world.at(1.0, Drift("a", 1.05, 5.0))
        world.at(3.0, Drift("a", 0.95, 5.0))
        seen = []
        for _ in range(5):
            await world.run(2.0)
            seen.append(host.rate)
        assert seen == [1.05, 0.95, 0.95, 1.0, 1.0]

    run_simulation(main, seed=1)


def test_limits_follow_a_clock_that_drifts() -> None:
    async def main(world: World) -> None:
        await two(world)
        world.drift_clock("a", 0.5)

        async def limited() -> bool:
            with trio.move_on_after(1) as first:
                await trio.sleep_forever()
            with trio.CancelScope(deadline=trio.current_time() + 100) as second:
                second.deadline = trio.current_time() + 2
                await trio.sleep_forever()
            return first.cancelled_caught and second.cancelled_caught

        began = world.now()
        assert await world.on("a", limited)
        assert world.now() - began == pytest.approx(6.0)
        world.drift_clock("a", 1.09)
        await world.run(100)
        assert world.hosts["b"].node.peers == ("a@a",)

    run_simulation(main, seed=1)
