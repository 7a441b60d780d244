"""Selective receive: the reading end of the mailbox of a process that has a task.

What the present `match` has looked at and left is moved from the queue to `skipped`, which is the save
pointer of Erlang's
receive: waiting again with the same match costs one test per new message, however many wait. Another match,
or none, begins with the skipped ones again.

While the process waits, whoever sends it a message looks whether that matches, and wakes it only then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.errors import ReceiveTimeout
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.signals import Call
from enfilade.actors.processes.keyed_timers import Tick

if TYPE_CHECKING:
    from enfilade.actors.node.timers import Timer
    from enfilade.actors.processes.process import Process

__all__ = ["Reader"]


BUDGET = 64


class Reader:
    """Takes messages out of one process's mailbox, for one task at a time."""

    __slots__ = ("_budget", "_expired", "_match", "_process", "skipped")

    def __init__(self, process: Process) -> None:
        self._process = process
        self._match: Any = None
        self._budget = BUDGET
        self._expired = False
        self.skipped: deque[Any] = deque()

    def take(self, match: Any) -> tuple[bool, Any]:
        """The oldest matching message, if there is one. Not a checkpoint."""
        process = self._process
        queue = process.queue
        skipped = self.skipped
        if skipped and (match is None or match is not self._match):
            self.restore()
        self._match = match
        test = None if match is None else _test_of(match)
        while queue:
            message = queue[0]
            tick = message if type(message) is Tick else None
            if tick is not None:
                if not tick.current:
                    queue.popleft()
                    continue
                message = tick.message
            if test is None or test(message):
                queue.popleft()
                if tick is not None and not tick.unwrap()[0]:
                    continue
                if skipped or process.attention:
                    self._taken(message)
                if is_a(message, Call):
                    process.take_over(message)
                return True, message
            skipped.append(queue.popleft())
        if skipped:
            self._process.reckon_limit()
        return False, None

    def _taken(self, message: Any) -> None:
        self._process.reckon_limit()
        process = self._process
        if process.attention:
            process.observe(message)
            process.settle()

    def drop_oldest(self) -> Any:
        """Throw the oldest message away, and return it."""
        if self.skipped:
            oldest = self.skipped.popleft()
            self._process.reckon_limit()
            return oldest
        return self._process.queue.popleft()

    def put_first(self, message: Any) -> None:
        """Put a message before all others."""
        if self.skipped:
            self.skipped.appendleft(message)
            self._process.reckon_limit()
        else:
            self._process.queue.appendleft(message)

    def restore(self) -> None:
        """Put what was skipped back into the queue."""
        if self.skipped:
            self._process.queue.extendleft(reversed(self.skipped))
            self.skipped.clear()
            self._process.reckon_limit()

    async def receive(self, match: Any, timeout: float) -> Any:
        """Take the oldest message that matches: see `Process.receive`."""
        process = self._process
        timer: Timer | None = None
        check_seconds(timeout, "a timeout")
        self._expired = False
        if self._budget <= 0:
            self._budget = BUDGET
            await trio.lowlevel.checkpoint()
        try:
            while True:
                if process.control:
                    await self.serve()
                if not process.suspended:
                    found, message = self.take(match)
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

    async def serve(self) -> None:
        """Serve the control lane."""
        process = self._process
        while process.control:
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
            process.wanted = self._wanted
        try:
            is_late = process.control or (process.queue and not process.suspended)
            if is_late and self.abort(None) is Abort.SUCCEEDED:  # a finalizer has sent something meanwhile
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_task_rescheduled(self.abort)
        finally:
            process.wanted = None

    def _wanted(self, message: Any) -> bool:
        """Tell whether `message`, which has just come, is worth waking up for: what is not stays queued."""
        if type(message) is Tick:
            message = message.message
        try:
            return bool(_test_of(self._match)(message))
        except BaseException as error:
            if is_interrupt(error):
                raise
            return True  # the receiver is to raise it, not the sender

    def abort(self, _: object) -> Abort:
        """The waiting task was cancelled."""
        process = self._process
        waiter, process.waiter = process.waiter, None
        if waiter is None:
            return Abort.FAILED  # it is being woken
        process.idle = False
        return Abort.SUCCEEDED


def _test_of(match: Any) -> Callable[[Any], Any]:
    """The test of a message that `match`, which is not None, stands for."""
    if isinstance(match, type | tuple):
        return _is_instance(match)
    if callable(match):
        return match  # type: ignore[no-any-return]
    raise TypeError(
        f"match must be a type, a tuple of types or a predicate, got {safe_repr(match)}; "
        f"for the message itself: `lambda message: message == {safe_repr(match)}`"
    )


def _is_instance(kinds: Any) -> Callable[[Any], bool]:
    def fits(candidate: Any) -> bool:
        try:
            return isinstance(candidate, kinds)
        except BaseException as error:  # its `__class__` may raise
            if is_interrupt(error):
                raise
            return False

    return fits
