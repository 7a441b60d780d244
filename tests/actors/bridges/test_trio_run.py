"""Nodes in programs whose loop is asyncio's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest
import trio

from enfilade import Actor, CallError, Child, Ref, Supervisor, open_node
from enfilade.actors.bridges import TrioRun

SECONDS = 60.0


class Counter(Actor):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    async def wait(self) -> None:
        await trio.sleep_forever()

    def crash(self) -> None:
        raise RuntimeError("on purpose")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, SECONDS))


def test_a_node_in_an_asyncio_program() -> None:
    """Calls come back, a supervisor restarts, and asyncio's own tasks go on meanwhile."""

    async def main() -> int:
        async with TrioRun() as trio_run, trio_run.entered(open_node("bank")) as node:
            counter: Ref[Counter] = await trio_run.run(node.spawn, Counter, 10)
            assert await trio_run.run(counter.call, Counter.add, 5) == 15
            totals = await asyncio.gather(*(trio_run.run(counter.call, Counter.add, 1) for _ in range(20)))
            assert sorted(totals) == list(range(16, 36))
            await trio_run.run(node.spawn, Supervisor, [Child(Counter, id="c", name="c")])

            async def crash() -> int:
                node.named("c").cast(Counter.crash)
                while True:
                    try:
                        return await node.named("c").call(Counter.add, 7)
                    except (CallError, RuntimeError):
                        await trio.lowlevel.checkpoint()

            return await trio_run.run(crash)

    assert run(main()) == 7


def test_the_error_of_a_call_arrives() -> None:
    async def main() -> None:
        async def fails() -> NoReturn:
            await trio.lowlevel.checkpoint()
            raise LookupError("no such account")

        async with TrioRun() as trio_run:
            with pytest.raises(LookupError, match="no such account"):
                await trio_run.run(fails)
            assert await trio_run.run(trio.to_thread.run_sync, int, "7") == 7  # the run goes on

    run(main())


def test_a_cancelled_call_is_cancelled_on_the_other_side() -> None:
    """The task of asyncio goes on only when that of trio has cleaned up."""
    order = []

    async def main() -> None:
        started = asyncio.Event()

        async def waits() -> None:
            started.set()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                order.append("trio")

        async with TrioRun() as trio_run:
            task = asyncio.create_task(trio_run.run(waits))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            order.append("asyncio")

    run(main())
    assert order == ["trio", "asyncio"]


def test_the_end_of_the_block_ends_what_runs_in_it() -> None:
    async def main() -> None:
        async with TrioRun() as trio_run:
            started = asyncio.Event()

            async def waits() -> None:
                started.set()
                await trio.sleep_forever()

            task = asyncio.create_task(trio_run.run(waits))
            await started.wait()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(RuntimeError, match="is not running: use it within its `async with` block"):
            await trio_run.run(trio.sleep, 0)
        with pytest.raises(RuntimeError, match="make a new one"):
            await trio_run.__aenter__()

    run(main())


@pytest.mark.parametrize("step", ["before", "in", "after"])
def test_a_context_manager_of_trio_is_entered_and_left_in_one_task(step: str) -> None:
    """Also where it raises on its way in or out, or the block raises."""
    tasks: list[object] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        tasks.append(trio.lowlevel.current_task())
        if step == "before":
            raise LookupError(step)
        yield "value"
        tasks.append(trio.lowlevel.current_task())
        if step == "after":
            raise LookupError(step)

    async def main() -> None:
        async with TrioRun() as trio_run:

            async def enter() -> None:
                async with trio_run.entered(manager()) as value:
                    assert value == "value"
                    if step == "in":
                        raise LookupError(step)

            with pytest.raises(LookupError, match=step):
                await enter()

    run(main())
    assert len(tasks) == (1 if step == "before" else 2)
    assert len(set(tasks)) == 1


def test_one_after_another_but_not_two_at_once() -> None:
    async def main() -> None:
        for _ in range(3):
            async with TrioRun() as trio_run:
                assert await trio_run.run(trio.to_thread.run_sync, int, "7") == 7
                with pytest.raises(RuntimeError, match="under way in this thread already"):
                    await TrioRun().__aenter__()

    run(main())


@pytest.mark.parametrize("grouped", [False, True])
def test_a_cancelled_that_is_nobodys_ends_one_call(grouped: bool) -> None:
    """Functions that share a result may share the `trio.Cancelled` of the task that was to compute it."""

    async def stray() -> NoReturn:
        cancelled = trio.Cancelled._create(source="unknown")
        raise BaseExceptionGroup("with others", [cancelled, ValueError()]) if grouped else cancelled

    async def main() -> int:
        async with TrioRun() as trio_run, trio_run.entered(open_node("bank")) as node:
            with pytest.raises(BaseExceptionGroup if grouped else RuntimeError):
                await trio_run.run(stray)
            counter: Ref[Counter] = await trio_run.run(node.spawn, Counter)
            return await trio_run.run(counter.call, Counter.add, 5)

    assert run(main()) == 5
