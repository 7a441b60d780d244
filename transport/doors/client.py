"""Calling a door."""

import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import attrs
import trio

from transport.doors import api
from transport.doors._asynchronous import call_in_thread
from transport.doors._doors import ffi, lib
from transport.doors.descriptor import Descriptor, HasFileno, number_of, passed, received, settle
from transport.doors.errors import DoorCallError, DoorOpenError, NotADoor
from transport.doors.info import DoorInfo
from transport.doors.reply import Reply

REPLY_SIZE = 64 * 1024

# How opening something that is no door fails where open(2) does not open doors.
_NO_DOOR = frozenset({errno.ENXIO, errno.EOPNOTSUPP, errno.EPROTOTYPE})


@attrs.frozen
class Retry:
    """How often an interrupted call is made again.

    attempts: how many calls there are at most.
    idempotent: also call again when the procedure had begun (EINTR), because twice does no harm. Otherwise
    only when it had not (EAGAIN), which is always safe.
    delay: seconds to wait before each further call.
    """

    attempts: int = 3
    idempotent: bool = False
    delay: float = 0.0

    def allows(self, error: DoorCallError) -> bool:
        """Whether a call that ended with `error` may be made again."""
        return isinstance(error, DoorCallError.EAGAIN) or (
            self.idempotent and isinstance(error, DoorCallError.EINTR)
        )


class _Scratch:
    """The parameters of a call, and a buffer for its results; reused, because they are costly to make."""

    __slots__ = ("params", "rbuf")

    def __init__(self) -> None:
        self.params = ffi.new("door_arg_t *")
        self.rbuf = ffi.new("char[]", REPLY_SIZE)


# Taken out for the time of a call, so that a signal handler or a finaliser that calls in between finds
# another.
_free: list[_Scratch] = []


class Client:
    """A door that is called.

    file: the descriptor of a door, or an object that has one. With `owned` (the default for a number) it is
    closed with the client.

    Raises `NotADoor` if it is none.

    A context manager. Any number of threads may call at the same time.
    """

    __slots__ = ("_descriptor", "_keep")

    def __init__(self, file: int | HasFileno, *, owned: bool | None = None) -> None:
        fd = number_of(file)
        if lib.is_door(fd) != 1:
            raise NotADoor.at(f"descriptor {fd}")
        self._keep = file
        self._descriptor = Descriptor(fd, owned=isinstance(file, int) if owned is None else owned)

    @classmethod
    def open(cls, path: api.Path) -> Self:
        """Open the name of a door.

        Raises `DoorOpenError` (ENOENT, EACCES, ...), and `NotADoor` if something else is there.
        """
        try:
            fd = api.door_open(path, os.O_RDONLY)
        except DoorOpenError as error:
            if error.errno in _NO_DOOR:
                raise NotADoor.at(os.fsdecode(path)) from error
            raise
        try:
            return cls(fd, owned=True)
        except NotADoor:
            os.close(fd)
            raise NotADoor.at(os.fsdecode(path)) from None

    def fileno(self) -> int:
        """The number of the descriptor. Raises `ValueError` when the client is closed."""
        return self._descriptor.fileno()

    @property
    def closed(self) -> bool:
        """Whether the client is closed."""
        return self._descriptor.closed

    def close(self) -> None:
        """Close the descriptor if it is owned; harmless when repeated."""
        self._descriptor.close()
        self._keep = -1

    def info(self) -> DoorInfo:
        """What the door tells about itself; also when its server has exited."""
        return self._descriptor.info()

    def descriptor(self, *, release: bool = False) -> Descriptor:
        """The door as a descriptor to pass on: with `release`, a duplicate that is given away."""
        return Descriptor(api.door_dup(self.fileno()) if release else self.fileno(), release=release)

    def call(self, data: Any = b"", descriptors: Sequence[Descriptor] = (), *, into: Any = None) -> Reply:
        """Call the door, and let no signal disturb it.

        data: the request, anything with the buffer protocol.
        descriptors: to pass; those with `release` are given away.
        into: a writable buffer for the reply, which then borrows it; if the reply does not fit, it owns a
        mapping.

        All signals of this thread are blocked for exactly the time of the call: it cannot be interrupted,
        not by Ctrl-C either, and ends when the server returns or dies. Use `call_interruptible` where that
        matters.

        Raises `DoorCallError`: EINTR when the server died during the call, EBADF when it had died or
        revoked the door, and E2BIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOTSUP, EOVERFLOW as `door_call` does.
        """
        return self._call(lib.dispatch_call_masked, data, descriptors, into)

    def call_interruptible(
        self,
        data: Any = b"",
        descriptors: Sequence[Descriptor] = (),
        *,
        into: Any = None,
        retry: Retry | None = None,
    ) -> Reply:
        """Call the door; a signal with a handler ends the call.

        Arguments as for `call`, and `retry`: when and how often to call again. Descriptors that are
        released cannot be passed a second time, so with them a call that had begun is not repeated.

        Raises as `call` does, and when interrupted: `NotStarted` (EAGAIN) before the procedure began,
        which makes it safe to call again; `Interrupted` (EINTR) after, when the procedure goes on without
        its client.
        """
        attempt = 1
        while True:
            try:
                return self._call(lib.door_call, data, descriptors, into)
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
        with self.call(data) as reply:
            return reply.data

    async def call_async(
        self,
        data: Any = b"",
        descriptors: Sequence[Descriptor] = (),
        *,
        into: Any = None,
        limiter: trio.CapacityLimiter | None = None,
    ) -> Reply:
        """Call the door in a worker thread of trio. Arguments, result and errors as for `call`.

        limiter: bounds the number of threads; by default that of `trio.to_thread`, which has 40.

        A checkpoint. When it is cancelled the call is interrupted: if the procedure had not begun it never
        will; if it had, it goes on without its client, and released descriptors are gone. A call that was
        completed in the same moment is returned all the same.
        """
        return await call_in_thread(lambda: self._call(lib.door_call, data, descriptors, into), limiter)

    def _call(
        self, function: Callable[[int, Any], int], data: Any, descriptors: Sequence[Descriptor], into: Any
    ) -> Reply:
        fd = self._descriptor.fileno()
        try:
            scratch = _free.pop()
        except IndexError:
            scratch = _Scratch()
        params = scratch.params
        request = ffi.from_buffer(data)
        array = passed(descriptors) if descriptors else ffi.NULL
        params.data_ptr = request
        params.data_size = len(request)
        params.desc_ptr = array
        params.desc_num = len(descriptors)
        if into is None:
            rbuf, size = scratch.rbuf, REPLY_SIZE
        else:
            rbuf = ffi.from_buffer(into, require_writable=True)
            size = len(rbuf)
        params.rbuf = rbuf
        params.rsize = size
        if function(fd, params) < 0:
            error = DoorCallError.of(ffi.errno, f"descriptor {fd}")
            _free.append(scratch)
            if descriptors:
                settle(descriptors, error)  # type: ignore[arg-type]
            raise error
        if descriptors:
            settle(descriptors, None)
        found = received(params.desc_ptr, params.desc_num) if params.desc_num else ()
        if params.rbuf != rbuf:
            reply = Reply.mapped(params.rbuf, params.rsize, params.data_size, found)
        elif into is None:
            reply = Reply(memoryview(ffi.buffer(rbuf, params.data_size)[:]), found)
        else:
            reply = Reply(memoryview(into).cast("B")[: params.data_size], found)
        _free.append(scratch)
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {'closed' if self.closed else f'of door {self.fileno()}'}>"
