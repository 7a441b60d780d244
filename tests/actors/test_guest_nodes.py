"""Guests and the processes of other nodes: what travels between them, and what does not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from enfilade.actors import Process, Ref
from enfilade.actors.guests import Guest, hold
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import ActorCall, ActorReceive, ActorReceived, ActorSend, PlainMessage
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.message import Message
from enfilade.transport import PayloadError, UnregisteredType
from tests.conformance.actors.town import MODELS, Town, open_town
from tests.hostcalls.guests import PUPPET, GuestError, Puppet

GRANTS = [capability for capability in Capability if not capability.name.startswith("NET")]
POLL = ActorReceive(0, 1, None, 1000)


@pytest.fixture(**MODELS)
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    """Two nodes in real time, which guests need."""
    async with open_town(request.param) as opened:
        yield opened


async def puppet(town: Town) -> tuple[Puppet, Ref[Guest]]:
    """A guest on node b, and the ref to it that node a has."""
    await town.b.spawn(Guest(PUPPET, capabilities=GRANTS), name="account")
    guest: Any = await town.a.whereis_on("b@right", "account")
    return Puppet(guest), guest


async def received(guest: Puppet) -> PlainMessage:
    """The next message that the guest gets."""
    with trio.fail_after(60):
        while True:
            got: ActorReceived = await guest.do(c.ACTOR_RECEIVE, POLL)
            if got.message is not None:
                assert isinstance(got.message, PlainMessage)
                return got.message
            await trio.sleep(0.01)


async def test_messages_to_a_guest_keep_their_tags(town: Town) -> None:
    """Bytes and tagged messages of another node arrive as those of this one do."""
    guest, ref = await puppet(town)
    ref.send(b"plain")
    ref.send(Message(b"tagged", tag=9))
    ref.cast(Guest.exchange, Message(b"cast", tag=3))
    assert [await received(guest) for _ in range(3)] == [
        PlainMessage(0, b"plain", ()),
        PlainMessage(9, b"tagged", ()),
        PlainMessage(3, b"cast", ()),
    ]


async def test_messages_of_a_guest_keep_their_tags(town: Town) -> None:
    """A process of another node gets the `Message` that one of this node would get."""
    guest, _ = await puppet(town)
    got: list[Message] = []
    over = trio.Event()

    async def listen(me: Process) -> None:
        got.append(await me.receive(Message))
        over.set()

    slot = await _introduce(town, guest, await town.a.spawn(listen))
    await guest.do(c.ACTOR_SEND, ActorSend(slot, 7, b"up"))
    with trio.fail_after(60):
        await over.wait()
    assert got == [Message(b"up", tag=7)]


async def _introduce(town: Town, guest: Puppet, ref: Ref[Any]) -> int:
    """The slot in which the guest has `ref`, a process of node a."""
    found: list[Ref[Any]] = []
    over = trio.Event()

    async def take(me: Process) -> None:
        found.append(await me.receive())
        over.set()

    await town.b.spawn(take, name="public-take")
    town.a.remote("public-take", "b@right").send(ref)
    with trio.fail_after(60):
        await over.wait()
    held = hold(town.b, found[0])
    local = town.b.whereis("account")
    assert local is not None
    local.send(Message(b"", resources=(held,)))
    return (await received(guest)).resources[0]


async def test_resources_stay_on_their_node(town: Town) -> None:
    """Whoever sends one to another node is told, be it Python or a guest, and loses nothing."""
    guest, ref = await puppet(town)
    channel = hold(town.a, Channel(64, ChannelBackpressure.PARK))
    with pytest.raises(UnregisteredType, match="stays on its node"):
        ref.send(Message(b"x", resources=(channel,)))
    with pytest.raises(UnregisteredType, match="stays on its node"):
        await ref.call(Guest.exchange, Message(b"x", resources=(channel,)))
    assert channel.payload.capacity == 64

    async def idle(me: Process) -> None:
        await trio.sleep_forever()

    slot = await _introduce(town, guest, await town.a.spawn(idle))
    own = await guest.do(c.CHANNEL_CREATE, ChannelCreate(64, ChannelBackpressure.PARK))
    with pytest.raises(GuestError, match="send failed: resources stay on their node"):
        await guest.do(c.ACTOR_SEND, ActorSend(slot, 0, b"x", (own,)))
    with pytest.raises(GuestError, match="call failed: resources stay on their node"):
        await guest.do(c.ACTOR_CALL, ActorCall(slot, None, b"x", (own,), 100))


@pytest.mark.parametrize(
    "message",
    [Message("text"), Message(b"", tag=-1), Message(b"", tag=1 << 64), Message(b"", resources=("x",))],  # type: ignore[arg-type]
)
async def test_messages_that_are_none(town: Town, message: Message) -> None:
    """What only looks like a message is a dead letter, or refused where it is sent, and harms no guest."""
    guest, ref = await puppet(town)
    with contextlib.suppress(PayloadError):
        ref.send(message)
    local = town.b.whereis("account")
    assert local is not None
    local.send(message)
    ref.send(b"sound")
    assert (await received(guest)).data == b"sound"
    assert town.b.dead_letters.count >= 1
