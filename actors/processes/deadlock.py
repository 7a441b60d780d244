"""Detection of calls that wait for one another in a circle, when the last of them closes it.

An actor that has a task handles one message at a time. While its handler waits for a call, callers of the
actor wait as well. Each such actor notes the call that it waits for, and a new call is followed along these
notes. To wait for the start of a process is such a call, which the new process answers: an `on_start` that
calls its own supervisor closes a circle. A circle is only logged: the callers' own time limits end it. A
function process may receive in another task meanwhile, and any process may answer a deferred call, so neither
is part of a circle; nor is a call to another node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from enfilade.actors.messages.safe_text import safe_str

if TYPE_CHECKING:
    from enfilade.actors.messages.request import Request
    from enfilade.actors.processes.process import Process

__all__ = ["begin_waiting"]


def begin_waiting(caller: Process, request: Request[Any]) -> None:
    """Note that `caller` is about to wait for `request`, and log the circle that this closes."""
    body = caller.body
    if body.is_plain or body.task is not trio.lowlevel.current_task():
        return
    caller.awaited = request
    circle = [(caller, request)]
    while (callee := _holder(circle[-1][1])) is not None and callee is not caller:
        awaited = callee.awaited or callee.body.awaited_start
        if awaited is None or any(awaited is known for _, known in circle):
            return
        circle.append((callee, awaited))
    if callee is caller:
        calls = [
            f"{waiting.ref} waits for {safe_str(call.method)} of {call.target}" for waiting, call in circle
        ]
        caller.node.reports.deadlock(calls)


def _holder(request: Request[Any]) -> Process | None:
    """Return the local process that holds `request` and has neither deferred nor forwarded it."""
    process = request.node.processes.get(request.target.serial)
    if process is None or process.has_deferred(request):
        return None
    if request.node.starting.get(process) is request:
        return process
    held = process.at_hand is request or process.body.has_put_off(request)
    return process if held or any(waiting is request for waiting in process.queue) else None
