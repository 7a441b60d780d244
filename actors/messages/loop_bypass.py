"""Steps of tasks beside trio's loop: everything that the runtime takes from trio without trio offering it.

A pass of trio's loop costs several microseconds, whatever runs in it, and a task that waits for another
needs one to be woken. `step` resumes a waiting task on the spot instead, within the step of another task: for
its length `trio.lowlevel.current_task()` is the resumed task, its context is entered, and what it yields in
the end is treated as the loop treats it. So cancel scopes, nurseries, context variables and cancellation are
what they are in the loop, and a task that really waits is a task of the loop like any other.

trio has no public function for that. This is the only file that knows how trio does it: which variable holds
the present task, what a task yields, which function a task's end is told to. When it is imported, it tries
its knowledge out, in a loop of its own. Where anything is different from what is expected, `IS_AVAILABLE` is
false, and tasks are rescheduled: another trio costs speed, and nothing else. The environment variable
`ENFILADE_LOOP_BYPASS=off` has the same effect.

Instruments see a step as a pause of the one around it: that one ends, and begins again afterwards.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from types import coroutine
from typing import Any, Final, Protocol

import trio
from outcome import Error, Value
from trio.lowlevel import Abort, Task, enable_ki_protection, wait_task_rescheduled

from enfilade.actors.messages.safe_text import safe_repr

__all__ = [
    "CLASSES",
    "ENOUGH_TO_WAKE",
    "IS_AVAILABLE",
    "RESUMED",
    "RUN_CONTEXT",
    "Runnable",
    "check_headroom",
    "end_step",
    "has_headroom",
    "leave_step",
    "pause",
    "step",
    "tasks_runnable",
    "trap_for",
    "works",
]

SWITCH: Final = "ENFILADE_LOOP_BYPASS"

TRIAL_SECONDS: Final = 5.0
"""Patience with the trial at import, which takes about two milliseconds."""

AbortFn = Callable[[Any], Abort]


class Runnable(Protocol):
    """An entry of a dispatcher's run queue: a process without a task, or a task that is to be resumed."""

    @property
    def actor(self) -> Any:
        """The actor whose messages the dispatcher handles itself; None if it is to call `turn`."""

    @property
    def attention(self) -> Any:
        """True if the dispatcher is to call `turn` anyway."""

    def turn(self, budget: int) -> bool:
        """Run; true if it wants another turn."""

    def release(self) -> None:
        """Leave the run queue, because the dispatcher is over: a task is rescheduled."""

    def turn_failed(self, error: BaseException) -> None:
        """Make the best of `error`, which `turn` has raised."""


class _Resumed:
    """The outcome sent to resumed tasks: None. One for all, because trio would make one each time."""

    __slots__ = ()

    def unwrap(self) -> None:
        return None


RESUMED: Final[Any] = _Resumed()


def _yielded(operation: Coroutine[Any, Any, Any]) -> Any:
    """What a task yields to the loop that awaits `operation`, which is not carried out."""
    try:
        return operation.send(None)
    finally:
        operation.close()


def _never(_: object) -> Abort:
    return Abort.SUCCEEDED


@coroutine
def _yield(trap: Any) -> Generator[Any, Any, None]:
    outcome = yield trap
    if outcome is not RESUMED:
        try:
            outcome.unwrap()
        finally:
            del outcome  # which holds the error, and that this frame


_CHECKPOINT: Final = _yielded(trio.lowlevel.cancel_shielded_checkpoint())  # noqa: ASYNC105
_WAIT: Final[Any] = type(_yielded(wait_task_rescheduled(_never)))  # noqa: ASYNC105

_trap_for: Callable[[AbortFn], Any] = _WAIT

CLASSES: dict[str, type] = {}
"""Trio's classes whose fields the twin of `step` in C uses: it is told where they are."""

try:
    RUN_CONTEXT: Any = importlib.import_module("trio._core._run_context").GLOBAL_RUN_CONTEXT
    _run: Any = importlib.import_module("trio._core._run")
    CLASSES |= {"Task": Task, "Wait": _WAIT, "Runner": _run.Runner, "CancelStatus": _run.CancelStatus}
except (ImportError, AttributeError):
    RUN_CONTEXT = None


def _step(task: Task, error: BaseException | None = None) -> None:
    """Resume `task`, whose note that it waits the caller has taken, until it waits again or ends.

    With `error`, its wait raises that: it was cancelled. `actors/core/task_turns.c` has a twin, without
    `error` and instruments.

    Only for the code of a task, in the thread of the loop. What the code of `task` raises is the affair of
    its nursery.
    """
    if task._next_send_fn is not None:  # trio has scheduled it already: see `wake._reschedule`
        return
    runner = task._runner
    try:
        if len(runner.instruments.data) > 1:
            _announced(task, runner, error)
        else:
            _resume(task, runner, error)
    finally:
        del error  # which refers to this frame, from Python 3.13 on


@enable_ki_protection
def _resume(task: Task, runner: Any, thrown: BaseException | None) -> None:
    run = RUN_CONTEXT.__dict__  # that of this thread
    outer = run["task"]
    task._abort_func = None
    task.custom_sleep_data = None
    run["task"] = task
    raised: BaseException | None = None
    trap: Any = None
    try:
        try:
            if thrown is None:
                trap = task.context.run(task.coro.send, RESUMED)
            else:
                trap = task.context.run(task.coro.throw, thrown)
        except BaseException as error:
            frames = error.__traceback__
            assert frames is not None
            raised = error.with_traceback(frames.tb_next)
            del frames
        if raised is not None:
            end_step(task, raised, thrown)
        elif type(trap) is _WAIT:  # by far the most frequent case
            task._schedule_points += 1
            task._cancel_points += 1
            task._abort_func = trap.abort_func
            if runner.ki_pending and task is runner.main_task:
                task._attempt_delivery_of_pending_ki()
            if task._cancel_status.effectively_cancelled:
                task._attempt_delivery_of_any_pending_cancel()
        else:
            leave_step(task, trap)
    finally:
        run["task"] = outer
        raised = thrown = None  # which refer to an error, and that to this frame


@enable_ki_protection
def end_step(task: Task, raised: BaseException, thrown: BaseException | None = None) -> None:
    """End the step of a task whose code has raised, which is how it ends, or could not be entered.

    Args:
        task: the task, which is still the present one.
        raised: the error; its traceback begins with the code of the task, and is None if that has not run.
        thrown: what its wait was to raise.
    """
    try:
        if type(raised) is StopIteration:
            task._runner.task_exited(task, Value(raised.value))
        elif raised.__traceback__ is None:  # its context is entered already
            _reschedule(task, thrown)
        else:
            task._runner.task_exited(task, Error(raised))
    finally:
        del raised, thrown


@enable_ki_protection
def leave_step(task: Task, trap: Any) -> None:
    """End the step of a task that has yielded something rare: anything but a wait for being rescheduled."""
    task._schedule_points += 1
    if trap is _CHECKPOINT:
        trio.lowlevel.reschedule(task)
    elif hasattr(trap, "final_outcome"):  # its coroutine has gone elsewhere, and is over for trio
        task._runner.task_exited(task, trap.final_outcome)
    else:
        error = TypeError(
            f"expected a task to yield what trio understands, got {safe_repr(trap)}{_advice(trap)}"
        )
        trio.lowlevel.reschedule(task, Error(error))
        task._next_send_fn, task._next_send = task.coro.throw, error


def _advice(trap: object) -> str:
    if trap is None:
        return "; write `await trio.sleep(0)` in the place of asyncio's"
    is_of_asyncio = any(
        kind.__module__.partition(".")[0] in ("asyncio", "_asyncio") for kind in type(trap).__mro__
    )
    return "; asyncio's awaitables wait in `enfilade.actors.bridges.EventLoopThread`" if is_of_asyncio else ""


def _reschedule(task: Task, error: BaseException | None = None) -> None:
    trio.lowlevel.reschedule(task, RESUMED if error is None else Error(error))


def _announced(task: Task, runner: Any, thrown: BaseException | None) -> None:
    """Resume `task`, and let instruments see that."""
    instruments = runner.instruments.data
    outer = RUN_CONTEXT.task
    _announce(runner, instruments, "after_task_step", outer)
    _announce(runner, instruments, "before_task_step", task)
    try:
        _resume(task, runner, thrown)
    finally:
        del thrown
        _announce(runner, instruments, "after_task_step", task)
        _announce(runner, instruments, "before_task_step", outer)


def _announce(runner: Any, instruments: Any, hook: str, task: Task) -> None:
    if hook in instruments:
        runner.instruments.call(hook, task)


# Room on the stack. A coroutine that is resumed where the stack is full ends without having run, and so the
# step of another task needs room beforehand.

ROOM: Final = 64
"""Frames that a step must have room for, and the cancellation of a task, which may wake others."""

ROOM_TO_WAKE: Final = 24
"""Frames that trio must have room for when a task is rescheduled."""

if sys.version_info >= (3, 12):
    _Room = int
    ENOUGH: Final[_Room] = 2 * ROOM
    ENOUGH_TO_WAKE: Final[_Room] = 2 * ROOM_TO_WAKE

    def has_headroom(room: _Room = ENOUGH) -> bool:
        """Tell whether the stack has room for a step of another task, or for so much."""
        return sys._getframemodulename(max(0, sys.getrecursionlimit() - room)) is None

else:
    _Room = Any

    def _nested(levels: int) -> Any:
        nested: Any = (bytes,)
        for _ in range(levels):
            nested = (nested,)
        return nested

    ENOUGH: Final[_Room] = _nested(ROOM)
    ENOUGH_TO_WAKE: Final[_Room] = _nested(ROOM_TO_WAKE)

    def has_headroom(room: _Room = ENOUGH) -> bool:
        """Tell whether the stack has room for a step of another task, or for so much."""
        try:
            isinstance(None, room)  # each level counts as a call does, and costs a tenth of one
        except RecursionError:
            return False
        return True


def check_headroom(room: _Room = ENOUGH) -> None:
    """Check that the stack has room for what wakes or cancels a task: trio's functions may not fail halfway.

    Raises:
        RecursionError: it has none.
    """
    if not has_headroom(room):
        raise RecursionError("the stack is too full to send a signal from here")


def _tasks_runnable() -> int:
    return len(RUN_CONTEXT.runner.runq)


# The trial at import.


_trial_variable: ContextVar[str] = ContextVar("trial_variable", default="unset")


class _Subject:
    """A task of the trial: it notes what it sees.

    Attributes:
        task: the task.
        seen: what it has seen.
    """

    def __init__(self) -> None:
        self.task: Task | None = None
        self.seen: list[str] = []
        self.is_waiting = False

    def abort(self, _: object) -> Abort:
        self.seen.append("abort" if self.is_waiting else "abort out of place")
        return Abort.SUCCEEDED

    async def wait(self) -> None:
        self.is_waiting = True
        try:
            await _yield(_trap_for(self.abort))
        finally:
            self.is_waiting = False

    def see(self, what: str) -> None:
        is_current = trio.lowlevel.current_task() is self.task
        self.seen.append(what if is_current and _trial_variable.get() == "inside" else f"{what}?")

    async def run(self, event: trio.Event, scope: trio.CancelScope) -> None:
        """Go through everything that reads or changes the present task."""
        self.task = trio.lowlevel.current_task()
        _trial_variable.set("inside")
        await self.wait()
        self.see("stepped")
        await trio.lowlevel.checkpoint()
        self.see("after a checkpoint")
        with trio.CancelScope():  # noqa: ASYNC100
            self.see("in a scope")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            self.see("in a nursery")
            await self.wait()
            event.set()
        self.see("out of the nursery")
        own = trio.CancelScope()
        with own:
            await self.wait()
            own.cancel()
            await self.wait()
        self.see("cancelled on its own" if own.cancelled_caught else "not cancelled")
        with scope:
            await self.wait()
        self.see("cancelled by another" if scope.cancelled_caught else "not cancelled")
        await self.wait()
        self.see("raises")
        raise LookupError("trial")


EXPECTED: Final = [
    "stepped",
    "after a checkpoint",
    "in a scope",
    "in a nursery",
    "out of the nursery",
    "abort",
    "cancelled on its own",
    "abort",
    "cancelled by another",
    "raises",
]


async def _trial(step: Callable[[Task], None]) -> bool:
    """Step a task through scopes, nurseries, waits, cancellation and its end; tell whether all is well."""
    subject, event, scope = _Subject(), trio.Event(), trio.CancelScope()
    me = trio.lowlevel.current_task()
    errors: list[BaseException] = []

    async def advance() -> None:
        """Give the subject a step here, then the loop time."""
        assert subject.task is not None
        if subject.is_waiting:
            step(subject.task)
        is_well.append(trio.lowlevel.current_task() is me and _trial_variable.get() == "unset")
        is_well.append(_tasks_runnable() == trio.lowlevel.current_statistics().tasks_runnable)
        for _ in range(4):
            await trio.lowlevel.checkpoint()

    is_well: list[bool] = []
    with trio.move_on_after(TRIAL_SECONDS / 2):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(subject.run, event, scope)
                for _ in range(2):
                    await trio.lowlevel.checkpoint()
                for _ in range(3):
                    await advance()
                scope.cancel()
                for _ in range(4):
                    await trio.lowlevel.checkpoint()
                await advance()
        except BaseExceptionGroup as group:
            errors += group.exceptions
    is_raised = len(errors) == 1 and type(errors[0]) is LookupError
    return is_raised and subject.seen == EXPECTED and all(is_well) and len(is_well) == 8


def works(step: Callable[[Task], None]) -> bool:
    """Tell whether trio is as `step`, or its twin, expects it to be. Runs a loop, in a thread of its own."""
    worked: list[bool] = []

    def run() -> None:
        try:
            worked.append(trio.run(_trial, step))
        except BaseException:
            worked.append(False)

    thread = threading.Thread(target=run, name="enfilade trial of trio", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads
        return False
    thread.join(TRIAL_SECONDS)
    return worked == [True]


IS_AVAILABLE: Final[bool] = os.environ.get(SWITCH) != "off" and RUN_CONTEXT is not None and works(_step)
"""Whether tasks are stepped here; otherwise they are rescheduled."""


step: Callable[..., None] = _step if IS_AVAILABLE else _reschedule

trap_for: Callable[[AbortFn], Any] = _trap_for if IS_AVAILABLE else lambda abort: abort
"""Make what `pause` takes: a wait that `abort` ends. One may be used again and again."""


def _tasks_counted() -> int:
    return trio.lowlevel.current_statistics().tasks_runnable


tasks_runnable: Callable[[], int] = _tasks_runnable if IS_AVAILABLE else _tasks_counted
"""Tell how many tasks wait for their turn. trio's statistics count much else, and take ten times as long."""

pause: Callable[[Any], Awaitable[None]] = _yield if IS_AVAILABLE else wait_task_rescheduled
"""Wait, as `trio.lowlevel.wait_task_rescheduled` does, until resumed with `RESUMED`."""
