"""One wait for the inlets of all peers, in the place of one for each.

An inlet tells by a descriptor that something has come. To have trio wait for a descriptor takes a
registration at the kernel, a task that is woken, and its way back to the next wait: with several peers that
speak at a time that is a fifth of what their calls cost. So one task waits for all descriptors together, and
what has come is taken in there, in its step. The reader of a peer is woken only for what must not be done
there.

A single peer gains nothing by that: its reader waits for itself. So do all readers where the system has no
epoll, and whenever the task is not there.
"""

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import trio

__all__ = ["Porter", "Visited"]

COMPANY: Final = 2
"""Inlets from which on one task waits for all."""


class Visited(Protocol):
    """An inlet that a porter waits for."""

    @property
    def event(self) -> int:
        """The descriptor that becomes readable when something has come."""
        ...

    def tell(self, *, alone: bool) -> bool:
        """Have its owner take in what has come, in this step; return false if the reader has to be woken.

        Args:
            alone: nothing has come to another inlet.
        """
        ...


class Porter:
    """The task that waits for several inlets, and what it knows of them.

    A descriptor is reported once for each time that it becomes readable, so whoever waits here must have
    looked whether something is there already.
    """

    def __init__(self) -> None:
        self._inlets: dict[int, Visited] = {}
        self._readers: dict[int, trio.lowlevel.Task] = {}
        self._poll: Any = None
        self._scope = trio.CancelScope()

    @property
    def is_busy(self) -> bool:
        """True while it waits for the inlets: then their readers wait here."""
        return self._poll is not None and len(self._inlets) >= COMPANY

    def add(self, inlet: Visited) -> None:
        """Wait for one more inlet."""
        self._inlets[inlet.event] = inlet
        if len(self._inlets) == COMPANY:
            for event in self._inlets:
                self._register(event)
        elif len(self._inlets) > COMPANY:
            self._register(inlet.event)

    def remove(self, event: int) -> None:
        """Wait for an inlet no more, which is about to be closed: its reader is woken."""
        if self._inlets.pop(event, None) is None:
            return
        if len(self._inlets) >= COMPANY - 1:
            self._unregister(event)
        if len(self._inlets) == COMPANY - 1:
            for other in self._inlets:
                self._unregister(other)
                self._wake(other)
        self._wake(event)

    async def wait(self, event: int) -> None:
        """Wait until an inlet's reader has something to do, or has to wait for itself. A checkpoint."""

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._readers[event]
            return trio.lowlevel.Abort.SUCCEEDED

        self._readers[event] = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def run(self) -> None:
        """Wait for the inlets, until cancelled; return at once where the system cannot do so."""
        make: Callable[[], Any] | None = getattr(select, "epoll", None)
        if make is None:
            return
        try:
            self._poll = make()
        except OSError:  # no descriptor is left
            return
        try:
            if len(self._inlets) >= COMPANY:
                for event in self._inlets:
                    self._register(event)
            with self._scope:
                while True:
                    await trio.lowlevel.wait_readable(self._poll.fileno())
                    self._visit(self._poll.poll(0))
        finally:
            poll, self._poll = self._poll, None
            poll.close()
            for event in list(self._readers):
                self._wake(event)

    def _visit(self, ready: list[tuple[int, int]]) -> None:
        for event, _ in ready:
            inlet = self._inlets.get(event)
            if inlet is not None and not inlet.tell(alone=len(ready) == 1):
                self._wake(event)

    def _wake(self, event: int) -> None:
        reader = self._readers.pop(event, None)
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    def _register(self, event: int) -> None:
        if self._poll is not None:
            try:
                self._poll.register(event, select.EPOLLIN | select.EPOLLET)
            except OSError:  # nothing is left to register it with: all readers are to wait for themselves
                self._scope.cancel()

    def _unregister(self, event: int) -> None:
        if self._poll is not None:
            with suppress(OSError):  # it could not be registered
                self._poll.unregister(event)
