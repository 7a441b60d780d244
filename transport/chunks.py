"""Long payloads where descriptors do not travel: cut into chunks, and put together again.

Elsewhere a long payload is in memory files, and their descriptors travel beside its frame. Some carriers
carry bytes only. There the sender cuts the bytes into chunks, which are frames that leave before theirs, each
when there is credit for it. The receiver puts them together in memory that it takes at the first of them. So
what is long costs the sender nothing but the object that it sends until that has left, and the receiver one
copy.

A chunk says how much of its file is still to come: a file is one object of bytes, which travels as a memory
file elsewhere. So the receiver knows with the first one how long the file will be:

* What is longer than the peer's payloads may be is not kept. Decoding it fails, as it does over doors, and
  the messages behind it arrive.
* What is short may come between the chunks of what is long: the files belong to the next frame that has some.
* All peers together have room for so many bytes (`Room`). Who begins first finishes first; from a peer that
  finds none nothing more is taken in, and credit holds its senders up.
"""

import struct
from collections import deque
from collections.abc import Sequence
from io import BytesIO
from typing import Final

import msgspec
import trio

from enfilade.transport.attachment import Attachment, LongBytes
from enfilade.transport.memory_file import MOST_FILES
from enfilade.transport.wire import Chunk, Frame, MalformedBatch, encode_frame, files_of

__all__ = ["Assembly", "Pieces", "Room", "length"]

CHUNK: Final = 96 * 1024
LEAST_CHUNK: Final = 48 * 1024
"""Bytes of a file in one chunk, at most, over a wide window and over a narrow one: each piece costs nodes and
server as much as a short message beside its bytes, and keeps others waiting for as long as it is.
"""

SHARE: Final = 8
"""The part of a window that a chunk takes, unless it would be very small."""

_EMPTY: Final = memoryview(b"")
_NOTHING_LONG: Final = len(msgspec.msgpack.encode(b""))
_LONG: Final = struct.Struct(">BI")
_BIN_32: Final = 0xC6
"""What stands for no bytes in MessagePack, and before as many as a number of 32 bits says."""


def _opening(rest: int, size: int) -> bytes:
    """Encode a chunk up to its data, of which so many bytes follow."""
    return encode_frame(Chunk(rest, _EMPTY))[:-_NOTHING_LONG] + _LONG.pack(_BIN_32, size)


_HEAD: Final = len(_opening(2**62, CHUNK))
"""Bytes of a chunk beside those of the file, at most."""


def length(files: Sequence[Attachment]) -> int:
    """Count the bytes that are to leave in chunks."""
    return sum(file.size for file in files if isinstance(file, LongBytes))


class Pieces:
    """The files of one frame, cut into chunks as they leave.

    Args:
        files: of which each has some bytes.
        window: bytes that may be under way to the peer.

    Attributes:
        rest: bytes that have yet to leave.
    """

    def __init__(self, files: Sequence[Attachment], window: int = SHARE * CHUNK) -> None:
        self._most = max(LEAST_CHUNK, min(CHUNK, window // SHARE))
        self._files = deque(file.view for file in files if isinstance(file, LongBytes))
        assert len(self._files) == len(files), "descriptors do not travel in chunks"
        self.rest = length(files)

    @property
    def cost(self) -> int:
        """Bytes that the next chunk has at most."""
        return min(self._most, self.rest) + _HEAD

    def __bool__(self) -> bool:
        return bool(self._files)

    def cut(self) -> tuple[bytes, memoryview]:
        """Cut off the next chunk: what stands before its data, and these, of which nothing was copied."""
        file = self._files[0]
        data, rest = file[: self._most], file[self._most :]
        self.rest -= len(data)
        if rest:
            self._files[0] = rest
        else:
            self._files.popleft()
        return _opening(len(rest), len(data)), data


class Room:
    """The bytes that all peers of a node may have in payloads that are put together.

    Args:
        most: so many; the first peer has its room in any case.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[Assembly, int] = {}  # in the order in which they began
        self._changed = trio.Event()

    def take(self, assembly: "Assembly", size: int) -> None:
        """Count bytes that a peer announces."""
        self._taken[assembly] = self._taken.get(assembly, 0) + size

    def give_back(self, assembly: "Assembly") -> None:
        """Count off all bytes of a peer. Harmless when repeated."""
        if self._taken.pop(assembly, None) is not None:
            self._changed.set()
            self._changed = trio.Event()

    def has(self, assembly: "Assembly") -> bool:
        """Tell whether there is room for what a peer has announced, behind those who began before."""
        if assembly not in self._taken or sum(self._taken.values()) <= self._most:
            return True
        before = 0
        for each, size in self._taken.items():
            if each is assembly:
                return not before or before + size <= self._most
            before += size
        raise AssertionError("it has announced something")

    async def wait(self, assembly: "Assembly") -> None:
        """Wait until there is room for what a peer has announced. A checkpoint when it has to wait."""
        while not self.has(assembly):
            await self._changed.wait()


class Assembly:
    """The files of one peer that are put together.

    Args:
        most: bytes that a payload may have; what is longer is not kept.
        room: of all peers.
    """

    def __init__(self, most: int, room: Room) -> None:
        self._most = most
        self._room = room
        self._file: BytesIO | None = None
        self._rest = 0
        self._size = 0
        self._whole: list[LongBytes] = []

    @property
    def must_wait(self) -> bool:
        """True while nothing more may be taken in."""
        return not self._room.has(self)

    async def wait(self) -> None:
        """Wait until more may be taken in. A checkpoint when it has to wait."""
        await self._room.wait(self)

    def take_in(self, frames: Sequence[Frame]) -> tuple[Sequence[Frame], Sequence[Attachment]]:
        """Take the chunks out of the frames of a batch.

        Returns:
            The other frames, and the files that belong to them.

        Raises:
            MalformedBatch: chunks do not follow one another, or not those of as many files as a frame says.
            MemoryError: there is no room for a file.
        """
        if self._file is None and not self._whole and not any(type(each) is Chunk for each in frames):
            if any(map(files_of, frames)):
                raise MalformedBatch("a frame names files, and no chunks of them came before it")
            return frames, ()
        others: list[Frame] = []
        files: list[LongBytes] = []
        for frame in frames:
            if type(frame) is Chunk:
                self._add(frame)
                continue
            others.append(frame)
            count = files_of(frame)
            if not count:
                continue
            if self._file is not None:
                raise MalformedBatch(f"expected the other {self._rest} bytes of a file")
            if count != len(self._whole):
                raise MalformedBatch(f"{len(self._whole)} files came before a frame with another number")
            files += self._whole
            self._begin_anew()
        return others, files

    def _add(self, chunk: Chunk) -> None:
        size = len(chunk.data)
        if self._file is None:
            if len(self._whole) >= MOST_FILES:
                raise MalformedBatch(f"a payload may have {MOST_FILES} memory files")
            self._rest = chunk.rest + size
            self._size += self._rest
            if self._size <= self._most:
                self._room.take(self, self._rest)
                # Nobody else has these bytes, so they are written in place, and are what `getvalue` returns.
                self._file = BytesIO(bytes(self._rest))
            else:
                self._file = BytesIO()
        self._rest -= size
        if not size or chunk.rest != self._rest:
            raise MalformedBatch(f"expected a chunk with {self._rest} bytes to follow, got {chunk.rest}")
        if self._size <= self._most:
            self._file.write(chunk.data)
        if not self._rest:
            file, self._file = self._file, None
            self._whole.append(LongBytes(file.getvalue()))

    def _begin_anew(self) -> None:
        self._whole = []
        self._size = 0
        self._room.give_back(self)

    def drop(self) -> None:
        """Drop what has come: the node link is over. Harmless when repeated."""
        self._file = None
        self._begin_anew()
