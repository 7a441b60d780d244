"""Door calls and server procedures beside a trio loop.

A call occupies a thread. To cancel it, the thread is sent a signal whose handler does nothing, which ends
the call with EAGAIN or EINTR. A signal that arrives just before the thread enters the call would be lost,
so it is repeated until the thread has come out.
"""

import errno
import threading
from collections.abc import Callable
from typing import TypeVar

import outcome
import trio

from transport.doors._doors import ffi, lib
from transport.doors.errors import DoorCallError

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
            self._thread = lib.dispatch_self()
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
                lib.dispatch_interrupt(self._thread)
            return not self._finished

    async def keep_interrupting(self) -> None:
        while self.interrupt():  # noqa: ASYNC110 - there is nothing to wait for but time
            await trio.sleep(REPEAT_SECONDS)


async def call_in_thread(call: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    """Run `call`, which makes one interruptible door call, in a worker thread; cancellation interrupts it."""
    if lib.dispatch_prepare_interrupt() < 0:
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
