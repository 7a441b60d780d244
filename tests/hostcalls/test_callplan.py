"""Call plans: from arguments to wasm values, and back from values to results."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.hostcalls.abi import (
    BufferArg,
    BufferParam,
    BufferResult,
    ScalarArg,
    ScalarParam,
    ScalarResult,
    ScalarType,
    ScalarValue,
    callplan,
)
from enfilade.hostcalls.abi.callplan import ARGUMENT_BASE, flatten, plan, results
from enfilade.hostcalls.abi.errors import InvalidArgument

GOLDEN: list[ScalarValue | bytes] = [
    b"",
    b"hello",
    ScalarValue(ScalarType.U64, 0x1_0000_0002),
    ScalarValue(ScalarType.U16, 9),
    b"abcd",
]


def test_abi_6_base_is_behind_the_mailbox() -> None:
    """The first buffer lies right behind the ring."""
    assert ARGUMENT_BASE == 1040


def test_abi_6_reference_plan() -> None:
    """With the reference's alignment of 4 the plan is the reference's."""
    made = plan(GOLDEN, limit=1000, alignment=4)
    assert made.values == (0, 0, 1040, 5, 2, 1, 9, 1048, 4)
    assert made.writes == ((1040, b"hello"), (1048, b"abcd"))


def test_abi_6_our_plan_aligns_buffers_for_every_type() -> None:
    """Guests see pointer and length only, so that a larger alignment is theirs for free."""
    made = plan(GOLDEN, limit=1000)
    assert made.values == (0, 0, 1040, 5, 2, 1, 9, 1056, 4)
    assert all(offset % 16 == 0 for offset, _ in made.writes)


def test_all_buffers_together_are_bounded() -> None:
    """The buffers together are bounded, their padding included."""
    assert plan([b"x" * 10, b"y" * 16], limit=32).values == (1040, 10, 1056, 16)
    for arguments in ([b"x" * 33], [b"x" * 17, b"y"]):
        with pytest.raises(InvalidArgument):
            plan(arguments, limit=32)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (ScalarType.I8, -128, 127),
        (ScalarType.U8, 0, 255),
        (ScalarType.I16, -32768, 32767),
        (ScalarType.U16, 0, 65535),
        (ScalarType.I32, -(1 << 31), (1 << 31) - 1),
        (ScalarType.U32, 0, (1 << 32) - 1),
        (ScalarType.I64, -(1 << 63), (1 << 63) - 1),
        (ScalarType.U64, 0, (1 << 64) - 1),
    ],
)
def test_numbers_keep_to_the_range_of_their_kind(kind: ScalarType, low: int, high: int) -> None:
    """Both ends of each kind pass, what is beyond does not, and comes back unchanged."""
    for value in (low, high):
        made = plan([ScalarValue(kind, value)], limit=0)
        assert len(made.values) == len(flatten([ScalarParam(kind)]))
        back = results([ScalarParam(kind)], made.values, lambda *_: b"", limit=0)
        assert back == (ScalarResult(ScalarValue(kind, value)),)
    for value in (low - 1, high + 1):
        with pytest.raises(InvalidArgument):
            plan([ScalarValue(kind, value)], limit=0)
    with pytest.raises(InvalidArgument):
        plan([ScalarValue(kind, 1.5)], limit=0)


@given(st.floats(allow_nan=False))
def test_a_float_is_one_value(value: float) -> None:
    """Floats are one value each."""
    made = plan([ScalarValue(ScalarType.F64, value)], limit=0)
    assert made.values == (value,)
    back = results([ScalarParam(ScalarType.F64)], made.values, lambda *_: b"", limit=0)
    assert back == (ScalarResult(ScalarValue(ScalarType.F64, value)),)


@pytest.mark.parametrize("value", [1e39, -1e300, 1 << 200, "1"])
def test_what_is_no_f32(value: Any) -> None:
    """A finite number beyond the largest f32, or no number, is refused; infinity is not."""
    with pytest.raises(InvalidArgument):
        plan([ScalarValue(ScalarType.F32, value)], limit=0)
    for limit in (math.inf, -math.inf, 3.4028235e38):
        assert plan([ScalarValue(ScalarType.F32, limit)], limit=0).values == (limit,)
    assert math.isnan(plan([ScalarValue(ScalarType.F32, math.nan)], limit=0).values[0])


def test_every_parameter_has_its_wasm_types() -> None:
    """The wasm types of every kind of parameter."""
    kinds = {kind: flatten([ScalarParam(kind)]) for kind in ScalarType}
    assert kinds.pop(ScalarType.F32) == ("f32",)
    assert kinds.pop(ScalarType.F64) == ("f64",)
    assert kinds.pop(ScalarType.I64) == kinds.pop(ScalarType.U64) == ("i32", "i32")
    assert set(kinds.values()) == {("i32",)}
    assert flatten([BufferParam()]) == ("i32", "i32")


def test_buffer_results() -> None:
    """A buffer is copied from the guest's memory, unsigned, bounded, and not at all if it is empty."""
    memory = {(0xFFFF_FFF0, 3): b"end"}

    def read(offset: int, size: int) -> bytes:
        return memory[offset, size]

    assert results([BufferParam()], [-16, 3], read, limit=3) == (BufferResult(b"end"),)
    assert results([BufferParam()], [-16, 0], read, limit=3) == (BufferResult(b""),)
    with pytest.raises(InvalidArgument):
        results([BufferParam()], [-16, -1], read, limit=3)
    assert BufferArg(b"") != ScalarArg(ScalarValue(ScalarType.U8, 0))
    assert callplan.ARGUMENT_ALIGNMENT == 16
