"""Detection of calls that wait for one another in a circle, when the last of them closes it.

An actor that has a task handles one message at a time. While its handler waits for a call, callers of the
actor wait as well. Each such actor notes the call that it waits for, and a new call is followed along these
notes. To wait for the start of a process is such a call, which the new process answers: an `on_start` that
calls its own supervisor closes a circle. A circle is logged, and the callers' own time limits end it. If none
of them has one, nothing would, and the call that closes it is refused. A function process may receive in
another task meanwhile, and any process may answer a deferred call, so neither is part of a circle; nor is a
call to another node. But a function that has yet to acknowledge its own start, and has no other task, is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from enfilade.actors.messages.errors import CallingSelf
from enfilade.actors.messages.safe_text import safe_str

if TYPE_CHECKING:
    from enfilade.actors.messages.request import Request
    from enfilade.actors.processes.process import Process

__all__ = ["begin_waiting"]


def begin_waiting(caller: Process, request: Request[Any], seconds: float | None) -> None:
    """Note that `caller` is about to wait for `request`, for so many seconds, and log the circle that this
    closes.

    Raises:
        CallingSelf: it closes one that no time limit would end.
    """
    body = caller.body
    if body.is_plain and not body.owes_start:
        return
    task = trio.lowlevel.current_task()
    if body.task is not task or (body.is_plain and task.child_nurseries):
        return
    caller.awaited = request
    circle = [(caller, request)]
    while (callee := _holder(circle[-1][1])) is not None and callee is not caller:
        awaited = callee.awaited or callee.body.awaited_start
        if awaited is None or any(awaited is known for _, known in circle):
            return
        circle.append((callee, awaited))
    if callee is not caller:
        return
    calls = [f"{waiting.ref} waits for {safe_str(call.method)} of {call.target}" for waiting, call in circle]
    limit = caller.node.config.call_timeout if seconds is None else seconds
    is_limited = limit != math.inf or any(_is_limited(*waiting) for waiting in circle)
    caller.node.reports.deadlock(calls, is_refused=not is_limited)
    if not is_limited:
        caller.awaited = None
        request.cancel()
        raise CallingSelf(request.target, calls)


def _is_limited(waiting: Process, request: Request[Any]) -> bool:
    """Tell whether a time limit will end the wait of a process for `request`."""
    if waiting.node.timers.limits(request) or waiting.body.limits(request):
        return True
    task = waiting.body.task
    return task is not None and task._cancel_status.effective_deadline() != math.inf


def _holder(request: Request[Any]) -> Process | None:
    """Return the local process that holds `request` and has neither deferred nor forwarded it."""
    process = request.node.processes.get(request.target.serial)
    if process is None:
        return None
    if request.node.starting.get(process) is request or process.body.has_put_off(request):
        return process
    if process.has_deferred(request):
        return None
    held = process.at_hand is request or any(waiting is request for waiting in process.queue)
    return process if held else None
