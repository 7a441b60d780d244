"""Our processes: making and ending them, links, monitors, timers, memory."""

from __future__ import annotations

import gc
import time
from typing import Any

import trio
import trio.testing

from enfilade.actors import Actor, Crashed, Down, Process, Ref, open_node
from tests.benchmarks.kernel import kernel, resident_bytes
from tests.benchmarks.subjects.messages import Countdown
from tests.benchmarks.subjects.tier import in_tier, run

BROKEN = Crashed(RuntimeError("broken"))


class Once(Actor):
    """Stops at its first message."""

    def on_message(self, _message: Any) -> None:
        self.process.stop()


async def once(me: Process) -> None:
    await me.receive()


def _once(variant: str) -> Any:
    return once if variant == "function" else in_tier(variant, Once)


@kernel("spawn", run=run)
async def spawn(variant: str, processes: int) -> float:
    target = _once(variant)
    async with open_node("bench") as node, node.mailbox() as me:
        begin = time.perf_counter()
        for _ in range(processes):
            ref = await node.spawn(target)
            me.monitor(ref)
            ref.send("go")
            await me.receive()
        return (time.perf_counter() - begin) / processes


class Joined(Actor):
    def __init__(self, finished: Countdown) -> None:
        self.finished = finished

    def on_message(self, _message: Any) -> None:
        self.process.stop()
        self.finished.arrive()


async def joined(me: Process, finished: Countdown) -> None:
    await me.receive()
    finished.arrive()


@kernel("fork-join-create", run=run)
async def fork_join_create(variant: str, processes: int) -> float:
    target: Any = joined if variant == "function" else in_tier(variant, Joined)
    finished = Countdown(processes)
    async with open_node("bench") as node:
        begin = time.perf_counter()
        for _ in range(processes):
            ref = await node.spawn(target, finished)
            ref.send("go")
        await finished.event.wait()
        return (time.perf_counter() - begin) / processes


class Idle(Actor):
    """Waits; links itself to the one before it, if told to."""

    def __init__(self, previous: Ref[Any] | None = None) -> None:
        if previous is not None:
            self.process.link(previous)


async def idle(me: Process, previous: Ref[Any] | None = None) -> None:
    if previous is not None:
        me.link(previous)
    await me.receive()


def _idle(variant: str) -> Any:
    return idle if variant == "function" else in_tier(variant, Idle)


@kernel("link-chain", run=run)
async def link_chain(variant: str, processes: int) -> float:
    target = _idle(variant)
    async with open_node("bench") as node, node.mailbox() as me:
        first = last = await node.spawn(target)
        for _ in range(processes - 1):
            last = await node.spawn(target, last)
        await trio.testing.wait_all_tasks_blocked()
        me.monitor(last)
        begin = time.perf_counter()
        first.exit(BROKEN)
        await me.receive()
        return (time.perf_counter() - begin) / processes


class Watcher(Actor):
    """Monitors one process so many times, ends it, and waits for all that it is told."""

    def __init__(self, target: Ref[Any], monitors: int, costs: list[float], finished: trio.Event) -> None:
        self.left, self.monitors, self.costs, self.finished = monitors, monitors, costs, finished
        for _ in range(monitors):
            self.process.monitor(target)
        self.begin = time.perf_counter()
        self.process.exit(target, BROKEN)

    def on_down(self, _down: Down) -> None:
        self.left -= 1
        if self.left == 0:
            self.costs.append((time.perf_counter() - self.begin) / self.monitors)
            self.finished.set()


@kernel("monitor-storm", variant="sync", run=run)
async def monitor_storm_on_actor(monitors: int) -> float:
    async with open_node("bench") as node:
        costs: list[float] = []
        finished = trio.Event()
        await node.spawn(Watcher, await node.spawn(Idle), monitors, costs, finished)
        await finished.wait()
        return costs[0]


@kernel("monitor-storm", variant="function", run=run)
async def monitor_storm(monitors: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        target = await node.spawn(Idle)
        for _ in range(monitors):
            me.monitor(target)
        begin = time.perf_counter()
        target.exit(BROKEN)
        for _ in range(monitors):
            await me.receive()
        return (time.perf_counter() - begin) / monitors


@kernel("idle-memory", run=run)
async def idle_memory(variant: str, processes: int) -> float:
    target = _idle(variant)
    async with open_node("bench") as node:
        await node.spawn(target)
        gc.collect()
        before = resident_bytes()
        refs = [await node.spawn(target) for _ in range(processes)]
        await trio.testing.wait_all_tasks_blocked()
        after = resident_bytes()
        assert len(refs) == processes
        return (after - before) / processes


@kernel("idle-collection", run=run)
async def idle_collection(variant: str, processes: int) -> float:
    target = _idle(variant)
    async with open_node("bench") as node:
        refs = [await node.spawn(target) for _ in range(processes)]
        gc.collect()
        begin = time.perf_counter()
        gc.collect()
        elapsed = time.perf_counter() - begin
        assert len(refs) == processes
        return elapsed


@kernel("timers", variant="function", run=run)
async def timers(timers: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        begin = time.perf_counter()
        every = [me.send_after(3600 + number % 1000 / 1000, me.ref, "due") for number in range(timers)]
        for timer in every:
            timer.cancel()
        return (time.perf_counter() - begin) / timers


@kernel("timers-fire", variant="function", run=run)
async def timers_fire(timers: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        begin = time.perf_counter()
        for _ in range(timers):
            me.send_after(0.001, me.ref, "due")
        for _ in range(timers):
            await me.receive()
        return (time.perf_counter() - begin) / timers
