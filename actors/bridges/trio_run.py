"""A trio run within an asyncio program: nodes in a program whose loop is asyncio's.

trio runs as a guest of asyncio's loop, in the same thread: both take turns, and no lock is needed between
them. A thread of trio's waits for its sockets and timers, so that a turn of trio's loop costs a hand-off to
that thread and back. The functions of the runtime belong to trio; `run` is the one way to call them from
asyncio's side.

Source: `trio.lowlevel.start_guest_run`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

import outcome
import trio

__all__ = ["TrioRun"]

T = TypeVar("T")


class TrioRun:
    """A trio run for the length of an `async with` block of an asyncio program::

        async with TrioRun() as trio_run, trio_run.entered(open_node("bank")) as node:
            counter = await trio_run.run(node.spawn, Counter)
            total = await trio_run.run(counter.call, Counter.add, 5)

    There can be one at a time in a thread. The end of the block cancels what still runs in it, and waits for
    that.
    """

    def __init__(self) -> None:
        self._over: asyncio.Future[None] | None = None
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> TrioRun:
        if self._over is not None:
            raise RuntimeError("expected a TrioRun that was not used before; make a new one")
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("a trio run is under way in this thread already: use that one")
        loop = asyncio.get_running_loop()
        over = self._over = loop.create_future()
        started = loop.create_future()

        async def main() -> None:
            async with trio.open_nursery() as self._nursery:
                started.set_result(None)
                await trio.sleep_forever()

        def done(result: outcome.Outcome[None]) -> None:
            if isinstance(result, outcome.Error) and not isinstance(result.error, trio.Cancelled):
                over.set_exception(result.error)
            else:
                over.set_result(None)

        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=done,
            host_uses_signal_set_wakeup_fd=True,
        )
        try:
            await _uninterrupted(started)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        assert self._over is not None
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        await _uninterrupted(self._over)

    async def run(self, fn: Callable[..., Awaitable[T]], /, *args: Any) -> T:
        """Run an async function of trio's side in a task of its own, and return its result.

        Args:
            fn: an async function for trio, such as `node.spawn` or the `call` of a ref.
            args: its arguments.

        Raises:
            RuntimeError: the run has not begun, or is over; or `fn` raised a `trio.Cancelled` that was not
                its own.
            What `fn` raises.

        It waits as asyncio does, and is not a checkpoint of trio. When the task of asyncio is cancelled, the
        task of trio is cancelled, and has ended when this raises `asyncio.CancelledError`. A result that has
        come by then is lost.
        """
        nursery = self._nursery
        if nursery is None or self._over is None or self._over.done():
            raise RuntimeError("the trio run is not running: use it within its `async with` block")
        result: asyncio.Future[outcome.Outcome[T]] = asyncio.get_running_loop().create_future()
        scope = trio.CancelScope()

        async def task() -> None:
            caught: outcome.Outcome[T] = outcome.Error(asyncio.CancelledError("the trio run has ended"))
            try:
                with scope:
                    caught = outcome.Value(await fn(*args))
            except trio.Cancelled as error:
                if trio.current_effective_deadline() == -math.inf:  # the run is ending
                    raise
                # It would end the run: `fn` has it from a task that was cancelled, by a memo, say.
                stray = RuntimeError("the function raised a trio.Cancelled that was not its own")
                stray.__cause__ = error
                caught = outcome.Error(stray)
            except BaseException as error:
                caught = outcome.Error(error)
            finally:
                result.set_result(caught)

        nursery.start_soon(task, name=fn)
        try:
            return (await asyncio.shield(result)).unwrap()
        except asyncio.CancelledError:
            if not result.done():
                scope.cancel()
                await _uninterrupted(result)
            raise

    @asynccontextmanager
    async def entered(self, manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter an async context manager of trio's side, such as `open_node(...)`, for the length of a block.

        It is entered and left in one task of trio's, as trio demands. If the block raises, the manager is
        left as if nothing had been raised, and the error goes on. Both wait as asyncio does, and are not
        checkpoints of trio; cancelled on its way in, `manager` is left again.

        Raises:
            RuntimeError: the run has not begun, or is over.
            What entering or leaving `manager` raises.
        """
        loop = asyncio.get_running_loop()
        value: asyncio.Future[T] = loop.create_future()
        leave: list[trio.Event] = []

        async def hold() -> None:
            leave.append(trio.Event())
            async with manager as entered:
                value.set_result(entered)
                await leave[0].wait()

        holder = loop.create_task(self.run(hold))
        either: list[asyncio.Future[Any]] = [holder, value]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not value.done():
            await holder  # which raises why
            raise RuntimeError("the context manager was left before it was entered")
        try:
            yield value.result()
        finally:
            if not holder.done():
                leave[0].set()
            await _uninterrupted(holder)


async def _uninterrupted(future: asyncio.Future[Any]) -> None:
    """Wait for a future although the task is cancelled; then raise that, or the future's error."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    future.result()
