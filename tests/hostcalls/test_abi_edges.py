"""The edges of the guest ABI: pointers at the last byte of memory, buffers that just fit, texts that do not.

Each guest writes down what it has seen and returns that as the buffer that its entrypoint declares.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import BufferParam, BufferResult
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.kernel.execution import Outcome, Returned
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.harness import open_harness

SEEN, BUFFER = 0x80000, 0x90000
SIZE = 256 * 65536
"""Bytes of memory that a guest begins with."""

FAILED = 0x8000_0001
PARK = abi.ChannelCreate(64, abi.ChannelBackpressure.PARK)


async def run(guest: Assembler, body: str, **options: Any) -> Outcome:
    """How a guest with this entrypoint ends; it returns the 256 bytes at `SEEN`."""
    guest.function(
        "start", f"{body} (i32.const {SEEN}) (i32.const 256)", "(result i32 i32) (local $word i32)"
    )
    async with open_harness() as harness:
        return await harness.run(guest, results=(BufferParam(),), **options)


async def seen(guest: Assembler, body: str, **options: Any) -> bytes:
    """What a guest has written to `SEEN` before it returned."""
    outcome = await run(guest, body, **options)
    assert isinstance(outcome, Returned), outcome
    (buffer,) = outcome.results
    assert isinstance(buffer, BufferResult)
    return buffer.data


def await_into(hostcall: str, pointer: int, capacity: int) -> str:
    """Poll future 0 until it is ready, with this result buffer; write the result word to `SEEN`."""
    return f"""
    (loop $again
      (local.set $word
        (call ${hostcall}.poll (i32.const 0) (i32.const 1) (i32.const {pointer}) (i32.const {capacity})))
      (if (i32.eq (local.get $word) (i32.const 0x80000000)) (then
        (call $yield_now)
        (i32.store (i32.const 8) (i32.load (i32.const 12)))
        (i32.store (i32.const 4) (i32.const 0))
        (br $again))))
    (i32.store (i32.const {SEEN}) (local.get $word))"""


@pytest.mark.parametrize(
    ("pointer", "size", "fits"),
    [
        (SIZE - 8, 8, True),
        (SIZE - 7, 8, False),
        (SIZE, 8, False),
        (-8, 8, False),
        (0x100001, 8, True),  # at an odd address
        (0x100000, -1, False),
        (0x7FFFFFFF, 8, False),
        (0x100000, 7, False),
        (0x100000, 0, False),
    ],
)
async def test_arguments_lie_inside_of_memory(pointer: int, size: int, fits: bool) -> None:
    guest = Assembler("time::sleep")
    outcome = await run(guest, f"(drop (call $time.sleep (i32.const {pointer}) (i32.const {size})))")
    assert isinstance(outcome, Returned) is fits


@pytest.mark.parametrize(
    ("pointer", "fits"), [(0, True), (1, True), (SIZE, True), (SIZE + 1, False), (-1, False)]
)
async def test_no_arguments_may_lie_at_the_end_of_memory(pointer: int, fits: bool) -> None:
    guest = Assembler("time::now")
    outcome = await run(guest, f"(drop (call $time.now (i32.const {pointer}) (i32.const 0)))")
    assert isinstance(outcome, Returned) is fits


@pytest.mark.parametrize(
    ("pointer", "capacity", "fits"),
    [
        (SIZE - 16, 16, True),
        (SIZE - 16, 15, False),
        (SIZE - 15, 16, False),
        (BUFFER + 1, 16, True),
        (BUFFER, 0, False),
        (-1, 256, False),
    ],
)
async def test_results_lie_inside_of_their_buffer(pointer: int, capacity: int, fits: bool) -> None:
    guest = Assembler("time::now")
    body = f"(drop (call $time.now.create {guest.nothing}))" + await_into("time.now", pointer, capacity)
    assert isinstance(await run(guest, body), Returned) is fits


async def test_an_empty_result_needs_no_buffer() -> None:
    guest = Assembler("time::sleep")
    nap = guest.message(abi.TimeSleep, abi.TimeSleep(1))
    body = f"(drop (call $time.sleep.create {nap}))" + await_into("time.sleep", SIZE, 0)
    assert (await seen(guest, body))[:4] == bytes(4)


@pytest.mark.parametrize("capacity", [12, 13, 16, 20, 31, 32])
async def test_an_error_is_cut_to_its_buffer(capacity: int) -> None:
    """The text shrinks, its encoding stays whole, and no byte behind the buffer changes."""
    guest = Assembler("time::sleep")
    body = f"""
    (memory.fill (i32.const {SEEN}) (i32.const 0xee) (i32.const 256))
    (i32.store (i32.const {SEEN + 128})
      (call $time.sleep.poll (i32.const 3) (i32.const 1) (i32.const {SEEN}) (i32.const {capacity})))"""
    data = await seen(guest, body)
    assert struct.unpack_from("<I", data, 128) == (FAILED,)
    (size,) = struct.unpack_from("<I", data)
    text = codec(str).decode(data[4 : 4 + size])
    assert "resource not found".startswith(text)
    assert text
    assert capacity < 32 or text == "resource not found"
    assert 4 + size <= capacity
    assert set(data[capacity:128]) == {0xEE}


async def test_arguments_are_the_guests_again_after_create() -> None:
    """What the guest writes over them then changes nothing, and the result may lie where they lay."""
    guest = Assembler("channel::create")
    at = guest.data(codec(abi.ChannelCreate).encode(PARK))
    body = (
        f"(drop (call $channel.create.create (i32.const {at}) (i32.const 8)))"
        f"(i64.store (i32.const {at}) (i64.const -1))"
        + await_into("channel.create", at, 256)
        + f"(i32.store (i32.const {SEEN + 4}) (i32.load (i32.const {at})))"
    )
    assert (await seen(guest, body))[:8] == struct.pack("<II", 4, 0)


async def test_the_root_is_the_end_of_a_message() -> None:
    """Bytes before it that nothing leads to do no harm."""
    guest = Assembler("time::sleep")
    nap = guest.buffer(bytes(16) + struct.pack("<Q", 1))
    body = f"(i32.store (i32.const {SEEN}) (call $time.sleep {nap}))"
    assert (await seen(guest, body))[:4] == bytes(4)


@pytest.mark.parametrize(
    ("pointer", "length", "fits"),
    [(0, 0, True), (SIZE - 4, 4, True), (SIZE - 3, 4, False), (-4, 4, False), (16, -1, False)],
)
async def test_a_returned_buffer_lies_inside_of_memory(pointer: int, length: int, fits: bool) -> None:
    guest = Assembler()
    guest.function("start", f"(i32.const {pointer}) (i32.const {length})", "(result i32 i32)")
    async with open_harness() as harness:
        outcome = await harness.run(guest, results=(BufferParam(),))
    assert isinstance(outcome, Returned) is fits
