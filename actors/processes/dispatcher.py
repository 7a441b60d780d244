"""The dispatcher: one task that runs every process that needs none of its own.

A process that has something to do stands once on the run queue. The dispatcher gives each a turn of at most
`turn` messages, and after `slice_size` messages, or `SLICE_SECONDS`, lets the other tasks of the loop run.
The clock costs about as much as a message does, so it is read once per `GROUP` turns, and after every single
message only while handlers are slow.

`run_group` is the hot path of the runtime, and has a twin in C (`actors/core/turns.c`). It handles the
messages of sync actors itself, in three shapes: plain, cast, call. Everything else (other bodies, a process
that needs attention, other kinds of messages) is left to the body. None of the tests in the loop is for show:
`attention` stands for the whole control lane, and a process whose queue has run empty is idle, so a sender
knows when to put it back.

Tasks stand on the run queue, too: one that has waited for a message or a reply which has come. Its turn is a
step of it (`loop_bypass.py`), in which it runs until it waits again. So two processes that have tasks talk to
one another without a pass of the loop in between, for as long as the slice lasts.

While a handler runs, `running` is its process. A caller outside may run a handler itself (`LocalRef.call`)
when nothing is running; `handoffs` is how often it may before it owes the loop a checkpoint.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort

from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.kinds import unlisted
from enfilade.actors.messages.live import PLAIN
from enfilade.actors.messages.loop_bypass import Runnable, has_headroom, step
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.signals import Cast, envelopes
from enfilade.actors.messages.tracebacks import trace_of
from enfilade.actors.messages.wake import resume
from enfilade.actors.processes.links import Down
from enfilade.actors.processes.record import Record
from enfilade.actors.processes.scopes import ScopeLeft, close_scopes, scope_of
from enfilade.actors.processes.steps import step_failed

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Dispatcher"]


SLICE_SECONDS = 0.002
GROUP = 32
QUICK_GROUP_SECONDS = 0.001
HANDOFFS = 256
FEW_HANDOFFS = 16


class _ClosedQueue(deque[Runnable]):
    """The run queue after its dispatcher's end: it is empty."""

    def append(self, entry: Runnable) -> None:
        entry.release()


class HandlerContext:
    """The context that handlers run in: a copy of the node's.

    A process whose handler has set a context variable takes that copy for its own (`Record.keep_context`),
    and the others get a fresh one. That this has happened is seen by comparing the two. Normally the node's
    own context is empty, so that a test of whether its copy is empty, too, comes first: by far the cheapest
    test of a context there is.

    Attributes:
        base: the context of the node.
        context: the copy of it.
        run: runs a function in that copy.
    """

    __slots__ = ("base", "context", "run")

    def __init__(self, base: Context) -> None:
        self.base = base
        self.renew()

    def renew(self) -> None:
        """Make a fresh copy."""
        self.context = self.base.copy()
        self.run = self.context.run

    def settle(self, process: Process | None) -> bool:
        """After an error of `process`: tell whether it has changed the context, which it then keeps."""
        try:
            changed = bool(self.context) and self.context != self.base
        except BaseException:  # a value that cannot be compared
            changed = True
        if changed:
            self.changed(process)
        return changed

    def changed(self, process: Process | None) -> None:
        """A handler of `process` has changed the context: it is that of the process from now on."""
        if process is not None and process.ended is None:
            process.keep_context(self.context)
        self.renew()


class Dispatcher:
    """The run queue of a node and the task that works it off.

    Args:
        base: the node's context.
        clock: the node's time, in seconds.
        turn: messages that a process may handle in one turn.
        slice_size: messages after which the other tasks of the loop run.

    Attributes:
        queue: processes that have something to do, and tasks to resume, each at most once.
        running: who has its turn now: a process whose handler is on the stack, or what resumes a task.
        entry: the entry of the run queue whose turn was the last one, for as long as a slice needs it.
        message: the message whose handler has raised, likewise.
        counted: how many messages the handlers of each process have handled, for whoever counts them. None,
            as it is at first, if nobody counts.
        parked: the dispatcher's task while there is nothing to do.
        own: the context of the handlers that the dispatcher runs.
        callers: the context of those that a caller runs itself, perhaps in a step within a slice, where that
            other context is entered.
        depth: number of tasks that callers have resumed within their steps, one within the other.
    """

    __slots__ = (
        "_clock",
        "_is_cancelled",
        "_longest",
        "_renewed",
        "_slice_size",
        "_turn",
        "callers",
        "counted",
        "depth",
        "entry",
        "handoffs",
        "message",
        "own",
        "parked",
        "queue",
        "running",
    )

    def __init__(self, base: Context, clock: Callable[[], float], turn: int, slice_size: int) -> None:
        self._clock = clock
        self.own = HandlerContext(base)
        self.callers = HandlerContext(base)
        self.queue: deque[Runnable] = deque()
        self.running: Any = None
        self.entry: Any = None
        self.message: Any = None
        self.counted: dict[Process, int] | None = None
        self.parked: trio.lowlevel.Task | None = None
        self.handoffs = HANDOFFS
        self.depth = 0
        self._is_cancelled = False
        self._renewed = clock()
        self._turn = self._longest = turn
        self._slice_size = slice_size

    def unpark(self) -> None:
        """There is something on the run queue again, or is about to be."""
        parked, self.parked = self.parked, None
        if parked is not None:
            try:
                resume(parked)
            except BaseException:
                self.parked = parked
                raise

    def count(self, process: Process, handled: int) -> None:
        """Count messages that a handler of `process` has handled, or is about to, if anybody counts them."""
        counted = self.counted
        if counted is not None:
            counted[process] = counted.get(process, 0) + handled

    def run_then_dispatch(self, fn: Callable[..., None], *args: Any) -> None:
        """Call `fn(*args)`, then give the processes that it has woken their turns, in the present task.

        For a task that is about to end or wait: to wake the dispatcher's own task would cost a round of the
        loop. Raises what `fn` raises.
        """
        parked, self.parked = self.parked, None
        try:
            fn(*args)
            if parked is not None and self.queue:
                task = trio.lowlevel.current_task()
                scope = scope_of(task)
                self.own.run(self._slice)
                if scope_of(task) is not scope:
                    _scopes_left(task, scope)
        finally:
            if parked is not None:
                self.parked = parked
                if self.queue or self._is_cancelled:
                    self.unpark()

    def step_with(self, process: Process, message: Any) -> None:
        """Queue `message` for `process`, whose task waits, and resume that within the present step.

        Where the stack has no room for that, the dispatcher does it.
        """
        waiter = process.waiter
        if waiter is None or process.wanted is not None or not has_headroom():
            process.put(message)
            return
        process.waiter = None
        process.idle = False
        process.queue.append(message)
        self.depth += 1
        try:
            step(waiter)
        finally:
            self.depth -= 1
        if self._clock() - self._renewed > SLICE_SECONDS:
            self.handoffs = 1  # the next call is a checkpoint

    def renew_handoffs(self) -> None:
        """Others are about to run; how soon they are to again depends on how long they had to wait."""
        before, self._renewed = self._renewed, self._clock()
        self.handoffs = HANDOFFS if self._renewed - before < SLICE_SECONDS else FEW_HANDOFFS

    def clear(self) -> None:
        """Forget all processes, and have the loop resume the tasks, now and later: the node has closed."""
        waiting, self.queue = self.queue, _ClosedQueue()
        while waiting:
            waiting.popleft().release()

    @property
    def process(self) -> Process | None:
        """The process whose handler is on the stack now.

        There is none while a task's turn begins, although a finalizer of the program may run then.
        """
        return _process_of(self.running)

    async def run(self) -> None:
        """Work the run queue off until cancelled. After any other error the loop resumes those that wait in
        it, which could not even be cancelled otherwise.
        """
        try:
            await self._run()
        except Exception:
            self.clear()
            raise

    async def _run(self) -> None:
        task = trio.lowlevel.current_task()
        scope = scope_of(task)
        while True:
            self.own.run(self._slice)
            if scope_of(task) is not scope:
                _scopes_left(task, scope)
            self.renew_handoffs()
            if self.queue:
                await trio.lowlevel.checkpoint()
            else:
                self.parked = trio.lowlevel.current_task()
                if self.queue and self._abort(None) is Abort.SUCCEEDED:
                    continue  # a finalizer has sent something meanwhile
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> Abort:
        parked, self.parked = self.parked, None
        self._is_cancelled = parked is None  # in the middle of `run_then_dispatch`: it is woken after that
        return Abort.FAILED if parked is None else Abort.SUCCEEDED

    def _slice(self) -> None:
        own = self.own
        base, context = own.base, own.context
        left = self._slice_size
        clock = self._clock
        now = clock()
        deadline = now + SLICE_SECONDS
        entry: Any = None
        while left > 0:
            turn = self._turn
            try:
                size = min(GROUP, left) if turn > 1 else 1
                is_used_up = self.run_group(size, turn)
                if is_used_up is None:
                    return
                entry = self.entry
                if context and context != base:
                    own.changed(_process_of(entry))
                    return
                left -= size + turn if is_used_up else size
            except BaseException as error:
                entry = self.entry
                _hide_group(error)
                _crashed(entry, error, self.message)
                if own.settle(_process_of(entry)):
                    return
            finally:
                self.running = self.entry = self.message = None
            before, now = now, clock()
            if turn == 1:
                _watch(entry, now - before)
            turn = self._turn = self._longest if now - before < QUICK_GROUP_SECONDS else 1
            if now >= deadline:
                return

    def run_group(self, size: int, turn: int) -> bool | None:
        """Give up to `size` entries a turn each, of up to `turn` messages: the hot path of the runtime.

        It stops early when an entry has used its turn up, or has changed the context. `entry` is the last
        one then, and `message` its message at hand if something is raised.

        Returns:
            true if an entry has used its turn up, None if no entry is left, false otherwise.

        Raises:
            Whatever a handler, or a turn, has raised.
        """
        runnable = self.queue
        requeue = runnable.append
        base, context = self.own.base, self.own.context
        special = envelopes
        plain = PLAIN
        is_used_up: bool | None = False
        message: Any = None
        process: Any = None
        budget = turn
        try:
            for _ in range(size):
                if context and context != base:
                    break
                try:
                    process = runnable.popleft()
                except IndexError:
                    is_used_up = None
                    break
                self.running = process
                actor = process.actor
                if actor is None or process.attention:
                    message = None
                    if process.turn(turn):
                        requeue(process)
                        is_used_up = True
                        break
                    continue
                queue = process.queue
                on_message = process.on_message
                budget = turn
                try:
                    while budget:
                        message = queue.popleft()
                        budget -= 1
                        kind = type(message)
                        try:
                            is_special = kind in special
                        except BaseException as error:
                            is_special = unlisted(error)
                        if not is_special:
                            result = on_message(actor, message)
                        elif kind is Cast:
                            handler = process.handlers[message.method]
                            args = message.args
                            if message.kwargs:
                                result = handler(actor, *args, **message.kwargs)
                            elif len(args) == 1:  # by far the cheapest kind of call there is
                                result = handler(actor, args[0])
                            else:
                                result = handler(actor, *args)
                        elif kind is Request:
                            process.at_hand = message
                            handler = process.handlers[message.method]
                            result = process.body.answer(
                                message, handler(actor, *message.args, **message.kwargs)
                            )
                        elif kind is Down:
                            result = process.body.protocol.on_down(actor, message)
                        else:
                            result = process.body.handle(message)
                        if result is not None:
                            try:
                                is_plain = type(result) in plain
                            except BaseException as error:
                                is_plain = unlisted(error)
                            if not is_plain:
                                process.body.not_used(message, result)
                        if process.attention:
                            requeue(process)
                            break
                        if not queue:
                            process.idle = True
                            break
                    else:
                        requeue(process)
                        is_used_up = True
                        break
                finally:
                    if self.counted is not None:  # which may have come or gone within this very turn
                        self.count(process, turn - budget)
        except BaseException:
            self.message = message
            raise
        finally:
            self.entry = process
        return is_used_up


def _hide_group(error: BaseException) -> None:
    """Leave `run_group` out of the traceback, which has no place in it where it is compiled."""
    outer = trace_of(error)
    inner = None if outer is None else outer.tb_next
    if outer is not None and inner is not None and inner.tb_frame.f_code.co_name == "run_group":
        outer.tb_next = inner.tb_next


def _crashed(process: Any, error: BaseException, message: Any) -> None:
    """Conclude the turn of `process`, whose handler of `message`, or which itself, has raised `error`."""
    try:
        if process.actor is None:
            process.turn_failed(error)
        else:
            process.body.crash(error, message)
    except BaseException as fault:
        step_failed(_process_of(process), "dispatch", fault)


def _scopes_left(task: trio.lowlevel.Task, scope: Any) -> None:
    """Close the scopes that handlers have left open in the last slice, and say so."""
    close_scopes(task, scope)
    log(logging.ERROR, "a handler has left a cancel scope open, which was closed", error=ScopeLeft())


def _process_of(entry: Any) -> Process | None:
    """The process that stands on the run queue itself; None for a task that waits for something."""
    return entry if isinstance(entry, Record) else None  # type: ignore[return-value]


def _watch(entry: Any, seconds: float) -> None:
    """Report that the handler of a process has taken long, if it has."""
    process = _process_of(entry)
    if process is None or seconds <= process.node.config.slow_handler:
        return
    try:
        process.node.reports.slow_handler(process.ref, seconds)
    except BaseException as fault:
        step_failed(process, "report", fault)
