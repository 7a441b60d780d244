"""Outcomes that come later, without a task.

Ten thousand guests may wait in a read at once. A trio task for each would cost more than the guests do, so
what a driver cannot answer at once is a `Future`: one callback slot, resolved by whoever causes the
outcome. It is also awaitable, for callers that are tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

import trio

T = TypeVar("T")
U = TypeVar("U")


class Cancelled(Exception):
    """The future was cancelled before it had an outcome."""


class Future(Generic[T]):
    """A value or an error that comes at most once; the first outcome counts.

    `on_cancel` is called when the future is cancelled before that, so that whoever would have resolved it
    can forget it.
    """

    __slots__ = ("_callback", "_error", "_on_cancel", "_value", "done")

    def __init__(self, on_cancel: Callable[[], object] | None = None) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._callback: Callable[[Future[T]], None] | None = None
        self._on_cancel = on_cancel

    @classmethod
    def of(cls, value: T) -> Future[T]:
        """Return a future that has `value` already."""
        future = cls()
        future.resolve(value)
        return future

    def resolve(self, value: T) -> None:
        """Give it `value`; nothing happens if it has an outcome."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """Give it `error`, of which a guest hears no more than that; nothing happens if it has an outcome."""
        if not self.done:
            self._error = error
            self._finish()

    def cancel(self) -> None:
        """Abandon the outcome: `result` raises `Cancelled`, and no callback runs."""
        if not self.done:
            self.done = True
            self._error = Cancelled()
            self._callback = None
            on_cancel, self._on_cancel = self._on_cancel, None
            if on_cancel is not None:
                on_cancel()

    def _finish(self) -> None:
        self.done = True
        self._on_cancel = None
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(self)

    def result(self) -> T:
        """The value, or the error raised. Raises `RuntimeError` while there is neither."""
        if not self.done:
            raise RuntimeError("the future has no outcome yet; await it, or use when_done")
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def when_done(self, callback: Callable[[Future[T]], None]) -> None:
        """Call `callback`, the only one, with the future when it has an outcome; at once if it has."""
        if self.done:
            callback(self)
        else:
            self._callback = callback

    def then(self, convert: Callable[[T], U]) -> Future[U]:
        """The future of `convert(value)`; errors pass through, and so does a cancellation, the other way."""
        converted: Future[U] = Future(self.cancel)

        def settle(_: Future[T]) -> None:
            try:
                value = convert(self.result())
            except BaseException as error:
                converted.fail(error)
            else:
                converted.resolve(value)

        self.when_done(settle)
        return converted

    async def wait(self) -> T:
        """Wait for the outcome; a cancelled wait cancels the future. A checkpoint."""
        if self.done:
            await trio.lowlevel.checkpoint()
            return self.result()
        task = trio.lowlevel.current_task()
        self._callback = lambda _: trio.lowlevel.reschedule(task)

        def abort(_: Callable[[], Any]) -> trio.lowlevel.Abort:
            self.cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return self.result()

    def __await__(self) -> Generator[Any, Any, T]:
        return self.wait().__await__()
