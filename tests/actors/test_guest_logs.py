"""What a guest's logging does first of all, and what becomes of its records."""

from __future__ import annotations

import logging

import pytest

from enfilade.actors import NORMAL, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests, run_guest
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.resources.logs import LogRecord
from enfilade.hostcalls.resources.registry import Kind
from tests.hostcalls.logging_guests import CAPABILITIES, logging_guest

HELLO = LogRecord(2, "app", "hello", (("slot", "42"),))
LAST = LogRecord(3, "app", "last words")
TALKER = logging_guest(HELLO, LAST)


async def test_log_of_a_guest(caplog: pytest.LogCaptureFixture) -> None:
    """Records arrive in the logging tree, with the guest's label; the log channel outlives the guest for a
    while.
    """
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        async with open_node("test") as node:
            guest = Guest(TALKER, capabilities=CAPABILITIES, label="talker")
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
            assert await run_guest(node, Guest(TALKER, capabilities=CAPABILITIES)) == NORMAL
    finally:
        logger.removeHandler(handler)
    assert asked == ["WARNING", "ERROR"]


async def test_logs_are_not_forwarded_where_nobody_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    """The policy can leave log channels to whoever looks them up."""
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        async with open_node("test") as node:
            open_guests(node, policy=Policy(forward_logs=False))
            assert await run_guest(node, Guest(TALKER, capabilities=CAPABILITIES)) == NORMAL
    assert not [record for record in caplog.records if record.name.startswith("enfilade.guest")]


async def test_abi_11_without_the_capabilities_its_logging_fails() -> None:
    """Such a guest needs ChannelLifecycle and ChannelWriter: without them it traps before its own code
    runs.
    """
    async with open_node("test") as node:
        for capabilities in (["ChannelWriter"], ["ChannelLifecycle"], []):
            reason = await run_guest(node, Guest(TALKER, capabilities=capabilities))
            assert str(reason).startswith("trapped")
