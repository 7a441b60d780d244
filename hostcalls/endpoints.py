"""Channels in trio's style: what Python processes use where guests use reader and writer slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from .channel import BrokenPipe, Channel, Interrupted, Writer
from .errors import InvalidArgument
from .futures import Future

A = TypeVar("A")
T = TypeVar("T")

#: No frame of any channel is longer.
_ANY_LENGTH = 1 << 32


class ChannelSender(trio.abc.SendChannel[bytes]):
    """Writes frames to a channel, by a writer of its own.

    Args:
        channel: the channel.
        strong: as which kind of writer guests see it; it makes no difference here.

    Raises `InvalidArgument` when the channel has 65,535 writers.
    """

    def __init__(self, channel: Channel, *, strong: bool = True) -> None:
        self.channel = channel
        self._writer: Writer = channel.writer(strong=strong)

    async def send(self, value: bytes) -> None:
        """Write `value` as one frame, when there is room. A checkpoint.

        A frame that has its place is written even if the wait for room is cancelled; an empty one is none.
        In a channel that drops, a frame that finds no room is lost without an error.

        Raises: trio.ClosedResourceError: this sender was closed. trio.BrokenResourceError: the channel
        drains or was terminated. trio.BusyResourceError: another task is sending with it.
        hostcalls.channel.Stalled: the frame is larger than the channel, and a strong reader would wait for
        it.
        """
        if self._writer.closed:
            raise trio.ClosedResourceError
        await _outcome(self._writer.write, value)

    async def aclose(self) -> None:
        """Close this sender; the channel stays. A checkpoint."""
        self._writer.close()
        await trio.lowlevel.checkpoint()


class ChannelReceiver(trio.abc.ReceiveChannel[bytes]):
    """Reads the frames of a channel, by a reader of its own; also as `async for frame in receiver`.

    Args:
        channel: the channel.
        strong: whether what it has not read is kept for it.
    """

    def __init__(self, channel: Channel, *, strong: bool = True) -> None:
        self.channel = channel
        self._reader = channel.reader(strong=strong)

    async def receive(self) -> bytes:
        """The next frame. A checkpoint; cancelled, it has taken none.

        Raises: trio.ClosedResourceError: this receiver was closed. trio.EndOfChannel: the channel drains,
        and everything was read. trio.BrokenResourceError: the channel was terminated.
        trio.BusyResourceError: another task is receiving with it. hostcalls.channel.LeftBehind: it is weak
        and was too slow; the next frame is the oldest that is left.
        """
        if self._reader.closed:
            raise trio.ClosedResourceError
        try:
            frame = await _outcome(self._reader.read, _ANY_LENGTH)
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, Interrupted):
                raise trio.EndOfChannel from None
            raise
        return frame.payload

    async def aclose(self) -> None:
        """Close this receiver; the channel stays. A checkpoint."""
        self._reader.close()
        await trio.lowlevel.checkpoint()


async def _outcome(operation: Callable[[A], Future[T]], argument: A) -> T:
    """Wait for a reader's or writer's operation, with trio's exceptions."""
    try:
        future = operation(argument)
    except InvalidArgument:
        raise trio.BusyResourceError("another task is using this end of the channel") from None
    try:
        return await future.wait()
    except (BrokenPipe, Interrupted) as error:
        raise trio.BrokenResourceError(str(error)) from error
