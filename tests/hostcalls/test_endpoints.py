"""Channels in trio's style."""

import pytest
import trio
from trio.testing import assert_checkpoints

from hostcalls.abi import ChannelBackpressure
from hostcalls.channel import Channel, LeftBehind, Stalled
from hostcalls.endpoints import ChannelReceiver, ChannelSender


async def test_send_and_receive() -> None:
    """Frames arrive in order; a receiver can be iterated until the channel has drained."""
    channel = Channel(64)
    receiver = ChannelReceiver(channel)
    async with ChannelSender(channel) as sender, receiver:
        for word in (b"one", b"two"):
            with assert_checkpoints():
                await sender.send(word)
        await sender.send(b"")
        with assert_checkpoints():
            assert await receiver.receive() == b"one"
        channel.drain()
        assert [frame async for frame in receiver] == [b"two"]
        with pytest.raises(trio.BrokenResourceError, match="interrupted"):
            await sender.send(b"late")
        with pytest.raises(trio.EndOfChannel):
            await receiver.receive()


async def test_waiting_and_cancelling(autojump_clock: trio.testing.MockClock) -> None:
    """A send waits for room; a cancelled receive takes nothing, a cancelled send that has its place goes
    through.
    """
    channel = Channel(4)
    sender, receiver = ChannelSender(channel), ChannelReceiver(channel)
    with trio.move_on_after(1) as scope:
        await receiver.receive()
    assert scope.cancelled_caught
    await sender.send(b"full")
    with trio.move_on_after(1) as scope:
        await sender.send(b"kept")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, b"last")
        for word in (b"full", b"kept", b"last"):
            assert await receiver.receive() == word


async def test_errors() -> None:
    """Closed, broken and busy ends say so."""
    channel = Channel(4)
    sender, receiver = ChannelSender(channel), ChannelReceiver(channel)
    with pytest.raises(Stalled):
        await sender.send(b"larger than four")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await receiver.receive()
        await sender.send(b"x")
    await sender.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await sender.send(b"x")
    channel.close()
    with pytest.raises(trio.BrokenResourceError):
        await receiver.receive()
    await receiver.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await receiver.receive()


async def test_weak_receiver() -> None:
    """A weak receiver holds nobody back, and learns that it was too slow."""
    channel = Channel(4, ChannelBackpressure.PARK)
    sender, receiver = ChannelSender(channel), ChannelReceiver(channel, strong=False)
    for word in (b"abcd", b"efgh"):
        await sender.send(word)
    with pytest.raises(LeftBehind):
        await receiver.receive()
    assert await receiver.receive() == b"efgh"
