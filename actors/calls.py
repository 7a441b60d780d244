"""Requests and replies.

A `Request` is the caller's end of a call: an alias that is good for one reply. It also is the
`signals.Call` that lies in the callee's mailbox, so a local call costs one object. Whoever settles it first
wins: the reply, the callee's end, the time limit, the caller giving up; what comes later is dropped, which
is what a dead alias does in Erlang. A callee on this node that ends fails the calls that it holds (in its
mailbox, at hand, deferred), so a call needs no entry in any monitor table.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio
from trio.lowlevel import Abort, wait_task_rescheduled

from actors import signals
from actors.errors import (
    CallError,
    CallTimeout,
    MailboxFull,
    NoProcess,
    ProcessDied,
    Restarting,
    SenderDropped,
)
from actors.reasons import NO_PROCESS, Reason
from actors.resuming import resume

if TYPE_CHECKING:
    from actors.node import Node
    from actors.process import Process
    from actors.ref import Ref

__all__ = ["Deferred", "Request", "RequestCollection", "multi_call", "multi_cast"]

R = TypeVar("R")
L = TypeVar("L")


class Request(signals.Call, Generic[R]):
    """A call whose reply has not been waited for yet. Made by `Process.request`; `Ref.call` waits for its own
    at once.

    Attributes:
        target: the ref that was called.
    """

    __slots__ = ("error", "node", "observer", "target", "value", "waiter")

    def __init__(
        self,
        node: Node,
        target: Ref[Any],
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        caller: Process | None,
    ) -> None:
        self.method = method
        self.args = args
        self.kwargs = kwargs
        self.caller = None if caller is None else caller.ref
        self.settled = False
        self.node = node
        self.target = target
        self.value: Any = None
        self.error: BaseException | None = None
        self.waiter: trio.lowlevel.Task | None = None
        self.observer: Callable[[Request[Any]], None] | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} to {self.target}{'' if not self.settled else ', settled'}>"

    # What the callee does.

    def reply(self, value: Any) -> None:
        if not self.settled:
            self.value = value
            self._settle()

    def fail(self, error: BaseException) -> None:
        if not self.settled:
            self.error = error
            self._settle()

    def abandon(self, reason: Reason) -> None:
        self.fail(
            NoProcess(self.target) if reason == NO_PROCESS else ProcessDied(self.target, reason),
        )

    def _settle(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            resume(waiter)
            self.waiter = None
        self.settled = True
        if self.observer is not None:
            self.observer(self)

    # What the caller does.

    def check(self) -> bool:
        """Whether the outcome is there, so that `receive` returns or raises at once. Not a checkpoint."""
        return self.settled

    async def wait(self, timeout: float | None = None) -> R:
        """Wait for the reply; on timeout the request stays good and can be waited for again.

        A checkpoint when it has to wait; cancelled, the request stays good too. Source:
        `gen_server:wait_response/2`.

        Args:
            timeout: seconds; None for the node's `call_timeout`, `math.inf` for ever.

        Raises:
            CallTimeout: nothing came in time.
            Everything that `Ref.call` raises for want of a reply.
        """
        if not self.settled:
            seconds = self.node.config.call_timeout if timeout is None else timeout
            await self._park(seconds)
            if not self.settled:
                raise CallTimeout(self.target, seconds)
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[no-any-return]

    async def receive(self, timeout: float | None = None) -> R:
        """Wait for the reply; on timeout, and when cancelled, give up: a later reply is dropped.

        Otherwise as `wait`. Source: `gen_server:receive_response/2`.
        """
        if (
            not self.settled
        ):  # what follows is `_park` again: a coroutine in between would cost each call dearly
            if self.waiter is not None:
                raise trio.BusyResourceError("another task is already waiting for this request")
            seconds = self.node.config.call_timeout if timeout is None else timeout
            lane = None if seconds == math.inf else self.node.timers.lane(seconds)
            if lane is not None:
                lane.add(self)
            self.waiter = trio.lowlevel.current_task()
            try:
                await wait_task_rescheduled(self._abort)
            finally:
                if lane is not None:
                    lane.discard(self)
                if not self.settled:
                    self.settled = True
                    self.error = CallTimeout(self.target, seconds)
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[no-any-return]

    def cancel(self) -> None:
        """Give up: a later reply is dropped. Not a checkpoint."""
        if not self.settled:
            self.settled = True
            self.error = CallTimeout(self.target, 0.0)

    async def _park(self, seconds: float) -> None:
        if self.waiter is not None:
            raise trio.BusyResourceError("another task is already waiting for this request")
        self.waiter = trio.lowlevel.current_task()
        if seconds == math.inf:
            await wait_task_rescheduled(self._abort)
            return
        lane = self.node.timers.lane(seconds)
        lane.add(self)
        try:
            await wait_task_rescheduled(self._abort)
        finally:
            lane.discard(self)

    def _abort(self, _: object) -> Abort:
        self.waiter = None
        return Abort.SUCCEEDED

    def expire(self) -> None:
        """The time limit passed: what the timer task calls."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            trio.lowlevel.reschedule(waiter)

    def then(self, fn: Callable[..., Any], *args: Any) -> None:
        """Run `fn(request, *args)` inside the process that made the request, between messages, once it is
        settled.

        This is how a sync actor uses a reply. Not a checkpoint.
        """
        process = self.caller._process  # type: ignore[union-attr]

        def run(request: Request[Any]) -> None:
            process.continue_with(fn, request, *args)

        if self.settled:
            run(self)
        else:
            self.observer = run

    def result(self) -> R:
        """The reply, now. Not a checkpoint.

        Raises:
            trio.WouldBlock: there is no outcome yet.
            Everything that `Ref.call` raises for want of a reply.
        """
        if not self.settled:
            raise trio.WouldBlock
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[no-any-return]


class Deferred(Generic[R]):
    """A reply that is given later, possibly by another process: what `Process.defer` returns, and the handler
    too.

    Dropped without an answer, it fails the call with `SenderDropped`, at once.
    """

    __slots__ = ("_process", "request")

    def __init__(self, process: Process, request: signals.Call) -> None:
        self._process = process
        self.request: Any = request

    @property
    def caller(self) -> Ref[Any] | None:
        """The process that waits, if it is one."""
        return self.request.caller  # type: ignore[no-any-return]

    def reply(self, value: R) -> None:
        """Answer with `value`; dropped when the caller has given up. Not a checkpoint."""
        self.request.reply(value)
        self._process.undefer(self.request)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, which the caller's `call` raises. Not a checkpoint."""
        self.request.fail(error)
        self._process.undefer(self.request)

    def forward(self, ref: Ref[Any], method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Let `method(*args, **kwargs)` of another process answer; its end, or absence, fails the call.

        Not a checkpoint.

        Raises:
            NotPublic: `method` is not a public method.
        """
        from actors.ref import method_name

        name = method_name(method)
        forwarded = self.request
        self._process.undefer(forwarded)
        if self._process.at_hand is forwarded:
            self._process.at_hand = None  # no longer this process's to answer
        onward: Request[Any] = Request(self._process.node, ref, name, args, kwargs, None)
        onward.caller = forwarded.caller
        onward.observer = lambda done: (
            forwarded.reply(done.value) if done.error is None else forwarded.fail(done.error)
        )
        try:
            ref.deliver(onward)
        except CallError as absent:  # nobody holds the name
            forwarded.fail(absent)

    def __del__(self) -> None:
        request = getattr(self, "request", None)
        if request is not None and not request.settled and self._process.undefer(request):
            request.fail(SenderDropped(self._process.ref))


class RequestCollection(Generic[L]):
    """Requests under way, each with a label; answers are taken in the order in which they come.

    Source: `gen_server:send_request/4` and its request id collections.
    """

    def __init__(self) -> None:
        self._labels: dict[Request[Any], L] = {}
        self._ready: deque[Request[Any]] = deque()
        self._waiter: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[tuple[Request[Any], L]]:
        return iter(self._labels.items())

    def add(self, request: Request[Any], label: L) -> None:
        """Put `request` in, under `label`, which need not be unique. Not a checkpoint."""
        self._labels[request] = label
        if request.settled:
            self._arrived(request)
        else:
            request.observer = self._arrived

    def _arrived(self, request: Request[Any]) -> None:
        self._ready.append(request)
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            trio.lowlevel.reschedule(waiter)

    def check(self) -> tuple[L, Request[Any]] | None:
        """Take the next settled request with its label; None when there is none. Not a checkpoint."""
        while self._ready:
            request = self._ready.popleft()
            if request in self._labels:
                return self._labels.pop(request), request
        return None

    async def wait(self, timeout: float = math.inf) -> tuple[L, Request[Any]]:
        """Wait for the next settled request; on timeout all stay good. A checkpoint when it has to wait.

        Raises:
            trio.TooSlowError: none came within `timeout` seconds.
            LookupError: the collection is empty.
        """
        answer = self.check()
        if answer is not None:
            return answer
        if not self._labels:
            raise LookupError("the collection has no request to wait for")
        if self._waiter is not None:
            raise trio.BusyResourceError("another task is already waiting for this collection")

        def give_up(_: object) -> Abort:
            self._waiter = None
            return Abort.SUCCEEDED

        self._waiter = trio.lowlevel.current_task()
        with trio.fail_after(timeout):
            await wait_task_rescheduled(give_up)
        answer = self.check()
        assert answer is not None
        return answer

    async def receive(self, timeout: float = math.inf) -> tuple[L, Request[Any]]:
        """As `wait`; but on timeout, and when cancelled, all requests are given up."""
        try:
            return await self.wait(timeout)
        except (trio.TooSlowError, trio.Cancelled):
            for request in self._labels:
                request.cancel()
            self._labels.clear()
            self._ready.clear()
            raise


async def multi_call(
    refs: Iterable[Ref[Any]], method: Callable[..., Any], /, *args: Any, timeout: float = 5.0
) -> tuple[list[tuple[Ref[Any], Any]], list[tuple[Ref[Any], BaseException]]]:
    """Call the same method of several processes at once: the replies, and who failed with what.

    A checkpoint. All share one time limit, `timeout` seconds; late replies are dropped. Source:
    `gen_server:multi_call/4`.
    """
    collection: RequestCollection[Ref[Any]] = RequestCollection()
    replies: list[tuple[Ref[Any], Any]] = []
    failures: list[tuple[Ref[Any], BaseException]] = []
    for ref in refs:
        try:
            collection.add(ref._request(method, args, {}), ref)
        except CallError as absent:  # nobody holds the name
            failures.append((ref, absent))
    with trio.move_on_after(timeout):
        while len(collection):
            ref, request = await collection.wait()
            if request.error is None:
                replies.append((ref, request.value))
            else:
                failures.append((ref, request.error))
    for request, ref in list(collection):
        request.cancel()
        failures.append((ref, CallTimeout(ref, timeout)))
    return replies, failures


def multi_cast(refs: Iterable[Ref[Any]], method: Callable[..., Any], /, *args: Any) -> None:
    """Cast the same to several processes; one that cannot be reached does not keep the others from it.

    Not a checkpoint. Source: `gen_server:abcast/2`.

    Raises:
        NotPublic: `method` is not a public method.
    """
    for ref in refs:
        with contextlib.suppress(NoProcess, Restarting, MailboxFull):
            ref.cast(method, *args)
