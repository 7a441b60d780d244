"""Calls that wait for one another in a circle: found when the last of them closes it.

An actor with a task handles one message at a time, so while a handler waits for its call, whoever calls the
actor waits as well. Each such actor notes the call that it waits for, and a call that comes to one that waits
is followed along these notes. Nothing is done about a circle but to log it: the callers' own time limits end
it. A function process may receive in another task meanwhile, and what was deferred may be answered by
anybody, so neither is part of a circle; nor is a call to another node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from enfilade.actors.messages.request import Request
    from enfilade.actors.processes.process import Process

__all__ = ["begin_waiting"]


def begin_waiting(caller: Process, request: Request[Any]) -> None:
    """A handler of `caller`, or something that it has started, is about to wait for `request`."""
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
        calls = [f"{call.caller} waits for {call.method} of {call.target}" for call in circle]
        caller.node.reports.deadlock(calls)


def _holder(request: Request[Any]) -> Process | None:
    """The process of this node that has `request` and has not passed it on."""
    process = request.node.processes.get(request.target.serial)
    if process is None or process.has_deferred(request):
        return None
    held = process.at_hand is request or any(waiting is request for waiting in process.queue)
    return process if held else None
