"""The clock of the running trio loop, for tests that run guests without a node."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from enfilade.hostcalls.resources.clock import Timer


class _ScopeTimer:
    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    def cancel(self) -> None:
        self.scope.cancel()


class TrioClock:
    """The clock of the running trio loop; each timer is a task in `nursery`."""

    real = False

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def unix_time(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of trio's clock."""
        return trio.current_time()

    def call_later(self, delay: float, function: Callable[[], None]) -> Timer:
        """Call `function` in `delay` seconds, from a task."""
        timer = _ScopeTimer()

        async def wait() -> None:
            with timer.scope:
                await trio.sleep(delay)
                function()

        self._nursery.start_soon(wait)
        return timer
