"""Classes of objects that do their worst when somebody looks at them."""

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors.messages.tracebacks import formatted

__all__ = ["HOSTILE", "METHODS", "Frozen", "hostile", "nested", "raisers", "told_plainly"]


class Base(BaseException):
    """An error that `except Exception` does not catch."""


def cancelled() -> trio.Cancelled:
    """Return a `trio.Cancelled` that is nobody's."""
    return trio.Cancelled._create()


def recurse(*args: Any) -> Any:
    return recurse(*args)


class Text(str):
    """A text that resists being looked at."""

    __slots__ = ()

    def _refuse(self, *_: Any) -> Any:
        raise LookupError("not text")

    __getitem__ = __iter__ = __len__ = __format__ = __str__ = __repr__ = __hash__ = __eq__ = isprintable = (
        _refuse  # type: ignore[assignment]
    )


def raising(error: Callable[[], BaseException]) -> Callable[..., Any]:
    def method(*_: Any, **__: Any) -> Any:
        raise error()

    return method


raisers: dict[str, Callable[..., Any]] = {
    "an error": raising(lambda: LookupError("not bound to a session")),
    "a base exception": raising(Base),
    "SystemExit": raising(SystemExit),
    "KeyboardInterrupt": raising(KeyboardInterrupt),
    "GeneratorExit": raising(GeneratorExit),
    "StopIteration": raising(StopIteration),
    "MemoryError": raising(MemoryError),
    "Cancelled": raising(cancelled),
    "an error that cannot be shown": raising(lambda: hostile_error()),
    "recursion": recurse,
    "a number": lambda *_: 5,
    "itself": lambda self, *_: self,
    "a subclass of str": lambda *_: Text("a\nb"),
    "a huge text": lambda *_: "\n" * 5_000_000,
    "control characters": lambda *_: "\x1b[31m\r\nERROR:root:forged\u2028\u202e\ud800",
}

METHODS = (
    "__repr__",
    "__str__",
    "__format__",
    "__getattribute__",
    "__getattr__",
    "__class__",
    "__len__",
    "__iter__",
    "__next__",
    "__hash__",
    "__eq__",
    "__bool__",
    "__reduce_ex__",
    "__index__",
    "__call__",
    "__del__",
)


def hostile(method: str, what: Callable[..., Any], *bases: type, base: type | None = None) -> type:
    """Return a class whose `method` does `what`."""
    members: dict[str, Any] = {method: property(what) if method == "__class__" else what}
    if method == "__eq__":
        members["__hash__"] = object.__hash__
    return type("Hostile", bases or (base or object,), members)


class Frozen(Exception):
    """An error that does not let itself be changed, as a frozen dataclass."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete field {name!r}")


def hostile_error() -> BaseException:
    kind: type[BaseException] = hostile("__str__", raising(lambda: LookupError("no str")), Exception)
    kind.__repr__ = kind.__str__  # type: ignore[method-assign]
    return kind("x")


def nested(depth: int) -> list[Any]:
    """Return lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@attrs.define
class Record:
    value: Any


def containers(value: Any) -> Iterator[Any]:
    """Yield what may contain a value."""
    yield value
    yield [value]
    yield (value,)
    yield {"key": value}
    yield Record(value)
    yield ValueError("x", value)
    yield KeyError(value)
    yield [[[[[[[[value]]]]]]]]


HOSTILE = [(method, what) for method in METHODS for what in raisers]


def told_plainly(test: Callable[..., Any]) -> Callable[..., Any]:
    """Have a test fail with a text, because the errors that it raises break pytest's own reports."""

    @functools.wraps(test)
    async def plain(*args: Any, **kwargs: Any) -> None:
        text = ""
        try:
            await test(*args, **kwargs)
        except BaseException as error:
            if issubclass(type(error), trio.Cancelled | KeyboardInterrupt | pytest.skip.Exception):
                raise
            text = formatted(error)
        assert not text, text

    return plain


def stack_left(frames: int, fn: Callable[[], Any]) -> Any:
    """Return `fn()`, called with so many frames left of the stack."""

    def sink(depth: int) -> Any:
        return fn() if depth == 0 else sink(depth - 1)

    used, frame = 0, sys._getframe()
    while frame is not None:
        used, frame = used + 1, frame.f_back  # type: ignore[assignment]
    return sink(sys.getrecursionlimit() - used - frames)
