"""Context managers made of generators, as in `contextlib`, that leave the block's own error alone.

Those of `contextlib` assign the traceback of an error that passes through them. A frozen dataclass refuses
that, so that the program would see `FrozenInstanceError` in the place of its own error.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from enfilade.actors.messages.tracebacks import set_trace

__all__ = ["async_block", "block"]

P = ParamSpec("P")
T = TypeVar("T")


def block(fn: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Make a context manager of a generator function, as `contextlib.contextmanager` does."""

    @functools.wraps(fn)
    def made(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Block(fn(*args, **kwargs))

    return made


def async_block(fn: Callable[P, AsyncIterator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Make an async context manager of an async generator function, as `contextlib.asynccontextmanager`."""

    @functools.wraps(fn)
    def made(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _AsyncBlock(fn(*args, **kwargs), fn.__name__)

    return made


def _is_same(raised: BaseException, error: BaseException) -> bool:
    """Return true when `raised` is the block's own error, or what Python has a generator raise instead."""
    stopped = issubclass(type(error), StopIteration | StopAsyncIteration)
    return raised is error or (stopped and type(raised) is RuntimeError and raised.__cause__ is error)


class _Block(AbstractContextManager[T], Generic[T]):
    def __init__(self, steps: Any) -> None:
        self._steps = steps

    def __enter__(self) -> T:
        entered: T = next(self._steps)
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if error is None:
                next(self._steps)
            else:
                self._steps.throw(error)
        except StopIteration as stop:
            return stop is not error
        except BaseException as raised:
            if error is None or not _is_same(raised, error):
                raise
            set_trace(error, trace)
            return False
        raise RuntimeError("expected one yield in the generator of a block, got two")


class _AsyncBlock(AbstractAsyncContextManager[T], Generic[T]):
    def __init__(self, steps: Any, name: str) -> None:
        self._steps = steps
        self._name = name

    def __enter__(self) -> NoReturn:
        raise TypeError(self._advice())

    def __exit__(self, *_error: object) -> None:
        """Be there: Python looks for it before it enters the block."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a block that has not begun has no attribute {name}: {self._advice()}")

    def _advice(self) -> str:
        return f"write `async with {self._name}(...) as ...:`"

    async def __aenter__(self) -> T:
        entered: T = await anext(self._steps)
        return entered

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if error is None:
                await anext(self._steps)
            else:
                await self._steps.athrow(error)
        except StopAsyncIteration as stop:
            return stop is not error
        except BaseException as raised:
            if error is None or not _is_same(raised, error):
                raise
            set_trace(error, trace)
            return False
        raise RuntimeError("expected one yield in the generator of a block, got two")
