"""Rescheduling of waiting tasks, which is possible only in the thread of their loop.

Python's garbage collector may run a finalizer of the program wherever something is allocated, and that one
may send a message: while a task is about to wait, while trio is about to note that it waits, within trio's
own loop, or within `resume` itself. Four rules keep such a message from being lost, and a task from being
rescheduled twice:

* who wakes a task first takes the note that it waits (`Record.waiter`, `Dispatcher.parked`,
  `Request.waiter`), and only then reschedules it;
* who waits looks once more for something to do after the note is there;
* the abort function of a wait fails when the note has been taken: the task is being woken;
* a task that is only about to wait, and any task while trio's loop is at work, is rescheduled by way of the
  loop's queue of callbacks, when it does wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import outcome
import trio
from trio.lowlevel import Abort, enable_ki_protection

from enfilade.actors.messages.errors import WrongThread
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.loop_bypass import ENOUGH_TO_WAKE, RESUMED, check_headroom, step

if TYPE_CHECKING:
    from enfilade.actors.processes.dispatcher import Dispatcher

__all__ = ["TaskTurn", "Waiter", "resume"]


class Waiter:
    """The note that a task waits for something to do.

    Attributes:
        task: the task that waits; None when there is none, or when it is being woken.
    """

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        """Let the task go on, if there is one. Raises as `resume`; then it goes on waiting."""
        task, self.task = self.task, None
        if task is not None:
            try:
                resume(task)
            except BaseException:
                self.task = task
                raise

    async def wait(self, is_due: Callable[[], Any]) -> None:
        """Wait until `wake`, unless `is_due()` by now. A checkpoint."""
        self.task = trio.lowlevel.current_task()
        if is_due() and self._abort(None) is Abort.SUCCEEDED:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> Abort:
        task, self.task = self.task, None
        return Abort.FAILED if task is None else Abort.SUCCEEDED


class TaskTurn:
    """The entry of a run queue that resumes a task. `turn` has a twin in C (`actors/core/task_turns.c`).

    It holds the task alone: what the task has waited for may be freed while the task runs.

    Attributes:
        dispatcher: whose run queue that is.
        task: the task that is to be resumed; None.
        error: what its wait is to raise; None.
    """

    __slots__ = ("dispatcher", "error", "task")

    actor: ClassVar[None] = None
    attention: ClassVar[bool] = True

    def __init__(self, dispatcher: Dispatcher, task: trio.lowlevel.Task | None = None) -> None:
        self.dispatcher = dispatcher
        self.task = task
        self.error: BaseException | None = None

    @enable_ki_protection
    def turn(self, _budget: int) -> bool:
        """Resume the task; false, because it wants no other turn. Called by the dispatcher."""
        task, error = self._take()
        try:
            if task is not None:
                self.dispatcher.running = None
                step(task, error)
        finally:
            del error  # which refers to this frame, from Python 3.13 on
        return False

    def release(self) -> None:
        """Leave the run queue of a dispatcher that is over: the loop resumes the task."""
        task, error = self._take()
        if task is not None:
            resume(task, error)

    def turn_failed(self, error: BaseException) -> None:
        """Have the loop resume the task, if that has not begun; log `error`."""
        self.release()
        log(logging.ERROR, "a task could not be resumed", error=error)

    def _take(self) -> tuple[trio.lowlevel.Task | None, BaseException | None]:
        task, error = self.task, self.error
        self.task = self.error = None
        return task, error


def resume(task: trio.lowlevel.Task, error: BaseException | None = None) -> None:
    """Let `task` go on; with `error`, its wait raises that. Callers have taken the note that it waits, and
    restore it when this raises.

    Raises:
        WrongThread: this is not the thread of its loop.
        RecursionError: the stack has no room for it. Trio, whose functions would fail halfway, could never
            wake the task again.
    """
    check_headroom(ENOUGH_TO_WAKE)
    try:
        if trio.lowlevel.current_task() is not task:
            _reschedule(task, error)
            return
    except RuntimeError:
        if not trio.lowlevel.in_trio_run():
            raise WrongThread from None
    with suppress(trio.RunFinishedError):
        trio.lowlevel.current_trio_token().run_sync_soon(_reschedule, task, error)


def _reschedule(task: trio.lowlevel.Task, error: BaseException | None) -> None:
    try:
        trio.lowlevel.reschedule(task, RESUMED if error is None else outcome.Error(error))
    except AssertionError:
        # Trio has woken it: its code has left a nursery in an async generator, which somebody has finalized.
        return
