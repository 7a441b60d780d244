"""Values that a program may hand to a runtime, and that a runtime may trip over.

Each entry of `VALUES` makes a new value. Most are what libraries have: rows that are not bound to a session,
arrays without a truth value, proxies, mocks, generators.
"""

from __future__ import annotations

import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NoReturn
from unittest.mock import MagicMock

import trio
import trio.lowlevel

from enfilade.actors import NORMAL, Down, Exited, Monitor

__all__ = ["OF_AN_OBJECT", "VALUES", "Unprintable", "UnprintableBadly", "all_raise"]

DEPTH: Final = 100_000


class Unprintable:
    def __repr__(self) -> NoReturn:
        raise LookupError("not bound to a session")

    __str__ = __repr__


class UnprintableBadly:
    def __repr__(self) -> NoReturn:
        raise BaseException("not an Exception")  # noqa: TRY002 (the worst there is)

    __str__ = __repr__


class ReprRecurses:
    def __repr__(self) -> str:
        return f"<{self!r}>"


class ReprIsNoText:
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]


class ReprIsHuge:
    def __repr__(self) -> str:
        return "x" * 20_000_000


class ReprIsHostileText:
    class Text(str):
        def __len__(self) -> NoReturn:
            raise LookupError("no length")

        def __getitem__(self, _: object) -> NoReturn:
            raise LookupError("no part of this")

        def __format__(self, _: str) -> NoReturn:
            raise LookupError("no format")

        __slots__ = ()

    def __repr__(self) -> str:
        return self.Text("text")


class StrRaises:
    def __str__(self) -> NoReturn:
        raise LookupError("no str")


class FormatRaises:
    def __format__(self, _: str) -> NoReturn:
        raise LookupError("no format")


class EqualityRaises:
    def __eq__(self, other: object) -> NoReturn:
        raise LookupError("not comparable")

    def __hash__(self) -> int:
        return 1


class EqualsEverything:
    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 1


class Array:
    """As arrays of numbers: comparing gives an array, which has no truth value."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return Array(*(float(number == other) for number in self.numbers))

    __ne__ = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> NoReturn:
        raise ValueError("the truth value of an array with more than one element is ambiguous")


class HashRaises:
    def __hash__(self) -> NoReturn:
        raise LookupError("no hash")


class HashChanges:
    count = 0

    def __hash__(self) -> int:
        self.count += 1
        return self.count

    def __eq__(self, other: object) -> bool:
        return False


class TruthRaises:
    def __bool__(self) -> NoReturn:
        raise LookupError("neither true nor false")


class LengthRaises:
    def __len__(self) -> NoReturn:
        raise LookupError("no length")


class IterationRaises:
    def __iter__(self) -> NoReturn:
        raise LookupError("no iterator")


class Endless:
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1

    def __len__(self) -> int:
        return 2**62


class DelRaises:
    def __del__(self) -> NoReturn:
        raise LookupError("while it was collected")


class ReduceRaises:
    def __reduce_ex__(self, _: object) -> NoReturn:
        raise LookupError("cannot be copied")


class CopyRaises:
    def __deepcopy__(self, _: object) -> NoReturn:
        raise LookupError("cannot be copied")

    __copy__ = __deepcopy__


class GetattributeRaises:
    def __getattribute__(self, name: str) -> NoReturn:
        raise LookupError(name)


class GetattrRecurses:
    def __getattr__(self, name: str) -> Any:
        return getattr(self, name + "_")


class ClassRaises:
    @property
    def __class__(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no class")


class CallRaises:
    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise LookupError("not to be called")


class CallRaisesBadly:
    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise BaseException("not an Exception")  # noqa: TRY002


class HostileType(type):
    def __repr__(cls) -> NoReturn:
        raise LookupError("no name")

    def __call__(cls, *_: object) -> NoReturn:
        raise LookupError("no instances")

    def __instancecheck__(cls, _: object) -> NoReturn:
        raise LookupError("no instances")

    def __eq__(cls, _: object) -> NoReturn:
        raise LookupError("not comparable")

    def __hash__(cls) -> NoReturn:
        raise LookupError("no hash")


class OfHostileType(metaclass=HostileType):
    pass


class WithoutHash(type):
    """Its classes can be compared, and so have no hash."""

    def __eq__(cls, other: object) -> bool:
        return cls is other


class OfWithoutHash(metaclass=WithoutHash):
    pass


class ErrorWithoutHash(Exception, metaclass=WithoutHash):
    pass


class HashesBadly(type):
    def __hash__(cls) -> NoReturn:
        raise BaseException("not an Exception")  # noqa: TRY002


class OfHashesBadly(metaclass=HashesBadly):
    pass


class Awaitable:
    def __await__(self) -> NoReturn:
        raise LookupError("not to be awaited")


class Descriptor:
    def __get__(self, *_: object) -> NoReturn:
        raise LookupError("not to be read")


METHODS: Final = [
    "repr",
    "str",
    "format",
    "eq",
    "ne",
    "lt",
    "gt",
    "hash",
    "bool",
    "len",
    "iter",
    "next",
    "contains",
    "getitem",
    "call",
    "get",
    "add",
    "int",
    "index",
    "float",
    "bytes",
    "reduce_ex",
    "copy",
    "deepcopy",
    "getattr",
    "enter",
    "await",
    "buffer",
    "dir",
    "sizeof",
]


OF_AN_OBJECT: Final = "raised by an object"


def all_raise(make: Callable[[], BaseException], base: type = object, *args: Any) -> Any:
    """An object each of whose methods raises what `make` makes; of a class derived from `base`."""

    def refuse(*_: object, **__: object) -> NoReturn:
        error = make()
        error.add_note(OF_AN_OBJECT)
        raise error

    attributes = {f"__{method}__": refuse for method in METHODS}
    return type("AllRaise", (base,), attributes)(*args)


def deep_list() -> list[Any]:
    value: list[Any] = []
    for _ in range(DEPTH):
        value = [value]
    return value


def deep_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(DEPTH):
        value = {"deeper": value}
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None:
    await trio.lowlevel.checkpoint()


async def ticks() -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield 1


VALUES: Final[dict[str, Callable[[], Any]]] = {
    "plain": lambda: "plain",
    "none": lambda: None,
    "object": object,
    "unprintable": Unprintable,
    "unprintable_badly": UnprintableBadly,
    "repr_recurses": ReprRecurses,
    "repr_is_no_text": ReprIsNoText,
    "repr_is_huge": ReprIsHuge,
    "repr_is_hostile_text": ReprIsHostileText,
    "str_raises": StrRaises,
    "format_raises": FormatRaises,
    "equality_raises": EqualityRaises,
    "equals_everything": EqualsEverything,
    "array": lambda: Array(1.0, 2.0),
    "array_inside": lambda: (Array(1.0, 2.0), {"array": Array(1.0, 2.0)}),
    "hash_raises": HashRaises,
    "hash_changes": HashChanges,
    "unhashable": lambda: [1],
    "unhashable_inside": lambda: (1, [2]),
    "truth_raises": TruthRaises,
    "length_raises": LengthRaises,
    "iteration_raises": IterationRaises,
    "endless": Endless,
    "del_raises": DelRaises,
    "reduce_raises": ReduceRaises,
    "copy_raises": CopyRaises,
    "getattribute_raises": GetattributeRaises,
    "getattr_recurses": GetattrRecurses,
    "class_raises": ClassRaises,
    "call_raises": CallRaises,
    "call_raises_badly": CallRaisesBadly,
    "hostile_type": lambda: OfHostileType,
    "of_hostile_type": lambda: object.__new__(OfHostileType),
    "class_without_hash": lambda: OfWithoutHash,
    "of_class_without_hash": OfWithoutHash,
    "error_without_hash": ErrorWithoutHash,
    "of_class_that_hashes_badly": OfHashesBadly,
    "awaitable": Awaitable,
    "descriptor": Descriptor,
    "mock": MagicMock,
    "generator": generator,
    "coroutine": coroutine,
    "async_generator": ticks,
    "function": lambda: coroutine,
    "lambda": lambda: lambda *_: 1 // 0,
    "lock": threading.Lock,
    "module": lambda: types.ModuleType("module"),
    "deep_list": deep_list,
    "deep_dict": deep_dict,
    "circular": circular,
    "long_list": lambda: list(range(1_000_000)),
    "huge_bytes": lambda: bytes(20_000_000),
    "huge_text": lambda: "x" * 20_000_000,
    "huge_number": lambda: 10**20_000,
    "not_a_number": lambda: float("nan"),
    "infinite": lambda: float("inf"),
    "negative": lambda: -1,
    "surrogate": lambda: "\udcff",
    "control_characters": lambda: "\x1b[2J\nforged line",
    "empty_text": lambda: "",
    "hostile_keys": lambda: {Unprintable(): UnprintableBadly()},
    "memory_view": lambda: memoryview(bytearray(10)),
    "forged_down": lambda: Down(Monitor(7, None, None), None, NORMAL),  # type: ignore[arg-type]
    "forged_exited": lambda: Exited(None, NORMAL),  # type: ignore[arg-type]
    "cancelled": lambda: trio.Cancelled._create(source="unknown"),
    "stop_iteration": lambda: StopIteration(1),
    "ends_generators": lambda: all_raise(GeneratorExit),
    "cancels": lambda: all_raise(lambda: trio.Cancelled._create(source="unknown")),
    "raises_groups": lambda: all_raise(lambda: BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()])),
    "is_out_of_memory": lambda: all_raise(MemoryError),
    "is_out_of_stack": lambda: all_raise(RecursionError),
    "hostile_str": lambda: all_raise(LookupError, str, "text"),
    "hostile_int": lambda: all_raise(LookupError, int, 1),
    "hostile_float": lambda: all_raise(LookupError, float, 1.0),
    "hostile_bytes_like": lambda: all_raise(LookupError, bytes, b"x"),
    "hostile_tuple": lambda: all_raise(LookupError, tuple, (1, 2)),
    "hostile_list": lambda: all_raise(LookupError, list, [1, 2]),
    "hostile_dict": lambda: all_raise(LookupError, dict, {"key": 1}),
    "hostile_set": lambda: all_raise(LookupError, set, [1, 2]),
    "stops_iterations": lambda: all_raise(StopIteration),
}
