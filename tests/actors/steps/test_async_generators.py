"""Nurseries and cancel scopes that a process leaves open in an async generator. Clause U2.

trio forbids it, and blames the parent of the task, which would be the node.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from enfilade.actors import KILL, SHUTDOWN, Actor, Crashed, Down, NurseryLeft, Process, Ref
from enfilade.actors.supervision.tasks import TaskSupervisor, async_nolink
from tests.actors.steps.bystanders import unharmed

KEPT: list[Any] = []


async def in_a_nursery() -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        while True:
            yield 1


async def in_a_nursery_that_fails() -> AsyncIterator[int]:
    async def fail() -> None:
        await trio.sleep(0.1)
        raise ValueError("in a nursery that nobody waits for")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        while True:
            yield 1


async def in_a_scope() -> AsyncIterator[int]:
    with trio.move_on_after(60):
        while True:
            yield 1


async def leave(generator: Any, how: str) -> None:
    """Leave the generator early."""
    if how == "kept":
        KEPT.append(generator)
    async for _ in generator:
        if how == "raise":
            raise ValueError("left early")
        break
    if how == "wait":
        await trio.sleep(1)


class Leaves(Actor):
    async def go(self, generator: Any, how: str) -> None:
        await leave(generator, how)

    async def on_stop(self, reason: object) -> None:
        await leave(in_a_nursery(), "raise")


class LeavesAtStart(Actor):
    def __init__(self, generator: Any, how: str) -> None:
        self.given = generator, how

    async def on_start(self) -> None:
        await leave(*self.given)


class LeavesAfterStart(LeavesAtStart):
    async def on_start(self) -> None:
        self.process.continue_with(leave, *self.given)


async def leaves(me: Process, generator: Any, how: str) -> None:
    await leave(generator, how)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "trio.async_generator_errors")


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("generator", [in_a_nursery, in_a_nursery_that_fails, in_a_scope])
@pytest.mark.parametrize("how", ["raise", "break", "wait", "kept"])
async def test_left_early(autojump_clock: object, generator: Any, how: str) -> None:
    """U2: an actor, a function process and a task hurt themselves at most."""
    async with unharmed() as (node, me):
        supervisor = await node.spawn(TaskSupervisor)
        refs: list[Ref[Any]] = [
            await node.spawn(Leaves),
            *(node.spawn_soon(kind, generator(), how) for kind in (leaves, LeavesAtStart, LeavesAfterStart)),
        ]
        for ref in refs:
            me.monitor(ref)
        refs[0].cast(Leaves.go, generator(), how)
        task = await async_nolink(supervisor, leave, generator(), how)
        await task.outcome(10)
        await trio.sleep(5)
        KEPT.clear()
        gc.collect()
        await trio.sleep(5)
        for ref in refs:
            ref.exit(SHUTDOWN)
        for _ in refs:
            await me.receive(Down, timeout=10)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("generator", [in_a_nursery, in_a_nursery_that_fails])
async def test_a_process_that_goes_on_is_told(autojump_clock: object, generator: Any) -> None:
    """U2: it ends with `NurseryLeft` when the generator is collected, though it holds another nursery."""

    async def goes_on(me: Process) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave, generator(), "break")
            await leave(generator(), "break")
            await trio.sleep_forever()

    async with unharmed() as (node, me):
        me.monitor(node.spawn_soon(goes_on))
        reason = (await me.receive(Down, timeout=10)).reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, NurseryLeft)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_the_block_of_a_mailbox_is_left(autojump_clock: object) -> None:
    """U2: the mailbox ends when its block is collected, and holds nobody up."""
    async with unharmed() as (node, me):

        class Leaves(Actor):
            async def open(self) -> None:
                self.block = self.process.node.mailbox()
                inner = await self.block.__aenter__()
                me.monitor(inner.ref)

        ref = await node.spawn(Leaves)
        me.monitor(ref)
        await ref.call(Leaves.open)
        ref.exit(KILL)
        for _ in range(2):
            await me.receive(Down, timeout=10)
