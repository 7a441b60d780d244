"""The call of an exported function, checked and packed before there is a guest to make it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs

from enfilade.hostcalls.engine.errors import BadEntrypoint
from enfilade.hostcalls.engine.module import FunctionType, Module, ValueType

FORMATS = {ValueType.I32: "<ixxxx", ValueType.I64: "<q", ValueType.F32: "<fxxxx", ValueType.F64: "<d"}
"""How each type of value that the host can give and take lies in eight bytes."""

_WRAPS = {ValueType.I32: 1 << 32, ValueType.I64: 1 << 64}


@attrs.frozen
class Call:
    """A prepared call for `Instance.begin`; any number of instances of the module can share it.

    Attributes:
        name: the function's export name.
        kinds: the types of its parameters, a byte each.
        values: what to call it with, eight bytes each.
        results: how many results it has.
    """

    name: bytes
    kinds: bytes
    values: bytes
    results: int


def call_of(module: Module, export: str, values: Sequence[int | float] = ()) -> Call:
    """Return the call of the function that `module` exports as `export`.

    Args:
        module: a compiled module.
        export: the function's export name.
        values: one number for each parameter. Integers may be given signed or unsigned.

    Raises `BadEntrypoint` if there is no such function, or it takes other values, or returns what the host
    cannot take.
    """
    extern = module.exports.get(export)
    if extern is None or extern.function is None:
        raise BadEntrypoint(f"the module exports no function named {export!r}")
    function = extern.function
    for result in function.results:
        if result not in FORMATS:
            raise BadEntrypoint(
                f"the function {export!r} returns a {result.name}, which the host cannot take"
            )
    kinds, packed = _packed(export, function, values)
    return Call(export.encode(), kinds, packed, len(function.results))


def _packed(export: str, function: FunctionType, values: Sequence[int | float]) -> tuple[bytes, bytes]:
    if len(function.parameters) != len(values):
        raise BadEntrypoint(
            f"the function {export!r} takes {len(function.parameters)} values, got {len(values)}"
        )
    packed = bytearray()
    for position, (parameter, value) in enumerate(zip(function.parameters, values, strict=True)):
        wrap = _WRAPS.get(parameter)
        try:
            if wrap is not None:
                value = value - wrap if wrap // 2 <= value < wrap else value
            packed += struct.pack(FORMATS[parameter], value)
        except (KeyError, struct.error, OverflowError, TypeError):
            raise BadEntrypoint(
                f"value {position} of the function {export!r} must be of type {parameter.name}, not {value!r}"
            ) from None
    return bytes(parameter.value for parameter in function.parameters), bytes(packed)
