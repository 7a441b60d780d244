"""How a guest's run was cut short."""

from __future__ import annotations

import enum

import attrs


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
        function: the function's name from the name section, or None.
        index: the function's index in the module.
        offset: the byte offset of the instruction in the module.
    """

    module: str | None
    function: str | None
    index: int
    offset: int

    def __str__(self) -> str:
        return f"{self.module or '<module>'}!{self.function or f'<function {self.index}>'} at {self.offset:#x}"


@attrs.frozen
class Trap:
    """The end of a guest that did not return.

    Attributes:
        kind: which cause.
        message: one sentence for people.
        backtrace: wasm frames, the innermost first.
    """

    kind: TrapKind
    message: str
    backtrace: tuple[Frame, ...] = ()

    def __str__(self) -> str:
        return self.message
