"""What a guest's logging does first of all, and what becomes of its records."""

from __future__ import annotations

import logging

import pytest

from enfilade.actors import NORMAL, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests, run_guest
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoWrite
from enfilade.hostcalls.codec.rkyv import U32
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.resources.logs import LogRecord
from enfilade.hostcalls.resources.registry import Kind
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.test_logs import encode

CAPABILITIES = ["ChannelLifecycle", "ChannelWriter", "TimeRead"]


def logging_guest() -> bytes:
    """A guest that begins as those of the guest ABI's own library do: slots 0 and 1 are its log channel and
    writer.
    """
    guest = Assembler(
        "channel::create",
        "channel::share",
        "process::register_log_channel",
        "channel::weak_writer_create",
        "channel::weak_write",
    )
    create = guest.message(ChannelCreate, ChannelCreate(524288, ChannelBackpressure.DROP))
    zero = guest.message(U32, 0)
    first = guest.message(IoWrite, IoWrite(1, encode(LogRecord(2, "app", "hello", (("slot", "42"),)))))
    last = guest.message(IoWrite, IoWrite(1, encode(LogRecord(3, "app", "last words"))))
    guest.function(
        "start",
        f"""
        (if (call $ok32 (call $channel.create {create})) (then unreachable))
        (call $ok (call $channel.share {zero}))
        (call $ok (call $process.register_log_channel (global.get $result) (i32.const 8)))
        (if (i32.ne (call $ok32 (call $channel.weak_writer_create {zero})) (i32.const 1)) (then unreachable))
        (call $ok (call $channel.weak_write {first}))
        (call $ok (call $channel.weak_write {last}))
        """,
    )
    return guest.binary()


async def test_log_of_a_guest(caplog: pytest.LogCaptureFixture) -> None:
    """Records arrive in the logging tree, with the guest's label; the log channel outlives the guest for a
    while.
    """
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        async with open_node("test") as node:
            guest = Guest(logging_guest(), capabilities=CAPABILITIES, label="talker")
            assert await run_guest(node, guest) == NORMAL
            (channel,) = guests_of(node).kernel.registry.of_kind(Kind.CHANNEL)
            assert channel.payload.frames == 2
    records = [record for record in caplog.records if record.name == "enfilade.guest.app"]
    assert [(record.levelname, record.getMessage()) for record in records] == [
        ("INFO", "hello slot=42"),
        ("WARNING", "last words"),
    ]
    assert records[0].guest == "talker"  # type: ignore[attr-defined]


async def test_a_log_handler_that_fails_ends_no_guest() -> None:
    """What the program's own handler raises stays there, also when that is logged."""
    asked: list[str] = []

    class Full(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            asked.append(record.levelname)
            raise OSError(28, "No space left on device")

    handler = Full()
    logger = logging.getLogger("enfilade")
    logger.addHandler(handler)
    try:
        async with open_node("test") as node:
            assert await run_guest(node, Guest(logging_guest(), capabilities=CAPABILITIES)) == NORMAL
    finally:
        logger.removeHandler(handler)
    assert asked == ["WARNING", "ERROR"]


async def test_logs_are_not_forwarded_where_nobody_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    """The policy can leave log channels to whoever looks them up."""
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        async with open_node("test") as node:
            open_guests(node, policy=Policy(forward_logs=False))
            assert await run_guest(node, Guest(logging_guest(), capabilities=CAPABILITIES)) == NORMAL
    assert not [record for record in caplog.records if record.name.startswith("enfilade.guest")]


async def test_abi_11_without_the_capabilities_its_logging_fails() -> None:
    """Such a guest needs ChannelLifecycle and ChannelWriter: without them it traps before its own code
    runs.
    """
    async with open_node("test") as node:
        for capabilities in (["ChannelWriter"], ["ChannelLifecycle"], []):
            reason = await run_guest(node, Guest(logging_guest(), capabilities=capabilities))
            assert str(reason).startswith("trapped")
