"""Libraries for asyncio, used by actors."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any, NoReturn

import pytest
import trio

from enfilade import Actor, Ref, open_node
from enfilade.actors.bridges import EventLoopThread


class Fetcher(Actor):
    """Asks a server by a library for asyncio."""

    def __init__(self, aio: EventLoopThread) -> None:
        self.aio = aio

    async def fetch(self, port: int) -> bytes:
        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"question")
            answer = await reader.readexactly(6)
            writer.close()
            return answer

        return await self.aio.run(ask)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("asyncio")}


async def test_an_actor_uses_a_library_for_asyncio() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        assert await stream.receive_some() == b"question"
        await stream.send_all(b"answer")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        async with EventLoopThread.open() as aio, open_node("n") as node:
            fetcher: Ref[Fetcher] = await node.spawn(Fetcher, aio)
            assert await fetcher.call(Fetcher.fetch, port) == b"answer"
        nursery.cancel_scope.cancel()
    assert not threads()


async def test_results_and_errors_arrive() -> None:
    async def fails() -> NoReturn:
        await asyncio.sleep(0)
        raise LookupError("no such account")

    async with EventLoopThread.open() as aio:
        assert await aio.run(asyncio.sleep, 0, "result") == "result"
        with pytest.raises(LookupError, match="no such account"):
            await aio.run(fails)
        too_few: Any = asyncio.sleep
        with pytest.raises(TypeError):
            await aio.run(too_few)
        assert await aio.run(asyncio.sleep, 0, "on") == "on"


async def test_a_cancelled_call_is_cancelled_on_the_other_side() -> None:
    order = []
    started = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def waits() -> None:
        token.run_sync_soon(started.set)
        try:
            await asyncio.Event().wait()
        finally:
            order.append("asyncio")

    async with EventLoopThread.open() as aio:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(aio.run, waits)
            await started.wait()
            nursery.cancel_scope.cancel()
        order.append("trio")
    assert order == ["asyncio", "trio"]


async def test_the_end_of_the_block_ends_what_is_left() -> None:
    ended = []

    async def leaves_a_task() -> None:
        async def left() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        asyncio.get_running_loop().left = asyncio.create_task(left())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    async with EventLoopThread.open() as aio:
        await aio.run(leaves_a_task)
    assert ended == [True]
    assert not threads()
    with pytest.raises(RuntimeError, match="the event loop has ended"):
        await aio.run(asyncio.sleep, 0)


async def test_a_block_that_is_cancelled_waits_for_its_thread() -> None:
    with trio.CancelScope() as scope:
        async with EventLoopThread.open():
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert not threads()


async def ends_the_program() -> NoReturn:
    raise SystemExit(3)


async def leaves_a_task_that_ends_the_program() -> None:
    asyncio.get_running_loop().create_task(ends_the_program()).add_done_callback(
        lambda task: task.exception()
    )
    await asyncio.sleep(0.01)


async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


async def cancels_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


@pytest.mark.parametrize(
    "harm", [ends_the_program, leaves_a_task_that_ends_the_program, stops_the_loop, cancels_all]
)
async def test_what_a_call_does_to_the_loop_leaves_others_alone(harm: Any) -> None:
    """The process that does it may learn of it; the next call is answered, and the block ends."""
    async with EventLoopThread.open() as aio:
        with suppress(SystemExit, asyncio.CancelledError):
            await aio.run(harm)
        assert await aio.run(asyncio.sleep, 0, "on") == "on"
    assert not threads()


async def test_tasks_that_end_the_program_at_the_end_of_the_block() -> None:
    """Whoever still waits for another task hears of its end."""
    started = trio.Event()
    token = trio.lowlevel.current_trio_token()
    heard = []

    async def exits_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ends_the_program()

    async def leaves_it() -> None:
        task = asyncio.get_running_loop().create_task(exits_when_cancelled())
        task.add_done_callback(lambda task: task.exception())
        await asyncio.sleep(0)
        token.run_sync_soon(started.set)
        await asyncio.Event().wait()

    async def wait(aio: EventLoopThread) -> None:
        try:
            await aio.run(leaves_it)
        except asyncio.CancelledError:
            heard.append("cancelled")

    async with trio.open_nursery() as nursery, EventLoopThread.open() as aio:
        nursery.start_soon(wait, aio)
        await started.wait()
    assert heard == ["cancelled"]
    assert not threads()
