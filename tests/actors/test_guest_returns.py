"""What a guest was given, and has dropped without having looked at it, is not lost."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from enfilade.actors import Node, Request, open_node
from enfilade.actors.guests import Guest
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoRead, IoWrite
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import ActorReceive, ActorReceived, PlainMessage
from enfilade.hostcalls.resources.message import Message
from tests.hostcalls.guests import PUPPET, Puppet

PLAIN, REQUESTS = (ActorReceive(timeout_ms=0, kinds=kinds, tag=None, data_limit=100) for kinds in (1, 2))
GRANTS = ("ActorMessage", "ActorLink", "ChannelLifecycle", "ChannelReader", "ChannelWriter")
ORDERS = pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "the newest first"])


async def puppet(node: Node, grants: tuple[str, ...] = ("ActorMessage",)) -> Puppet:
    return Puppet(await node.spawn(Guest(PUPPET, capabilities=list(grants))))


async def received(guest: Puppet) -> list[tuple[int, bytes]]:
    found = []
    while (received := await guest.do(c.ACTOR_RECEIVE, PLAIN)) != ActorReceived(None):
        assert isinstance(received, ActorReceived)
        assert isinstance(received.message, PlainMessage)
        found.append((received.message.tag, received.message.data))
    return found


@ORDERS
async def test_messages_keep_their_order(order: tuple[int, int]) -> None:
    async with open_node("test") as node:
        guest = await puppet(node)
        for message in (b"one", Message(b"two", 7), b"three"):
            guest.ref.send(message)
        futures = [await guest.begin(c.ACTOR_RECEIVE, PLAIN) for _ in range(2)]
        for which in order:
            await guest.drop(futures[which])
        assert await received(guest) == [(0, b"one"), (7, b"two"), (0, b"three")]


async def test_a_message_that_was_looked_at_does_not_come_back() -> None:
    async with open_node("test") as node:
        guest = await puppet(node)
        guest.ref.send(b"one")
        future = await guest.begin(c.ACTOR_RECEIVE, PLAIN)
        assert (await guest.wait(c.ACTOR_RECEIVE, future)).message.data == b"one"
        assert await received(guest) == []


async def test_a_request_is_received_again() -> None:
    """Its caller, who waits, is answered by whoever receives it then."""
    async with open_node("test") as node, node.mailbox() as me:
        guest = await puppet(node)
        begin = struct.pack("<I", 0x10000 + c.CATALOGUE.index(c.ACTOR_RECEIVE))
        begun: Request[Any] = me.request(
            guest.ref, Guest.request, begin + c.ACTOR_RECEIVE.input.encode(REQUESTS)
        )
        ask: Request[Any] = me.request(
            guest.ref, Guest.request, struct.pack("<I", c.CATALOGUE.index(c.ACTOR_SELF))
        )
        future = int.from_bytes((await begun.receive())[4:], "little")
        assert not ask.settled
        await guest.drop(future)
        slot = int.from_bytes((await ask.receive())[4:], "little")
        assert await guest.do(c.ACTOR_SELF) == slot


async def _channel(guest: Puppet) -> tuple[int, int]:
    channel = await guest.do(c.CHANNEL_CREATE, ChannelCreate(1024, ChannelBackpressure.PARK))
    reader = await guest.do(c.CHANNEL_STRONG_READER_CREATE, channel)
    return reader, await guest.do(c.CHANNEL_STRONG_WRITER_CREATE, channel)


@ORDERS
async def test_frames_keep_their_order(order: tuple[int, int]) -> None:
    async with open_node("test") as node:
        guest = await puppet(node, GRANTS)
        reader, writer = await _channel(guest)
        for frame in (b"one", b"two", b"three"):
            await guest.do(c.CHANNEL_STRONG_WRITE, IoWrite(writer, frame))
        futures = [await guest.begin(c.CHANNEL_STRONG_READ, IoRead(reader, 100)) for _ in range(2)]
        for which in order:
            await guest.drop(futures[which])
        read = [await guest.do(c.CHANNEL_STRONG_READ, IoRead(reader, 100)) for _ in range(3)]
        assert [frame.payload for frame in read] == [b"one", b"two", b"three"]


async def test_a_frame_that_came_while_the_read_waited() -> None:
    async with open_node("test") as node:
        guest = await puppet(node, GRANTS)
        reader, writer = await _channel(guest)
        future = await guest.begin(c.CHANNEL_STRONG_READ, IoRead(reader, 100))
        await guest.do(c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"one"))
        await guest.drop(future)
        assert (await guest.do(c.CHANNEL_STRONG_READ, IoRead(reader, 100))).payload == b"one"


async def test_a_waiting_read_gets_what_comes_back() -> None:
    async with open_node("test") as node:
        guest = await puppet(node, GRANTS)
        reader, writer = await _channel(guest)
        await guest.do(c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"one"))
        first = await guest.begin(c.CHANNEL_STRONG_READ, IoRead(reader, 100))
        second = await guest.begin(c.CHANNEL_STRONG_READ, IoRead(reader, 100))
        await guest.drop(first)
        assert (await guest.wait(c.CHANNEL_STRONG_READ, second)).payload == b"one"
