"""The traces of guests: what they send, log and read while they have a message of a trace at hand."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from enfilade.actors import Actor, Node, open_node
from enfilade.actors.guests import Guest
from enfilade.actors.observing.telemetry import context, use
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoWrite, ProcessLogRegistration
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import ActorCall, ActorReceive, ActorSend
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.resources.logs import LogRecord
from tests.hostcalls.guests import PUPPET, GuestError, Puppet
from tests.hostcalls.test_logs import encode

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = PARENT.replace("0af7", "0bf7")
ALL = [capability for capability in Capability if not capability.name.startswith("NET")]


class Desk(Actor):
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def on_message(self, message: Any) -> None:
        trace = context()
        self.seen.append((bytes(message.data), None if trace is None else trace.traceparent))

    def request(self, data: bytes) -> bytes:
        trace = context()
        self.seen.append((data, None if trace is None else trace.traceparent))
        return data


async def puppet(node: Node, capabilities: list[Capability]) -> Puppet:
    guest = Guest(PUPPET, capabilities=capabilities, finds="*", registers="*", ends="*")
    return Puppet(await node.spawn(guest))


async def test_obs_65_a_guest_works_for_the_trace_of_its_message(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []
    async with open_node("shop") as node:
        guest = await puppet(node, ALL)
        await node.spawn(Desk, seen, name="desk")
        desk = await guest.do(c.ACTOR_WHEREIS, "desk")
        channel = await guest.do(c.CHANNEL_CREATE, ChannelCreate(4096, ChannelBackpressure.PARK))
        shared = await guest.do(c.CHANNEL_SHARE, channel)
        await guest.do(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(shared))
        writer = await guest.do(c.CHANNEL_WEAK_WRITER_CREATE, channel)
        assert await guest.do(c.TRACE_CONTEXT) == ""
        # Each order is a message to the guest itself, which is how the puppet is moved.
        with use(PARENT), caplog.at_level(logging.INFO, "enfilade.guest"):
            assert await guest.do(c.TRACE_CONTEXT) == PARENT
            assert len(PARENT) == 55
            await guest.do(c.CHANNEL_WEAK_WRITE, IoWrite(writer, encode(LogRecord(2, "app", "traced"))))
            await guest.do(c.ACTOR_SEND, ActorSend(desk, 0, b"sent"))
            await guest.do(c.ACTOR_CALL, ActorCall(desk, None, b"called", (), 100))
        with caplog.at_level(logging.INFO, "enfilade.guest"):
            await guest.do(c.CHANNEL_WEAK_WRITE, IoWrite(writer, encode(LogRecord(2, "app", "plain"))))
        await guest.do(c.ACTOR_SEND, ActorSend(desk, 0, b"later"))
        assert await guest.do(c.TRACE_CONTEXT) == ""
    assert seen == [(b"sent", PARENT), (b"called", PARENT), (b"later", None)]
    ids = {
        record.getMessage(): (getattr(record, "trace_id", None), getattr(record, "span_id", None))
        for record in caplog.records
        if record.name == "enfilade.guest.app"
    }
    assert ids == {"traced": (PARENT[3:35], PARENT[36:52]), "plain": (None, None)}


async def test_obs_65_the_context_needs_its_capability() -> None:
    async with open_node("shop") as node:
        guest = await puppet(node, [each for each in ALL if each is not Capability.TRACE_READ])
        with use(PARENT), pytest.raises(GuestError, match="permission denied"):
            await guest.do(c.TRACE_CONTEXT)


@pytest.mark.parametrize("message", [b"plain", "cast"])
async def test_a_guest_that_polls_has_the_trace_of_what_it_took_last(message: Any) -> None:
    async with open_node("shop") as node:
        guest = await puppet(node, ALL)
        with use(OTHER):
            if message == "cast":
                guest.ref.cast(Guest.request, b"plain")
            else:
                guest.ref.send(message)
        with use(PARENT):
            got = await guest.do(c.ACTOR_RECEIVE, ActorReceive(0, 1, None, 100))
        assert got.message.data == b"plain"
