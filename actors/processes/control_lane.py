"""The control lane: what a process does between two messages, ahead of any of them.

System messages (get the state, replace it, suspend, resume, change code), requests to stop, and whatever
the process left to be continued are items of this lane. `Record.control_put` queues one; it is never
refused, and is served even while the process is suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.messages import signals
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.processes.handlers import run_sync

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Continuation", "Control", "StopRequest", "ask_to_stop"]


class Control(Protocol):
    """An item of the control lane."""

    def serve(self, process: Process) -> Coroutine[Any, Any, None] | None:
        """Do it, inside the process, between two messages; what it returns is awaited where there is a
        task.
        """


class Continuation:
    """Something to do before the next message."""

    __slots__ = ("args", "fn")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args

    def serve(self, process: Process) -> Coroutine[Any, Any, None] | None:
        if process.reader is None:
            return run_sync(self.fn, *self.args)  # type: ignore[no-any-return]
        return self.fn(*self.args)  # type: ignore[no-any-return]


class StopRequest:
    """Somebody asked the process to stop; in the data lane, after what lies there before it."""

    __slots__ = ("reason",)

    def __init__(self, reason: Reason) -> None:
        self.reason = reason

    def serve(self, process: Process) -> None:
        process.stop(self.reason)


signals.envelopes.add(StopRequest)


def ask_to_stop(process: Process, request: signals.Call, reason: Reason, *, drain: bool = False) -> None:
    """Somebody wants `process` to stop, and `request` to be told when it has."""
    process.extras().stop_requests.append(request)
    if drain and process.body.drains:
        process.put(StopRequest(reason))
    elif not process.body.is_plain:
        process.control_put(StopRequest(reason))
    elif process.trap_exits:
        process.exit_arrived(process.node.ref, reason, linked=False)
    else:
        process.interrupt(reason)
