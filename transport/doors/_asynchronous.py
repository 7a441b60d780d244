"""Door calls and server procedures beside a trio loop.

A call occupies a thread. To cancel it, the thread is sent a signal whose handler does nothing, which ends
the call with EAGAIN or EINTR. A signal that arrives just before the thread enters the call would be lost,
so it is repeated until the thread has come out.
"""

import errno
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import outcome
import trio

from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.errors import DoorCallError
from enfilade.transport.doors.request import Request

T = TypeVar("T")

REPEAT_SECONDS = 0.01


class _Interruptible:
    """A call in a worker thread, which may be told to come back."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._finished = False
        self.interrupted = False

    def run(self) -> object:
        with self._lock:
            if self.interrupted:
                raise DoorCallError.of(errno.EAGAIN)
            self._thread = lib.interrupt_self()
        try:
            return self._call()
        finally:
            with self._lock:
                self._thread = None
                self._finished = True

    def interrupt(self) -> bool:
        """Signal the thread; false when there is nothing more to interrupt."""
        with self._lock:
            self.interrupted = True
            if self._thread is not None:
                lib.interrupt_thread(self._thread)
            return not self._finished

    async def keep_interrupting(self) -> None:
        while self.interrupt():  # noqa: ASYNC110 - there is nothing to wait for but time
            await trio.sleep(REPEAT_SECONDS)


async def call_in_thread(call: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    """Run `call`, which makes one interruptible door call, in a worker thread; cancellation interrupts it."""
    if lib.interrupt_prepare() < 0:
        raise OSError(ffi.errno, "another part of the program uses the signal that interrupts door calls")
    await trio.lowlevel.checkpoint_if_cancelled()
    async with limiter or trio.to_thread.current_default_thread_limiter():
        work = _Interruptible(call)
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()

        def deliver(result: outcome.Outcome[object]) -> None:
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        def abort(_: object) -> trio.lowlevel.Abort:
            trio.lowlevel.spawn_system_task(work.keep_interrupting)
            return trio.lowlevel.Abort.FAILED

        trio.lowlevel.start_thread_soon(work.run, deliver)
        try:
            return await trio.lowlevel.wait_task_rescheduled(abort)  # type: ignore[no-any-return]
        except (DoorCallError.EAGAIN, DoorCallError.EINTR):
            if work.interrupted:
                await trio.lowlevel.checkpoint_if_cancelled()
            raise


class _Service:
    """A call that a server thread has taken and the loop answers.

    The thread waits for the answer, and meanwhile answers questions that only it can: who calls is known to
    the thread that a call was given to, and to no other.
    """

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[outcome.Outcome[object] | Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._finished = False

    def wait(self) -> object:
        """On the server thread: answer questions until the result is there, and return it."""
        while True:
            item = self._inbox.get()
            if callable(item):
                item()
            else:
                return item.unwrap()

    def finish(self, result: outcome.Outcome[object]) -> None:
        """In the loop: the procedure has ended."""
        with self._lock:
            self._finished = True
            self._inbox.put(result)

    def inquire(self, question: Callable[[], bool]) -> bool:
        """Anywhere else: have the server thread answer."""
        answer: queue.SimpleQueue[bool] = queue.SimpleQueue()
        with self._lock:
            if self._finished:
                raise ValueError("the request is over: its server procedure has returned")
            self._inbox.put(lambda: answer.put(question()))
        return answer.get()


class AsyncProcedure:
    """An async server procedure in the role of a sync one: it runs in the loop that this is made in.

    Raises `RuntimeError` outside of trio.
    """

    def __init__(self, procedure: Callable[[Request], Awaitable[Any]]) -> None:
        self._procedure = procedure
        try:
            self._token = trio.lowlevel.current_trio_token()
        except RuntimeError:
            raise RuntimeError(
                "a door with an async server procedure must be created inside a trio loop, "
                "which then runs the procedure"
            ) from None

    def __call__(self, request: Request) -> Any:
        service = _Service()
        request._travel(service.inquire)

        async def serve() -> None:
            service.finish(await outcome.acapture(self._procedure, request))

        def start() -> None:
            try:
                trio.lowlevel.spawn_system_task(serve)
            except RuntimeError as error:  # the loop takes no more tasks
                service.finish(outcome.Error(error))

        self._token.run_sync_soon(start)
        try:
            return service.wait()
        except trio.Cancelled:
            raise RuntimeError("the trio loop of the procedure has ended") from None
