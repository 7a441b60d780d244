"""From arguments to wasm values, and back from wasm values to results.

A number is one wasm value, a 64-bit integer two (the low word first). A buffer is a pointer and a length;
its bytes are put into the guest's memory behind the mailbox, where a fresh guest has nothing yet.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence

import attrs

from enfilade.hostcalls.abi.errors import InvalidArgument, LimitReached
from enfilade.hostcalls.abi.types import (
    AbiParam,
    BufferParam,
    BufferResult,
    ScalarParam,
    ScalarResult,
    ScalarType,
    ScalarValue,
)

ARGUMENT_BASE = 1040
"""The first byte behind the mailbox ring."""

ARGUMENT_ALIGNMENT = 16
"""Enough for every type, so that a guest can read an encoded argument in place."""

_WIDE = {ScalarType.I64: "<q", ScalarType.U64: "<Q"}
_RANGES = {
    ScalarType.I8: (-(1 << 7), 1 << 7),
    ScalarType.U8: (0, 1 << 8),
    ScalarType.I16: (-(1 << 15), 1 << 15),
    ScalarType.U16: (0, 1 << 16),
    ScalarType.I32: (-(1 << 31), 1 << 31),
    ScalarType.U32: (0, 1 << 32),
    ScalarType.I64: (-(1 << 63), 1 << 63),
    ScalarType.U64: (0, 1 << 64),
}


F32_OVERFLOW = (2 - 2**-24) * 2.0**127
"""The least number that rounds to infinity as an f32."""


@attrs.frozen
class CallPlan:
    """The values of a call, and what to write into memory before it."""

    values: tuple[float, ...]
    writes: tuple[tuple[int, bytes], ...]


def check_scalar(scalar: ScalarValue) -> None:
    """Raise `InvalidArgument`, which says why, unless the value is one of its kind."""
    value, span = scalar.value, _RANGES.get(scalar.kind)
    if span is not None:
        fits = isinstance(value, int) and span[0] <= value < span[1]
    else:
        most = F32_OVERFLOW if scalar.kind is ScalarType.F32 else math.inf
        fits = isinstance(value, int | float) and not most <= abs(value) < math.inf
    if not fits:
        raise InvalidArgument(why=f"expected a number that fits {scalar.kind.name}, got {value!r}")


def plan(
    arguments: Sequence[ScalarValue | bytes],
    *,
    limit: int,
    base: int = ARGUMENT_BASE,
    alignment: int = ARGUMENT_ALIGNMENT,
) -> CallPlan:
    """Flatten the arguments of one call; `limit` bounds the bytes that the buffers take together.

    Raises `LimitReached` when they take more, `InvalidArgument` when a number is outside of its kind.
    """
    values: list[float] = []
    writes: list[tuple[int, bytes]] = []
    position = base
    for argument in arguments:
        if isinstance(argument, bytes):
            if not argument:
                values += (0, 0)
                continue
            position += -position % alignment
            values += (position, len(argument))
            writes.append((position, argument))
            position += len(argument)
            if position > base + limit:
                raise LimitReached("argument_bytes", limit)
        else:
            check_scalar(argument)
            wide = _WIDE.get(argument.kind)
            if wide is None:
                values.append(argument.value)
            else:
                values += struct.unpack("<ii", struct.pack(wide, argument.value))
    return CallPlan(tuple(values), tuple(writes))


def flatten(parameters: Sequence[AbiParam]) -> tuple[str, ...]:
    """The wasm types of the parameters or results: `i32`, `f32` or `f64` for each value."""
    types: list[str] = []
    for parameter in parameters:
        if isinstance(parameter, BufferParam) or parameter.kind in _WIDE:
            types += ("i32", "i32")
        elif parameter.kind in (ScalarType.F32, ScalarType.F64):
            types.append(parameter.kind.name.lower())
        else:
            types.append("i32")
    return tuple(types)


def results(
    declared: Sequence[AbiParam],
    values: Sequence[float],
    read: Callable[[int, int], bytes],
    *,
    limit: int,
) -> tuple[ScalarResult | BufferResult, ...]:
    """Decode the results of an entrypoint by their declared types; `read` copies from the guest's memory.

    Raises `InvalidArgument` when a number is outside of its kind, `LimitReached` when a buffer is longer than
    `limit`.
    """
    return tuple(_results(declared, iter(values), read, limit))


def _results(
    declared: Sequence[AbiParam], values: Iterator[float], read: Callable[[int, int], bytes], limit: int
) -> Iterator[ScalarResult | BufferResult]:
    for parameter in declared:
        if isinstance(parameter, BufferParam):
            pointer, length = _unsigned(next(values)), _unsigned(next(values))
            if length > limit:
                raise LimitReached("argument_bytes", limit)
            yield BufferResult(read(pointer, length) if length else b"")
        else:
            yield ScalarResult(_scalar(parameter, values))


def _scalar(parameter: ScalarParam, values: Iterator[float]) -> ScalarValue:
    kind = parameter.kind
    value: float
    if kind in _WIDE:
        words = struct.pack("<II", _unsigned(next(values)), _unsigned(next(values)))
        (value,) = struct.unpack(_WIDE[kind], words)
    elif kind in (ScalarType.F32, ScalarType.F64):
        value = next(values)
    elif kind is ScalarType.U32:
        value = _unsigned(next(values))
    else:
        value = int(next(values))
    scalar = ScalarValue(kind, value)
    check_scalar(scalar)
    return scalar


def _unsigned(value: float) -> int:
    return int(value) & 0xFFFF_FFFF
