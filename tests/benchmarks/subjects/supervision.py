"""Our supervisors. The intensity is out of reach and the window short, as on the other side.

Restarts are counted, so a supervisor is made anew before it has a long list of them.
"""

from __future__ import annotations

import time
from typing import Any

import trio

from enfilade.actors import (
    KILL,
    SHUTDOWN,
    Actor,
    Child,
    Down,
    DynamicSupervisor,
    Process,
    Ref,
    Supervisor,
    open_node,
)
from tests.benchmarks.kernel import kernel
from tests.benchmarks.subjects.tier import run

UNREACHABLE = 1_000_000


class Worker(Actor):
    """Says who it is, then waits."""

    def __init__(self, tester: Ref[Any]) -> None:
        tester.send(self.process.ref)


async def worker(me: Process, tester: Ref[Any]) -> None:
    tester.send(me.ref)
    await me.receive()


class Tester(Actor):
    """Kills every child that says it runs, so many times."""

    def __init__(self, restarts: int, finished: trio.Event) -> None:
        self.left, self.finished = restarts, finished
        self.begin = self.end = 0.0

    def on_message(self, child: Any) -> None:
        if self.begin == 0.0:
            self.begin = time.perf_counter()
        if self.left:
            self.left -= 1
            self.process.exit(child, KILL)
        else:
            self.end = time.perf_counter()
            self.finished.set()

    def elapsed(self) -> float:
        return self.end - self.begin


WORKERS: dict[str, Any] = {"sync": Worker, "function": worker}


@kernel("supervised-restart", variant="sync", run=run)
async def supervised_restart_of_actor(supervisors: int, restarts: int) -> float:
    elapsed = 0.0
    async with open_node("bench") as node:
        for _ in range(supervisors):
            finished = trio.Event()
            tester = await node.spawn(Tester, restarts, finished)
            children = [Child(Worker, tester, id=1)]
            supervisor = await node.spawn(Supervisor, children, intensity=UNREACHABLE, period=1.0)
            await finished.wait()
            elapsed += await tester.call(Tester.elapsed)
            await supervisor.stop(SHUTDOWN)
    return elapsed / (supervisors * restarts)


@kernel("supervised-restart", variant="function", run=run)
async def supervised_restart_of_function(supervisors: int, restarts: int) -> float:
    elapsed = 0.0
    async with open_node("bench") as node, node.mailbox() as me:
        for _ in range(supervisors):
            children = [Child(worker, me.ref, id=1)]
            supervisor = await node.spawn(Supervisor, children, intensity=UNREACHABLE, period=1.0)
            current = await me.receive()
            begin = time.perf_counter()
            for _ in range(restarts):
                me.exit(current, KILL)
                current = await me.receive()
            elapsed += time.perf_counter() - begin
            await supervisor.stop(SHUTDOWN)
    return elapsed / (supervisors * restarts)


@kernel("restart-storm", run=run)
async def restart_storm(variant: str, children: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        specifications = [Child(WORKERS[variant], me.ref, id=number) for number in range(children)]
        await node.spawn(Supervisor, specifications, intensity=UNREACHABLE, period=1.0)
        refs = [await me.receive() for _ in range(children)]
        begin = time.perf_counter()
        for ref in refs:
            me.exit(ref, KILL)
        for _ in refs:
            await me.receive()
        return (time.perf_counter() - begin) / children


async def _dynamic(variant: str, children: int) -> tuple[float, float]:
    """The cost of a start and that of a stop."""
    async with open_node("bench") as node, node.mailbox() as me:
        template = Child(WORKERS[variant], me.ref, id="worker")
        supervisor = await node.spawn(DynamicSupervisor, template, intensity=UNREACHABLE, period=1.0)
        begin = time.perf_counter()
        for _ in range(children):
            await supervisor.call(DynamicSupervisor.start_from_template)
        started = time.perf_counter()
        me.monitor(supervisor, tag="end")
        me.exit(supervisor, SHUTDOWN)
        while not (isinstance(message := await me.receive(), Down) and message.monitor.tag == "end"):
            pass
        return (started - begin) / children, (time.perf_counter() - started) / children


@kernel("start-children", run=run)
async def start_children(variant: str, children: int) -> float:
    return (await _dynamic(variant, children))[0]


@kernel("stop-children", run=run)
async def stop_children(variant: str, children: int) -> float:
    return (await _dynamic(variant, children))[1]
