"""Channels in trio's style."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import assert_checkpoints

from enfilade.hostcalls.abi import ChannelBackpressure
from enfilade.hostcalls.resources.channel import Channel, LeftBehind, Stalled
from enfilade.hostcalls.resources.endpoints import ChannelReceiver, ChannelSender


async def test_send_and_receive() -> None:
    """Frames arrive in order; a receiver can be iterated until the channel has drained."""
    channel = Channel(64)
    receiver = ChannelReceiver(channel)
    async with ChannelSender(channel) as sender, receiver:
        for word in (b"one", b"two"):
            await sender.send(word)
        with assert_checkpoints():
            await sender.send(b"")
        assert await receiver.receive() == b"one"
        channel.drain()
        assert [frame async for frame in receiver] == [b"two"]
        with pytest.raises(trio.BrokenResourceError, match="interrupted"):
            await sender.send(b"late")
        with pytest.raises(trio.EndOfChannel):
            await receiver.receive()


async def test_others_run_between_frames() -> None:
    """Also while neither end has to wait."""
    channel = Channel(1024)
    async with ChannelSender(channel) as sender, ChannelReceiver(channel) as receiver:
        for _ in range(2):
            with assert_checkpoints():
                for _ in range(8):
                    await sender.send(b"frame")
        for _ in range(2):
            with assert_checkpoints():
                for _ in range(8):
                    await receiver.receive()


async def test_an_end_that_never_waits_can_be_cancelled() -> None:
    channel = Channel(1024)
    async with ChannelSender(channel) as sender, ChannelReceiver(channel) as receiver:
        await sender.send(b"one")
        for operation in (sender.send, receiver.receive):
            with trio.CancelScope() as scope:
                scope.cancel()
                await operation(*((b"two",) if operation == sender.send else ()))
            assert scope.cancelled_caught
        assert await receiver.receive() == b"one"


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


async def test_an_end_that_cannot_be_used_says_why() -> None:
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


async def test_cancelled_before_it_has_begun() -> None:
    """In a cancelled scope nothing is taken and nothing is written, also when it would not have to wait."""
    channel = Channel(64)
    sender, receiver = ChannelSender(channel), ChannelReceiver(channel)
    await sender.send(b"one")
    with trio.CancelScope() as scope:
        scope.cancel()
        await receiver.receive()
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await sender.send(b"never")
    assert scope.cancelled_caught
    await sender.send(b"two")
    assert [await receiver.receive(), await receiver.receive()] == [b"one", b"two"]


async def test_cancelled_as_the_frame_arrives() -> None:
    """A receive that has its frame gives it, though it is cancelled before its task runs again."""
    channel = Channel(64)
    sender, receiver = ChannelSender(channel), ChannelReceiver(channel)
    received: list[bytes] = []

    async def receive(scope: trio.CancelScope) -> None:
        with scope:
            received.append(await receiver.receive())

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(receive, scope)
        await trio.testing.wait_all_tasks_blocked()
        sender._writer.write(b"just in time")
        scope.cancel()
    assert received == [b"just in time"]


async def test_closed_while_it_is_used() -> None:
    """Who waits in a receiver or sender that another task closes is told that it was closed."""
    channel = Channel(4)
    sender, receiver, idle = ChannelSender(channel), ChannelReceiver(channel), ChannelReceiver(channel)
    await sender.send(b"full")
    assert await receiver.receive() == b"full"

    async def closed(wait: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(closed, receiver.receive)
        await trio.testing.wait_all_tasks_blocked()
        await receiver.aclose()
    with trio.CancelScope() as scope:
        scope.cancel()
        await idle.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await idle.receive()


async def test_what_is_sent_is_copied() -> None:
    """A buffer may be used again after `send`; what is not bytes is refused where it is sent."""
    channel = Channel(64)
    sender, receiver = ChannelSender(channel), ChannelReceiver(channel)
    buffer = bytearray(b"first")
    await sender.send(buffer)
    buffer[:] = b"again"
    await sender.send(memoryview(buffer)[:2])
    assert [await receiver.receive(), await receiver.receive()] == [b"first", b"ag"]
    with pytest.raises(TypeError):
        await sender.send("text")  # type: ignore[arg-type]


async def test_draining_ends_everybody_after_the_last_frame() -> None:
    """Whoever waits when the channel drains is told at once; a frame that had its place comes before."""
    channel = Channel(4)
    sender, receiver = ChannelSender(channel), ChannelReceiver(channel)
    await sender.send(b"full")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, b"last")
        await trio.testing.wait_all_tasks_blocked()
        channel.drain()
        assert [frame async for frame in receiver] == [b"full", b"last"]
    waiting = Channel(4)
    late = ChannelReceiver(waiting)

    async def end() -> None:
        with pytest.raises(trio.EndOfChannel):
            await late.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        await trio.testing.wait_all_tasks_blocked()
        waiting.drain()
