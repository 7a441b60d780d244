"""Selective receive: the reading end of the mailbox of a process that has a task.

What the present `match` has looked at and left stays where it is, and is counted: that is the save pointer of
Erlang's receive. Waiting again with the same match costs one test per new message, however many wait. Another
match, or none, begins with the oldest again.

Taking a message out of the midst of a long queue moves all those on one side of it. So the messages before it
are then put aside, until another match wants to see them, and the next one with the same match is the first.

While the process waits, whoever sends it a message looks whether that matches, and wakes it only then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import chain, repeat, starmap
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import trio
from trio.lowlevel import Abort

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.errors import ReceiveTimeout
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE, pause, trap_for
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.signals import Call, Cast
from enfilade.actors.messages.traced import Handling, Traced, bare, trace_of
from enfilade.actors.messages.wake import TaskTurn
from enfilade.actors.processes.keyed_timers import Tick
from enfilade.actors.processes.mailbox import NOTHING, BoundedQueue, oldest_droppable
from enfilade.actors.processes.mailbox_search import MailboxSearch
from enfilade.actors.processes.steps import step_failed

if TYPE_CHECKING:
    from enfilade.actors.messages.trace_context import TraceContext
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.timers import Timer

__all__ = ["Reader"]


BUDGET = 64

DEEP = 1024
"""The number of messages that are moved to take one out of their midst, rather than put aside."""


STRUCT: Final = type(msgspec.Struct)
"""The class of the classes of `Down`, `Exited` and their like, which have no other objects than their own."""


class Reader(TaskTurn):
    """Takes messages out of one process's mailbox, for one task at a time.

    It stands on the run queue for a task that waited here and is to be resumed.

    Attributes:
        skipped: how many messages, from the oldest on, the present match has looked at and left.
    """

    __slots__ = (
        "_aside",
        "_budget",
        "_expired",
        "_handling",
        "_is_disturbed",
        "_kept",
        "_process",
        "_trap",
        "_wanted",
        "skipped",
    )

    def __init__(self, process: Process) -> None:
        super().__init__(process.dispatcher)
        self._process = process
        self._wanted: MailboxSearch | None = None
        self._budget = BUDGET
        self._expired = False
        self._handling: Handling | None = None
        self._kept = BUDGET
        self._aside: deque[Any] | None = None
        self._is_disturbed = False
        self.skipped = 0
        self._trap: Any = None

    @property
    def aside(self) -> Sequence[Any]:
        """The oldest messages, as far as they are not in the queue."""
        return self._aside or ()

    def take(self, match: Any) -> tuple[bool, Any]:
        """The oldest matching message, if there is one. Not a checkpoint."""
        if match is None:
            return self._take_first()
        queue, kind = self._process.queue, type(match)
        is_usual = kind is type or kind is STRUCT
        if is_usual and queue and not self.skipped and type(queue[0]) is match:
            return True, self._taken(queue.popleft())  # as nearly always: there is nothing to search
        if self._wanted is None or match is not self._wanted.match:
            self._wanted = MailboxSearch(match)
            if self.skipped:
                self.restore()
            queue = self._process.queue  # code of a metaclass may have sent the first message that ever came
        find = self._find_in_wraps if _may_have_wraps(self._process) else self._find
        while (position := find(queue)) >= 0:
            if min(position, len(queue) - position) > DEEP:
                self._put_aside(queue, position)
                continue  # the message is the first now
            message = queue[position]
            del queue[position]
            if type(message) is Tick:
                counts, message = message.unwrap()
                if not counts:
                    continue
            return True, self._taken(message)
        return False, None

    def _take_first(self) -> tuple[bool, Any]:
        self._wanted = None
        if self.skipped:
            self.restore()
        queue = self._process.queue
        while queue:
            message = queue.popleft()
            if type(message) is Tick:
                counts, message = message.unwrap()
                if not counts:
                    continue
            return True, self._taken(message)
        return False, None

    def _taken(self, message: Any) -> Any:
        """The message that was taken out of the mailbox, as the process gets it."""
        process = self._process
        trace = trace_of(message)
        if trace is not None:
            message = self._begin_handling(trace, message)
        if process.attention:
            process.observe(message)
            process.settle()
        if issubclass(type(message), Call):
            process.take_over(message)
        return message

    def _begin_handling(self, trace: TraceContext, message: Any) -> Any:
        """Do what follows, until the process asks for another message, in the context of this one."""
        self.end_handling()
        self._kept, self._budget = self._budget, 0  # so that `receive` has a closer look the next time
        is_call, message = issubclass(type(message), Call), bare(message)
        method = message.method if is_call or type(message) is Cast else None
        self._handling = Handling(self._process, trace, method, is_call)
        return message

    def end_handling(self, error: BaseException | None = None) -> None:
        """The process is done with the message that it took last."""
        handling, self._handling = self._handling, None
        if handling is not None:
            self._budget = self._kept
            handling.end(error)

    def _find(self, queue: deque[Any]) -> int:
        """The position in the queue of the oldest message that matches, -1 if there is none; those before it
        are skipped from now on.
        """
        wanted = self._wanted
        assert wanted is not None
        while True:
            self._is_disturbed = False
            aside = len(self.aside)
            try:
                found = wanted.find(queue, self.skipped - aside)
            finally:
                if not self._is_disturbed:  # by the test, or a finalizer, which has sent something
                    self.skipped = aside + wanted.position
            if not self._is_disturbed:
                return wanted.position if found else -1

    def _find_in_wraps(self, queue: deque[Any]) -> int:
        """As `_find`, of a queue in which there may be messages of timers by key, and traced ones."""
        wanted = self._wanted
        assert wanted is not None
        while (position := self.skipped - len(self.aside)) < len(queue):
            message = queue[position]
            if type(message) is Tick:
                if not message.current:
                    del queue[position]
                    continue
                message = message.message
            elif type(message) is Traced:
                message = message.message
            self._is_disturbed = False
            matches = wanted.test(message)
            if self._is_disturbed:
                continue
            if matches:
                return position
            self.skipped += 1
        return -1

    def _put_aside(self, queue: deque[Any], number: int) -> None:
        """Put the first messages of the queue aside, unless a finalizer has just changed it."""
        if self._aside is None:
            self._aside = deque()
        first = starmap(queue.popleft, repeat((), number))
        if not self._is_disturbed:  # from here on Python makes nothing that would let a finalizer run
            self._aside.extend(first)
            self._process.reckon_limit()

    def drop_oldest(self) -> Any:
        """Throw the oldest message that may be dropped away, and return it; `NOTHING` if there is none."""
        self._is_disturbed = True
        aside = self._aside
        position = oldest_droppable(chain(aside or (), self._process.queue))
        if position < 0:
            return NOTHING
        if position < self.skipped:
            self.skipped -= 1
        if aside is None or position >= len(aside):
            return cast(BoundedQueue, self._process.queue).drop(position - len(aside or ()))
        oldest = aside[position]
        del aside[position]
        self._process.reckon_limit()
        return oldest

    def put_first(self, message: Any) -> None:
        """Put a message before all others; the present match has not seen it."""
        self.restore()
        process = self._process
        process.queue.appendleft(message)
        if process.idle and (process.wanted is None or process.wanted(message)):
            process.wake()

    def restore(self) -> None:
        """Begin with the oldest message again: what was skipped is in the queue, and counts as not seen."""
        self._is_disturbed = True
        self.skipped = 0
        aside, self._aside = self._aside, None
        if aside:
            self._process.queue.extendleft(reversed(aside))
            self._process.reckon_limit()

    async def receive(self, match: Any, timeout: float) -> Any:
        """Take the oldest message that matches: see `Process.receive`."""
        process = self._process
        if match is None and timeout == math.inf:  # by far the most frequent case
            while not (process.attention or self.skipped):
                queue = process.queue
                if not queue:
                    if self._handling is not None:
                        self.end_handling()
                    trap, task = self._trap, trio.lowlevel.current_task()
                    if trap is None or process.waiter is not None or process.extras_or_none is not None:
                        await self.park()
                    elif not process.queue and not process.attention:
                        # As `park`, without a coroutine of its own. No call, and so no finalizer, comes
                        # between the look at the queue and the wait.
                        self._budget = BUDGET
                        process.waiter = task
                        process.idle = True
                        await pause(trap)
                    continue
                if self._budget <= 0:
                    break
                message = queue.popleft()
                kind = type(message)
                if kind is Tick or kind is Traced or issubclass(kind, Call):
                    queue.appendleft(message)
                    break
                self._budget -= 1
                return message
        timer: Timer | None = None
        if timeout != math.inf:
            check_seconds(timeout, "a timeout")
        self._expired = False
        if self._handling is not None:
            self.end_handling()
        if self._budget <= 0:
            self._budget = BUDGET
            await trio.lowlevel.checkpoint()
        try:
            while True:
                if process.attention:
                    await self.serve()
                if not process.suspended:
                    found, message = self._take_first() if match is None else self.take(match)
                    if found:
                        self._budget -= 1
                        return message
                if self._expired or timeout == 0:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    raise ReceiveTimeout(timeout)
                if timer is None and timeout != math.inf:
                    timer = process.node.timers.call_after(timeout, self._expire)
                await self.park(match)
        finally:
            if timer is not None:
                timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        if self._process.idle:
            self._process.wake()

    async def serve(self, *, may_stop: bool = False) -> None:
        """Serve the control lane; `may_stop`: up to the order to stop, if one of its items gives it."""
        process = self._process
        process.check_guard()
        if process.exit_signal is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
        while process.control and not (may_stop and process.stopping is not None):
            work = process.control.popleft().serve(process)
            if work is not None:
                await work
        process.settle()

    async def park(self, match: Any = None) -> None:
        """Wait until there is something new; of messages, only one that matches counts. A checkpoint."""
        process = self._process
        if process.waiter is not None:
            raise trio.BusyResourceError(f"another task is already receiving for {process.ref}")

        self._budget = BUDGET
        extras = process.extras_or_none
        if extras is not None and 0 < len(extras.deferred) <= 16:
            process.forget_settled()  # a process that waits keeps no call that it has answered
        process.waiter = trio.lowlevel.current_task()
        process.idle = True
        if match is not None:
            process.wanted = self._wakes
        try:
            is_late = process.control or (process.queue and process.has_unseen() and not process.suspended)
            if is_late and self.abort(None) is Abort.SUCCEEDED:  # a finalizer has sent something meanwhile
                await trio.lowlevel.checkpoint()
            else:
                await pause(self.trap)
        finally:
            process.wanted = None

    @property
    def trap(self) -> Any:
        """The trap that a task that waits here passes to `pause`."""
        if self._trap is None:
            self._trap = trap_for(self.abort)
        return self._trap

    def forget_trap(self) -> None:
        """Let go of the trap, which refers to the reader: the process has ended."""
        self._trap = None

    def turn_failed(self, error: BaseException) -> None:
        """The task could not be resumed on the spot: have the loop do it, and end the process."""
        self.release()
        step_failed(self._process, "dispatch", error)

    def _wakes(self, message: Any) -> bool:
        """Tell whether `message`, which has just come, is worth waking up for: what is not stays queued."""
        if type(message) is Tick or type(message) is Traced:
            message = message.message
        wanted = self._wanted
        try:
            return wanted is None or bool(wanted.test(message))
        except BaseException as error:
            if is_interrupt(error):
                raise
            return True  # the receiver is to raise it, not the sender

    def abort(self, raise_cancelled: Any) -> Abort:
        """The waiting task was cancelled. By an exit signal it ends in its turn of the run queue."""
        process = self._process
        waiter, process.waiter = process.waiter, None
        if waiter is None:
            return Abort.FAILED  # it is being woken
        process.idle = False
        if not IS_AVAILABLE or process.exit_signal is None or raise_cancelled is None:
            return Abort.SUCCEEDED
        dispatcher = process.dispatcher
        if dispatcher.parked is not None:
            dispatcher.unpark()
        try:
            raise_cancelled()
        except trio.Cancelled as cancelled:
            self.task, self.error = waiter, cancelled
        dispatcher.queue.append(self)
        return Abort.FAILED


def _may_have_wraps(process: Process) -> bool:
    extras = process.extras_or_none
    if extras is None:
        return process.mailbox.inherit
    return extras.is_traced or extras.keyed is not None or extras.idle is not None or process.mailbox.inherit
