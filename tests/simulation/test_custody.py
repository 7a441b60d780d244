"""Crash, freeze, slow: what custody does to the tasks of a life, and to nothing else."""

import gc
import os
import random
import secrets
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel

from enfilade.actors import Actor, Node, Process
from enfilade.actors.processes.dispatcher import GROUP
from enfilade.actors.simulation import (
    HostCrashed,
    Nondeterministic,
    World,
    run_simulation,
)
from enfilade.transport import Settings
from tests.simulation.scenes import Ledger, branch, opened

NOTES: list[str] = []


@pytest.fixture(autouse=True)
def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.set_level("CRITICAL")
    NOTES.clear()
    return NOTES


def simulated(main: Callable[[World], Awaitable[Any]], seed: int = 1) -> Any:
    return run_simulation(main, seed=seed)


class Careful(Actor):
    """Notes every piece of cleanup."""

    def __init__(self) -> None:
        self.lock = trio.Lock()

    async def work(self) -> None:
        async with self.lock, kept("manager"), trio.open_nursery() as nursery:
            nursery.start_soon(wait_and_note, "child")
            nursery.start_soon(wait_and_note, "shielded", True)
            async for _ in numbers():
                await wait_and_note("body")


class Leaving(Actor):
    """Is told of its end."""

    def __init__(self) -> None:
        self.process.trap_exits = True

    async def on_stop(self, reason: Any) -> None:
        NOTES.append("on_stop")


@asynccontextmanager
async def kept(name: str) -> AsyncIterator[None]:
    try:
        yield
    finally:
        NOTES.append(name)


async def numbers() -> AsyncIterator[int]:
    try:
        while True:
            yield 1
    finally:
        NOTES.append("generator")


async def wait_and_note(name: str, shield: bool = False) -> None:
    try:
        if shield:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                    NOTES.append("shielded cleanup")
        await trio.sleep_forever()
    finally:
        NOTES.append(name)


async def function_process(me: Process) -> None:
    try:
        await trio.sleep_forever()
    finally:
        NOTES.append("function")


async def careful(node: Node) -> None:
    await node.spawn(Leaving)
    ref = await node.spawn(Careful, name="careful")
    ref.cast(Careful.work)
    await node.spawn(function_process)


@pytest.mark.parametrize("how", ["process", "machine"])
def test_sim_22_no_cleanup_runs_after_a_crash(how: Any, recwarn: pytest.WarningsRecorder) -> None:
    async def main(world: World) -> int:
        host = await world.open_node("a", boot=careful)
        await world.run(1)
        life = host.life
        assert life is not None
        assert len(life.tasks) > 6
        world.crash(host, how)
        steps = world.steps
        await world.run(100)
        assert world.steps == steps
        assert not life.tasks
        return life.buried

    assert simulated(main) > 6
    gc.collect()
    assert NOTES == []
    assert [str(warning.message) for warning in recwarn if "coroutine" in str(warning.message)] == []


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_start_that_is_never_told_holds_up_no_crash(has_begun: bool) -> None:
    """A nursery waits for tasks that are still starting; after a crash none of them will ever say so."""

    async def starting(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    async def boot(node: Node) -> None:
        async def process(me: Process) -> None:
            async with trio.open_nursery() as outer:

                async def start() -> None:
                    await outer.start(starting)

                if has_begun:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(start)
                outer.start_soon(start)

        await node.spawn(process)

    async def main(world: World) -> int:
        host = await world.open_node("a", boot=boot)
        await world.run(1)
        life = host.life
        assert life is not None
        world.crash(host)
        await world.run(1)
        return len(life.tasks)

    assert simulated(main) == 0


def test_sim_23_closing_is_not_crashing() -> None:
    async def main(world: World) -> None:
        host = await world.open_node("a", boot=careful)
        await world.run(1)
        await world.close(host)

    simulated(main)
    assert sorted(NOTES) == sorted(
        ["child", "shielded cleanup", "shielded", "body", "generator", "manager", "on_stop", "function"]
    )


def test_a_world_that_ends_crashes_its_lives() -> None:
    async def main(world: World) -> None:
        await world.open_node("a", boot=careful)
        await world.run(1)

    simulated(main)
    assert NOTES == []


def test_sim_24_peers_hear_of_a_crash_once() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        await world.run(1)
        heard: list[tuple[float, Any]] = []

        async def watch(me: Process) -> None:
            me.monitor(await west.node.whereis_on("east@east", "ledger"))  # type: ignore[arg-type]
            while True:
                heard.append(((await me.receive()).reason, world.now()))

        await world.on(west, west.node.spawn, watch)
        await world.run(1)
        now = world.now()
        world.crash(east)
        await world.run(10)
        assert [str(reason) for reason, _ in heard] == ["no connection"]
        assert heard[0][1] == pytest.approx(now + 0.0005)

    simulated(main)


@pytest.mark.parametrize("seed", range(3))
def test_sim_28_no_step_of_a_dead_life(seed: int) -> None:
    """While the dispatcher has a hundred runnable processes, from within one of them, and during cleanup."""
    ran: list[int] = []

    class Runner(Actor):
        def __init__(self, number: int, end: Callable[[], None]) -> None:
            self.number = number
            self.end = end

        async def go(self) -> None:
            await trio.lowlevel.checkpoint()
            ran.append(self.number)
            if self.number == 50:
                self.end()
                ran.append(-1)
            await trio.lowlevel.checkpoint()
            ran.append(1000)

    async def main(world: World) -> None:
        host = await world.open_node("a")

        async def start() -> None:
            node = host.node
            assert node is not None
            for number in range(100):
                ref = await node.spawn(Runner, number, lambda: world.crash(host))
                ref.cast(Runner.go)

        with pytest.raises(HostCrashed):
            await world.on(host, start)
        assert host.life is not None
        assert host.life.is_over
        before = list(ran)
        await world.run(10)
        assert ran == before

    simulated(main, seed)
    assert ran[-1] == -1  # the rest of the step runs, and has no effect


def test_sim_29_the_next_life() -> None:
    booted: list[int] = []

    async def main(world: World) -> None:
        async def boot(node: Node) -> None:
            booted.append(node.incarnation)
            await branch(node)

        east, west = await opened(world, "east", "west", boot=boot)
        await world.run(1)
        await world.restart(east)
        assert east.life is not None
        assert east.life.number == 1
        assert east.lives == 2
        assert world.owners("ledger") == 2
        await world.run(5)
        assert west.node.peers == ("east@east",)
        assert (
            west.node.distribution.rendezvous.peers["east@east"].identity.incarnation == east.node.incarnation
        )  # type: ignore[attr-defined]

    simulated(main)
    assert len(set(booted)) == 3


def test_sim_32_the_others_go_on() -> None:
    async def main(world: World) -> None:
        hosts = await opened(world, "a", "b", "c")
        await world.run(1)
        world.crash(hosts[0])
        await world.run(1)
        for host in hosts[1:]:
            assert await world.on(host, host.node.named("ledger").call, Ledger.add, 1) == 1
            assert host.node.current is None

    simulated(main)


# Frozen, slow, blocked.


def test_sim_34_a_frozen_host_takes_no_step() -> None:
    """Its timers that came due meanwhile run on thaw, in order; the node link lasts."""
    fired: list[tuple[str, float]] = []

    async def main(world: World) -> None:
        async def boot(node: Node) -> None:
            async def run(me: Process) -> None:
                for name, seconds in (("second", 2.0), ("first", 1.0), ("third", 2.5)):
                    me.send_after(seconds, me.ref, name)
                while True:
                    fired.append((await me.receive(), round(world.now(), 3)))

            if node.name == "east":
                await node.spawn(run)

        hosts = await opened(world, "east", "west", boot=boot, settings=Settings(period=5.0))
        await world.run(0.5)
        world.freeze(hosts[0], 3.0)
        await world.run(2.9)
        assert fired == []
        await world.run(1)
        assert [name for name, _ in fired] == ["first", "second", "third"]
        assert {when for _, when in fired} == {3.5}
        assert hosts[1].node.peers == ("east@east",)

    simulated(main)


def test_sim_36_a_frozen_task_sees_one_outcome() -> None:
    seen: list[Any] = []

    async def main(world: World) -> None:
        async def wait(me: Process) -> None:
            with trio.move_on_after(1.0) as scope:
                seen.append(await me.receive())
            seen.append(scope.cancelled_caught)

        host = await world.open_node("a")
        ref = await world.on(host, host.node.spawn, wait)
        await world.run(0.5)
        world.freeze(host, 5.0)
        await world.run(4)  # the time-out has passed, the message comes after it
        world.thaw(host)
        await world.on(host, ref.send, "late")
        await world.run(1)

    simulated(main)
    assert seen == [True]


def test_sim_37_a_slow_processor() -> None:
    async def main(world: World) -> tuple[float, float, str]:
        class Echo(Actor):
            async def echo(self, number: int) -> int:
                return number

        async def boot(node: Node) -> None:
            await node.spawn(Echo, name="echo")

        hosts = await opened(world, "near", "slow", "other", boot=boot)
        await world.run(1)
        world.slow(hosts[1], step=0.002)

        async def ask(target: str) -> float:
            began = world.now()
            for number in range(100):
                await hosts[0].node.remote("echo", target).call(Echo.echo, number)
            return world.now() - began

        slow = await world.on(hosts[0], ask, "slow@slow")
        other = await world.on(hosts[0], ask, "other@other")
        return slow, other, world.digest

    slow, other, digest = simulated(main)
    assert slow > 0.2 + other
    assert other < 0.3
    assert simulated(main)[2] == digest


def test_sim_38_sleeping_in_a_handler_costs_virtual_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "enfilade")

    class Sleeper(Actor):
        def sleep(self) -> None:
            time.sleep(500.0)

    async def main(world: World) -> None:
        host = await world.open_node("a")
        # Handlers are timed one by one after a group of turns that was slow.
        sleepers = [await world.on(host, host.node.spawn, Sleeper) for _ in range(GROUP + 1)]

        def load() -> None:
            for sleeper in sleepers:
                sleeper.cast(Sleeper.sleep)

        began = world.now()
        await world.on(host, load)
        await world.run(1)
        await world.on(host, world.now)
        assert world.now() - began == 500.0 * len(sleepers)
        await world.run(1)

    simulated(main)
    slow = [record for record in caplog.records if "500000.0 ms" in record.getMessage()]
    assert [record.node for record in slow] == ["a"]  # type: ignore[attr-defined]


def test_sim_40_wall_clocks_differ() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        await world.run(1)

        def wall() -> float:
            return time.time()

        before = await world.on(east, wall)
        assert before == await world.on(west, wall) == pytest.approx(1767225600.0 + world.now())
        world.skew_clock(east, 3600)
        assert await world.on(east, wall) == pytest.approx(before + 3600)
        world.skew_clock(east, -7200)
        assert await world.on(east, wall) == pytest.approx(before - 3600)
        assert await world.on(west, wall) == pytest.approx(before)
        assert await world.on(east, time.monotonic) == world.now()
        await world.run(30)
        assert east.node.peers == ("west@west",)

    simulated(main)


def test_sim_41_events_come_before_timers_and_timers_in_order() -> None:
    async def main(world: World) -> list[str]:
        order: list[str] = []
        host = await world.open_node("a")

        async def run(me: Process) -> None:
            for name in ("one", "two", "three"):
                me.send_after(1.0, me.ref, name)
            world.call_at(world.now() + 1.0, lambda: order.append("event"))
            order.extend([await me.receive() for _ in range(3)])

        await world.on(host, host.node.spawn, run)
        await world.run(2)
        return order

    assert {tuple(simulated(main, seed)) for seed in range(5)} == {("event", "one", "two", "three")}


# Chance, and what is refused.


def drawn() -> list[Any]:
    return [
        random.random(),
        secrets.token_hex(4),
        uuid.uuid4().hex,
        os.urandom(8),
        random.SystemRandom().random(),
    ]


def test_sim_42_chance_follows_the_seed_and_the_life() -> None:
    async def main(world: World) -> tuple[list[Any], list[Any]]:
        host = await world.open_node("a")
        first = await world.on(host, drawn)
        await world.restart(host)
        return first, await world.on(host, drawn)

    first, second = simulated(main)
    assert (first, second) == simulated(main)
    assert first != simulated(main, 2)[0]
    assert not set(map(str, first)) & set(map(str, second))


async def in_a_thread() -> None:
    await trio.to_thread.run_sync(threading.Thread(target=print).start)


async def real_descriptor() -> None:
    reading, writing = os.pipe()
    try:
        await trio.lowlevel.wait_readable(reading)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: threading.Thread(target=print).start(),
        lambda: subprocess.run(["true"]),
        lambda: __import__("socket").create_connection(("127.0.0.1", 9)),
        lambda: trio.from_thread.run_sync(print),
        real_descriptor,
        in_a_thread,
    ],
    ids=["thread", "process", "socket", "from_thread", "descriptor", "within to_thread"],
)
def test_sim_16_what_is_real_is_refused(ask: Any) -> None:
    """Even when the code takes the error for granted, the world fails."""

    async def main(world: World) -> None:
        host = await world.open_node("a")

        async def hidden() -> None:
            try:
                await trio.lowlevel.checkpoint()
                asked = ask()
                if asked is not None:
                    await asked
            except Nondeterministic:
                NOTES.append("refused there")

        await world.on(host, hidden)
        await world.run(1)

    with pytest.raises(Nondeterministic, match="'a'"):
        simulated(main)
    assert NOTES == ["refused there"]


def test_threads_run_inline() -> None:
    async def main(world: World) -> int:
        host = await world.open_node("a")
        return await world.on(host, trio.to_thread.run_sync, threading.get_ident)  # type: ignore[no-any-return]

    assert simulated(main) == threading.get_ident()
