"""Detection of calls that wait for one another in a circle, when the last of them closes it.

An actor that has a task handles one message at a time. While its handler waits for a call, callers of the
actor wait as well. Each such actor notes the call that it waits for, and a new call is followed along these
notes. A circle is only logged: the callers' own time limits end it. A function process may receive in another
task meanwhile, and any process may answer a deferred call, so neither is part of a circle; nor is a call to
another node.
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
    circle = [request]
    while True:
        callee = _holder(circle[-1])
        if callee is None or callee.awaited is None or callee.awaited in circle:
            break
        circle.append(callee.awaited)
    if callee is caller:
        calls = [f"{call.caller} waits for {safe_str(call.method)} of {call.target}" for call in circle]
        caller.node.reports.deadlock(calls)


def _holder(request: Request[Any]) -> Process | None:
    """Return the local process that holds `request` and has neither deferred nor forwarded it."""
    process = request.node.processes.get(request.target.serial)
    if process is None or process.has_deferred(request):
        return None
    held = process.at_hand is request or any(waiting is request for waiting in process.queue)
    return process if held else None
