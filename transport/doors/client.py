"""Calling a door."""

import errno
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

import attrs
import trio
from attrs import validators

from enfilade.transport.doors import api
from enfilade.transport.doors._asynchronous import call_in_thread
from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.descriptor import (
    Descriptor,
    HasFileno,
    number_of,
    passed,
    received,
    sent_by_server,
    settle,
)
from enfilade.transport.doors.errors import DoorCallError, DoorOpenError, NotADoor
from enfilade.transport.doors.info import DoorCounters, DoorInfo
from enfilade.transport.doors.reply import Reply, Room

REPLY_SIZE = 64 * 1024
MOST_SCRATCH = 1024 * 1024

LARGEST_REPLY = 64 * 1024 * 1024
"""Bytes of a reply that a client takes unless it is told otherwise."""

MOST_LARGEST = 2**62

# How opening something that is no door fails where open(2) does not open doors.
_NO_DOOR = frozenset({errno.ENXIO, errno.EOPNOTSUPP, errno.EPROTOTYPE})


@attrs.frozen
class Retry:
    """The policy for repeating interrupted calls.

    Attributes:
        attempts: how many calls there are at most.
        idempotent: also call again when the procedure had begun (EINTR), because twice does no harm.
            Otherwise only when it had not (EAGAIN), which is always safe.
        delay: seconds to wait before each further call.

    Raises `TypeError` or `ValueError` unless there is at least one call, and the delay is at least 0.
    """

    attempts: int = attrs.field(default=3, validator=[validators.instance_of(int), validators.ge(1)])
    idempotent: bool = False
    delay: float = attrs.field(default=0.0, validator=validators.ge(0))

    def allows(self, error: DoorCallError) -> bool:
        """Tell whether a call that ended with `error` may be made again."""
        return isinstance(error, DoorCallError.EAGAIN) or (
            self.idempotent and isinstance(error, DoorCallError.EINTR)
        )


class _Scratch:
    """The parameters of a call, and a buffer for its results; reused, because they are costly to make."""

    __slots__ = ("params", "rbuf", "room")

    def __init__(self) -> None:
        self.params = ffi.new("door_arg_t *")
        self.make_room(REPLY_SIZE)

    def make_room(self, room: int) -> None:
        self.room = room
        self.rbuf = _uncleared("char[]", room)


_uncleared = ffi.new_allocator(should_clear_after_alloc=False)

# A buffer of the caller's is released with its call: an error's traceback keeps what stood in its frames,
# and Python's collector crashes on a memoryview that is garbage and that C still looks into.

# Taken out for the time of a call, so that a signal handler or a finaliser that calls in between finds
# another.
_free: list[_Scratch] = []


def _take() -> _Scratch:
    try:
        return _free.pop()
    except IndexError:
        return _Scratch()


def _results(
    outcome: int, fd: int, params: Any, rbuf: Any, into: Any = None, spare: Room | None = None
) -> Reply:
    """What the parameters tell after a call whose reply is not simply in the buffer, or its error."""
    if outcome == lib.DISPATCH_FAILED:
        error = DoorCallError.of(ffi.errno, f"descriptor {fd}")
        if spare is not None:
            spare.keep()
        raise error
    size = params.data_size
    count = params.desc_num
    found = received(params.desc_ptr, count, sent_by_server(fd)) if count else ()
    if params.rbuf == rbuf:
        return _in_buffer(rbuf, size, into, spare, found)
    if spare is not None:  # too small: there is a larger one now
        spare.free()
    return Reply.mapped(params.rbuf, params.rsize, size, found)


def _in_buffer(
    rbuf: Any, size: int, into: Any, spare: Room | None, found: tuple[Descriptor, ...] = ()
) -> Reply:
    """A reply that fitted the buffer: the caller's own, a spare mapping, or scratch."""
    if into is not None:
        return Reply(memoryview(into).cast("B")[:size], found)
    if spare is not None and size > REPLY_SIZE:
        return Reply.mapped(spare.address, spare.length, size, found)
    reply = Reply(memoryview(ffi.unpack(rbuf, size)), found)
    if spare is not None:
        spare.idle += 1
        spare.keep()
    return reply


class Client:
    """A door that is called. A context manager; any number of threads may call at the same time.

    Args:
        file: the descriptor of a door, or an object that has one.
        owned: whether it is closed with the client; by default when `file` is a number.
        largest: bytes that a reply may have. A larger one is refused (EOVERFLOW) before memory is made for
            it: a server decides how much it returns, and it need not be the caller's friend.

    Raises `NotADoor` if it is none, `OSError` if there is no descriptor or memory left to look at it with,
    `TypeError` if `largest` is no int, and `ValueError` if it is less than 1.
    """

    __slots__ = ("_descriptor", "_keep", "_largest")

    def __init__(
        self, file: int | HasFileno, *, owned: bool | None = None, largest: int = LARGEST_REPLY
    ) -> None:
        if not isinstance(largest, int):
            raise TypeError(f"expected a number of bytes for the largest reply, got {largest!r}")
        if largest < 1:
            raise ValueError(f"expected at least 1 byte for the largest reply, got {largest}")
        fd = number_of(file)
        self._largest = min(largest, MOST_LARGEST)
        info = ffi.new("door_info_t *")
        if lib.door_info(fd, info) < 0:
            if ffi.errno == errno.EBADF:
                raise NotADoor.at(f"descriptor {fd}")
            raise OSError(ffi.errno, f"failed to look at descriptor {fd}: {os.strerror(ffi.errno)}")
        self._keep = file
        self._descriptor = Descriptor(fd, owned=isinstance(file, int) if owned is None else owned)
        if sys.platform == "linux" and not info.di_attributes & lib.DOOR_LOCAL:
            # A door is a socket: its server may have put files there, which are closed with it.
            self._descriptor.charge(-1, info.di_target)

    @classmethod
    def open(cls, path: api.Path, *, largest: int = LARGEST_REPLY) -> Self:
        """Open the name of a door.

        Args:
            path: where it is.
            largest: as for a client that is made of a descriptor.

        Raises `DoorOpenError` (ENOENT, EACCES, ...), and `NotADoor` if something else is there.
        """
        try:
            fd = api.door_open(path, os.O_RDONLY | os.O_CLOEXEC)
        except DoorOpenError as error:
            if error.errno in _NO_DOOR:
                raise NotADoor.at(os.fsdecode(path)) from error
            raise
        try:
            return cls(fd, owned=True, largest=largest)
        except ValueError:
            os.close(fd)
            raise
        except NotADoor:
            os.close(fd)
            raise NotADoor.at(os.fsdecode(path)) from None

    def fileno(self) -> int:
        """The number of the descriptor. Raises `ValueError` when the client is closed."""
        return self._descriptor.fileno()

    @property
    def closed(self) -> bool:
        """True once the client is closed."""
        return self._descriptor.closed

    def close(self) -> None:
        """Close the descriptor if it is owned; harmless when repeated."""
        self._descriptor.close()
        self._keep = -1

    def info(self) -> DoorInfo:
        """The door's description of itself, available even after its server has exited."""
        return self._descriptor.info()

    def counters(self) -> DoorCounters:
        """Counts of the door's calls by outcome. Raises `DoorCountersError.ENOTSUP` on illumos."""
        return DoorCounters.of(self.fileno())

    def descriptor(self, *, release: bool = False) -> Descriptor:
        """The door as a descriptor to pass on: with `release`, a duplicate that is given away."""
        return Descriptor(api.door_dup(self.fileno()) if release else self.fileno(), release=release)

    def call(self, data: Any = b"", descriptors: Sequence[Descriptor] = (), *, into: Any = None) -> Reply:
        """Call the door, and let no signal disturb it.

        Args:
            data: the request, anything with the buffer protocol.
            descriptors: to pass; those with `release` are given away.
            into: a writable buffer for the reply, which then borrows it; if the reply does not fit, it owns a
                mapping.

        All signals of this thread are blocked for exactly the time of the call: it cannot be interrupted,
        not by Ctrl-C either, and ends when the server returns or dies. Use `call_interruptible` where that
        matters.

        Raises `DoorCallError`: EINTR when the server died during the call, EBADF when it had died or
        revoked the door, EOVERFLOW when the reply is larger than the client takes, and E2BIG, EINVAL, EMFILE,
        ENFILE, ENOBUFS, ENOTSUP, EOVERFLOW as `door_call` does.
        """
        return self._call(True, data, descriptors, into)

    def call_interruptible(
        self,
        data: Any = b"",
        descriptors: Sequence[Descriptor] = (),
        *,
        into: Any = None,
        retry: Retry | None = None,
    ) -> Reply:
        """Call the door; a signal with a handler ends the call.

        Args:
            data, descriptors, into: as for `call`.
            retry: when and how often to call again; never by default. Descriptors that are released cannot be
                passed a second time, so with them a call that had begun is not repeated.

        Raises as `call` does, and when interrupted: `NotStarted` (EAGAIN) before the procedure began,
        which makes it safe to call again; `Interrupted` (EINTR) after, when the procedure goes on without
        its client.
        """
        attempt = 1
        while True:
            try:
                return self._call(False, data, descriptors, into)
            except DoorCallError as error:
                spent = isinstance(error, DoorCallError.EINTR) and any(one.release for one in descriptors)
                if retry is None or spent or attempt >= retry.attempts or not retry.allows(error):
                    raise
            attempt += 1
            if retry.delay:
                time.sleep(retry.delay)

    def call_with_data(self, data: Any) -> bytes:
        """Call the door with data, and return the data of the reply. Descriptors in the reply are closed.

        Signals and errors as for `call`.
        """
        fd = self._descriptor.fileno()
        request = data if type(data) is bytes else ffi.from_buffer(data)
        scratch = _take()
        try:
            params, rbuf = scratch.params, scratch.rbuf
            size = lib.dispatch_exchange(
                fd, request, len(request), ffi.NULL, 0, rbuf, scratch.room, self._largest, params, True
            )
            if size >= 0:
                answer: bytes = ffi.unpack(rbuf, size)
                return answer
            with _results(size, fd, params, rbuf) as reply:
                if scratch.room < len(reply) <= MOST_SCRATCH:
                    scratch.make_room(len(reply))  # there may be more like it
                return reply.data
        finally:
            _free.append(scratch)
            if request is not data:
                ffi.release(request)

    async def call_async(
        self,
        data: Any = b"",
        descriptors: Sequence[Descriptor] = (),
        *,
        into: Any = None,
        limiter: trio.CapacityLimiter | None = None,
    ) -> Reply:
        """Call the door in a worker thread of trio. Result and errors as for `call`.

        Args:
            data, descriptors, into: as for `call`.
            limiter: bounds the number of threads; by default that of `trio.to_thread`, which has 40.

        A checkpoint. When it is cancelled the call is interrupted: if the procedure had not begun it never
        will; if it had, it goes on without its client, and released descriptors are gone. A call that was
        completed in the same moment is returned all the same.
        """
        return await call_in_thread(lambda: self._call(False, data, descriptors, into), limiter)

    def _call(self, masked: bool, data: Any, descriptors: Sequence[Descriptor], into: Any) -> Reply:
        fd = self._descriptor.fileno()
        request = data if type(data) is bytes else ffi.from_buffer(data)
        scratch, target = _take(), None
        try:
            array, count = (passed(descriptors), len(descriptors)) if descriptors else (ffi.NULL, 0)
            spare = None
            if into is not None:
                target = rbuf = ffi.from_buffer(into, require_writable=True)
                room = len(rbuf)
            elif (spare := Room.take()) is not None:
                rbuf, room = spare.address, spare.length
            else:
                rbuf, room = scratch.rbuf, REPLY_SIZE
            params, largest = scratch.params, self._largest
            size = lib.dispatch_exchange(
                fd, request, len(request), array, count, rbuf, room, largest, params, masked
            )
            if count:
                settle(descriptors, 0 if size != lib.DISPATCH_FAILED else ffi.errno)
            if size < 0:
                return _results(size, fd, params, rbuf, into, spare)
            return _in_buffer(rbuf, size, into, spare)
        finally:
            _free.append(scratch)
            if request is not data:
                ffi.release(request)
            if target is not None:
                ffi.release(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {'closed' if self.closed else f'of door {self.fileno()}'}>"
