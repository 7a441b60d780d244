"""What an entrypoint is called with, what it returns, and how a start fails that cannot call it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from enfilade.actors import NORMAL, Custom, Down, Guest, StartError, Trapped, open_node
from enfilade.actors.guests import guests_of, run_guest
from enfilade.hostcalls import Channel, ScalarType, ScalarValue
from enfilade.hostcalls.abi import BufferParam, ScalarParam
from enfilade.hostcalls.kernel.modules import binary

pytest_plugins = ["enfilade.actors.testing.plugin"]

S = ScalarType


def entry(body: str, signature: str = "") -> bytes:
    """A guest of one function."""
    return binary(f'(module (memory (export "memory") 17) (func (export "start") {signature} {body}))')


def both(low: int, high: int) -> str:
    return f"(i32.and (i32.eq (local.get 0) (i32.const {low})) (i32.eq (local.get 1) (i32.const {high})))"


GIVEN: list[tuple[list[Any], str, str]] = [
    ([-1], "i32", "(i32.eq (local.get 0) (i32.const -1))"),
    ([2**31 - 1], "i32", "(i32.eq (local.get 0) (i32.const 2147483647))"),
    ([2**32 - 1], "i32", "(i32.eq (local.get 0) (i32.const -1))"),
    ([-(2**31)], "i32", "(i32.eq (local.get 0) (i32.const -2147483648))"),
    ([math.inf], "f64", "(f64.eq (local.get 0) (f64.const inf))"),
    ([math.nan], "f64", "(f64.ne (local.get 0) (local.get 0))"),
    ([-0.0], "f64", "(f64.eq (f64.div (f64.const 1) (local.get 0)) (f64.const -inf))"),
    ([ScalarValue(S.I8, -128)], "i32", "(i32.eq (local.get 0) (i32.const -128))"),
    ([ScalarValue(S.U8, 255)], "i32", "(i32.eq (local.get 0) (i32.const 255))"),
    ([ScalarValue(S.I16, -32768)], "i32", "(i32.eq (local.get 0) (i32.const -32768))"),
    ([ScalarValue(S.U16, 65535)], "i32", "(i32.eq (local.get 0) (i32.const 65535))"),
    ([ScalarValue(S.U64, 2**64 - 1)], "i32 i32", both(-1, -1)),
    ([ScalarValue(S.I64, -2)], "i32 i32", both(-2, -1)),
    ([ScalarValue(S.U64, 0x1_0000_0002)], "i32 i32", both(2, 1)),
    ([ScalarValue(S.F32, 1.5)], "f32", "(f32.eq (local.get 0) (f32.const 1.5))"),
    ([""], "i32 i32", both(0, 0)),
    ([b""], "i32 i32", both(0, 0)),
    (["hé"], "i32 i32", "(i32.eq (local.get 1) (i32.const 3))"),
    ([bytearray(b"abc")], "i32 i32", "(i32.eq (i32.load8_u offset=2 (local.get 0)) (i32.const 99))"),
    ([memoryview(b"abc")], "i32 i32", "(i32.eq (i32.load8_u offset=2 (local.get 0)) (i32.const 99))"),
    ([b"x", b"y"], "i32 i32 i32 i32", "(i32.eqz (i32.rem_u (local.get 2) (i32.const 16)))"),
    ([1, 2.0, "x"], "i32 f64 i32 i32", "(i32.eq (local.get 3) (i32.const 1))"),
    ([b"x" * 262_144], "i32 i32", "(i32.eq (local.get 1) (i32.const 262144))"),
    ([7] * 100, "i32 " * 100, "(i32.eq (local.get 99) (i32.const 7))"),
]


@pytest.mark.parametrize(("arguments", "parameters", "holds"), GIVEN)
async def test_arguments_arrive(arguments: list[Any], parameters: str, holds: str) -> None:
    """Numbers at the ends of their kinds, buffers of all kinds, and many of them."""
    module = entry(f"(if (i32.eqz {holds}) (then unreachable))", f"(param {parameters})")
    async with open_node("n") as node:
        assert await run_guest(node, Guest(module, arguments=arguments)) == NORMAL


async def test_arguments_of_spawn_come_last() -> None:
    module = entry("(if (i32.ne (local.get 1) (i32.const 2)) (then unreachable))", "(param i32 i32)")
    async with open_node("n") as node, node.mailbox() as me:
        await me.spawn(Guest(module, arguments=[1]), 2, monitor=True)
        assert (await me.receive(Down)).reason == NORMAL


REFUSED: list[tuple[list[Any], str, str]] = [
    ([2**32], "i32", "expected at most 32 bits, got 4294967296; pass ScalarValue(ScalarType.I64"),
    ([-(2**31) - 1], "i32", "expected at most 32 bits, got -2147483649"),
    ([ScalarValue(S.U8, 256)], "i32", "expected a number that fits U8, got 256"),
    ([ScalarValue(S.U8, 1.5)], "i32", "expected a number that fits U8, got 1.5"),
    ([ScalarValue(S.U64, -1)], "i32 i32", "expected a number that fits U64, got -1"),
    ([ScalarValue(S.F32, 1e300)], "f32", "expected a number that fits F32, got 1e+300"),
    (["\ud800"], "i32 i32", "expected text that UTF-8 can hold, got '\\ud800': surrogates not allowed"),
    ([b"x" * 262_145], "i32 i32", "the limit argument_bytes=262144 is reached"),
    ([], "i32", "the arguments are (); give it arguments=[1], where bytes"),
    ([1, 2], "i32", "the arguments are (i32, i32); give it arguments=[1], where bytes"),
    ([1], "f64", "the arguments are (i32); give it arguments=[1.0], where bytes"),
    ([1.0], "f32", "give it arguments=[ScalarValue(ScalarType.F32, 1.0)], where bytes"),
    ([1], "i64", "no argument is an i64; 64 bits are two i32, the low word first"),
    ([1], "i32 externref", "no argument is an externref"),
    ([1], "v128", "no argument is a v128"),
    *(
        ([each], "i32", "expected bytes, str, int, float, ScalarValue or a channel, got")
        for each in (None, True, 1j, [1], {}, print, object())
    ),
]


@pytest.mark.parametrize(("arguments", "parameters", "told"), REFUSED)
async def test_what_does_not_fit_is_refused(arguments: list[Any], parameters: str, told: str) -> None:
    """The reason is a text, whatever is wrong; it says what to write, and that would be taken."""
    module = entry("", f"(param {parameters})")
    async with open_node("n") as node:
        for guest, given in ((Guest(module, arguments=arguments), []), (Guest(module), arguments)):
            with pytest.raises(StartError, match=re.escape(told)) as caught:
                await node.spawn(guest, *given)
            assert isinstance(caught.value.reason, Custom)


async def test_nothing_is_left_of_a_start_that_failed() -> None:
    """A channel among the arguments becomes a resource, which nobody has when the start fails."""
    module = entry("", "(param i32)")
    async with open_node("n") as node:
        registry = guests_of(node).kernel.registry
        assert await run_guest(node, Guest(module, arguments=[Channel(64)])) == NORMAL
        before = len(registry)
        for wrong in ([object()], [Channel(64)], [2**40], ["\ud800"], [ScalarValue(S.U8, 300)]):
            with pytest.raises(StartError):
                await node.spawn(Guest(module, arguments=[Channel(64), *wrong]))
            with pytest.raises(StartError):
                await node.spawn(Guest(module), Channel(64), *wrong)
        assert len(registry) == before


RETURNED: list[tuple[tuple[Any, ...], str, str]] = [
    ((ScalarParam(S.I32),), "i32", "(i32.const 1)"),
    ((ScalarParam(S.U8),), "i32", "(i32.const 255)"),
    ((ScalarParam(S.U64),), "i32 i32", "(i32.const 1) (i32.const 1)"),
    ((ScalarParam(S.F32),), "f32", "(f32.const 1)"),
    ((BufferParam(),), "i32 i32", "(i32.const 16) (i32.const 4)"),
    ((BufferParam(),), "i32 i32", "(i32.const 0) (i32.const 0)"),
]


@pytest.mark.parametrize(("declared", "results", "body"), RETURNED)
async def test_results_that_were_declared(declared: tuple[Any, ...], results: str, body: str) -> None:
    async with open_node("n") as node:
        guest = Guest(entry(body, f"(result {results})"), results=declared)
        assert await run_guest(node, guest) == NORMAL


@pytest.mark.parametrize(
    ("declared", "results", "body"),
    [
        ((ScalarParam(S.U8),), "i32", "(i32.const 256)"),
        ((ScalarParam(S.I8),), "i32", "(i32.const 128)"),
        ((BufferParam(),), "i32 i32", "(i32.const -1) (i32.const 4)"),
        ((BufferParam(),), "i32 i32", "(i32.const 16) (i32.const -1)"),
    ],
)
async def test_results_that_are_none(declared: tuple[Any, ...], results: str, body: str) -> None:
    """A number beyond its kind, and a buffer beyond the memory, are a misused hostcall."""
    async with open_node("n") as node:
        reason = await run_guest(node, Guest(entry(body, f"(result {results})"), results=declared))
    assert isinstance(reason, Trapped)
    assert "results do not fit its signature" in reason.message


@pytest.mark.parametrize(
    ("results", "body", "told"),
    [
        ("i32", "(i32.const 1)", "give it results=[ScalarParam(ScalarType.I32)]"),
        (
            "f64 i32",
            "(f64.const 1) (i32.const 1)",
            "ScalarType.F64), ScalarParam(ScalarType.I32)]",
        ),
        ("i64", "(i64.const 1)", "no result can be an i64; 64 bits are two i32, the low word first"),
    ],
)
async def test_results_that_were_not_declared(results: str, body: str, told: str) -> None:
    """A `main` that returns an int is the usual case: the error says what to declare."""
    async with open_node("n") as node:
        with pytest.raises(StartError, match=re.escape(told)):
            await node.spawn(Guest(entry(body, f"(result {results})")))
