"""Guests whose mailbox drops the oldest message when it is full."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import Mailbox, Node, open_node
from enfilade.actors.guests import Guest
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import ActorReceive, ActorReceived, ActorSend, PlainMessage
from tests.hostcalls.guests import PUPPET, Puppet

POLICIES = pytest.mark.parametrize("overflow", ["drop_oldest", "lag"])
PLAIN = ActorReceive(timeout_ms=0, kinds=1, tag=None, data_limit=100)


async def puppet(node: Node, overflow: Any) -> Puppet:
    guest = Guest(PUPPET, capabilities=["ActorMessage"])
    return Puppet(await node.spawn(guest, mailbox=Mailbox(3, overflow)))


async def received(guest: Puppet) -> list[bytes]:
    found = []
    while (received := await guest.do(c.ACTOR_RECEIVE, PLAIN)) != ActorReceived(None):
        assert isinstance(received, ActorReceived)
        assert isinstance(received.message, PlainMessage)
        found.append(received.message.data)
    return found


@POLICIES
@pytest.mark.parametrize("looked_at", [False, True])
async def test_the_newest_messages_are_kept(overflow: str, looked_at: bool) -> None:
    """Whether the guest's inbox had looked at the dropped ones already or not; with "lag" it is not told."""
    async with open_node("test") as node:
        guest = await puppet(node, overflow)
        for number in range(10):
            guest.ref.send(b"%d" % number)
            if looked_at:
                await trio.testing.wait_all_tasks_blocked()
        assert await received(guest) == [b"8", b"9"]  # the request took the place of another
        assert node.statistics().dropped == 8
        assert node.statistics().dead_letters == 0


@POLICIES
async def test_a_guest_that_fills_its_own_mailbox(overflow: str) -> None:
    """What it drops while it runs is dropped from what it receives next."""
    async with open_node("test") as node:
        guest = await puppet(node, overflow)
        me = await guest.do(c.ACTOR_SELF)
        for number in range(5):
            await guest.do(c.ACTOR_SEND, ActorSend(me, number, b"%d" % number))
        await trio.lowlevel.checkpoint()
        assert await received(guest) == [b"3", b"4"]
