"""An event loop of asyncio in a thread, for a library that is written for asyncio and used by actors.

The library's code runs in that thread, beside trio's loop and not within it; a call of it costs two hand-offs
between threads. What it is given and what it returns is shared by two threads: hand over values, not objects
that somebody goes on changing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

__all__ = ["EventLoopThread"]

T = TypeVar("T")


class EventLoopThread:
    """An event loop of asyncio that runs in a thread, made by `open`::

        async with EventLoopThread.open() as aio:
            rows = await aio.run(connection.fetch, "select 1")

    It may be handed to any process of the same program, and used by several at a time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[EventLoopThread]:
        """Run a loop in a thread of its own for the length of a block.

        The end of the block cancels what still runs in the loop, and waits for that and for the thread.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(loop,), name="asyncio of a node", daemon=True)
        thread.start()
        opened = cls(loop)
        try:
            yield opened
        finally:
            opened._closed = True
            loop.call_soon_threadsafe(loop.stop)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join)

    async def run(self, fn: Callable[..., Coroutine[Any, Any, T]], /, *args: Any) -> T:
        """Run an async function of asyncio's side in a task of its own, and return its result.

        Args:
            fn: an async function for asyncio.
            args: its arguments.

        Raises:
            RuntimeError: the block has ended.
            What `fn` raises. `asyncio.CancelledError`, if its task was cancelled by somebody else.

        A checkpoint. When this is cancelled, the task of asyncio is cancelled, and has ended when this
        raises.
        """
        if self._closed:
            raise RuntimeError("the event loop has ended: call it within the block of `open()`")
        tasks: list[asyncio.Task[T]] = []
        over = trio.Event()
        token = trio.lowlevel.current_trio_token()

        async def task() -> T:
            return await fn(*args)

        def begin() -> None:
            tasks.append(self._loop.create_task(task()))
            tasks[0].add_done_callback(lambda task: token.run_sync_soon(over.set))

        self._loop.call_soon_threadsafe(begin)
        try:
            await over.wait()
        except trio.Cancelled:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            with trio.CancelScope(shield=True):
                await over.wait()
            raise
        return tasks[0].result()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped; then end what is left in it, as `asyncio.run` does."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
