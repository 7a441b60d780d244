"""Python values as arguments of an entrypoint."""

from __future__ import annotations

from typing import Any

from enfilade.fields import is_int, shown
from enfilade.hostcalls.abi import ScalarType, ScalarValue
from enfilade.hostcalls.abi.errors import StartError
from enfilade.hostcalls.contracts.entrypoint import Argument
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.message import Held
from enfilade.hostcalls.resources.registry import Kind, Registry


def argument(registry: Registry, value: Any) -> Argument:
    """`value` as an argument: text and bytes are buffers, an `int` is an i32, a `float` an f64.

    Other kinds of number are given as `ScalarValue`. A channel, or anything held, becomes a slot of the
    guest. Raises `StartError` for other values, an `int` of more than 32 bits and text that is not UTF-8.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise StartError(
                f"expected text that UTF-8 can hold, got {shown(value)}: {error.reason}"
            ) from error
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, ScalarValue):
        return value
    if is_int(value):
        if not -(1 << 31) <= value < 1 << 32:
            raise StartError(f"expected at most 32 bits, got {value}; pass ScalarValue(ScalarType.I64, ...)")
        return ScalarValue(ScalarType.I32 if value < 1 << 31 else ScalarType.U32, value)
    if isinstance(value, float):
        return ScalarValue(ScalarType.F64, value)
    if isinstance(value, Channel):
        return registry.add(Kind.CHANNEL, value)
    if isinstance(value, Held):
        return value.resource
    raise StartError(f"expected bytes, str, int, float, ScalarValue or a channel, got {shown(value)}")
