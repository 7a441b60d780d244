"""Long payloads where descriptors do not travel: cut into chunks, and put together again.

Everywhere else a long payload is in memory files, and their descriptors travel beside its frame. Some
carriers carry bytes only. There the sender cuts the files into chunks, which are frames that leave before
theirs, each when there is credit for it. The receiver writes them to memory files of its own. So whoever
makes payloads, and reads them, knows one form of them; and what is long costs the sender nothing but the file
until it leaves.

A chunk says how much of its file is still to come. So the receiver knows with the first one how long the file
will be:

* What is longer than the peer's payloads may be is not kept. Decoding it fails, as it does over doors, and
  the messages behind it arrive.
* All peers together have room for so many bytes (`Room`). Who begins first finishes first; from a peer that
  finds none nothing more is taken in, and credit holds its senders up.
"""

import os
from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from enfilade.transport import closing
from enfilade.transport.carrier import Handle
from enfilade.transport.memory_file import MOST_FILES, Growing
from enfilade.transport.wire import Chunk, Frame, MalformedBatch, encode_frame, files_of

__all__ = ["Assembly", "Pieces", "Room", "length"]

CHUNK: Final = 48 * 1024
"""Bytes of a file in one chunk, at most."""

_HEAD: Final = len(encode_frame(Chunk(2**62, b"\0" * CHUNK))) - CHUNK
"""Bytes of a chunk beside those of the file, at most."""


def length(files: Sequence[Handle]) -> int:
    """Count the bytes in memory files of this node."""
    return sum(os.fstat(file).st_size for file in files)


class Pieces:
    """The memory files of one frame, cut into chunks as they leave.

    Args:
        files: closed when they have left.

    Attributes:
        rest: bytes that have yet to leave.
    """

    def __init__(self, files: Sequence[Handle]) -> None:
        self._files = deque(files)
        self._at = 0
        self.rest = length(files)

    @property
    def cost(self) -> int:
        """Bytes that the next chunk has at most."""
        return min(CHUNK, self.rest) + _HEAD

    def __bool__(self) -> bool:
        return bool(self._files)

    def cut(self) -> bytes:
        """Cut off the next chunk, and encode it."""
        file = self._files[0]
        data = os.pread(file, CHUNK, self._at)
        self._at += len(data)
        self.rest -= len(data)
        rest = os.fstat(file).st_size - self._at
        if not rest:
            self._at = 0
            closing.close(self._files.popleft())
        return encode_frame(Chunk(rest, data))

    def leftovers(self) -> Sequence[Handle]:
        """Forget the files that have not left, and return them, to be closed."""
        files, self._files, self.rest = list(self._files), deque(), 0
        return files


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
    """The memory files of one peer that are put together.

    Args:
        most: bytes that a payload may have; what is longer is not kept.
        room: of all peers.
    """

    def __init__(self, most: int, room: Room) -> None:
        self._most = most
        self._room = room
        self._file: Growing | None = None
        self._rest = 0
        self._size = 0
        self._whole: list[Handle] = []

    @property
    def must_wait(self) -> bool:
        """True while nothing more may be taken in."""
        return not self._room.has(self)

    async def wait(self) -> None:
        """Wait until more may be taken in. A checkpoint when it has to wait."""
        await self._room.wait(self)

    def take_in(self, frames: Sequence[Frame]) -> tuple[Sequence[Frame], Sequence[Handle]]:
        """Take the chunks out of the frames of a batch.

        Returns:
            The other frames, and the memory files that belong to them; who gets them closes them.

        Raises:
            MalformedBatch: chunks do not follow one another, or not those of as many files as a frame says.
            OSError: there is no room for a file.
        """
        if self._file is None and not self._whole and not any(type(each) is Chunk for each in frames):
            if any(map(files_of, frames)):
                raise MalformedBatch("a frame names files, and no chunks of them came before it")
            return frames, ()
        others: list[Frame] = []
        handles: list[Handle] = []
        try:
            for frame in frames:
                if type(frame) is Chunk:
                    self._add(frame)
                    continue
                if self._file is not None:
                    raise MalformedBatch(f"expected the other {self._rest} bytes of a file")
                if files_of(frame) != len(self._whole):
                    raise MalformedBatch(f"{len(self._whole)} files came before a frame with another number")
                handles += self._whole
                others.append(frame)
                self._begin_anew()
        except BaseException:
            for handle in handles:
                closing.close(handle)
            raise
        return others, handles

    def _add(self, chunk: Chunk) -> None:
        size = len(chunk.data)
        if self._file is None:
            if len(self._whole) >= MOST_FILES:
                raise MalformedBatch(f"a payload may have {MOST_FILES} memory files")
            self._file = Growing()
            self._rest = chunk.rest + size
            self._size += self._rest
            if self._size <= self._most:
                self._room.take(self, self._rest)
        self._rest -= size
        if not size or chunk.rest != self._rest:
            raise MalformedBatch(f"expected a chunk with {self._rest} bytes to follow, got {chunk.rest}")
        if self._size <= self._most:
            self._file.write(chunk.data)
        if not self._rest:
            file, self._file = self._file, None
            self._whole.append(file.finish())

    def _begin_anew(self) -> None:
        self._whole = []
        self._size = 0
        self._room.give_back(self)

    def drop(self) -> None:
        """Drop what has come: the node link is over. Harmless when repeated."""
        if self._file is not None:
            self._file.drop()
            self._whole.append(self._file.descriptor)
            self._file = None
        for handle in self._whole:
            closing.close(handle)
        self._begin_anew()
