"""Timers: one heap and one task for the whole node, on `trio.current_time()`, so that virtual time drives
them.

Two structures, because there are two kinds of use. Timers that were set explicitly live in a heap ordered by
deadline and then by the order of setting; a cancelled one stays as a tombstone until it surfaces, or until
tombstones are the larger half. The time limits of calls are many, short-lived and nearly all equal: for each
distinct length there is a *lane*, a dict in order of insertion and therefore of deadline, where entering and
leaving cost a dict operation.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio
from trio.lowlevel import Abort

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.guarded import guarded
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.signals import Notice

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref

__all__ = ["Timer", "Timers"]


class Expiring(Protocol):
    """Something with a time limit."""

    def expire(self) -> None:
        """The limit passed. Must not raise."""


class Lane:
    """Everything that waits for the same number of seconds, oldest first."""

    __slots__ = ("_entries", "_seconds", "_timers", "armed")

    def __init__(self, timers: Timers, seconds: float) -> None:
        self._timers = timers
        self._seconds = seconds
        self._entries: dict[Expiring, float] = {}
        self.armed = False

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Expiring) -> None:
        """Let `entry` expire in this lane's number of seconds."""
        deadline = self._timers.now() + self._seconds
        self._entries[entry] = deadline
        if not self.armed:
            self.armed = True
            self._timers.call_at(deadline, self._sweep)

    def discard(self, entry: Expiring) -> None:
        """Take `entry` out; without effect when it has expired."""
        self._entries.pop(entry, None)

    def _sweep(self) -> None:
        now = trio.current_time()
        entries = self._entries
        while entries:
            entry, deadline = next(iter(entries.items()))
            if deadline > now:
                self._timers.call_at(deadline, self._sweep)
                return
            del entries[entry]
            entry.expire()
        self.armed = False
        self._timers.forget_lane(self._seconds)


class Timer:
    """A timer that was set: `cancel()` it, or let it fire.

    Attributes:
        deadline: when it fires, on `trio.current_time()`.
        active: whether it still will.
    """

    __slots__ = ("_args", "_fn", "_kept_in", "_timers", "active", "deadline")

    def __init__(
        self,
        timers: Timers,
        deadline: float,
        kept_in: Keeping | None,
        fn: Callable[..., None],
        args: tuple[Any, ...],
    ) -> None:
        self._timers = timers
        self._kept_in = kept_in
        self._fn = fn
        self._args = args
        self.deadline = deadline
        self.active = True

    def cancel(self) -> bool:
        """Keep the timer from firing; false when it has fired already. Not a checkpoint.

        A message that it has sent stays where it is.
        """
        if not self.active:
            return False
        self.active = False
        self._release()
        self._timers.buried()
        return True

    def remaining(self) -> float:
        """Seconds until it fires; 0.0 when it has fired or was cancelled."""
        return max(0.0, self.deadline - trio.current_time()) if self.active else 0.0

    def fire(self) -> None:
        """Run the function: what the timer task calls."""
        self.active = False
        fn, args = self._fn, self._args
        self._release()
        fn(*args)

    def _release(self) -> None:
        self._fn, self._args = _nothing, ()
        if self._kept_in is not None:
            self._kept_in.pop(self, None)
            self._kept_in = None


Keeping = dict[Timer, None]
"""Timers that have neither fired nor been cancelled: their owner cancels them when it ends."""


def _nothing() -> None:
    return None


def _send(destination: Ref[Any], message: Any) -> None:
    """Send `message`, unless the destination is gone by the time the timer fires; no bound keeps it out."""
    try:
        destination.deliver(Notice(message))
    except RuntimeFault:
        return


class Timers:
    """The node's heap of timers, and the task that fires them.

    Attributes:
        now: the present time, as `trio.current_time()` tells it.
    """

    def __init__(self) -> None:
        self.now = trio.lowlevel.current_clock().current_time
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._lanes: dict[float, Lane] = {}
        self._tombstones = 0
        self._sleeper: trio.CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return (
            len(self._heap) - self._tombstones + sum(len(lane) - lane.armed for lane in self._lanes.values())
        )

    def call_at(self, deadline: float, fn: Callable[..., None], *args: Any) -> Timer:
        """Run `fn(*args)` at `deadline`; those of one deadline run in the order of these calls."""
        return self._set(deadline, None, fn, args)

    def call_after(
        self, seconds: float, fn: Callable[..., None], *args: Any, kept_in: Keeping | None = None
    ) -> Timer:
        """Run `fn(*args)` in `seconds`, at least 0.

        The timer stands in `kept_in` until it fires or is cancelled, so that its owner can cancel it.
        """
        check_seconds(seconds, "a delay")
        return self._set(self.now() + seconds, kept_in, fn, args)

    def send_after(
        self, seconds: float, destination: Ref[Any], message: Any, *, kept_in: Keeping | None = None
    ) -> Timer:
        """Send `message` to `destination` in `seconds`; a name is looked up only then."""
        return self.call_after(seconds, guarded, _send, destination, message, kept_in=kept_in)

    def _set(
        self, deadline: float, kept_in: Keeping | None, fn: Callable[..., None], args: tuple[Any, ...]
    ) -> Timer:
        timer = Timer(self, deadline, kept_in, fn, args)
        self._sequence += 1
        heapq.heappush(self._heap, (deadline, self._sequence, timer))
        if kept_in is not None:
            kept_in[timer] = None
        if self._sleeper is not None and deadline < self._sleeper.deadline:
            self._sleeper.deadline = deadline
        return timer

    def lane(self, seconds: float) -> Lane:
        """The lane of everything that waits for `seconds`."""
        lane = self._lanes.get(seconds)
        if lane is None:
            check_seconds(seconds, "a time limit")
            lane = self._lanes[seconds] = Lane(self, seconds)
        return lane

    def forget_lane(self, seconds: float) -> None:
        """The lane is empty: do not keep one for every number that was ever used."""
        self._lanes.pop(seconds, None)

    def buried(self) -> None:
        """A timer was cancelled: once the dead are the larger half, rebuild the heap."""
        self._tombstones += 1
        if self._tombstones > 64 and self._tombstones * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].active]
            heapq.heapify(self._heap)
            self._tombstones = 0

    def clear(self) -> None:
        """The node has closed: what is set never fires."""
        for _, _, timer in self._heap:
            timer.active = False
        self._heap.clear()
        self._lanes.clear()
        self._tombstones = 0

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                timer = heapq.heappop(self._heap)[2]
                if timer.active:
                    timer.fire()
                else:
                    self._tombstones -= 1
            deadline = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleeper:
                await trio.lowlevel.wait_task_rescheduled(lambda _: Abort.SUCCEEDED)
            self._sleeper = None
