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

from enfilade.actors import SHUTDOWN, Actor, Down, Process, Ref
from enfilade.actors.supervision.tasks import TaskSupervisor, async_nolink
from tests.actors.steps.bystanders import unharmed

KEPT: list[Any] = []


async def in_a_nursery() -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
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


async def leaves(me: Process, generator: Any, how: str) -> None:
    await leave(generator, how)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "trio.async_generator_errors")


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("generator", [in_a_nursery, in_a_scope])
@pytest.mark.parametrize("how", ["raise", "break", "wait", "kept"])
async def test_left_early(autojump_clock: object, generator: Any, how: str) -> None:
    """U2: an actor, a function process and a task hurt themselves at most."""
    async with unharmed() as (node, me):
        supervisor = await node.spawn(TaskSupervisor)
        refs: list[Ref[Any]] = [await node.spawn(Leaves), node.spawn_soon(leaves, generator(), how)]
        for ref in refs:
            me.monitor(ref)
        refs[0].cast(Leaves.go, generator(), how)
        task = await async_nolink(supervisor, leave, generator(), how)
        await task.outcome(10)
        await trio.sleep(5)
        KEPT.clear()
        gc.collect()
        await trio.sleep(5)
        refs[0].exit(SHUTDOWN)
        for _ in refs:
            await me.receive(Down, timeout=10)
