"""Requests and replies.

A `Request` is the caller's end of a call: an alias that is good for one reply. It also is the
`signals.Call` that lies in the callee's mailbox, so a local call costs one object. The first outcome
settles it: the reply, the callee's end, the time limit, or the caller giving up; later ones are dropped, as
a dead alias does in Erlang. A callee on this node that ends fails the calls that it holds (in its
mailbox, at hand, deferred), so a call needs no entry in any monitor table.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio
from trio.lowlevel import Abort

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import (
    CallError,
    CallTimeout,
    ImproperError,
    LiveResult,
    NoProcess,
    ProcessDied,
)
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.live import live_kind
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE, pause, trap_for
from enfilade.actors.messages.reasons import NO_PROCESS, Reason
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.wake import TaskTurn, resume

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.messages.trace_context import TraceContext
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Deferred", "Request", "observer_failed"]

R = TypeVar("R")

GIVEN_UP: Final = object()
"""Stands in the place of the value that nobody waits for any more."""


class Request(signals.Call, Generic[R]):
    """A call whose reply has not been waited for yet. Made by `Process.request`; `Ref.call` waits for its own
    at once.

    Attributes:
        target: the ref that was called.
        number: under which the callee's node knows the call, if that is another one; not set otherwise.
        trace: the context that it was made in, if that is to be carried (`traced.py`); not set otherwise.
        waiter: the task that waits; None when there is none, or when it is being resumed.
    """

    __slots__ = ("error", "node", "number", "observer", "target", "trace", "value", "waiter")

    number: int
    trace: TraceContext

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

    @property
    def given_up_by(self) -> Ref[Any] | None:
        return (self.caller or self.node.ref) if self.value is GIVEN_UP else None

    def when_given_up(self, fn: Callable[[], None]) -> None:
        self.observe(lambda _request: fn(), also_given_up=True)

    def __repr__(self) -> str:
        return f"<Request {safe_str(self.method)} to {self.target}{'' if not self.settled else ', settled'}>"

    # What the callee does.

    def reply(self, value: Any) -> None:
        """Settle the call with `value`. It has a twin in C (`actors/core/requests.c`)."""
        if not self.settled:
            live = live_kind(value)
            if live is not None:
                self.fail(LiveResult(self.method, live))
                return
            self.value = value
            self._settle()

    def fail(self, error: BaseException) -> None:
        if not self.settled:
            self.error = error if issubclass(type(error), Exception) else ImproperError(self.target, error)
            self._settle()

    def abandon(self, reason: Reason) -> None:
        self.fail(_end_of(self.target, reason))

    def _settle(self) -> None:
        if self.waiter is not None and not self._resume():
            return  # a finalizer has settled it meanwhile
        self.settled = True
        if self.observer is not None:
            try:
                self.observer(self)
            except BaseException as error:  # it is the caller's, and must not end the callee
                observer_failed(self.process, error)

    def _resume(self) -> bool:
        """Have the waiting task go on; false when the request was settled meanwhile. Raises as `resume`."""
        if IS_AVAILABLE:
            dispatcher = self.node.dispatcher
            if dispatcher.parked is not None:
                dispatcher.unpark()
                if self.settled:
                    return False
        waiter, self.waiter = self.waiter, None
        assert waiter is not None
        if IS_AVAILABLE:
            dispatcher.queue.append(TaskTurn(dispatcher, waiter))
            return True
        try:
            resume(waiter)
        except BaseException:
            self.waiter = waiter
            raise
        return True

    # What the caller does.

    def check(self) -> bool:
        """Return true when the outcome is known: `receive` returns or raises at once. Not a checkpoint."""
        return self.settled

    async def wait(self, timeout: float | None = None) -> R:
        """Wait for the reply; on timeout the request stays good and can be waited for again.

        A checkpoint when it has to wait; cancelled, the request stays good too. Source:
        `gen_server:wait_response/2`.

        Args:
            timeout: seconds; None for the node's `call_timeout`, `math.inf` for ever.

        Raises:
            CallTimeout: no reply came in time.
            trio.BusyResourceError: another task is waiting for this request.
            Everything that `Ref.call` raises when there is no reply.
        """
        return await self.receive(timeout, gives_up=False)

    async def receive(self, timeout: float | None = None, *, gives_up: bool = True) -> R:
        """Wait for the reply; on timeout, and when cancelled, give up: a later reply is dropped.

        A checkpoint when it has to wait. Source: `gen_server:receive_response/2`.

        Args:
            timeout: seconds; None for the node's `call_timeout`, `math.inf` for ever.
            gives_up: whether to give up then; `wait` does not.

        Raises:
            CallTimeout: no reply came in time.
            trio.BusyResourceError: another task is waiting for this request.
            Everything that `Ref.call` raises when there is no reply.
        """
        if not self.settled:
            if self.waiter is not None:
                raise trio.BusyResourceError("another task is already waiting for this request")
            seconds = self.node.config.call_timeout if timeout is None else timeout
            lane = None if seconds == math.inf else self.node.timers.lane(seconds)
            if lane is not None:
                lane.add(self)
            self.waiter = trio.lowlevel.current_task()
            try:
                if not self.check() or self._abort(None) is Abort.FAILED:  # by a finalizer, meanwhile
                    await pause(trap_for(self._abort))
            finally:
                if lane is not None:
                    lane.discard(self)
                if gives_up:
                    self._give_up(seconds)
            if self.value is GIVEN_UP or not self.settled:
                hooks = self.node.hooks
                if hooks.call_timed_out:
                    call(hooks.call_timed_out, self.caller, self.target, self.method, seconds)
            if not self.settled:
                raise CallTimeout(self.target, seconds)
        if self.error is not None:
            try:
                raise self.error
            finally:
                del self  # which the traceback of the error would keep, and it the error
        return self.value  # type: ignore[no-any-return]

    def cancel(self) -> None:
        """Give up: a later reply is dropped. Not a checkpoint."""
        self._give_up(0.0)

    def _give_up(self, seconds: float) -> None:
        if not self.settled:
            self.settled = True
            self.error = CallTimeout(self.target, seconds)
            self.value = GIVEN_UP
            number = getattr(self, "number", 0)
            if number:
                self.target.given_up(number)
            if type(self.observer) is Observers:
                self.observer.given_up(self)

    def _abort(self, _: object) -> Abort:
        waiter, self.waiter = self.waiter, None
        return Abort.FAILED if waiter is None else Abort.SUCCEEDED

    @property
    def process(self) -> Process | None:
        """The process that waits; None when it is none, or is over."""
        return None if self.caller is None else self.node.processes.get(self.caller.serial)

    def expire(self) -> None:
        """Wake the waiting task: the time limit has passed. Called by the timer task."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            trio.lowlevel.reschedule(waiter)

    def then(self, fn: Callable[..., Any], *args: Any) -> None:
        """Run `fn(request, *args)` inside the process that made the request, between messages, once it is
        settled.

        This is how a sync actor uses a reply. Not a checkpoint.

        Raises:
            TypeError: `fn` cannot be called.
        """
        _check_callable(fn)
        assert self.caller is not None
        process = self.process
        if process is None:  # it has ended: nobody is left to run `fn`
            return

        def run(request: Request[Any]) -> None:
            process.continue_with(fn, request, *args)

        if self.observer is None and not self.settled:
            self.observer = run  # as `observe` does
        else:
            self.observe(run)

    def observe(self, fn: Callable[[Request[Any]], None], *, also_given_up: bool = False) -> None:
        """Have `fn(request)` called when the outcome is known, beside all others; now if it is.

        Not a checkpoint. With `also_given_up` the caller's giving up counts as an outcome.

        Raises:
            TypeError: `fn` cannot be called.
        """
        _check_callable(fn)
        if self.settled:
            fn(self)
            return
        observers = self.observer
        if observers is None and not also_given_up:
            self.observer = fn
            return
        if type(observers) is not Observers:
            self.observer = observers = Observers([] if observers is None else [observers])
        observers.append(fn)
        if also_given_up:
            observers.of_all_ends.append(fn)

    def result(self) -> R:
        """Return the reply without waiting. Not a checkpoint.

        Raises:
            trio.WouldBlock: there is no outcome yet.
            Everything that `Ref.call` raises when there is no reply.
        """
        if not self.settled:
            raise trio.WouldBlock
        if self.error is not None:
            try:
                raise self.error
            finally:
                del self  # which the traceback of the error would keep, and it the error
        return self.value  # type: ignore[no-any-return]


class Observers(list[Callable[[Request[Any]], None]]):
    """The observers of one request, in the order in which they are told."""

    __slots__ = ("of_all_ends",)

    def __init__(self, observers: Iterable[Callable[[Request[Any]], None]]) -> None:
        super().__init__(observers)
        self.of_all_ends: list[Callable[[Request[Any]], None]] = []

    def __call__(self, request: Request[Any]) -> None:
        """The request is settled."""
        for observer in self:
            observer(request)

    def given_up(self, request: Request[Any]) -> None:
        """The caller has given the request up."""
        for observer in self.of_all_ends:
            observer(request)


class Forwarded(signals.Call):
    """A deferred call that was passed on: its outcome is that of the call that its caller waits for.

    However often a call is passed on, its outcome takes one step.
    """

    __slots__ = ("origin", "target")

    def __init__(
        self,
        call: signals.Call,
        target: Ref[Any],
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.origin: signals.Call = call.origin if isinstance(call, Forwarded) else call
        self.target = target
        super().__init__(method, args, kwargs, call.caller, self.origin.settled)

    @property
    def settled(self) -> bool:
        return self.origin.settled

    @settled.setter
    def settled(self, settled: bool) -> None:
        self.origin.settled = settled

    @property
    def given_up_by(self) -> Ref[Any] | None:
        return self.origin.given_up_by

    @property
    def peer(self) -> str | None:
        return self.origin.peer

    def when_given_up(self, fn: Callable[[], None]) -> None:
        self.origin.when_given_up(fn)

    def reply(self, value: Any) -> None:
        self.origin.reply(value)

    def fail(self, error: BaseException) -> None:
        self.origin.fail(error)

    def abandon(self, reason: Reason) -> None:
        self.fail(_end_of(self.target, reason))


def _check_callable(fn: object) -> None:
    """Raise `TypeError` unless `fn` can be called: later it would end the process, far from the mistake."""
    if not callable(fn):
        raise TypeError(f"expected a function that takes the request, got {safe_repr(fn)}")


def observer_failed(process: Process | None, error: BaseException) -> None:
    """An observer of a request that `process` has made has raised `error`."""
    if process is None:
        log(logging.ERROR, "the reply to a call could not be passed on", error=error)
    else:
        process.fail_in("reply", error)


def _end_of(target: Ref[Any], reason: Reason) -> CallError:
    """The error of a call whose callee, `target`, has ended with `reason`."""
    return NoProcess(target) if reason == NO_PROCESS else ProcessDied(target, reason)


class Deferred(Handle, Generic[R]):
    """A reply that is given later, possibly by another process. Made by `Process.defer`; the handler returns
    it.

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

    @property
    def given_up_by(self) -> Ref[Any] | None:
        """The process that asked, when it waits no longer: its scope was cancelled, or its time has passed.

        The node's own ref stands for plain code. None while the answer is wanted, and when it has been given.
        """
        return self.request.given_up_by  # type: ignore[no-any-return]

    def reply(self, value: R) -> None:
        """Answer with `value`; dropped when the caller has given up. Not a checkpoint.

        What has yet to run, such as a generator, would run in the caller, who gets `LiveResult` instead; so
        does one that is to be answered with a deferred reply.
        """
        if type(value) is Deferred:
            advice = "which answers a call, and is no answer; give a value"
            self.request.fail(LiveResult(self.request.method, "deferred reply", advice))
        else:
            self.request.reply(value)
        self._process.settle_deferred(self.request)

    def fail(self, error: BaseException) -> None:
        """Answer with `error`, which the caller's `call` raises. Not a checkpoint."""
        self.request.fail(error)
        self._process.settle_deferred(self.request)

    def forward(self, ref: Ref[Any], method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Let `method(*args, **kwargs)` of another process answer; its end, or absence, fails the call.

        Not a checkpoint.

        Raises:
            NotPublic: `method` is not a public method.
            PayloadError: an argument cannot travel to the other's node; the reply is still to be given.
            TypeError: `ref` is not a ref; the same.
        """
        if not is_a(ref, Handle):  # as a ref is; what takes any message would leave the caller waiting
            raise TypeError(f"expected a Ref, got {safe_repr(ref)}")
        name = ref.name_of(method)
        process, forwarded = self._process, self.request
        was_owed, at_hand = process.settle_deferred(forwarded), process.at_hand
        if at_hand is forwarded:
            process.at_hand = None  # no longer this process's to answer
        onward = Forwarded(forwarded, ref, name, args, kwargs)
        try:
            ref.deliver(onward)
        except CallError as absent:  # nobody holds the name
            forwarded.fail(absent)
        except BaseException:  # it cannot travel, say
            if was_owed:
                process.take_over(forwarded)
            process.at_hand = at_hand
            raise

    def __del__(self) -> None:
        """Leave a note for the loop, and no more: Python may call this at any line, in any thread."""
        request = getattr(self, "request", None)
        if request is not None:  # also one that the caller has given up: the process is to forget it
            extras = self._process.extras_or_none
            if extras is not None and request in extras.deferred:
                self._process.note_dropped(request)
