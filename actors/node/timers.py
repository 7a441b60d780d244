"""Timers: one heap and one task for the whole node, on `trio.current_time()`, so that virtual time drives
them.

Two structures, because there are two kinds of use. Timers that were set explicitly live in a heap ordered by
deadline and then by the order of setting; a cancelled one stays as a tombstone until it surfaces, or until
tombstones are the larger half. The time limits of calls are many, short-lived and nearly all equal: for each
distinct length there is a *lane*, a dict in order of insertion and therefore of deadline, where entering and
leaving cost a dict operation. A program may compute its limits from deadlines, so that no two are equal:
therefore only one empty lane is kept, for the next call of the same limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

import trio
from trio.lowlevel import Abort

from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.signals import Exit, Notice
from enfilade.actors.node.dead_letters import DeadLetters
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.steps import step_failed

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Timer", "Timers"]


class Expiring(Protocol):
    """Something with a time limit."""

    @property
    def process(self) -> Process | None:
        """The process that it belongs to."""

    def expire(self) -> None:
        """The limit passed."""


class Lane:
    """Everything that waits for the same number of seconds, oldest first."""

    __slots__ = ("_entries", "_sweeper", "_timers", "seconds")

    def __init__(self, timers: Timers, seconds: float) -> None:
        self._timers = timers
        self.seconds = seconds
        self._entries: dict[Expiring, float] = {}
        self._sweeper: Timer | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def armed(self) -> bool:
        """True when a timer is set for the oldest entry, or for one that has left."""
        return self._sweeper is not None

    def add(self, entry: Expiring) -> None:
        """Let `entry` expire in this lane's number of seconds."""
        deadline = self._timers.now() + self.seconds
        self._entries[entry] = deadline
        if self._sweeper is None:
            self._sweeper = self._timers.call_at(deadline, self._sweep)

    def discard(self, entry: object) -> None:
        """Take `entry` out; without effect when it has expired."""
        self._entries.pop(entry, None)  # type: ignore[call-overload]
        if not self._entries and self._sweeper is not None:
            self._timers.keep_spare(self)

    def dissolve(self) -> None:
        """Leave nothing behind, if nothing is in it."""
        if not self._entries and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
            self._timers.forget_lane(self)

    def _sweep(self) -> None:
        now = trio.current_time()
        entries = self._entries
        while entries:
            entry, deadline = next(iter(entries.items()))
            if deadline > now:
                self._sweeper = self._timers.call_at(deadline, self._sweep)
                return
            del entries[entry]
            try:
                entry.expire()
            except BaseException as error:
                step_failed(entry.process, "time limit", error)
        self._sweeper = None
        self._timers.forget_lane(self)


class Timer(Handle):
    """A timer that was set: `cancel()` it, or let it fire.

    Attributes:
        deadline: when it fires, on `trio.current_time()`.
        active: whether it still will.
        args: the arguments of the function that it runs, while it will.
        owner: the process that it belongs to, which cancels it when it ends; None.
    """

    __slots__ = ("_fn", "_timers", "active", "args", "deadline", "owner")

    def __init__(
        self,
        timers: Timers,
        deadline: float,
        owner: Process | None,
        fn: Callable[..., None],
        args: tuple[Any, ...],
    ) -> None:
        self._timers = timers
        self.owner = owner
        self._fn = fn
        self.args = args
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
        timers = self._timers
        heap = timers._heap
        if heap and heap[-1][2] is self:
            heap.pop()
        else:
            timers.bury()
        return True

    def remaining(self) -> float:
        """Seconds until it fires; 0.0 when it has fired or was cancelled."""
        return max(0.0, self.deadline - trio.current_time()) if self.active else 0.0

    def fire(self) -> None:
        """Run the function: what the timer task calls."""
        self.active = False
        fn, args = self._fn, self.args
        self._release()
        fn(*args)

    def _release(self) -> None:
        self._fn, self.args = _nothing, ()
        owner = self.owner
        if owner is not None:
            extras = owner.extras_or_none
            if extras is not None:
                extras.timers.pop(self, None)


def _nothing() -> None:
    return None


def _sent(process: Process, message: Any) -> None:
    """Let `message`, which a timer sends, arrive at a process of this node."""
    try:
        process.put(message)
    except BaseException as error:
        process.signal_failed(error)


class Timers:
    """The node's heap of timers, and the task that fires them.

    Attributes:
        now: the present time, as `trio.current_time()` tells it.
        fired: how many have fired so far.
    """

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters
        self.now = trio.lowlevel.current_clock().current_time
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self.fired = 0
        self._lanes: dict[float, Lane] = {}
        self._spare: Lane | None = None
        self._tombstones = 0
        self._sleeper: trio.CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return (
            len(self._heap) - self._tombstones + sum(len(lane) - lane.armed for lane in self._lanes.values())
        )

    def pending(self) -> Iterator[tuple[int, Timer | None]]:
        """The timers that are set, and their numbers, in no order; None for one that was cancelled. The time
        limits of calls of one length are one timer.
        """
        for _, number, timer in list(self._heap):
            yield number, timer if timer.active else None

    def call_at(self, deadline: float, fn: Callable[..., None], *args: Any) -> Timer:
        """Run `fn(*args)` at `deadline`; those of one deadline run in the order of these calls."""
        return self._set(deadline, None, fn, args)

    def call_after(
        self, seconds: float, fn: Callable[..., None], *args: Any, owner: Process | None = None
    ) -> Timer:
        """Run `fn(*args)` in `seconds`, at least 0, on behalf of `owner`: the timer ends with it."""
        check_seconds(seconds, "a delay")
        return self._set(self.now() + seconds, owner, fn, args)

    def send_after(
        self, seconds: float, destination: Ref[Any], message: Any, *, owner: Process | None = None
    ) -> Timer:
        """Send `message` to `destination` in `seconds`; a name is looked up only then."""
        if type(destination) is not LocalRef:
            return self.deliver_after(seconds, destination, Notice(message), owner=owner)
        if type(seconds) is not float or not seconds >= 0:
            check_seconds(seconds, "a delay")
        return self._set(self.now() + seconds, owner, _sent, (destination._process, message))

    def deliver_after(
        self, seconds: float, destination: Ref[Any], signal: Notice | Exit, *, owner: Process | None = None
    ) -> Timer:
        """Deliver `signal` to `destination` in `seconds`; a name is looked up only then.

        A message that cannot be delivered then becomes a dead letter.

        Raises:
            TypeError: `destination` is not a ref, or `seconds` is not a number.
            ValueError: `seconds` is negative or NaN.
        """
        if not isinstance(destination, Ref):
            raise TypeError(f"expected a Ref as the destination of a timer, got {safe_repr(destination)}")
        return self.call_after(seconds, self._dead_letters.deliver, destination, signal, owner=owner)

    def _set(
        self, deadline: float, owner: Process | None, fn: Callable[..., None], args: tuple[Any, ...]
    ) -> Timer:
        timer = Timer(self, deadline, owner, fn, args)
        self._sequence += 1
        heappush(self._heap, (deadline, self._sequence, timer))
        if owner is not None:
            extras = owner.extras_or_none
            (owner.extras() if extras is None else extras).timers[timer] = None
        sleeper = self._sleeper
        if sleeper is not None and deadline < sleeper.deadline:
            sleeper.deadline = deadline
        return timer

    def lane(self, seconds: float) -> Lane:
        """The lane of everything that waits for `seconds`."""
        lane = self._lanes.get(seconds)
        if lane is None:
            check_seconds(seconds, "a time limit")
            lane = self._lanes[seconds] = Lane(self, seconds)
        return lane

    def discard(self, seconds: float, entry: object) -> None:
        """Take `entry` out of the lane of `seconds`, if it is there."""
        lane = self._lanes.get(seconds)
        if lane is not None:
            lane.discard(entry)

    def keep_spare(self, lane: Lane) -> None:
        """`lane` has run empty: keep it for the next call with that limit, and no other empty one."""
        spare, self._spare = self._spare, lane
        if spare is not None and spare is not lane:
            spare.dissolve()

    def forget_lane(self, lane: Lane) -> None:
        """`lane` is empty and has no timer."""
        self._lanes.pop(lane.seconds, None)
        if self._spare is lane:
            self._spare = None

    def bury(self) -> None:
        """A timer that was cancelled stays in the heap: once the dead are the larger half, rebuild it."""
        self._tombstones += 1
        if self._tombstones * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].active]
            heapify(self._heap)
            self._tombstones = 0

    def clear(self) -> None:
        """The node has closed: what is set never fires."""
        for _, _, timer in self._heap:
            timer.active = False
        self._heap.clear()
        self._lanes.clear()
        self._spare = None
        self._tombstones = 0

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            self._fire_due()
            with trio.CancelScope() as self._sleeper:
                while self._sleeper.deadline > (due := self._heap[0][0] if self._heap else math.inf):
                    self._sleeper.deadline = due  # and look again: a finalizer may have set a timer meanwhile
                await trio.lowlevel.wait_task_rescheduled(lambda _: Abort.SUCCEEDED)
            self._sleeper = None

    def _fire_due(self) -> None:
        now = trio.current_time()
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            if not timer.active:
                self._tombstones -= 1
                continue
            self.fired += 1
            try:
                timer.fire()
            except BaseException as error:
                step_failed(timer.owner, "timer", error)
