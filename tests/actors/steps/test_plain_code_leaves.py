"""Nurseries and cancel scopes that plain code leaves open: the node ends in order, and says so. Clause U2."""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from enfilade.actors import SHUTDOWN, Actor, Node, NurseryLeft, open_node
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.processes.scopes import ScopeLeft
from tests.actors.steps.test_async_generators import KEPT, in_a_nursery, in_a_nursery_that_fails, in_a_scope

pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")


class Counter(Actor):
    """Notes how it was stopped."""

    def __init__(self, reasons: list[Reason]) -> None:
        self.reasons = reasons
        self.process.trap_exits = True

    def ping(self) -> str:
        return "pong"

    def on_stop(self, reason: Reason) -> None:
        self.reasons.append(reason)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "trio.async_generator_errors")


async def breaks(generator: Any) -> None:
    """The generator is collected when the block waits again."""
    async for _ in generator:
        break
    del generator
    gc.collect()


async def keeps(generator: Any) -> None:
    """The generator lives as long as the program."""
    KEPT.append(generator)
    await anext(generator)


async def enters(generator: Any) -> None:
    """There is no generator."""
    manager = trio.open_nursery()
    KEPT.append(manager)
    nursery = await manager.__aenter__()
    nursery.start_soon(trio.sleep_forever)


WAYS: list[Callable[[Any], Awaitable[None]]] = [breaks, keeps, enters]


@pytest.fixture(autouse=True)
def _nothing_kept() -> Any:
    yield
    KEPT.clear()


@pytest.mark.parametrize("generator", [in_a_nursery, in_a_nursery_that_fails])
@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("inside", ["node", "mailbox", "second node"])
async def test_a_block_that_leaves_a_nursery(
    autojump_clock: object, generator: Any, leave: Callable[[Any], Awaitable[None]], inside: str
) -> None:
    """U2: it raises `NurseryLeft`; the processes are stopped in order, and the code around it goes on."""
    reasons: list[Reason] = []

    async def careless(node: Node) -> None:
        counter = await node.spawn(Counter, reasons)
        await leave(generator())
        assert await counter.call(Counter.ping) == "pong"
        await trio.sleep(1)

    async def run() -> None:
        async with open_node("test") as node:
            if inside == "node":
                await careless(node)
            elif inside == "mailbox":
                async with node.mailbox():
                    await careless(node)
            else:
                async with open_node("second") as second:
                    await careless(second)

    before = trio.lowlevel.current_task().child_nurseries
    async with trio.open_nursery() as around:
        around.start_soon(trio.sleep, 5)
        with pytest.raises(NurseryLeft):
            await run()
        assert reasons == [SHUTDOWN]
        async with open_node("another") as node:
            assert await (await node.spawn(Counter, [])).call(Counter.ping) == "pong"
        KEPT.clear()
        gc.collect()
        await trio.sleep(10)
    assert trio.lowlevel.current_task().child_nurseries == before


@pytest.mark.parametrize("leave", [breaks, keeps])
async def test_a_block_that_leaves_a_scope(
    autojump_clock: object, leave: Callable[[Any], Awaitable[None]]
) -> None:
    """U2: it raises `ScopeLeft`."""
    reasons: list[Reason] = []

    async def run() -> None:
        async with open_node("test") as node:
            await node.spawn(Counter, reasons)
            await leave(in_a_scope())
            await trio.sleep(1)

    with pytest.raises(ScopeLeft):
        await run()
    assert reasons == [SHUTDOWN]


@pytest.mark.parametrize("leave", [keeps, enters])
async def test_its_own_error_comes_first(
    autojump_clock: object, leave: Callable[[Any], Awaitable[None]]
) -> None:
    """U2, U6: an error that the block raises itself comes out of it."""

    async def run() -> None:
        async with open_node("test"):
            await leave(in_a_nursery())
            raise LookupError

    with pytest.raises(LookupError):
        await run()


async def test_a_task_of_the_program_that_leaves_a_nursery(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """U2: the task is cancelled, and the log names it; processes go on."""

    caplog.set_level(logging.ERROR)

    async def careless() -> None:
        await breaks(in_a_nursery())
        await trio.sleep_forever()

    async with open_node("test") as node:
        counter = await node.spawn(Counter, [])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(careless)
        assert await counter.call(Counter.ping) == "pong"
    assert "careless left a nursery open" in caplog.text
