"""trio as a guest of the loop that runs already: Textual's, which is asyncio's. Both are in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import outcome
import trio

__all__ = ["GuestRun"]


class GuestRun:
    """A trio run within the running asyncio loop.

    What runs in trio may call anything of the host at once: it is the same thread, and no step of either
    interrupts one of the other. The host has trio do something by `soon`.

    Args:
        main: what runs in trio, until it ends or `stop` is called; it is given a nursery for `soon`.
    """

    def __init__(self, main: Callable[[trio.Nursery], Awaitable[None]]) -> None:
        self._main = main
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stops = False
        self._ended: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Begin. Called once, within the asyncio loop."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        trio.lowlevel.start_guest_run(
            self._run,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=self._done,
            host_uses_signal_set_wakeup_fd=True,
        )

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            if not self._stops:
                await self._main(self._nursery)
            self._nursery.cancel_scope.cancel()

    def _done(self, result: outcome.Outcome[None]) -> None:
        assert self._ended is not None
        if self._ended.cancelled():
            return
        if isinstance(result, outcome.Error):
            self._ended.set_exception(result.error)
        else:
            self._ended.set_result(None)

    def soon(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Have `fn(*args)` run as a task of trio; nothing happens when the run is over."""
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._start, fn, *args)
            except trio.RunFinishedError:
                return

    def soon_sync(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn(*args)` called within trio; nothing happens when the run is over."""
        if self._token is not None:
            try:
                self._token.run_sync_soon(fn, *args)
            except trio.RunFinishedError:
                return

    def _start(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if self._nursery is not None and not self._nursery.cancel_scope.cancel_called:
            self._nursery.start_soon(fn, *args)

    async def stop(self) -> None:
        """Cancel what runs in trio, and wait for its end. A second call waits, too.

        Raises: what ended the run, if an error did.
        """
        self._stops = True
        if self._ended is None:
            return
        if self._nursery is not None:
            self.soon_sync(self._nursery.cancel_scope.cancel)
        await self._ended
