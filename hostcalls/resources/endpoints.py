"""Channels in trio's style: what Python processes use where guests use reader and writer slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from enfilade.hostcalls.abi.errors import InvalidArgument
from enfilade.hostcalls.resources.channel import BrokenPipe, Channel, Interrupted, Reader, Writer
from enfilade.hostcalls.resources.futures import Future

A = TypeVar("A")
T = TypeVar("T")

_AT_ONCE = 8
"""Frames in a row, none of which had to wait, after which a task lets others run."""

_ANY_LENGTH = 1 << 32
"""No frame of any channel is longer."""


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
        self._at_once = 0  # frames since the last that let others run

    async def send(self, value: bytes | bytearray | memoryview) -> None:
        """Write a copy of `value` as one frame, when there is room.

        It can always be cancelled. Other tasks run when it has to wait, and with every eighth frame when not.
        Cancelled before it has begun, it has written nothing; a frame that has its place is written even if
        the wait for room is cancelled. An empty value is no frame. In a channel that drops, a frame that
        finds no room is lost without an error.

        Raises: TypeError: `value` is not bytes. trio.ClosedResourceError: this sender is or was closed.
        trio.BrokenResourceError: the channel drains or was terminated. trio.BusyResourceError: another task
        is sending with it. Stalled: the frame is larger than the channel, and a strong
        reader would wait for it.
        """
        frame = value if type(value) is bytes else bytes(memoryview(value))
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._writer.write_now(frame):
            self._at_once += 1
            if self._at_once >= _AT_ONCE:
                self._at_once = 0
                await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._at_once = 0
            await _outcome(self._writer, self._writer.write, frame)

    async def aclose(self) -> None:
        """Close this sender; the channel stays. A checkpoint, and closed even if cancelled."""
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
        self._at_once = 0  # frames since the last that let others run

    async def receive(self) -> bytes:
        """The next frame. It can always be cancelled, and has then taken none.

        Other tasks run when it has to wait, and with every eighth frame when not.

        Raises: trio.ClosedResourceError: this receiver is or was closed. trio.EndOfChannel: the channel
        drains, and everything was read. trio.BrokenResourceError: the channel was terminated.
        trio.BusyResourceError: another task is receiving with it. LeftBehind: it is weak
        and was too slow; the next frame is the oldest that is left.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        frame = self._reader.read_now(_ANY_LENGTH)
        if frame is not None:
            self._at_once += 1
            if self._at_once >= _AT_ONCE:
                self._at_once = 0
                await trio.lowlevel.cancel_shielded_checkpoint()
            return frame.payload
        self._at_once = 0
        try:
            frame = await _outcome(self._reader, self._reader.read, _ANY_LENGTH)
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, Interrupted):
                raise trio.EndOfChannel from None
            raise
        return frame.payload

    async def aclose(self) -> None:
        """Close this receiver; the channel stays. A checkpoint, and closed even if cancelled."""
        self._reader.close()
        await trio.lowlevel.checkpoint()


async def _outcome(end: Reader | Writer, operation: Callable[[A], Future[T]], argument: A) -> T:
    """Wait for an operation of one end of a channel, with trio's exceptions.

    The caller has looked whether it is cancelled. The operation may be over as soon as it has begun; from
    then on nothing may be cancelled, or a frame would be lost or written again.
    """
    if end.closed:
        raise trio.ClosedResourceError
    try:
        future = operation(argument)
    except InvalidArgument:
        raise trio.BusyResourceError("another task is using this end of the channel") from None
    try:
        if future.done:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return future.result()
        return await future.wait()
    except (BrokenPipe, Interrupted) as error:
        if end.closed:
            raise trio.ClosedResourceError from None
        raise trio.BrokenResourceError(str(error)) from error
