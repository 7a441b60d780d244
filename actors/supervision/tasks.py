"""Supervised tasks: functions that run once, in a process of their own, and whose result somebody waits for.

A task's crash is its own: whoever waits for it is told the reason, and nobody else is harmed. Tasks live
under a `TaskSupervisor`, so that they are stopped with the part of the system that they belong to.

Source: Elixir's Task and Task.Supervisor.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, TypeVarTuple

import attrs
import trio

from enfilade.actors.messages.errors import CallTimeout, LiveResult, ProcessDied
from enfilade.actors.messages.live import live_kind
from enfilade.actors.messages.reasons import KILL, SHUTDOWN, TIMEOUT, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_record, safe_repr, shown_name
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.process import Process
from enfilade.actors.supervision.child_spec import Child, ShutdownLimit
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.fields import is_int

__all__ = ["Outcome", "Task", "TaskStream", "TaskSupervisor", "async_nolink", "async_stream"]

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class TaskSupervisor(DynamicSupervisor):
    """A dynamic supervisor for tasks: `async_nolink` and `async_stream` start them under it.

    Args:
        max_children: how many tasks there may be at once; `math.inf` for no limit.
    """

    __slots__ = ()

    def __init__(self, *, max_children: float = math.inf) -> None:
        super().__init__(max_children=max_children)


@attrs.frozen
class Outcome(Generic[R]):
    """The outcome of a task.

    Attributes:
        value: its result.
        reason: None, or the reason that it ended with instead of giving a result.
    """

    value: R | None
    reason: Reason | None = None

    __repr__ = safe_record


class Task(Generic[R]):
    """A task that was started, held by the process that started it. Made by `async_nolink`.

    Attributes:
        ref: its process.
    """

    __slots__ = ("_request", "ref")

    def __init__(self, ref: Ref[Any], request: Request[Any]) -> None:
        self.ref = ref
        self._request = request

    @property
    def done(self) -> bool:
        """True when the outcome is known, so that `wait` returns or raises at once."""
        return self._request.settled

    async def wait(self, timeout: float = math.inf) -> R:
        """Wait for the result. A checkpoint when it has to wait; cancelled or out of time, the task goes on.

        Args:
            timeout: seconds.

        Raises:
            ProcessDied: the task ended without a result; the error has the reason, and the exception as its
                cause: `LiveResult`, if the function returned a generator or an iterator.
            CallTimeout: it has not ended within `timeout`; it can be waited for again.
        """
        outcome = await self.outcome(timeout)
        if outcome.reason is not None:
            raise ProcessDied(self.ref, outcome.reason)
        return outcome.value  # type: ignore[return-value]

    async def outcome(self, timeout: float = math.inf) -> Outcome[R]:
        """Wait for the end of the task; a task that ended without a result gives its reason, and no error.

        A checkpoint when it has to wait; cancelled or out of time, the task goes on.

        Args:
            timeout: seconds.

        Raises:
            CallTimeout: it has not ended within `timeout`; it can be waited for again.
        """
        settled = await self._request.wait(timeout)
        # The end of the process settles the request with its reason, unless the result came first.
        return settled if isinstance(settled, Outcome) else Outcome(None, settled)

    async def shut_down(self, timeout: float = 5.0) -> Outcome[R]:
        """Stop the task and wait until it has ended: its outcome, which may still be a result.

        A checkpoint; cancelled, the task was told to stop.

        Args:
            timeout: seconds from the request to stop to the kill.

        Raises:
            TypeError, ValueError: `timeout` is not a number of seconds; the task goes on.
        """
        check_seconds(timeout, "the time limit of a task")
        if not self.done:
            self.ref.exit(SHUTDOWN)
            try:
                return await self.outcome(timeout)
            except CallTimeout:
                self.ref.exit(KILL)
        return await self.outcome()


async def run(
    me: Process, request: Request[Any], fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
) -> None:
    """The body of a task."""
    if not request.settled:  # else whoever started it has given up meanwhile
        result = await fn(*args)
        live = live_kind(result)
        if live is not None:
            raise LiveResult(fn, live)
        request.reply(Outcome(result))


async def async_nolink(
    supervisor: Ref[TaskSupervisor],
    fn: Callable[[*Ts], Awaitable[R]],
    /,
    *args: *Ts,
    shutdown: ShutdownLimit = 5.0,
    label: str | None = None,
) -> Task[R]:
    """Start `await fn(*args)` as a task, not linked to the caller. A checkpoint; cancelled, nothing runs.

    Args:
        supervisor: what the task lives under; on this node.
        fn: an async function.
        args: its arguments.
        shutdown: how the task is stopped with its supervisor, as in a child specification: seconds, or
            "brutal_kill".
        label: a text for people.

    Raises:
        TypeError: `supervisor` is not the ref of a process of this node, or `fn` cannot be called.
        MaxChildren: the supervisor has as many tasks as it may have.
        Everything that `Ref.call` raises.
    """
    parent = process_of(supervisor)
    if parent is None:
        raise TypeError(f"expected a supervisor on this node, got {safe_repr(supervisor)}")
    if not callable(fn):
        raise TypeError(f"expected an async function, got {safe_repr(fn)}")
    request: Request[Any] = Request(parent.node, supervisor, "task", (), {}, None)
    child = Child(
        run, request, fn, args, id="task", restart="temporary", shutdown=shutdown, label=label or fn_name(fn)
    )
    try:
        ref = await supervisor.call(TaskSupervisor.start_child, child)
    except BaseException:
        request.cancel()
        raise
    assert isinstance(ref, Ref)
    process = process_of(ref)
    assert process is not None
    if process.ended is not None:
        request.reply(process.ended)
    else:
        process.extras().stop_requests.append(request)
    return Task(ref, request)


def fn_name(fn: Callable[..., Any]) -> str:
    """The label of a task that was given none."""
    return shown_name(fn)


OnTimeout = Literal["exit", "kill_task"]


def async_stream(
    supervisor: Ref[TaskSupervisor],
    fn: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    *,
    max_concurrency: int | None = None,
    ordered: bool = True,
    timeout: float = 5.0,
    on_timeout: OnTimeout = "exit",
) -> TaskStream[T, R]:
    """Run `fn(item)` as a task for each item, so many at a time, and give the outcomes one by one.

    `async with async_stream(...) as outcomes: async for outcome in outcomes: ...`. Leaving the block, at the
    end or early, shuts down the tasks whose outcomes were not taken.

    Args:
        supervisor: what the tasks live under; on this node.
        fn: an async function of one argument.
        items: taken one at a time, never further ahead than `max_concurrency`.
        max_concurrency: how many tasks run at once, at least 1. Default: one for each processor.
        ordered: whether outcomes come in the order of the items, or as they are ready.
        timeout: seconds that each task may take; `math.inf` for any number.
        on_timeout: "exit" makes the iteration raise `CallTimeout`; "kill_task" kills the task and gives an
            outcome with the reason `TIMEOUT`.

    Raises:
        TypeError: `max_concurrency` is not an int, or `timeout` not a number.
        ValueError: `max_concurrency` is less than 1, `timeout` is negative or NaN, or `on_timeout` is none of
            the two.
    """
    concurrency = (os.cpu_count() or 1) if max_concurrency is None else max_concurrency
    if not is_int(concurrency):
        raise TypeError(f"max_concurrency must be an int, got {safe_repr(concurrency)}")
    if concurrency < 1:
        raise ValueError(f"max_concurrency must be at least 1, got {safe_repr(concurrency)}")
    check_seconds(timeout, "the time limit of a task")
    if on_timeout not in ("exit", "kill_task"):
        raise ValueError(f'on_timeout must be "exit" or "kill_task", got {safe_repr(on_timeout)}')
    return TaskStream(supervisor, fn, iter(items), concurrency, ordered, timeout, on_timeout)


class TaskStream(Generic[T, R]):
    """The outcomes of tasks: an async iterator, to be used within its `async with` block. Made by
    `async_stream`.
    """

    def __init__(
        self,
        supervisor: Ref[TaskSupervisor],
        fn: Callable[[T], Awaitable[R]],
        items: Iterator[T],
        concurrency: int,
        ordered: bool,
        timeout: float,
        on_timeout: OnTimeout,
    ) -> None:
        self._supervisor = supervisor
        self._fn = fn
        self._items = items
        self._concurrency = concurrency
        self._ordered = ordered
        self._timeout = timeout
        self._on_timeout = on_timeout
        self._running: deque[tuple[Task[R], float]] = deque()
        self._news = trio.Event()

    async def __aenter__(self) -> TaskStream[T, R]:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        tasks = [task for task, _ in self._running]
        self._running.clear()
        with trio.CancelScope(shield=True):
            for task in tasks:
                if not task.done:
                    task.ref.exit(SHUTDOWN)
            for task in tasks:
                await task.shut_down()

    def __aiter__(self) -> AsyncIterator[Outcome[R]]:
        return self

    async def __anext__(self) -> Outcome[R]:
        await self._fill()
        if not self._running:
            raise StopAsyncIteration
        task, deadline = await self._next()
        try:
            outcome = await task.outcome(max(0.0, deadline - trio.current_time()))
        except CallTimeout:
            if self._on_timeout == "exit":
                raise CallTimeout(task.ref, self._timeout) from None
            task.ref.exit(KILL)
            killed = await task.outcome()
            outcome = Outcome(None, TIMEOUT) if killed.reason is not None else killed
        self._running.remove((task, deadline))
        return outcome

    async def _fill(self) -> None:
        while len(self._running) < self._concurrency:
            try:
                item = next(self._items)
            except StopIteration:
                return
            try:
                task = await async_nolink(self._supervisor, self._fn, item)
            except BaseException:
                self._items = itertools.chain([item], self._items)
                raise
            self._running.append((task, trio.current_time() + self._timeout))
            if not self._ordered:
                task._request.observer = lambda _: self._news.set()

    async def _next(self) -> tuple[Task[R], float]:
        """The task whose outcome is due next; the oldest when time is up for it."""
        if self._ordered:
            return self._running[0]
        oldest = self._running[0]
        while True:
            for entry in self._running:
                if entry[0].done:
                    return entry
            self._news = trio.Event()
            with trio.move_on_at(oldest[1]) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                return oldest
