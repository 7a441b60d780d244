"""Virtual time for programs that also wait for the real world: for doors, threads, other processes.

A clock that jumps as soon as no task can run does not see a message that is on its way through the kernel,
and lets the timeout of whoever waits for it pass. This one is told how to find out what is under way: for as
long as there is something, time stands still and the run waits.

trio asks a clock for `deadline_to_sleep_time` exactly when nothing can run: its public interface is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Final

import attrs
import trio

from enfilade.actors.messages.blocks import block

__all__ = ["Stuck", "VirtualClock"]

GLANCE: Final = 1e-6
"""Real seconds to wait for input and output before time jumps. Positive, so that tasks in trio's
`wait_all_tasks_blocked` come before the jump."""

LOOK: Final = 0.05
"""Real seconds after which to ask again what is under way, should nobody wake the run before."""


class Stuck(Exception):
    """The run has come to a standstill: nothing can run, and what is under way does not arrive."""


@attrs.frozen(eq=False)
class _Watch:
    """A block that says what is under way, and that is cancelled when it does not arrive."""

    under_way: Callable[[], str]
    scope: trio.CancelScope


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """Virtual time that jumps to the next deadline when nothing can run and nothing is under way.

    It serves one run: `trio.run(main, clock=VirtualClock())`, or a fixture that returns it.

    Args:
        patience: real seconds without a step of any task after which a block of `watching` is given up.
    """

    def __init__(self, *, patience: float = 60.0) -> None:
        self._patience = patience
        self._now = 0.0
        self._watches: list[_Watch] = []
        self._settling: list[trio.lowlevel.Task] = []
        self._idle_since: float | None = None
        self._trouble = ""

    @block
    def watching(self, under_way: Callable[[], str]) -> Iterator[None]:
        """Let time stand still while something is under way, for the length of a block.

        Args:
            under_way: names what is under way, for the error; empty when there is nothing. It is asked when
                nothing can run, and must neither block nor raise.

        Raises:
            Stuck: the run came to a standstill, and the block was cancelled.
        """
        with trio.CancelScope() as scope:
            watch = _Watch(under_way, scope)
            self._watches.append(watch)
            try:
                yield
            finally:
                self._watches.remove(watch)
        if self._trouble and scope.cancelled_caught:
            raise Stuck(self._trouble)

    async def settle(self) -> None:
        """Wait until nothing can run and nothing is under way; no time passes.

        A checkpoint; cancelled, it waits no longer.
        """
        task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._settling.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        self._settling.append(task)
        await trio.lowlevel.wait_task_rescheduled(abort)

    # What trio asks for.

    def start_clock(self) -> None:
        """See `trio.abc.Clock`."""
        trio.lowlevel.add_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        self._idle_since = None

    def current_time(self) -> float:
        """See `trio.abc.Clock`."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """See `trio.abc.Clock`."""
        if deadline <= self._now:
            return 0.0
        if self._idle_since is None:
            self._idle_since = perf_counter()
            return GLANCE
        under_way = "; ".join(filter(None, (watch.under_way() for watch in self._watches)))
        if under_way and not self._trouble:
            return self._wait_for(under_way)
        if self._settling:
            settled, self._settling = self._settling, []
            for task in settled:
                trio.lowlevel.reschedule(task)
            return 0.0
        if deadline < math.inf:
            self._now = deadline
            return 0.0
        if self._watches and not self._trouble:
            return self._wait_for("nothing is under way, and nobody waits for a time")
        return math.inf  # at its end, too, the run waits for input and output

    def _wait_for(self, what: str) -> float:
        """The real seconds to wait; none when the run has been given up, so that its tasks see it."""
        assert self._idle_since is not None
        if perf_counter() - self._idle_since < self._patience:
            return LOOK
        self._trouble = f"no task has run for {self._patience:g} s at {self._now:g} s of virtual time: {what}"
        for watch in self._watches:
            watch.scope.cancel()
        return 0.0
