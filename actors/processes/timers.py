"""Timers of a node: one task for all of them, on `trio.current_time()`, so that virtual time drives them.

There are two kinds of use. Timers that were set explicitly fire in the order of their deadlines, and of one
deadline in the order of setting. Most of them are cancelled soon, so to set one only appends it to a list.
What is still there when the task of the timers runs next is sorted in: into a heap, or, if there are many,
into a sorted list beside it, from whose end a timer is taken in one step. That list is sorted again only when
a quarter as many timers have come, so each of its timers costs a constant number of comparisons on average,
beside those that sort the new ones. A cancelled timer stays where it is until it surfaces, or until the
cancelled are the larger half.

The time limits of calls are many, short-lived and nearly all equal: for each distinct length there is a
*lane*, a dict in order of insertion and therefore of deadline, where entering and leaving cost a dict
operation. A program may compute its limits from deadlines, so that no two are equal: therefore only one empty
lane is kept, for the next call of the same limit.

`Process.send_after`, `Timer.cancel` and `Timers.fire_due` have twins in C (`actors/core/timers.c`). A timer
refers to its neighbours in the list of its owner's, so that it is one object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from trio.lowlevel import Abort

from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.ref import Ref, checked_ref
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.signals import Exit, Notice
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.steps import step_failed

if TYPE_CHECKING:
    from enfilade.actors.node.dead_letters import DeadLetters
    from enfilade.actors.processes.process import Process

__all__ = ["Timer", "Timers", "owned_timers"]

MANY: Final = 64
"""The number of new timers from which on they are sorted, rather than put into the heap one by one."""

_deadline = attrgetter("deadline")


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

    def __contains__(self, entry: object) -> bool:
        return entry in self._entries

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

    def waited(self, entry: object) -> float | None:
        """Seconds that `entry` has been in it; None if it is not."""
        deadline = self._entries.get(entry)  # type: ignore[call-overload]
        return None if deadline is None else max(0.0, self._timers.now() + self.seconds - deadline)

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
    """A timer that was set: `cancel()` it, or let it fire. Made by `send_after` and `exit_after`.

    Attributes:
        deadline: when it fires, on `trio.current_time()`.
        number: which timer of the node it is, in the order of setting.
        active: whether it still will.
        fn: the function that it runs; None if it sends a message.
        args: the arguments of `fn`, or the message, while it is active.
        to: the process of this node that it sends the message to; None.
        owner: the process that it belongs to, which cancels it when it ends; None, also when it is over.
        before, after: its neighbours among the timers of its owner; None.
    """

    __slots__ = ("active", "after", "args", "before", "deadline", "fn", "number", "owner", "timers", "to")

    def __init__(
        self,
        timers: Timers,
        deadline: float,
        owner: Process | None,
        fn: Callable[..., None] | None,
        args: Any,
    ) -> None:
        self.timers: Any = timers  # None when it is over: then it refers to nothing
        self.number = timers.number = timers.number + 1
        self.owner = owner
        self.fn = fn
        self.args = args
        self.to: Process | None = None
        self.deadline = deadline
        self.active = True
        self.before: Timer | None = None
        self.after: Timer | None = None

    def cancel(self) -> bool:
        """Keep the timer from firing; false when it has fired already. Not a checkpoint.

        A message that it has sent stays where it is.
        """
        if not self.active:
            return False
        timers = self.timers
        self.release()
        timers.bury(self)
        return True

    def remaining(self) -> float:
        """Seconds until it fires; 0.0 when it has fired or was cancelled."""
        return max(0.0, self.deadline - trio.current_time()) if self.active else 0.0

    def fire(self) -> None:
        """Run the function, or send the message: what the timer task calls."""
        fn, args, to = self.fn, self.args, self.to
        self.release()
        if fn is not None:
            fn(*args)
        elif to is not None:
            _sent(to, args)

    def release(self) -> None:
        """Let go of everything: it was cancelled, or fires."""
        self.active = False
        self.fn = self.to = None
        self.args = ()
        owner, self.owner = self.owner, None
        self.timers = None
        if owner is not None:
            before, after = self.before, self.after
            self.before = self.after = None
            if after is not None:
                after.before = before
            if before is not None:
                before.after = after
            else:
                extras = owner.extras_or_none
                if extras is not None and extras.timers is self:
                    extras.timers = after


def owned_timers(process: Process) -> Iterator[Timer]:
    """The timers of `process`, the latest first; the one at hand may be cancelled."""
    extras = process.extras_or_none
    timer = None if extras is None else extras.timers
    while timer is not None:
        after = timer.after
        yield timer
        timer = after


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
        new: those that were set since the others were sorted in, the oldest first.
        sorted: others, the earliest last.
        heap: the rest, each with its deadline and number.
        number: how many have been set so far.
        dead: number of those that were cancelled, and are still in one of the lists.
        due: when the task of the timers wakes; before all times while it does not sleep.
    """

    __slots__ = (
        "_dead_letters",
        "_lanes",
        "_sleeper",
        "_spare",
        "dead",
        "due",
        "fired",
        "heap",
        "new",
        "now",
        "number",
        "sorted",
    )

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters
        self.now = trio.lowlevel.current_clock().current_time
        self.new: list[Timer] = []
        self.sorted: list[Timer] = []
        self.heap: list[tuple[float, int, Timer]] = []
        self.dead = 0
        self.due = -math.inf
        self.fired = 0
        self.number = 0
        self._lanes: dict[float, Lane] = {}
        self._spare: Lane | None = None
        self._sleeper: trio.CancelScope | None = None

    def __len__(self) -> int:
        return self._places() - self.dead + sum(len(lane) - lane.armed for lane in self._lanes.values())

    def _places(self) -> int:
        """The number of timers that are somewhere, also of those that were cancelled."""
        return len(self.new) + len(self.sorted) + len(self.heap)

    def pending(self) -> Iterator[tuple[int, Timer | None]]:
        """The timers that are set, and their numbers, in no order; None for one that was cancelled. The time
        limits of calls of one length are one timer.
        """
        for timer in self._all():
            yield timer.number, timer if timer.active else None

    def _all(self) -> list[Timer]:
        return [*self.new, *self.sorted, *(entry[2] for entry in self.heap)]

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
        return self._set(self.now() + seconds, owner, None, message, destination._process)

    def deliver_after(
        self, seconds: float, destination: Ref[Any], signal: Notice | Exit, *, owner: Process | None = None
    ) -> Timer:
        """Deliver `signal` to `destination` in `seconds`; a name is looked up only then.

        A message that cannot be delivered then becomes a dead letter.

        Raises:
            TypeError: `destination` is not a ref, or `seconds` is not a number.
            ValueError: `seconds` is negative or NaN.
        """
        checked_ref(destination, "the destination of a timer")
        return self.call_after(seconds, self._dead_letters.deliver, destination, signal, owner=owner)

    def _set(
        self,
        deadline: float,
        owner: Process | None,
        fn: Callable[..., None] | None,
        args: Any,
        to: Process | None = None,
    ) -> Timer:
        timer = Timer(self, deadline, owner, fn, args)
        timer.to = to
        if owner is not None:
            extras = owner.extras()
            timer.after = first = extras.timers
            if first is not None:
                first.before = timer
            extras.timers = timer
        self.new.append(timer)
        if deadline < self.due:
            self.wake_at(deadline)
        return timer

    def wake_at(self, deadline: float) -> None:
        """Wake the task of the timers at `deadline`, if it sleeps longer."""
        if deadline < self.due and self._sleeper is not None:
            self.due = self._sleeper.deadline = deadline

    def sort_in(self) -> None:
        """Sort in the timers that were set since the last time."""
        if not self.new:
            return
        new, self.new = self.new, []
        live = [timer for timer in new if timer.active]
        self.dead = max(0, self.dead + len(live) - len(new))
        in_order = self.sorted
        if len(live) > MANY and 4 * len(live) > len(in_order):
            in_order.reverse()
            in_order += live
            in_order.sort(key=_deadline)  # leaves those of one deadline in the order of setting
            in_order.reverse()
        else:
            for timer in live:
                heappush(self.heap, (timer.deadline, timer.number, timer))

    def _next(self) -> tuple[Timer | None, bool]:
        """The next timer, if there is one, and whether it is in the sorted list."""
        self.sort_in()
        heap, in_order = self.heap, self.sorted
        if not in_order:
            return (heap[0][2] if heap else None), False
        timer = in_order[-1]
        if heap and heap[0] < (timer.deadline, timer.number, timer):
            return heap[0][2], False
        return timer, True

    def lane(self, seconds: float) -> Lane:
        """The lane of everything that waits for `seconds`."""
        lane = self._lanes.get(seconds)
        if lane is None:
            check_seconds(seconds, "a time limit")
            lane = self._lanes[seconds] = Lane(self, seconds)
        return lane

    def waited(self, entry: object) -> float | None:
        """Seconds that `entry` has been in a lane; None if it is in none."""
        for lane in self._lanes.values():
            seconds = lane.waited(entry)
            if seconds is not None:
                return seconds
        return None

    def discard(self, seconds: float, entry: object) -> None:
        """Take `entry` out of the lane of `seconds`, if it is there."""
        lane = self._lanes.get(seconds)
        if lane is not None:
            lane.discard(entry)

    def limits(self, entry: object) -> bool:
        """Tell whether something waits for a limited time."""
        return any(entry in lane for lane in self._lanes.values())

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

    def bury(self, timer: Timer) -> None:
        """`timer` was cancelled, and stays where it is: when the dead are the larger half, remove them."""
        if self.new and self.new[-1] is timer:
            self.new.pop()
            return
        self.dead += 1
        if self.dead * 2 > self._places():
            self.remove_dead()

    def remove_dead(self) -> None:
        """Remove the timers that were cancelled."""
        for timers in (self.new, self.sorted):
            size = len(timers)
            timers[:size] = [timer for timer in timers[:size] if timer.active]
        self.heap = [entry for entry in self.heap if entry[2].active]
        heapify(self.heap)
        self.dead = 0

    def clear(self) -> None:
        """The node has closed: what is set never fires."""
        for timer in self._all():
            timer.release()
        for timers in (self.new, self.sorted, self.heap):
            timers.clear()
        self._lanes.clear()
        self._spare = None
        self.dead = 0

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            self.fire_due()
            with trio.CancelScope() as self._sleeper:
                self.due = math.inf  # from now on, code that sets an earlier timer sets the scope's deadline
                following, _ = self._next()
                self.wake_at(math.inf if following is None else following.deadline)
                await trio.lowlevel.wait_task_rescheduled(lambda _: Abort.SUCCEEDED)
            self._sleeper = None
            self.due = -math.inf

    def fire_due(self) -> None:
        """Fire all timers that are due."""
        now = self.now()
        while True:
            timer, is_sorted = self._next()
            if timer is None or timer.deadline > now:
                break
            self.sorted.pop() if is_sorted else heappop(self.heap)
            if timer.active:
                self.fire(timer)
            else:
                self.dead -= 1

    def fire(self, timer: Timer) -> None:
        """Do what `timer`, which is due, was set for."""
        self.fired += 1
        owner = timer.owner
        try:
            timer.fire()
        except BaseException as error:
            step_failed(owner, "timer", error)
