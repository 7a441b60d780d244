"""Traps: the reasons for which a guest is ended."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from enfilade.hostcalls.engine._engine import ffi, lib


class TrapKind(enum.StrEnum):
    """The causes that supervisors can tell apart; the value is the text for people."""

    UNREACHABLE = "unreachable instruction"
    MEMORY_OUT_OF_BOUNDS = "out of bounds memory access"
    STACK_OVERFLOW = "call stack exhausted"
    DIVISION_BY_ZERO = "integer divide by zero"
    INTEGER_OVERFLOW = "integer overflow"
    BAD_CONVERSION = "invalid conversion to integer"
    TABLE_OUT_OF_BOUNDS = "out of bounds table access"
    NULL_CALL = "indirect call to null"
    BAD_SIGNATURE = "indirect call type mismatch"
    HOSTCALL = "misused hostcall"
    LIMIT = "limit exceeded"
    CPU_TIME = "cpu time exhausted"
    START_TIME = "start function took too long"
    STOPPED = "stopped"
    OTHER = "other trap"


@attrs.frozen
class Frame:
    """One wasm stack frame of a backtrace.

    Attributes:
        module: the module's own name, or None if it has none.
        function: the function's name from the name section, or None. Both names are cut to 400 bytes.
        index: the function's index in the module.
        offset: the byte offset of the instruction in the module.
    """

    module: str | None
    function: str | None
    index: int
    offset: int

    def __str__(self) -> str:
        return (
            f"{self.module or '<module>'}!{self.function or f'<function {self.index}>'} at {self.offset:#x}"
        )


@attrs.frozen
class Trap:
    """The end of a guest that did not return.

    Attributes:
        kind: which cause.
        message: what there is to say beyond that, one sentence for people; it may be empty.
        backtrace: wasm frames, the innermost first.
    """

    kind: TrapKind
    message: str = ""
    backtrace: tuple[Frame, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else str(self.kind)


_FAULTS = {
    lib.FAULT_HOSTCALL: TrapKind.HOSTCALL,
    lib.FAULT_LIMIT: TrapKind.LIMIT,
    lib.FAULT_CPU_TIME: TrapKind.CPU_TIME,
    lib.FAULT_START_TIME: TrapKind.START_TIME,
    lib.FAULT_STOPPED: TrapKind.STOPPED,
}

# Names come from the module, whose author may have made them as long as the module.
_LONGEST_TEXT = 400

# Wasmtime's trap codes, as its C API numbers them.
_CODES = {
    0: TrapKind.STACK_OVERFLOW,
    1: TrapKind.MEMORY_OUT_OF_BOUNDS,
    3: TrapKind.TABLE_OUT_OF_BOUNDS,
    4: TrapKind.NULL_CALL,
    5: TrapKind.BAD_SIGNATURE,
    6: TrapKind.INTEGER_OVERFLOW,
    7: TrapKind.DIVISION_BY_ZERO,
    8: TrapKind.BAD_CONVERSION,
    9: TrapKind.UNREACHABLE,
}


def read_trap(guest: Any) -> Trap:
    """Return what the shim has noted of the end of `guest`."""
    view = lib.guest_trap(guest)
    if view == ffi.NULL:
        return Trap(TrapKind.OTHER, "the host had no memory to describe the trap")
    backtrace = tuple(
        Frame(
            module=_name(frame.module, frame.module_size),
            function=_name(frame.function, frame.function_size),
            index=frame.index,
            offset=frame.offset,
        )
        for frame in ffi.unpack(view.frames, view.frame_count)
    )
    if view.fault in _FAULTS:
        return Trap(_FAULTS[view.fault], _name(view.message, view.message_size) or "", backtrace)
    kind = _CODES.get(view.code, TrapKind.OTHER)
    message = _name(view.message, view.message_size) if kind is TrapKind.OTHER else None
    return Trap(kind, message or "", backtrace)


def _name(data: Any, size: int) -> str | None:
    if data == ffi.NULL:
        return None
    return bytes(ffi.buffer(data, min(size, _LONGEST_TEXT))).decode(errors="replace")
