"""Module specifications: every rule of the grammar."""

import pytest

from enfilade.hostcalls.abi import (
    BufferArg,
    BufferParam,
    ResourceArg,
    ScalarArg,
    ScalarParam,
    ScalarType,
    ScalarValue,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.kernel.modulespec import ModuleSpecError, make_invocation, parse, parse_invocation


def test_abi_6_every_part_of_a_specification_is_read() -> None:
    """Semicolons and newlines separate, comments and spaces are ignored, the log URI comes first."""
    spec = parse(
        """
        # an echo client
        path = dir/echo.wasm ; capabilities=ChannelLifecycle, channel-writer,time_read,TimeRead
        entrypoint=echo_client
        log-uri=sel://logs; params=utf8,u16 ;args = localhost,7000
        """
    )
    assert (spec.path, spec.entrypoint, spec.log_uri) == ("dir/echo.wasm", "echo_client", "sel://logs")
    assert spec.capabilities == {
        Capability.CHANNEL_LIFECYCLE,
        Capability.CHANNEL_WRITER,
        Capability.TIME_READ,
    }
    assert spec.invocation.signature.params == (BufferParam(), BufferParam(), ScalarParam(ScalarType.U16))
    assert spec.invocation.args == (
        BufferArg(b"sel://logs"),
        BufferArg(b"localhost"),
        ScalarArg(ScalarValue(ScalarType.U16, 7000)),
    )


def test_what_a_specification_leaves_out() -> None:
    """The entrypoint is `start`; an empty log URI is still the first argument."""
    spec = parse("path=a.wasm;capabilities=TimeRead")
    assert (spec.entrypoint, spec.log_uri) == ("start", "")
    assert spec.invocation.args == (BufferArg(b""),)


def test_value_with_an_equals_sign() -> None:
    """A line is split at its first equals sign."""
    assert parse("path=a=b.wasm;capabilities=TimeRead").path == "a=b.wasm"


@pytest.mark.parametrize(
    ("params", "args", "argument"),
    [
        ("i8", "-128", ScalarArg(ScalarValue(ScalarType.I8, -128))),
        (None, "u8:255", ScalarArg(ScalarValue(ScalarType.U8, 255))),
        ("u8", "u8:+7", ScalarArg(ScalarValue(ScalarType.U8, 7))),
        ("i64", "-9223372036854775808", ScalarArg(ScalarValue(ScalarType.I64, -(1 << 63)))),
        ("f32", "1.5", ScalarArg(ScalarValue(ScalarType.F32, 1.5))),
        ("f32", "1e40", ScalarArg(ScalarValue(ScalarType.F32, float("inf")))),
        ("f32", "-Infinity", ScalarArg(ScalarValue(ScalarType.F32, float("-inf")))),
        ("f64", ".5", ScalarArg(ScalarValue(ScalarType.F64, 0.5))),
        ("i32", "-0", ScalarArg(ScalarValue(ScalarType.I32, 0))),
        (None, "f64:-2e3", ScalarArg(ScalarValue(ScalarType.F64, -2000.0))),
        ("buffer", "raw", BufferArg(b"raw")),
        ("bytes", "hex:0xDE_ad be", BufferArg(b"\xde\xad\xbe")),
        ("data", "hex:", BufferArg(b"")),
        ("string", "h\u00e9", BufferArg("h\u00e9".encode())),
        ("text", "other:thing", BufferArg(b"other:thing")),
        (None, "UTF-8:a:b", BufferArg(b"a:b")),
        ("handle", "7", ResourceArg(7)),
        (None, "resource:7", ResourceArg(7)),
    ],
)
def test_each_kind_of_argument_is_read(params: str | None, args: str, argument: object) -> None:
    """Each kind, by params and by its own label."""
    assert parse_invocation(params, args).args == (argument,)


def test_resource_is_a_u64_parameter() -> None:
    """A shared handle is passed as a u64."""
    assert parse_invocation("resource", "7").signature.params == (ScalarParam(ScalarType.U64),)


def test_only_newlines_and_semicolons_end_a_line() -> None:
    """Other characters that Python takes for line breaks are part of the value."""
    spec = parse("path=a\x0cb.wasm\ncapabilities=TimeRead\r\nargs=utf8:one\u2028two")
    assert spec.path == "a\x0cb.wasm"
    assert spec.invocation.args == (BufferArg(b""), BufferArg("one\u2028two".encode()))


def test_values_apart_may_contain_commas() -> None:
    """What is not a comma list has no items to be separated."""
    assert make_invocation(None, ["utf8:a, b", "buffer:;"]).args == (BufferArg(b"a, b"), BufferArg(b";"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("capabilities=TimeRead", "path is missing"),
        ("path=a", "capabilities is missing"),
        ("path=a;capabilities=", "capabilities is missing"),
        ("path=a;capabilities=TimeRead,,ChannelReader", "empty item"),
        ("path=a;capabilities=Fly", "expected a capability"),
        ("path=a;path=b;capabilities=TimeRead", "given twice"),
        ("path=a;capabilities=TimeRead;log_uri=x;log-uri=y", "given twice"),
        ("path=a;capabilities=TimeRead;log_uri=", "empty"),
        ("path=a;capabilities=TimeRead;entrypoint=", "empty"),
        ("path=a;capabilities=TimeRead;colour=blue", "not key=value"),
        ("path=a;capabilities=TimeRead;start", "not key=value"),
        ("path=a;capabilities=TimeRead;args=5", "unknown"),
        ("path=a;capabilities=TimeRead;params=u8", "1 params and 0 args"),
        ("path=a;capabilities=TimeRead;params=u8;args=1,2", "1 params and 2 args"),
        ("path=a;capabilities=TimeRead;params=u8;args=u16:1", "typed u16"),
        ("path=a;capabilities=TimeRead;params=word;args=1", "got 'word'"),
        ("path=a;capabilities=TimeRead;args=u8:1,,u8:2", "empty item"),
        ("path=a;capabilities=TimeRead;args=u8:256", "out of range"),
        ("path=a;capabilities=TimeRead;args=u8:1_0", "expected a number"),
        ("path=a;capabilities=TimeRead;args=u8:0x10", "expected a number"),
        ("path=a;capabilities=TimeRead;args=f32:1 5", "expected a number"),
        ("path=a;capabilities=TimeRead;args=u8:-0", "expected a number"),
        ("path=a;capabilities=TimeRead;args=u64:-1", "expected a number"),
        ("path=a;capabilities=TimeRead;args=i8:128", "out of range"),
        ("path=a;capabilities=TimeRead;args=f32:.", "expected a number"),
        ("path=a;capabilities=TimeRead;args=i32:", "expected a number"),
        ("path=a;capabilities=TimeRead;args=buffer:hex:abc", "even number"),
        ("path=a;capabilities=TimeRead;args=buffer:hex:zz", "even number"),
    ],
)
def test_each_mistake_is_told(text: str, why: str) -> None:
    """Each mistake is told."""
    with pytest.raises(ModuleSpecError, match=why):
        parse(text)
