"""Custody: a wrapper resumes every task of a life, so that the life can be frozen, slowed, or dropped.

A life is one start of a host's node. Its tasks are known by their context, which they inherit from the task
that starts them. A task's coroutine is replaced, when it is spawned, by a `Custody` that resumes it:

* of a frozen or busy life, it parks what trio resumes, with the outcome, and resumes it later;
* of a life that is over, it gives trio the order that a task gives which detaches itself for good. The inner
  coroutine is never resumed and never closed: one reference to it is kept for ever, because a suspended
  coroutine that is collected would run its cleanup, which a killed process does not.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final, Protocol

import attrs
import outcome
import trio
from trio.lowlevel import Abort
from trio.lowlevel import permanently_detach_coroutine_object as detach
from trio.lowlevel import wait_task_rescheduled as wait

from enfilade.actors.simulation.machine.isolation import installed

__all__ = ["LIFE", "Life", "Warden"]


class Ward(Protocol):
    """The world that lives are part of."""

    steps: int

    def now(self) -> float:
        """Return the present time."""
        ...

    def call_at(self, when: float, run: Callable[[], None]) -> None:
        """Call a function at that time."""
        ...

    def stepped(self, life: Life) -> None:
        """A task of a life has run until it had to wait, or its end."""
        ...


LIFE: Final[ContextVar[Life | None]] = ContextVar("enfilade_life", default=None)
"""The life that a task belongs to."""


class _Crashed(BaseException):
    """What the abort functions of a dead life's tasks are given; nobody catches it."""


def _crash(*_: object) -> None:
    raise _Crashed


def _keep_for_ever(thing: object) -> None:
    """Leak one reference, so that not even the end of the interpreter frees the object."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _order_of(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The order that a coroutine of trio's gives to the loop."""
    try:
        return coroutine.send(None)
    finally:
        coroutine.close()


class Custody:
    """A task's coroutine, as trio sees it.

    Attributes:
        inner: the coroutine itself.
        task: the task.
    """

    __slots__ = ("_life", "_send", "inner", "task")

    def __init__(self, task: trio.lowlevel.Task, life: Life) -> None:
        self.inner: Any = task.coro
        self.task = task
        self._life = life
        self._send = self.inner.send

    def send(self, result: Any) -> Any:
        """Resume the coroutine, unless the life is held; return its order for the loop."""
        life = self._life
        if life.is_held and not life.lets(self):
            return life.withhold(self, result)
        try:
            if life.modules:
                with installed(life.modules):
                    order = self._send(result)
            else:
                order = self._send(result)
        except BaseException:
            if life.is_over:
                return life.bury(self)
            del life.tasks[self.task]
            life.stepped()
            raise
        if life.is_over:
            return life.bury(self)
        life.stepped()
        return order

    def __getattr__(self, name: str) -> Any:
        """Show whoever looks into a task's coroutine the inner one."""
        return getattr(self.inner, name)


@attrs.frozen
class LocalClock:
    """The monotonic clock of a life.

    Attributes:
        rate: its seconds in one of the world's.
        world, local_: a moment, in the world's time and in its own.
    """

    rate: float = 1.0
    world: float = 0.0
    local_: float = 0.0

    def local(self, now: float) -> float:
        """Return what it shows at a time of the world."""
        return self.local_ + (now - self.world) * self.rate

    def in_world(self, shown: float) -> float:
        """Return the time of the world at which it shows something, or a moment more: who has waited until
        then must not find that it is too early, because of a rounding.
        """
        moment = self.world + (shown - self.local_) / self.rate
        while self.local(moment) < shown:
            moment = math.nextafter(moment, math.inf)
        return moment

    def at_rate(self, rate: float, now: float) -> LocalClock:
        """Return the clock that goes on from here at another rate."""
        return LocalClock(rate, now, self.local(now))


WORLD_CLOCK: Final = LocalClock()
"""A clock that shows the world's time."""


class Life:
    """One start of a host's node, and the tasks that belong to it.

    Args:
        name: of the host.
        number: which start this is, from 0.
        ward: the world.

    Attributes:
        is_over: whether it has been crashed.
        is_held: whether its tasks must not be resumed now: it is over, frozen or busy.
        tasks: those that live.
        step_cost: seconds of the processor that each step takes.
        charge: seconds that the present step has taken so far.
        spent: seconds that all steps before have taken.
        clock: its monotonic clock.
        buried: tasks that were dropped.
        released: when it could last run a task again, after it had been frozen or busy.
        at_end: called when it is crashed.
        modules: by name, those that it has for itself.
    """

    def __init__(self, name: str, number: int, ward: Ward) -> None:
        self.name = name
        self.number = number
        self.is_over = False
        self.is_held = False
        self.tasks: dict[trio.lowlevel.Task, Custody] = {}
        self.step_cost = 0.0
        self.charge = 0.0
        self.spent = 0.0
        self.clock = WORLD_CLOCK
        self.buried = 0
        self.released = -math.inf
        self.at_end: list[Callable[[], None]] = []
        self.modules: dict[str, ModuleType] = {}
        self.generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._ward = ward
        self._is_frozen = False
        self._busy_until = 0.0
        self._parked: list[tuple[Custody, Any]] = []
        self._next: Custody | None = None

    def __repr__(self) -> str:
        return f"<life {self.number} of {self.name}>"

    @property
    def rate(self) -> float:
        """Seconds that its monotonic clock counts in one of the world."""
        return self.clock.rate

    def local(self, now: float) -> float:
        """Return what its monotonic clock shows at a time of the world."""
        clock = self.clock
        return now if clock is WORLD_CLOCK else clock.local(now)

    def within_step(self, now: float) -> float:
        """Return how far the present step has come, in the world's time; also after a step within it."""
        return max(now, self._busy_until) + self.charge

    @property
    def is_frozen(self) -> bool:
        """True while it stands still, as a process does under SIGSTOP."""
        return self._is_frozen

    def spend(self, seconds: float) -> None:
        """Let the present step take so many seconds of the processor more."""
        self.charge += seconds

    def stepped(self) -> None:
        """A task has run. Its cost keeps the others waiting."""
        cost, self.charge = self.charge + self.step_cost, 0.0
        if cost:
            self.spent += cost
            self.occupy(cost)
        elif self.is_held:
            self._go_on()
        self._ward.stepped(self)

    def withhold(self, custody: Custody, result: Any) -> Any:
        """Keep a task from running: park it, or drop it."""
        if self.is_over:
            return self.bury(custody)
        if custody is self._next:
            self._next = None
            self._parked.insert(0, (custody, result))
        else:
            self._parked.append((custody, result))
        return _order_of(wait(_refuse))  # noqa: ASYNC105

    def lets(self, custody: Custody) -> bool:
        """Tell whether a task may run though the life is held: it is its turn on a slow processor."""
        if custody is not self._next or self.is_over or self._is_frozen:
            return False
        self._next = None
        return True

    # Frozen, busy.

    def freeze(self) -> None:
        """Resume no task until `thaw`."""
        self._is_frozen = self.is_held = True

    def thaw(self) -> None:
        """Resume the tasks, in the order in which they would have been."""
        self._is_frozen = False
        self._go_on()

    def occupy(self, seconds: float) -> None:
        """Keep the processor for so many seconds: no task is resumed meanwhile."""
        now = self._ward.now()
        self._busy_until = max(now, self._busy_until) + seconds
        self.is_held = True
        self._ward.call_at(self._busy_until, self._go_on)

    def _go_on(self) -> None:
        if self.is_over or self._is_frozen or self._ward.now() < self._busy_until:
            return
        self.released = self._ward.now()
        if self._parked:
            # One after the other, in the order in which trio has resumed them.
            self._next, result = self._parked.pop(0)
            trio.lowlevel.reschedule(self._next.task, result)
            return
        self.is_held = False

    # Crashed.

    def crash(self) -> None:
        """End the life now: none of its tasks runs another instruction."""
        self.is_over = self.is_held = True
        parked, self._parked = self._parked, []
        for custody, _ in parked:
            trio.lowlevel.reschedule(custody.task)
        for task in list(self.tasks):
            abort: Any = task._abort_func  # None while it runs or is about to
            # A task that waits for its nursery refuses, and follows when its last child has gone.
            if abort is not None and abort(_crash) is Abort.SUCCEEDED:
                trio.lowlevel.reschedule(task)
        for task in list(self.tasks):
            for nursery in list(task.child_nurseries):
                if nursery._pending_starts:  # of tasks that will never say that they have started
                    nursery._pending_starts = 0
                    nursery._check_nursery_closed()
        for generator in list(self.generators):
            _keep_for_ever(generator)
        for listener in self.at_end:
            listener()

    def bury(self, custody: Custody) -> Any:
        """Drop a task: the order that takes it off trio's books."""
        task = custody.task
        del self.tasks[task]
        # Trio would take a nursery that is still open for a corrupted stack.
        task._child_nurseries.clear()
        _keep_for_ever(custody.inner)
        self.buried += 1
        return _order_of(detach(outcome.Value(None)))  # noqa: ASYNC105


def _refuse(_: object) -> Abort:
    return Abort.FAILED


class Warden(trio.abc.Instrument):
    """Takes the tasks of lives into custody when they are spawned."""

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        life = task.context.get(LIFE)
        if life is not None:
            custody: Any = Custody(task, life)
            task.coro = life.tasks[task] = custody
