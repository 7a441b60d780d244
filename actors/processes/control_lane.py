"""The control lane: items that a process serves between two messages, ahead of any of them.

System messages (get the state, replace it, suspend, resume, change code), requests to stop, and
continuations are items of this lane. `Record.control_put` queues one; it is never
refused, and is served even while the process is suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.messages import signals
from enfilade.actors.messages.kinds import is_among
from enfilade.actors.messages.live import PLAIN
from enfilade.actors.messages.reasons import Reason, asked_by
from enfilade.actors.processes.handlers import run_out, run_sync
from enfilade.actors.processes.links import Exited

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.record import Record

__all__ = ["Continuation", "Control", "StopRequest", "ask_to_stop"]


class Control(Protocol):
    """An item of the control lane."""

    def serve(self, process: Process) -> Coroutine[Any, Any, None] | None:
        """Serve the item, inside `process` and between two messages.

        Returns:
            None, or a coroutine, which a process with a task awaits: it may be a checkpoint there, and is
            cancelled when the process ends.
        """


class Continuation:
    """A function to run before the next message."""

    __slots__ = ("args", "fn")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args

    def serve(self, process: Process) -> Coroutine[Any, Any, None] | None:
        if process.reader is None:
            run_sync(self.fn, *self.args)
            return None
        result = self.fn(*self.args)
        return None if is_among(result, PLAIN) else run_out(self.fn, result)


@signals.undroppable
class StopRequest:
    """A request to stop. In the data lane it is served after the messages that were queued before it."""

    __slots__ = ("reason",)

    def __init__(self, reason: Reason) -> None:
        self.reason = reason

    def serve(self, process: Process) -> None:
        process.stop(self.reason)


signals.envelopes.add(StopRequest)


def ask_to_stop(process: Record, request: signals.Call, reason: Reason, *, drain: bool = False) -> None:
    """Ask `process` to stop, and answer `request` when it has."""
    reason = asked_by(reason, request.caller or process.node.ref)
    requests = process.extras().stop_requests
    if drain and process.body.drains:
        process.put(StopRequest(reason))
    elif not process.body.is_plain:
        process.control_put(StopRequest(reason))
    elif process.trap_exits:
        process.put(Exited(process.node.ref, reason))
    else:
        process.interrupt(reason)
    requests.append(request)
