"""Bodies that have a task: async actors, async functions, ephemeral mailboxes.

`run` is the wrapper around every such body, and nothing leaves it. It turns the body's end into an exit
reason, runs `on_stop` in a cancel scope of its own, and ends the processes in the arena. Only then, when the
task is done, are the names released and links and monitors notified.

A `trio.Cancelled` that comes out of the process's own scope belongs to the node's scope, or the run's, if
that is cancelled: the process is then killed. Otherwise it is a mistake of the process, as any other
exception is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from enfilade.actors.messages.crash import reason_of
from enfilade.actors.messages.errors import Ignore, LiveResult, NurseryLeft, StartError, StepFailed
from enfilade.actors.messages.kinds import is_a, is_awaitable, unlisted
from enfilade.actors.messages.live import live_kind
from enfilade.actors.messages.loop_bypass import pause
from enfilade.actors.messages.reasons import KILLED, NORMAL, SHUTDOWN, Crashed, Killed, Reason
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.signals import NO_KWARGS, Call, Cast
from enfilade.actors.messages.traced import Traced, Within, bare, trace_of
from enfilade.actors.processes import end
from enfilade.actors.processes.actor import Actor, construct
from enfilade.actors.processes.body import Body
from enfilade.actors.processes.control_lane import StopRequest
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.handlers import (
    PLAIN,
    check_deferred,
    check_result,
    refuse_unknown,
    refused,
    run_out,
)
from enfilade.actors.processes.keyed_timers import Tick
from enfilade.actors.processes.left_generators import give_up_nursery
from enfilade.actors.processes.links import Down, Exited
from enfilade.actors.processes.protocol import ActorProtocol, protocol_of
from enfilade.actors.processes.reader import Reader
from enfilade.actors.processes.resumption import resumed
from enfilade.actors.processes.scopes import KeptScope, scope_of
from enfilade.actors.processes.steps import is_deep, is_from_outside, own_fault

if TYPE_CHECKING:
    from enfilade.actors.messages.trace_context import TraceContext
    from enfilade.actors.processes.process import Process

__all__ = ["AsyncBody", "EphemeralBody", "FunctionBody", "TaskBody"]


BUDGET = 64


class TaskBody(Body):
    """A body that has a trio task.

    Attributes:
        owes_start: true until the process has acknowledged its start.
        scope: cancelled to interrupt the process.
        task: the task, once it runs.
    """

    __slots__ = ("owes_start", "process", "scope", "task")

    is_plain: ClassVar[bool] = True

    def __init__(self, process: Process) -> None:
        self.process = process
        self.owes_start = False
        self.scope: trio.CancelScope | None = None
        self.task: trio.lowlevel.Task | None = None
        process.reader = Reader(process)

    def exit(self, reason: Reason) -> None:
        """Cancel the task. Give it up if it does not end in time after a kill, or cannot be cancelled."""
        try:
            if self.scope is not None:
                self.scope.cancel()
        except BaseException as error:  # of the function that aborts a wait of the program's own
            self.process.fail_in("signal", error)
            end.expect_end(self)
            return
        if type(reason) is Killed:
            end.expect_end(self)

    def expire(self) -> None:
        """Give the task up: it was killed and has not ended within the grace."""
        end.give_up(self)

    async def main(self) -> None:
        """Run the process's own code. Cancelled when an exit signal ends the process."""

    async def stopped(self, reason: Reason) -> None:
        """Run the last hook of a process that stops, or has crashed."""

    def started(self, info: Any) -> None:
        """Acknowledge the start, with what the process has to tell about it."""
        start = self.process.node.starting.pop(self.process, None)
        if start is not None:
            start.reply(info)

    async def run(self, kept: KeptScope) -> bool:
        """Run the process from its start to its end. Never raises.

        Args:
            kept: the scope of the task, in which the process's own code runs.

        Returns:
            whether the task can run another process. Not where the code of this one has left a scope or a
            nursery open, in a generator say: whoever finalizes that closes it in this task.
        """
        process = self.process
        CURRENT.set(process)
        self.task = task = trio.lowlevel.current_task()
        is_clean = True
        node = process.node
        reason: Reason = NORMAL
        error: BaseException | None = None
        try:
            with kept as self.scope:
                if process.exit_signal is not None:
                    self.scope.cancel()  # as in trio, it still runs up to its first checkpoint
                within = scope_of(task)
                try:
                    await self.main()
                finally:
                    is_clean = scope_of(task) is within and not task.child_nurseries
            if process.exit_signal is None and process.stopping is not None:
                reason = process.stopping
        except BaseException as raised:
            refused = is_a(raised, Ignore, StartError) and process in node.starting
            reason, error = NORMAL if refused else self._reason_of(raised), raised
        self.scope = None  # the next process may run in it
        if process.reader is not None:
            process.reader.end_handling(error)
        if process.exit_signal is None and not self.is_plain and process not in node.starting:
            try:
                with kept as self.scope:
                    within = scope_of(task)
                    try:
                        await self.stopped(reason)
                    finally:
                        is_clean = is_clean and scope_of(task) is within and not task.child_nurseries
            except BaseException as raised:
                reason, error = self._reason_of(raised), raised
            self.scope = None
        if process.exit_signal is not None:
            reason, error = process.exit_signal, own_fault(process, process.exit_signal)
        try:
            if process.extras_or_none is not None:
                await end.empty_arena(process, reason)
            node.dispatcher.run_then_dispatch(node.finish, process, reason, error)
        except BaseException as fault:
            reason = self._reason_of(fault)
            if type(reason) is not Killed:
                error = StepFailed(process.ref, "end", fault)
                reason = Crashed(error)
            node.finish(process, reason, error)
        if task.child_nurseries:
            _leave_nurseries(task)
        return is_clean

    def _reason_of(self, raised: BaseException) -> Reason:
        """The reason of the end by `raised`, which has come out of the process's own scope."""
        assert self.task is not None
        if self.task.child_nurseries:
            _leave_nurseries(self.task)
        if is_from_outside(raised):
            self.process.exit_signal = KILLED
            return KILLED
        return reason_of(raised)


def _leave_nurseries(task: trio.lowlevel.Task) -> None:
    """Give up the nurseries that the code of `task`, which is about to end, has left open.

    It can leave them in an async generator only. Trio would let the parent of the task pay for that, which is
    the node.
    """
    for nursery in task.child_nurseries:
        give_up_nursery(nursery)


class FunctionBody(TaskBody):
    """Runs the coroutine of `fn(me, *args, **kwargs)`, made beforehand so that the starter learns of unfit
    arguments.

    Args:
        process: whose body this is.
        coroutine: its code.
        owes_start: whether the code acknowledges the start itself (`acknowledges_start`). Otherwise the start
            is over before the code begins.
    """

    __slots__ = ("_coroutine",)

    kind: ClassVar[str] = "function"

    def __init__(
        self, process: Process, coroutine: Coroutine[Any, Any, Any], *, owes_start: bool = False
    ) -> None:
        super().__init__(process)
        self._coroutine = coroutine
        self.owes_start = owes_start

    def main(self) -> Coroutine[Any, Any, Any]:
        return self._coroutine

    def acknowledge(self, info: Any) -> None:
        if not self.owes_start:
            raise RuntimeError(
                f"the start of {self.process.ref} is acknowledged already: call `started` once, and only in "
                "a function that is decorated with @acknowledges_start"
            )
        self.owes_start = False
        self.started(info)


class AsyncBody(TaskBody):
    """Runs an actor that has async handlers, one message at a time."""

    __slots__ = ("_args", "_kwargs", "_message", "actor", "protocol")

    kind: ClassVar[str] = "actor"
    is_plain: ClassVar[bool] = False
    drains: ClassVar[bool] = True

    def __init__(
        self, actor: type[Actor], process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(process)
        self.owes_start = True
        self.protocol: ActorProtocol = actor.protocol_  # which is up to date
        self.actor: Any = actor
        self._args = args
        self._kwargs = kwargs
        self._message: Any = None

    def _construct(self) -> Any:
        """Make the actor object, and return what its `on_start` returns."""
        args, kwargs = self._args, self._kwargs
        self._args, self._kwargs = (), NO_KWARGS
        self.actor = construct(self.actor, self.process, args, kwargs)
        self.process.handlers = self.protocol.handlers
        self.process.names = self.protocol.names
        return self.protocol.on_start(self.actor)

    def rebind(self, actor: type[Actor]) -> None:
        former, self.protocol = self.protocol, protocol_of(actor)
        self.protocol.take_over_from(former)
        self.process.handlers = self.protocol.handlers
        self.process.names = self.protocol.names

    async def main(self) -> None:
        """Start, and handle one message after another: in one function, because every coroutine between trio
        and a handler costs a call.
        """
        result = self._construct()
        if result is not None and is_awaitable(result):
            result = await result
        live = None if result is None else live_kind(result)
        if live is not None:
            raise LiveResult(self.protocol.on_start, live)
        task = trio.lowlevel.current_task()
        if task._child_nurseries:
            raise NurseryLeft
        self.owes_start = False
        self.started(result)
        result = None
        process = self.process
        dispatcher = process.dispatcher
        reader = process.reader
        assert reader is not None
        handlers = self.protocol.handlers
        trap = reader.trap
        budget = BUDGET
        while True:
            if process.attention:
                try:
                    await reader.serve()
                except Exception as error:
                    if not resumed(process, self.actor, None, error):
                        raise
                    continue
                if task._child_nurseries:
                    raise NurseryLeft
                if process.stopping is not None:
                    return
                handlers = self.protocol.handlers
            if reader.skipped:
                reader.restore()
            queue = process.queue  # each time: the first message that ever comes makes another of it
            if not queue or process.suspended:
                process.waiter = task
                process.idle = True
                # No call, and so no finalizer, comes between the look at the queue and here.
                await pause(trap)
                budget = BUDGET
                continue
            self._message = message = queue.popleft()
            if process.attention:
                process.observe(message)
            elif dispatcher.counted is not None:
                dispatcher.count(process, 1)
            kind = type(message)
            if kind is Cast or issubclass(kind, Call):
                handler = handlers.get(message.method)
                if kind is not Cast:
                    process.at_hand = message
                    if kind is not Request and handler is not None:
                        handler = self._within(message, handler)
                result = None
                try:
                    if handler is None:
                        refuse_unknown(process, message, self.protocol)
                    else:
                        result = handler(self.actor, *message.args, **message.kwargs)
                        if type(result) is CoroutineType:
                            result = await result
                        try:
                            is_plain = type(result) in PLAIN
                        except BaseException as error:
                            is_plain = unlisted(error)
                        if not is_plain:
                            if is_awaitable(result):  # what Cython makes, for example
                                result = await result
                            check_result(handler, result, is_reply=kind is not Cast)
                            if type(result) is Deferred and kind is not Cast:
                                check_deferred(handler, result, message)
                except Exception as error:
                    if handler is None or not (
                        refused(process, message, handler, error)
                        or resumed(process, self.actor, message, error)
                        or self._overflowed(message, error)
                    ):
                        raise
                    result = None
                if process.stopping is not None:
                    self._message = (message, result)
                    return
                if kind is not Cast:
                    is_dropped = process.extras_or_none is not None and process.was_dropped(message)
                    if type(result) is not Deferred and not is_dropped:
                        message.reply(result)
                    process.at_hand = None
                result = None  # which may be a deferred reply, and must not live on here
            else:
                try:
                    is_signal = kind is Down or kind is Exited or kind is StopRequest
                    if is_signal or kind is Traced or kind is Tick:
                        await self._handle_other(kind, message)
                    else:  # by far the most frequent one: a coroutine in between would cost an eighth
                        result = self.protocol.on_message(self.actor, message)
                        if type(result) is CoroutineType:
                            result = await result
                        if result is not None:
                            await run_out(self.protocol.on_message, result)
                        result = None
                except Exception as error:
                    if not resumed(process, self.actor, bare(message), error):
                        raise
            if task._child_nurseries:
                raise NurseryLeft
            if process.attention:
                process.observed(message)
            self._message = message = None
            budget -= 1
            if budget <= 0:
                budget = BUDGET
                await trio.lowlevel.checkpoint()

    def _overflowed(self, message: Any, error: Exception) -> bool:
        """Tell whether the handler of a call has overflowed its caller's stack: then the caller is told.

        The process would have had a stack of its own in the loop, so it goes on.
        """
        if type(error) is not RecursionError or not self.process.dispatcher.depth:
            return False
        if not is_a(message, Call) or not is_deep(sys._getframe()):
            return False
        self.process.settle_deferred(message)
        message.fail(error)
        return True

    def _within(self, call: Call, handler: Callable[..., Any]) -> Callable[..., Any]:
        """The handler of a call that may carry the context of a trace."""
        trace = trace_of(call)
        if trace is None:
            return handler
        return Within(self.process, trace, handler, call.method, is_call=True, awaits=True)

    async def _handle_traced(self, trace: TraceContext, message: Any) -> None:
        """Handle a cast or a plain message that carries the context of a trace."""
        self._message = message
        process, protocol = self.process, self.protocol
        if type(message) is not Cast:
            within = Within(process, trace, protocol.on_message, awaits=True)
            await run_out(protocol.on_message, within(self.actor, message))
            return
        handler = protocol.handlers.get(message.method)
        if handler is None:
            refuse_unknown(process, message, protocol)
            return
        within = Within(process, trace, handler, message.method, awaits=True)
        try:
            result = within(self.actor, *message.args, **message.kwargs)
            if is_awaitable(result):
                result = await result
            check_result(handler, result)
        except Exception as error:
            if not refused(process, message, handler, error):
                raise

    async def _handle_other(self, kind: type, message: Any) -> None:
        protocol = self.protocol
        if kind is Traced:
            await self._handle_traced(message.trace, message.message)
            return
        if kind is Tick:
            counts, message = message.unwrap()
            if not counts:
                return
            kind = type(message)
        if kind is StopRequest:
            message.serve(self.process)
            return
        if kind is Exited and self.process.is_parent(message.ref):
            self.process.stop(message.reason)
            return
        hook = (
            protocol.on_down if kind is Down else protocol.on_exit if kind is Exited else protocol.on_message
        )
        await run_out(hook, hook(self.actor, message))

    async def stopped(self, reason: Reason) -> None:
        try:
            if not isinstance(self.actor, type):
                result = self.protocol.on_stop(self.actor, reason)
                if result is not None:
                    await run_out(self.protocol.on_stop, result)
        finally:
            held = self._message
            # The handler has answered, whatever `on_stop` does; but a kill leaves nothing to be said.
            is_answered = type(held) is tuple and isinstance(held[0], Call) and type(held[1]) is not Deferred
            if is_answered and self.process.exit_signal is None:
                held[0].reply(held[1])

    @property
    def at_hand(self) -> Any:
        held = self._message
        return held[0] if type(held) is tuple else held


class EphemeralBody(TaskBody):
    """The body of `node.mailbox()`: the task is that of the code that opened it."""

    __slots__ = ()

    kind: ClassVar[str] = "mailbox"

    def result(self, error: BaseException | None) -> Reason:
        """The exit reason of a block that was left with `error`."""
        if self.process.reader is not None:
            self.process.reader.end_handling(error)
        if self.process.exit_signal is not None:
            return self.process.exit_signal
        if error is None:
            return NORMAL
        return SHUTDOWN if is_from_outside(error) else reason_of(error)
