"""Channels for guests: the contracts of `selium::channel::*`."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from enfilade.hostcalls.abi import ChannelCreate, IoRead, IoWrite, catalogue
from enfilade.hostcalls.abi.errors import InvalidArgument, LimitReached
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.contracts.operation import Operation, Quick, operation
from enfilade.hostcalls.resources.channel import Channel, Reader, Writer
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Kind, Resource

_LEAST_BYTES = 4096
"""What the smallest channel counts for: it is an object, too, and may have frames parked."""

# The roots of what the short cuts read and write, as the codec has them. A payload lies before its root, at
# an offset from the root's second field.
_READ = struct.Struct("<II")
_WRITE = struct.Struct("<IiI")
_WRITTEN = struct.Struct("<I")
_FRAME = struct.Struct("<HxxiI")
_PADDING = tuple(map(bytes, range(4)))


def operations() -> Iterable[Operation[Any, Any]]:
    """The operations of channels."""
    yield operation(catalogue.CHANNEL_CREATE, create)
    yield operation(catalogue.CHANNEL_DELETE, delete)
    yield operation(catalogue.CHANNEL_DRAIN, drain)
    yield operation(catalogue.CHANNEL_SHARE, share)
    yield operation(catalogue.CHANNEL_ATTACH, attach)
    yield operation(catalogue.CHANNEL_DETACH, detach)
    yield operation(catalogue.CHANNEL_STRONG_READER_CREATE, strong_reader_create)
    yield operation(catalogue.CHANNEL_WEAK_READER_CREATE, weak_reader_create)
    yield operation(catalogue.CHANNEL_STRONG_READ, strong_read, _read_quickly(strong=True))
    yield operation(catalogue.CHANNEL_WEAK_READ, weak_read, _read_quickly(strong=False))
    yield operation(catalogue.CHANNEL_STRONG_WRITER_CREATE, strong_writer_create)
    yield operation(catalogue.CHANNEL_WEAK_WRITER_CREATE, weak_writer_create)
    yield operation(catalogue.CHANNEL_WRITER_DOWNGRADE, writer_downgrade)
    yield operation(catalogue.CHANNEL_STRONG_WRITE, strong_write, _write_quickly(strong=True))
    yield operation(catalogue.CHANNEL_WEAK_WRITE, weak_write, _write_quickly(strong=False))


def create(caller: Caller, wanted: ChannelCreate) -> int:
    """A new channel; the slot."""
    channel = Channel(wanted.capacity, wanted.backpressure)
    size = max(channel.capacity, _LEAST_BYTES)
    caller.budget.reserve_channel_bytes(size)

    def release() -> None:
        channel.close()
        caller.budget.release_channel_bytes(size)

    return caller.add(Kind.CHANNEL, channel, release)


def delete(caller: Caller, slot: int) -> None:
    """End the caller's channel for everyone and free the slot; one that drains says so, and ends all the
    same.
    """
    resource = caller.get(slot, Kind.CHANNEL)
    caller.check_owner(resource, "delete")
    try:
        resource.payload.terminate()
    finally:
        caller.slots.free(slot)
        caller.registry.remove(resource)


def drain(caller: Caller, slot: int) -> None:
    """Let the caller's channel refuse new frames."""
    resource = caller.get(slot, Kind.CHANNEL)
    caller.check_owner(resource, "drain")
    resource.payload.drain()


def share(caller: Caller, slot: int) -> int:
    """Return the shared handle of the resource in the slot."""
    return caller.registry.share(caller.slots.get(slot))


def attach(caller: Caller, handle: int) -> int:
    """Give the caller a slot for the resource with this shared handle."""
    return caller.slots.insert(caller.registry.shared(handle))


def detach(caller: Caller, slot: int) -> None:
    """Free the slot."""
    caller.slots.free(slot)


def strong_reader_create(caller: Caller, slot: int) -> int:
    """A strong reader of the channel in the slot."""
    return _reader(caller, slot, strong=True)


def weak_reader_create(caller: Caller, slot: int) -> int:
    """A weak reader of the channel in the slot."""
    return _reader(caller, slot, strong=False)


def strong_writer_create(caller: Caller, slot: int) -> int:
    """A strong writer of the channel in the slot."""
    return _writer(caller, slot, strong=True)


def weak_writer_create(caller: Caller, slot: int) -> int:
    """A weak writer of the channel in the slot."""
    return _writer(caller, slot, strong=False)


def writer_downgrade(caller: Caller, slot: int) -> int:
    """Make the strong writer in the slot a weak one; the slot that it has now."""
    resource = caller.get(slot, Kind.WRITER)
    if not resource.payload.strong:
        raise InvalidArgument
    resource.payload.downgrade()
    resource = caller.slots.take(slot)
    moved = caller.slots.insert(resource)
    caller.registry.unhold(resource)
    return moved


def strong_read(caller: Caller, wanted: IoRead) -> Awaitable[Any]:
    """The next frame of a strong reader."""
    return _read(caller, wanted, strong=True)


def weak_read(caller: Caller, wanted: IoRead) -> Awaitable[Any]:
    """The next frame of a weak reader."""
    return _read(caller, wanted, strong=False)


def strong_write(caller: Caller, frame: IoWrite) -> Awaitable[int]:
    """Write a frame with a strong writer."""
    return _write(caller, frame, strong=True)


def weak_write(caller: Caller, frame: IoWrite) -> Awaitable[int]:
    """Write a frame with a weak writer."""
    return _write(caller, frame, strong=False)


def _reader(caller: Caller, slot: int, *, strong: bool) -> int:
    channel = caller.get(slot, Kind.CHANNEL)
    readers, limit = caller.readers, caller.limits.readers
    if readers.get(channel.id, 0) >= limit:
        raise LimitReached("readers", limit)
    reader: Reader = channel.payload.reader(strong=strong)
    readers[channel.id] = readers.get(channel.id, 0) + 1

    def gone() -> None:
        readers[channel.id] -= 1
        if not readers[channel.id]:
            del readers[channel.id]

    return _child(caller, channel, Kind.READER, reader, gone)


def _writer(caller: Caller, slot: int, *, strong: bool) -> int:
    channel = caller.get(slot, Kind.CHANNEL)
    if not caller.slots.has_room():

        def rests(resource: Resource) -> bool:
            writer: Writer = resource.payload
            return resource.parent is channel and writer.strong is strong and writer.rests

        shared = caller.slots.find(Kind.WRITER, rests)
        if shared is not None:
            return caller.slots.share(shared)
    return _child(caller, channel, Kind.WRITER, channel.payload.writer(strong=strong))


def _nothing() -> None:
    pass


def _child(
    caller: Caller,
    channel: Resource,
    kind: Kind,
    payload: Reader | Writer,
    gone: Callable[[], None] = _nothing,
) -> int:
    """A slot for a reader or a writer, which holds its channel; `gone` is called when it goes."""
    registry = caller.registry
    registry.hold(channel)

    def release() -> None:
        payload.close()
        gone()
        registry.unhold(channel)

    return caller.add(kind, payload, release, parent=channel)


def _read_quickly(*, strong: bool) -> Quick:
    def quick(caller: Caller, arguments: bytes, _: int) -> Offer[bytes] | None:
        root = len(arguments) - _READ.size
        if root < 0 or root & 3:
            return None
        slot, length = _READ.unpack_from(arguments, root)
        reader: Reader | None = caller.slots.peek(slot, Kind.READER)
        if reader is None or reader.strong is not strong:
            return None
        frame = reader.read_now(length)
        if frame is None:
            return None
        payload = frame.payload
        size = len(payload)
        padding = -size & 3
        answer = payload + _PADDING[padding] + _FRAME.pack(frame.writer_id, -size - padding - 4, size)
        return Offer(answer, lambda: reader.give_back(frame))

    return quick


def _write_quickly(*, strong: bool) -> Quick:
    def quick(caller: Caller, arguments: bytes, _: int) -> bytes | None:
        root = len(arguments) - _WRITE.size
        if root < 0 or root & 3:
            return None
        slot, offset, size = _WRITE.unpack_from(arguments, root)
        start = root + 4 + offset
        if start < 0 or start + size > root:
            return None
        writer: Writer | None = caller.slots.peek(slot, Kind.WRITER)
        if writer is None or writer.strong is not strong:
            return None
        if not writer.write_now(arguments[start : start + size]):
            return None
        return _WRITTEN.pack(size)

    return quick


def _read(
    caller: Caller, wanted: IoRead, *, strong: bool
) -> Future[Offer[Any]]:  # of a frame, which has an IoFrame's fields
    reader: Reader = caller.get(wanted.handle, Kind.READER).payload
    if reader.strong is not strong:
        raise InvalidArgument
    # A frame that is larger than the guest may have waiting would end it, and first be copied for that.
    read = reader.read(min(wanted.len, caller.limits.queued_bytes))
    return read.then(lambda frame: Offer(frame, lambda: reader.give_back(frame)))


def _write(caller: Caller, frame: IoWrite, *, strong: bool) -> Awaitable[int]:
    writer: Writer = caller.get(frame.handle, Kind.WRITER).payload
    if writer.strong is not strong:
        raise InvalidArgument
    return writer.write(frame.payload)
