"""The tasks of a runtime's network, in one nursery."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

logger = logging.getLogger("enfilade.hostcalls.net")


class Tasks:
    """Starts the tasks of a network. A task that fails is logged, and nothing else ends with it.

    Tasks that are started before `open` begin then.
    """

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._early: list[tuple[Callable[[], Awaitable[None]], str]] = []
        self._is_closed = False

    def open(self, nursery: trio.Nursery) -> None:
        """Run the tasks in `nursery`, which ends them when it is cancelled."""
        self._nursery = nursery
        early, self._early = self._early, []
        for function, label in early:
            self.start(function, label)

    def close(self) -> None:
        """Start nothing any more: the nursery is about to end."""
        self._is_closed = True
        self._early.clear()

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery. Raises `RuntimeError` before `open`."""
        if self._nursery is None:
            raise RuntimeError("the runtime does not run yet: call Runtime.run before guests connect")
        return self._nursery

    def start(self, function: Callable[[], Awaitable[None]], label: str) -> None:
        """Run `function` as a task. Not a checkpoint.

        Args:
            function: the task. Its failure is logged once.
            label: of the guest that it works for, for the log.
        """
        if self._is_closed:
            return
        if self._nursery is None:
            self._early.append((function, label))
        else:
            self._nursery.start_soon(_guarded, function, label)


async def _guarded(function: Callable[[], Awaitable[None]], label: str) -> None:
    try:
        await function()
    except Exception:
        logger.exception("a network task of guest %s failed; its connection was closed", label)
