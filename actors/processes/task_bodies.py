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
from enfilade.actors.messages.kinds import is_a, is_among, is_awaitable
from enfilade.actors.messages.live import PLAIN, live_kind
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
        """Start, then handle one message after another, until the process is to stop.

        It has a twin in C (`actors/core/work.c`), so that no coroutine of Python comes between trio and a
        handler: each would cost every message a call.
        """
        await self.begin()
        await self.work()

    async def begin(self) -> None:
        """Make the actor object, and have it start."""
        result = self._construct()
        if result is not None and is_awaitable(result):
            result = await result
        live = None if result is None else live_kind(result)
        if live is not None:
            raise LiveResult(self.protocol.on_start, live)
        assert self.task is not None
        if self.task._child_nurseries:
            raise NurseryLeft
        self.owes_start = False
        self.started(result)

    async def work(self) -> None:
        """Handle one message after another, until the process is to stop."""
        process = self.process
        dispatcher = process.dispatcher
        task, reader = self.task, process.reader
        assert task is not None
        assert reader is not None
        trap = reader.trap
        budget = BUDGET
        while True:
            if (process.attention or reader.skipped) and not await self.attend():
                return
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
            if await self.handle(message):
                return
            if task._child_nurseries:
                raise NurseryLeft
            if process.attention:
                process.observed(message)
            self._message = message = None
            budget -= 1
            if budget <= 0:
                budget = BUDGET
                await trio.lowlevel.checkpoint()

    async def attend(self) -> bool:
        """Serve the control lane, and see to it that the oldest message is the next; false if the process is
        to stop.
        """
        process = self.process
        task, reader = self.task, process.reader
        assert task is not None
        assert reader is not None
        while process.attention:
            try:
                await reader.serve(may_stop=True)
            except Exception as error:
                if not resumed(process, self.actor, None, error):
                    raise
                continue
            if task._child_nurseries:
                raise NurseryLeft
            if process.stopping is not None:
                return False
            break
        if reader.skipped:
            reader.restore()
        return True

    async def handle(self, message: Any) -> bool:
        """Handle a message of any kind; true if the process is to stop."""
        kind = type(message)
        handler: Callable[..., Any] | None = None
        result = None
        try:
            if kind is Cast or issubclass(kind, Call):
                handler = self.protocol.handlers.get(message.method)
                if kind is not Cast:
                    self.process.at_hand = message
                if handler is None:
                    refuse_unknown(self.process, message, self.protocol)
                else:
                    if kind is not Cast and kind is not Request:
                        handler = self._within(message, handler)
                    result = handler(self.actor, *message.args, **message.kwargs)
                    if type(result) is CoroutineType:
                        result = await result
                    if not is_among(result, PLAIN):
                        result = await self.checked(result, handler, message)
            elif kind is Down or kind is Exited or kind is StopRequest or kind is Traced or kind is Tick:
                await self._handle_other(kind, message)
            else:
                result = self.protocol.on_message(self.actor, message)
                if type(result) is CoroutineType:
                    result = await result
                if result is not None:
                    await run_out(self.protocol.on_message, result)
        except Exception as error:
            if not self.survives(error, message, handler):
                raise
            result = None
        return self.concluded(message, result)

    # The parts of handling a message that are rare, for both of the twins of `main`.

    async def checked(self, result: Any, handler: Callable[..., Any], message: Any) -> Any:
        """The result of the handler of a call or a cast, if its type is none of those in `PLAIN`."""
        is_call = type(message) is not Cast
        if is_awaitable(result):  # what Cython makes, for example
            result = await result
        check_result(handler, result, is_reply=is_call)
        if type(result) is Deferred and is_call:
            check_deferred(handler, result, message)
        return result

    def survives(self, error: Exception, message: Any, handler: Callable[..., Any] | None) -> bool:
        """Tell whether the process goes on, though the handling of `message` has raised `error`.

        `handler` is that of a call or a cast, None for any other message, and if there is none.
        """
        if type(message) is not Cast and not issubclass(type(message), Call):
            return resumed(self.process, self.actor, bare(message), error)
        return handler is not None and (
            refused(self.process, message, handler, error)
            or resumed(self.process, self.actor, message, error)
            or self._overflowed(message, error)
        )

    def concluded(self, message: Any, result: Any) -> bool:
        """Answer a call with the result of its handler; true if the process is to stop, and answers then."""
        process = self.process
        kind = type(message)
        if kind is not Cast and not issubclass(kind, Call):
            return False
        if process.stopping is not None:
            self._message = (message, result)
            return True
        if kind is not Cast:
            is_dropped = process.extras_or_none is not None and process.was_dropped(message)
            if type(result) is not Deferred and not is_dropped:
                message.reply(result)
            process.at_hand = None
        return False

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
