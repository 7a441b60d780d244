"""The results of a call, and the memory that they lie in.

`door_call` puts results into the caller's buffer if they fit, and into a new mapping if not, which must be
unmapped once and only once, and not while anybody looks at it. A `Reply` knows which it was:

* a small reply is copied out at once: nothing to free;
* a reply in a buffer of the caller's (`into=`) is borrowed: it is valid as long as the caller leaves the
  buffer alone;
* a mapped reply owns the mapping, which is free when it is closed, or when its last reference goes.

A free mapping is kept for the next large reply: fresh pages cost as much as the copy into them.
"""

import sys
from typing import Any, Self

import attrs

from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.descriptor import Descriptor, close_all

MOST_KEPT = 16 * 1024 * 1024
"""Bytes of a mapping that is kept."""

MOST_IDLE = 32
"""Calls in a row that a mapping is kept for and that do not need it."""


@attrs.define
class Room:
    """A mapping that no reply uses: a buffer for the results of a call."""

    address: Any
    length: int
    idle: int = 0

    def keep(self) -> None:
        """Have it used again; one is enough."""
        if self.length <= MOST_KEPT and self.idle <= MOST_IDLE and not _kept:
            _kept.append(self)
        else:
            self.free()

    def free(self) -> None:
        """Unmap it."""
        lib.munmap(self.address, self.length)

    @classmethod
    def take(cls) -> "Room | None":
        """The one that is kept, if there is one."""
        try:
            return _kept.pop()
        except IndexError:
            return None


_kept: list[Room] = []


class Reply:
    """The reply of a server, made by `Client.call`. A context manager: leaving it closes the descriptors and
    frees the memory.

    Attributes:
        descriptors: those that were received, in order; each is owned, and closed with the reply unless
            detached.
    """

    __slots__ = ("_buffer", "_mapping", "_view", "descriptors")

    def __init__(
        self,
        view: memoryview,
        descriptors: tuple[Descriptor, ...] = (),
        mapping: Any = None,
        buffer: Any = None,
    ) -> None:
        self._view: memoryview | None = view
        self._mapping = mapping
        self._buffer = buffer
        self.descriptors = descriptors

    @classmethod
    def mapped(cls, address: Any, length: int, size: int, descriptors: tuple[Descriptor, ...]) -> Self:
        """Make a reply of `size` bytes, with `descriptors`, at the start of a mapping of `length` bytes at
        `address`, which it takes over.
        """
        mapping = ffi.gc(address, lambda region: Room(region, length).keep(), length)
        buffer = ffi.buffer(mapping, size)
        return cls(memoryview(buffer), descriptors, mapping, buffer)

    @property
    def view(self) -> memoryview:
        """The data, not copied. Raises `ValueError` after `close`."""
        if self._view is None:
            raise ValueError("the reply is closed")
        return self._view

    @property
    def data(self) -> bytes:
        """The data as bytes; a copy, except of a small reply. Raises `ValueError` after `close`."""
        view = self.view
        return view.obj if isinstance(view.obj, bytes) else bytes(view)

    @property
    def is_mapped(self) -> bool:
        """True if the reply owns a mapping."""
        return self._mapping is not None

    def close(self) -> None:
        """Close the descriptors that are still here, and give up the mapping; harmless when repeated.

        Raises `BufferError`, and stays open, while a slice of `view` or another object that looks into the
        mapping is alive.
        """
        if self._view is None:
            return
        if self._mapping is not None:
            self._release_mapping()
        self._view = None
        close_all(self.descriptors)

    def _release_mapping(self) -> None:
        # Whoever looks into the mapping does so through self._buffer and holds a reference to it. cffi's
        # buffers do not count their users as bytearray does, so the references are counted instead: ours
        # and getrefcount's own.
        assert self._view is not None
        self._view.release()
        if sys.getrefcount(self._buffer) > 2:
            self._view = memoryview(self._buffer)
            raise BufferError("slices of the reply's view still exist; release them first")
        self._buffer = None
        ffi.release(self._mapping)
        self._mapping = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.view.nbytes

    def __repr__(self) -> str:
        if self._view is None:
            return "<Reply closed>"
        place = ", mapped" if self.is_mapped else ""
        return f"<Reply {self._view.nbytes} bytes, {len(self.descriptors)} descriptors{place}>"
