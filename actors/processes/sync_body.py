"""The body of a sync actor.

The dispatcher's inner loop runs its handlers as long as nothing unusual happens. This file is the rest: the
careful turn with control lane, observers and idle timer, the kinds of messages that are not frequent, calls
that a caller runs itself, and how such an actor ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import ProcessDied, UnknownMethod
from enfilade.actors.messages.reasons import Reason, reason_of
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.signals import Cast
from enfilade.actors.processes.actor import Actor, Protocol, construct, protocol_of
from enfilade.actors.processes.control_lane import StopRequest
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.handlers import bad_arguments, refuse, refused, run_sync
from enfilade.actors.processes.keyed_timers import Tick
from enfilade.actors.processes.links import Down, Exited

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["SyncBody"]


signals.envelopes.update({Down, Exited, Tick})


class SyncBody:
    """Runs a sync actor's handlers.

    Attributes:
        at_hand: the message whose handler has crashed.
    """

    __slots__ = ("at_hand", "process", "protocol")

    drains: ClassVar[bool] = True

    def __init__(self, process: Process, protocol: Protocol) -> None:
        self.process = process
        self.protocol = protocol
        self.at_hand: Any = None

    @property
    def actor(self) -> Any:
        """The actor object; None until it has been constructed."""
        return self.process.actor

    @classmethod
    def start(
        cls, actor: type[Actor], process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> SyncBody:
        """Construct the actor and run `on_start`; raises what they raise."""
        body = cls(process, protocol_of(actor))
        process.body = body
        made = construct(actor, process, args, kwargs)
        info = run_sync(body.protocol.on_start, made)
        if info is not None:
            process.extras().start_info = info
        process.actor = made
        body._bind(body.protocol)
        return body

    def _bind(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.process.on_message = protocol.on_message
        self.process.handlers = protocol.handlers

    def rebind(self, actor: type[Actor]) -> None:
        """Use the protocol of `actor` from now on.

        Raises:
            TypeError: `actor` needs a task.
        """
        protocol = protocol_of(actor)
        if protocol.is_async:
            raise TypeError(f"{actor.__qualname__} has async methods, and {self.process.ref} has no task")
        self._bind(protocol)

    def turn(self, budget: int) -> bool:
        process = self.process
        queue = process.queue
        message: Any = None
        try:
            while budget:
                message = None
                if process.attention and not process.attend():
                    return False
                if not queue:
                    process.idle = True
                    return False
                message = queue.popleft()
                process.observe(message)
                self.handle(message)
                process.observed(message)
                budget -= 1
        except BaseException as error:
            self.crash(error, message)
            return False
        if queue or process.attention:
            return True
        process.idle = True  # the budget ended with the last message
        return False

    def handle(self, message: Any) -> None:
        """Handle one message of any kind; raises what the handler raises."""
        kind = type(message)
        if kind is Cast:
            handler = self.protocol.handlers[message.method]
            run_sync(handler, self.actor, *message.args, **message.kwargs)
        elif isinstance(message, signals.Call):
            self.process.at_hand = message
            handler = self.protocol.handlers[message.method]
            self.answer(message, handler(self.actor, *message.args, **message.kwargs))
        elif kind in signals.envelopes:
            self._other(message)
        else:
            run_sync(self.protocol.on_message, self.actor, message)

    def answer(self, request: signals.Call, result: Any) -> None:
        """Reply; when the handler decided to stop, only after `on_stop`.

        Raises:
            CoroutineReturned: the result is a coroutine.
        """
        if type(result) is Deferred:
            return
        if type(result) is CoroutineType:
            refuse(self.protocol.handlers[request.method], result)
        if self.process.stopping is not None and self.process.ended is None:
            self.stop(self.process.stopping, lambda: request.reply(result))
        else:
            request.reply(result)

    def _other(self, message: Any) -> None:
        process = self.process
        if type(message) is Tick:
            counts, message = message.unwrap()
            if counts:
                self.handle(message)
        elif type(message) is Down:
            run_sync(self.protocol.on_down, self.actor, message)
        elif type(message) is StopRequest:
            message.serve(process)
        elif process.is_parent(message.ref):
            self.stop(message.reason)
        else:
            run_sync(self.protocol.on_exit, self.actor, message)

    def hand_off(self, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a call's handler in the caller's task: the process is idle, nothing is running, the mailbox is
        empty.

        Raises:
            BadArguments: the handler takes no such arguments.
            ProcessDied: the handler crashed, and the process with it.
        """
        process = self.process
        dispatcher = process.dispatcher
        dispatcher.running = process
        process.idle = False
        process.at_hand = signals.HANDED_OFF
        try:
            run = process.node.context.run
            if kwargs or len(args) != 1:
                result = run(handler, process.actor, *args, **kwargs)
            else:  # by far the cheapest kind of call there is
                result = run(handler, process.actor, args[0])
            if type(result) is CoroutineType:
                refuse(handler, result)
            if process.attention:
                self._stop_if_asked()
        except BaseException as error:
            misfit = bad_arguments(error, handler, args, kwargs)
            if misfit is not None:
                self._rest()
                raise misfit from None
            self.crash(error, None)
            raise ProcessDied(process.ref, process.ended or reason_of(error)) from error
        finally:
            dispatcher.running = None
            process.at_hand = None
        self._rest()
        return result

    def _rest(self) -> None:
        """A handler has been left: go on, or wait for something to do."""
        process = self.process
        if not process.queue and not process.attention:
            process.idle = True
        elif process.ended is None:
            process.wake()

    def _stop_if_asked(self) -> None:
        if self.process.stopping is not None and self.process.ended is None:
            self.stop(self.process.stopping)

    def handed_off(self) -> signals.Call | None:
        """The request of the call that was handed off: made only when the handler wants to defer the
        reply.
        """
        process = self.process
        caller = trio.lowlevel.current_task().context.get(CURRENT)
        request: Request[Any] = Request(process.node, process.ref, "", (), {}, caller)
        process.at_hand = request
        return request

    def stop(self, reason: Reason, before_links: Callable[[], None] | None = None) -> None:
        """Run `on_stop` and end."""
        process = self.process
        error: BaseException | None = None
        try:
            run_sync(self.protocol.on_stop, self.actor, reason)
        except BaseException as raised:
            error = raised
            reason = reason_of(raised)
        if before_links is not None:
            before_links()
        process.node.finish(process, reason, error)

    def crash(self, error: BaseException, message: Any) -> None:
        """A handler raised `error`: `on_stop`, then the end; the call at hand learns of it.

        But arguments that the handler does not take are the fault of who sent `message`.
        """
        process = self.process
        if process.ended is not None:
            return
        if isinstance(message, Cast | signals.Call):
            handler = self.protocol.handlers.get(message.method)
            if handler is None:
                error = UnknownMethod(message.method, type(self.actor).__qualname__)
            elif refused(process, message, handler, error):
                self._rest()
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
        if isinstance(message, signals.Call) and not message.settled:
            message.abandon(reason)

    def not_awaited(self, message: Any, coroutine: CoroutineType[Any, Any, Any]) -> NoReturn:
        """The handler of `message`, a cast or a plain message, has returned a coroutine.

        Raises:
            CoroutineReturned: always.
        """
        protocol = self.protocol
        refuse(protocol.handlers[message.method] if type(message) is Cast else protocol.on_message, coroutine)

    def exit(self, reason: Reason) -> None:
        """Nothing to hasten: a sync handler cannot be interrupted."""
