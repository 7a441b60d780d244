"""Errors that a process may end with, and that a runtime may trip over.

Each entry of `ERRORS` makes a new error. None of them is wrong to raise: "let it crash" is a promise about
everybody else. `SystemExit` and `KeyboardInterrupt` are left out, because they end the node by contract.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, Final, NoReturn

import attrs
import trio

from enfilade.actors import Crashed, Custom, Exit, Ignore, NoProcess, ProcessDied, ReceiveTimeout, StartError
from enfilade.transport import register
from tests.isolation.values import Unprintable, UnprintableBadly

__all__ = ["ERRORS", "Maker"]

Maker = Callable[[], Any]

DEPTH: Final = 100_000


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    key: str


@attrs.frozen(eq=False)
class FrozenSlots(Exception):
    key: str


class NotesAreANumber(Exception):
    __notes__ = 5  # type: ignore[assignment]


class NotesRaise(Exception):
    @property
    def __notes__(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no notes")


class AddNoteRaises(Exception):
    def add_note(self, note: str) -> NoReturn:
        raise LookupError(note)


class SetattrRaises(Exception):
    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise LookupError(name)


class TracebackRaises(Exception):
    @property
    def __traceback__(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no traceback")

    @__traceback__.setter
    def __traceback__(self, _: object) -> NoReturn:  # type: ignore[override]
        raise LookupError("no traceback")

    def with_traceback(self, _: object) -> NoReturn:
        raise LookupError("no traceback")


class ArgsRaise(Exception):
    @property
    def args(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no arguments")


class ArgsAreNoTuple(Exception):
    args = 5  # type: ignore[assignment]


@register
class RegisteredArgsRaise(ArgsRaise):
    """Travels by its arguments, which nobody may look at."""


class CauseRaises(Exception):
    @property
    def __cause__(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no cause")

    @property
    def __context__(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no context")


class StrRaises(Exception):
    def __str__(self) -> NoReturn:
        raise LookupError("no str")


class ReprRaises(Exception):
    def __repr__(self) -> NoReturn:
        raise LookupError("no repr")


class TextRaisesBadly(Exception):
    def __repr__(self) -> NoReturn:
        raise BadlyError("no repr")

    __str__ = __repr__


class TextIsNoText(Exception):
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]

    __str__ = __repr__


class GetattributeRaises(Exception):
    def __getattribute__(self, name: str) -> NoReturn:
        raise LookupError(name)


class ClassRaises(Exception):
    @property
    def __class__(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no class")


class EqualityRaises(Exception):
    def __eq__(self, other: object) -> NoReturn:
        raise LookupError("not comparable")

    __hash__ = None  # type: ignore[assignment]


class NoTruth(Exception):
    def __bool__(self) -> NoReturn:
        raise ValueError("the truth value is ambiguous")

    def __len__(self) -> NoReturn:
        raise ValueError("no length")


class ReduceRaises(Exception):
    def __reduce_ex__(self, _: object) -> NoReturn:
        raise LookupError("cannot be copied")


class DelRaises(Exception):
    def __del__(self) -> NoReturn:
        raise LookupError("while it was collected")


class HostileKeyError(KeyError):
    def __repr__(self) -> NoReturn:
        raise LookupError("no repr")

    def __str__(self) -> NoReturn:
        raise LookupError("no str")


class BadlyError(BaseException):
    """One that `except Exception` does not catch."""


class HostileGroup(ExceptionGroup[Exception]):
    def derive(self, excs: Any) -> NoReturn:
        raise LookupError("no part of this")

    def split(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise LookupError("no part of this")

    def subgroup(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise LookupError("no part of this")


class HostileType(type(Exception)):  # type: ignore[misc]
    def __repr__(cls) -> NoReturn:
        raise LookupError("no name")

    def __instancecheck__(cls, _: object) -> NoReturn:
        raise LookupError("no instances")

    def __subclasscheck__(cls, _: object) -> NoReturn:
        raise LookupError("no subclasses")


class OfHostileType(Exception, metaclass=HostileType):
    pass


class HostileExit(Exit):
    @property
    def reason(self) -> NoReturn:  # type: ignore[override]
        raise LookupError("no reason")

    @reason.setter
    def reason(self, _: object) -> None:
        pass


class ExitWithoutReason(Exit):
    def __init__(self) -> None:
        """Does not call the base."""


def stray_cancelled() -> BaseException:
    """One whose scope is over, as a memo or a shared result keeps it."""
    return trio.Cancelled._create(source="unknown")


def deep(attribute: str) -> Exception:
    error = Exception("innermost")
    for number in range(DEPTH):
        outer = Exception(number)
        setattr(outer, attribute, error)
        error = outer
    return error


def deep_group() -> Exception:
    error: Exception = ValueError("innermost")
    for _ in range(DEPTH):
        error = ExceptionGroup("one more", [error])
    return error


def circular() -> Exception:
    one, other = Exception("one"), Exception("other")
    one.__context__, other.__context__ = other, one
    one.__cause__, other.__cause__ = other, one
    return one


def deep_stack() -> Exception:
    def descend() -> None:
        descend()

    try:
        descend()
    except RecursionError as error:
        return error
    raise AssertionError


SHARED: Final = ValueError("the same object each time")

ERRORS: Final[dict[str, Maker]] = {
    "plain": lambda: ValueError("plain"),
    "shared": lambda: SHARED,
    "frozen": lambda: Frozen("key"),
    "frozen_slots": lambda: FrozenSlots("key"),
    "notes_number": NotesAreANumber,
    "notes_raise": NotesRaise,
    "add_note_raises": AddNoteRaises,
    "setattr_raises": SetattrRaises,
    "traceback_raises": TracebackRaises,
    "args_raise": ArgsRaise,
    "args_are_no_tuple": ArgsAreNoTuple,
    "registered_args_raise": RegisteredArgsRaise,
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "\udcff"),
    "system": lambda: OSError(2, Unprintable(), UnprintableBadly()),
    "group_with_exit": lambda: BaseExceptionGroup(
        "exits", [SystemExit(1), KeyboardInterrupt(), ValueError()]
    ),
    "cause_raises": CauseRaises,
    "str_raises": StrRaises,
    "repr_raises": ReprRaises,
    "text_raises_badly": TextRaisesBadly,
    "text_is_no_text": TextIsNoText,
    "getattribute_raises": GetattributeRaises,
    "class_raises": ClassRaises,
    "equality_raises": EqualityRaises,
    "no_truth": NoTruth,
    "reduce_raises": ReduceRaises,
    "del_raises": DelRaises,
    "key_error": HostileKeyError,
    "key_of_hostile": lambda: KeyError(Unprintable(), UnprintableBadly()),
    "huge_argument": lambda: ValueError("x" * 20_000_000, b"y" * 20_000_000),
    "many_arguments": lambda: ValueError(*range(1_000_000)),
    "surrogate": lambda: ValueError("\udcff\x1b[2J\nforged line"),
    "of_hostile_type": OfHostileType,
    "deep_context": lambda: deep("__context__"),
    "deep_cause": lambda: deep("__cause__"),
    "deep_group": deep_group,
    "deep_stack": deep_stack,
    "wide_group": lambda: ExceptionGroup("wide", [ValueError(number) for number in range(DEPTH)]),
    "circular": circular,
    "hostile_group": lambda: HostileGroup("hostile", [StrRaises(), Frozen("key")]),
    "group_of_hostile": lambda: ExceptionGroup("hostile", [ReprRaises(), NotesRaise(), SetattrRaises()]),
    "cancelled": stray_cancelled,
    "group_with_cancelled": lambda: BaseExceptionGroup("mixed", [ValueError("one"), stray_cancelled()]),
    "group_of_cancelled": lambda: BaseExceptionGroup("only", [stray_cancelled(), stray_cancelled()]),
    "asyncio_cancelled": asyncio.CancelledError,
    "base": lambda: BadlyError("base"),
    "group_of_base": lambda: BaseExceptionGroup("base", [BadlyError("base")]),
    "generator_exit": GeneratorExit,
    "stop_iteration": StopIteration,
    "stop_async_iteration": StopAsyncIteration,
    "recursion": lambda: RecursionError("maximum recursion depth exceeded"),
    "memory": MemoryError,
    "would_block": trio.WouldBlock,
    "too_slow": trio.TooSlowError,
    "exit_hostile": lambda: Exit(Custom(Unprintable())),
    "exit_crashed": lambda: Exit(Crashed(StrRaises())),
    "exit_crashed_cancelled": lambda: Exit(Crashed(stray_cancelled())),
    "hostile_exit": HostileExit,
    "exit_without_reason": ExitWithoutReason,
    "no_process": lambda: NoProcess("somebody"),
    "process_died": lambda: ProcessDied("somebody", Custom(Unprintable())),
    "receive_timeout": lambda: ReceiveTimeout(1.0),
    "ignore": Ignore,
    "start_error": lambda: StartError(Custom(Unprintable())),
}
