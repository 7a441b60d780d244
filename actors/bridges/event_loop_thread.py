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

import outcome
import trio

__all__ = ["EventLoopThread"]

T = TypeVar("T")


class EventLoopThread:
    """An event loop of asyncio that runs in a thread. Made by `open`::

        async with EventLoopThread.open() as aio:
            rows = await aio.run(connection.fetch, "select 1")

    It may be handed to any process of the same program, and used by several at a time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="asyncio of a node", daemon=True)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[EventLoopThread]:
        """Run a loop in a thread of its own for the length of a block.

        Entering is not a checkpoint. Leaving is one that cancellation does not hasten: it cancels what still
        runs in the loop, and waits for that and for the thread.
        """
        loop = asyncio.new_event_loop()
        opened = cls(loop)
        opened._thread.start()
        try:
            yield opened
        finally:
            opened._closed = True
            loop.call_soon_threadsafe(loop.stop)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(opened._thread.join)

    async def run(self, fn: Callable[..., Coroutine[Any, Any, T]], /, *args: Any) -> T:
        """Run an async function of asyncio's side in a task of its own, and return its result.

        Args:
            fn: an async function for asyncio.
            args: its arguments.

        Raises:
            RuntimeError: the block has ended.
            What `fn` raises, `SystemExit` included: the loop and the other calls go on.
                `asyncio.CancelledError`, if its task was cancelled by somebody else.

        A checkpoint. When this is cancelled, the task of asyncio is cancelled, and has ended when this
        raises.
        """
        if self._closed:
            raise RuntimeError("the event loop has ended: call it within the block of `open()`")
        tasks: list[asyncio.Task[outcome.Outcome[T]]] = []
        over = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def begin() -> None:
            # Captured, because `SystemExit` out of a task would end the loop, and with it the other calls.
            tasks.append(self._loop.create_task(outcome.acapture(fn, *args)))
            tasks[0].add_done_callback(lambda task: token.run_sync_soon(over.set))

        self._loop.call_soon_threadsafe(begin)
        try:
            await over.wait()
        except trio.Cancelled:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            with trio.CancelScope(shield=True):
                await over.wait()
            raise
        return tasks[0].result().unwrap()

    def _serve(self) -> None:
        """Run the loop until the end of the block; then end what is left in it, as `asyncio.run` does."""
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            while not self._closed:  # whoever else stops the loop, does so for all who use it
                _run(loop, loop.run_forever)
            while tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                _run(loop, loop.run_until_complete, asyncio.wait(tasks))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _run(loop: asyncio.AbstractEventLoop, fn: Callable[..., object], *args: Any) -> None:
    """Call `fn(*args)`, which runs the loop, and outlive what ends that before its time: a task of the
    library that raises `SystemExit`, or stops the loop.
    """
    try:
        fn(*args)
    except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
        loop.call_exception_handler({"message": "a task has stopped the event loop", "exception": error})
