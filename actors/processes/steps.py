"""The boundary around every step that the runtime takes for a process.

A process's own code may raise what it likes: that is its crash. Where the runtime acts for a process, an
error is the runtime's, or comes out of an object of the program that the runtime had to touch. It ends that
process, with `StepFailed` as the error of its reason, and nobody else. Each place below catches what its step
raises and calls `step_failed`:

* "dispatch": a turn, and the end of a process whose handler has crashed (`dispatcher.py`)
* "hand-off": the end of a call that runs in the caller's task (`body.py`)
* "start": a process becomes runnable, or fails to start (`start.py`)
* "end": what a process leaves is released, and who has to know is told (`end.py`, `task_bodies.py`)
* "report": the log is told of an end, or of a slow handler (`end.py`, `dispatcher.py`)
* "timer": a timer fires (`timers.py`)
* "time limit": something has waited for too long (`timers.py`)
* "reply": the outcome of a call reaches whoever waits for it (`request.py`, `sync_body.py`)
* "finalizer": Python has collected a deferred reply (`record.py`)
* "signal": a signal arrives (`record.py`, `local_ref.py`)
* "task": a task that the runtime has started for a process ends (`node.py`)
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import trio

from enfilade.actors.messages.crash import without_cancelled
from enfilade.actors.messages.errors import StepFailed, StrayCancelled
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import Crashed, Reason

if TYPE_CHECKING:
    from enfilade.actors.processes.record import Record

__all__ = ["Step", "is_deep", "is_from_outside", "need_room", "own_fault", "step_failed", "with_headroom"]

R = TypeVar("R")

Step = Literal[
    "dispatch",
    "hand-off",
    "start",
    "end",
    "report",
    "timer",
    "time limit",
    "reply",
    "finalizer",
    "signal",
    "task",
]


def step_failed(process: Record | None, step: Step, error: BaseException) -> None:
    """End `process`, because `step`, which was taken for it, raised `error`. Not a checkpoint.

    A process that has a task ends as by an exit signal. If there is no process, or if it is over already, the
    error is only logged.

    Raises:
        RecursionError: as `with_headroom`; nothing has been done. It raises nothing else.
    """
    with_headroom(_step_failed, process, step, error)


def _step_failed(process: Record | None, step: Step, error: BaseException) -> None:
    if process is None or process.ended is not None or (process.reader is not None and process.exit_signal):
        owner = "the node" if process is None else process.ref
        log(logging.ERROR, "the runtime failed in a step of %s: %s", owner, step, error=error)
        return
    fault = StepFailed(process.ref, step, error)
    if process.reader is None:
        process.node.finish(process, Crashed(fault), fault)  # type: ignore[arg-type]
    else:
        process.interrupt(Crashed(fault))


def is_from_outside(error: BaseException) -> bool:
    """Return true when `error` is nothing but the `trio.Cancelled` of a scope around the present one."""
    if type(error) is trio.Cancelled or is_a(without_cancelled(error), StrayCancelled):
        return trio.current_effective_deadline() == -math.inf
    return False


def own_fault(process: Record, reason: Reason | None) -> StepFailed | None:
    """The fault of the runtime in `reason`, an exit signal of `process`, if it was in a step of `process`."""
    error = reason.error if isinstance(reason, Crashed) else None
    # Whoever sent the signal may have made the error, and a peer may have left its ref out.
    return error if type(error) is StepFailed and vars(error).get("ref") is process.ref else None


def is_deep(frame: FrameType | None) -> bool:
    """Tell whether the stack is filled for a good part by `frame` and those below it."""
    depth = 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth > sys.getrecursionlimit() // 4


def need_room(calls: int = 3) -> None:
    """Check that the stack has room for so many nested calls, and one more.

    Whoever makes something that is to be registered does this first, so that what follows cannot fail for
    want of room until somebody answers for it.

    Raises:
        RecursionError: it has none.
    """
    if calls:
        need_room(calls - 1)


HEADROOM = 200


def with_headroom(fn: Callable[..., R], *args: Any) -> R:
    """Return `fn(*args)`, called with room on the stack, for what tidies up after a `RecursionError`.

    Raises:
        RecursionError: the stack is so full that the limit could not be set back.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)  # raises here rather than below
    sys.setrecursionlimit(limit + HEADROOM)
    try:
        return fn(*args)
    finally:
        del args  # of which one may be the error whose traceback will hold this frame
        sys.setrecursionlimit(limit)
