"""The body of a sync actor.

The dispatcher's inner loop runs its handlers as long as nothing unusual happens. This file is the rest: the
careful turn with control lane, observers and idle timer, the less frequent kinds of messages, and the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from enfilade.actors.messages import signals
from enfilade.actors.messages.crash import reason_of
from enfilade.actors.messages.errors import StepFailed, UnknownMethod
from enfilade.actors.messages.kinds import is_a, unlisted
from enfilade.actors.messages.live import PLAIN
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.request import Deferred
from enfilade.actors.messages.safe_text import shown_name
from enfilade.actors.messages.signals import Cast
from enfilade.actors.messages.traced import Traced, Within, bare, trace_of
from enfilade.actors.processes.actor import Actor, construct
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.control_lane import StopRequest
from enfilade.actors.processes.handlers import (
    check_deferred,
    check_result,
    refuse_unknown,
    refused,
    run_sync,
)
from enfilade.actors.processes.keyed_timers import Tick
from enfilade.actors.processes.links import Down, Exited
from enfilade.actors.processes.protocol import ActorProtocol, protocol_of
from enfilade.actors.processes.resumption import resumed

if TYPE_CHECKING:
    from enfilade.actors.messages.trace_context import TraceContext
    from enfilade.actors.processes.process import Process

__all__ = ["NOTHING_AT_START", "NOTHING_AT_STOP", "SyncBody", "run_on_start"]


NOTHING_AT_START = Actor.on_start
NOTHING_AT_STOP = Actor.on_stop

signals.envelopes.update({Down, Exited, Tick})


class SyncBody(DispatchedBody):
    """Runs a sync actor's handlers."""

    __slots__ = ("at_hand", "protocol")

    kind: ClassVar[str] = "actor"
    drains: ClassVar[bool] = True

    def __init__(self, process: Process, protocol: ActorProtocol) -> None:
        self.process = process  # without super(), which would slow down every spawn and restart
        self.protocol: ActorProtocol = protocol
        self.at_hand: Any = None

    @property
    def actor(self) -> Any:
        return self.process.actor

    @classmethod
    def start(
        cls, actor: type[Actor], process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> SyncBody:
        """Construct the actor and run `on_start`; raises what they raise. A twin is in `core/starts.c`."""
        protocol = actor.protocol_
        process.body = body = cls(process, protocol)
        made = construct(actor, process, args, kwargs)
        on_start = protocol.on_start
        if on_start is not NOTHING_AT_START:
            run_on_start(process, on_start, made)
        process.actor = made
        process.on_message = protocol.on_message  # what `rebind` does, too
        process.handlers = protocol.handlers
        process.names = protocol.names
        return body

    def rebind(self, actor: type[Actor]) -> None:
        protocol = protocol_of(actor)
        if protocol.is_async:
            raise TypeError(
                f"{self.process.ref} has no task: expected a sync actor class, got {shown_name(actor)}, "
                "which has async methods"
            )
        protocol.take_over_from(self.protocol)
        self.protocol = protocol
        self.process.on_message = protocol.on_message
        self.process.handlers = protocol.handlers
        self.process.names = protocol.names

    def turn(self, budget: int) -> bool:
        process = self.process
        message: Any = None
        try:
            while budget:
                message = None
                if process.attention and not self.attend():
                    return False
                if not process.queue:
                    process.idle = True
                    return False
                message = process.queue.popleft()
                process.observe(message)
                self.handle(message)
                process.observed(message)
                budget -= 1
        except BaseException as error:
            self.crash(error, message)
            return False
        if process.queue or process.attention:
            return True
        process.idle = True  # the budget ended with the last message
        return False

    def handle(self, message: Any) -> None:
        """Handle one message of any kind; raises what the handler raises."""
        kind = type(message)
        if kind is Cast:
            handler = self.protocol.handlers[message.method]
            run_sync(handler, self.actor, *message.args, **message.kwargs)
        elif issubclass(kind, signals.Call):
            self.process.at_hand = message
            handler = self.protocol.handlers[message.method]
            trace = trace_of(message)
            if trace is not None:
                handler = Within(self.process, trace, handler, message.method, is_call=True)
            self.answer(message, handler(self.actor, *message.args, **message.kwargs))
        elif signals.is_plain(message):
            run_sync(self.protocol.on_message, self.actor, message)
        else:
            self._other(message)

    def answer(self, request: signals.Call, result: Any) -> None:
        """Reply; when the handler decided to stop, only after `on_stop`.

        Raises:
            CoroutineReturned, LiveResult: the result has yet to run.
        """
        if type(result) is Deferred:
            check_deferred(self.protocol.handlers[request.method], result, request)
            return
        if self.process.was_dropped(request):
            return
        try:
            is_plain = type(result) in PLAIN
        except BaseException as error:
            is_plain = unlisted(error)
        if not is_plain:
            check_result(self.protocol.handlers[request.method], result, is_reply=True)
        process = self.process
        if process.stopping is not None and process.ended is None:
            self.stop(process.stopping, lambda: request.reply(result))
        else:
            request.reply(result)
            process.at_hand = None  # an idle actor keeps neither arguments nor reply

    def _other(self, message: Any) -> None:
        process = self.process
        if type(message) is Tick:
            counts, message = message.unwrap()
            if counts:
                self.handle(message)
        elif type(message) is Traced:
            self._handle_traced(message.trace, message.message)
        elif type(message) is Down:
            run_sync(self.protocol.on_down, self.actor, message)
        elif type(message) is StopRequest:
            message.serve(process)
        elif process.is_parent(message.ref):
            self.stop(message.reason)
        else:
            run_sync(self.protocol.on_exit, self.actor, message)

    def _handle_traced(self, trace: TraceContext, message: Any) -> None:
        if type(message) is Cast:
            handler = self.protocol.handlers[message.method]
            within = Within(self.process, trace, handler, message.method)
            run_sync(within, self.actor, *message.args, **message.kwargs)
        else:
            run_sync(Within(self.process, trace, self.protocol.on_message), self.actor, message)

    def stop(self, reason: Reason, before_links: Callable[[], None] | None = None) -> bool:
        """Run `on_stop` and end; false. `before_links` is called in between."""
        process = self.process
        error: BaseException | None = None
        on_stop = self.protocol.on_stop
        if on_stop is not NOTHING_AT_STOP:
            try:
                run_sync(on_stop, self.actor, reason)
            except BaseException as raised:
                error = raised
                reason = reason_of(raised)
        if before_links is not None:
            try:
                before_links()
            except BaseException as fault:
                error = StepFailed(process.ref, "reply", fault)
                reason = reason_of(error)
        process.node.finish(process, reason, error)
        return False

    def crash(self, error: BaseException, message: Any) -> None:
        """A handler raised `error`: `on_stop`, then the end; the call at hand learns of it.

        But arguments that the handler does not take are the fault of who sent `message`.
        """
        process = self.process
        if process.ended is not None:
            return
        message = bare(message)
        if issubclass(type(message), Cast | signals.Call):
            handler = self.protocol.handlers.get(message.method)
            try:
                if handler is None:
                    refuse_unknown(process, message, self.protocol)
                if handler is None or refused(process, message, handler, error):
                    process.at_hand = None
                    self.rest()
                    return
            except UnknownMethod as unknown:
                error = unknown
        if type(error) is not UnknownMethod and self.resume(error, message):
            self.rest()
            return
        self.end_with(error, message)

    def end_with(self, error: BaseException, message: Any) -> None:
        process = self.process
        if process.ended is not None:
            return
        self.at_hand = message
        reason = reason_of(error)
        try:
            if self.actor is not None:
                run_sync(self.protocol.on_stop, self.actor, reason)
        except BaseException as raised:
            error = raised
            reason = reason_of(raised)
        process.node.finish(process, reason, error)
        if is_a(message, signals.Call) and not message.settled:
            message.abandon(reason)

    def resume(self, error: BaseException, message: Any) -> bool:
        return resumed(self.process, self.actor, message, error)

    def not_used(self, message: Any, result: Any) -> None:
        """The handler of `message`, which is no call, has returned something unusual.

        Raises:
            CoroutineReturned, LiveResult: nothing of the handler has run.
        """
        protocol = self.protocol
        kind = type(message)
        if kind is Cast:
            fn = protocol.handlers[message.method]
        else:
            fn = protocol.on_down if kind is Down else protocol.on_message
        check_result(fn, result)


def run_on_start(process: Process, on_start: Callable[[Any], Any], actor: Any) -> None:
    """Run the `on_start` of a sync actor, and keep what it tells the starter; raises what it raises."""
    info = run_sync(on_start, actor)
    if info is not None:
        process.extras().start_info = info
