"""Attachments of a payload: descriptors, or, where descriptors do not travel, long bytes as they are.

A payload names both by their places. A descriptor is that of a memory file, or of a file that the program
sends, and has to be closed. Long bytes are an object of Python, which is not copied before it leaves.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from mmap import mmap
from typing import TypeAlias

from enfilade.transport import memory_file
from enfilade.transport.carrier import Handle
from enfilade.transport.memory_file import FRAGMENT, LONG, Unwritten
from enfilade.transport.records import PayloadError

__all__ = ["Attachment", "LongBytes", "Unfilled", "attach", "handles_in", "read", "reading"]


class LongBytes:
    """Long bytes of a payload, in the memory of this process.

    Args:
        data: the bytes.

    Attributes:
        size: their number.
    """

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    @property
    def attachment(self) -> "LongBytes":
        """The object itself, which travels; as of `memory_file.Unwritten`."""
        return self

    @property
    def view(self) -> memoryview:
        """The bytes, without a copy."""
        return memoryview(self._data)

    def read(self, size: int) -> bytes:
        """Return the bytes.

        Raises:
            PayloadError: they are not so many.
        """
        if len(self._data) != size:
            raise PayloadError(f"expected {size} bytes beside the payload, got {len(self._data)}")
        return self._data

    def fill(self) -> Iterator[None]:
        """Let others have their turns, as many as if this were copied: what is short leaves before it."""
        for _ in range(0, self.size, FRAGMENT):
            yield

    def drop(self) -> None:
        """Let go of the bytes. Harmless when repeated."""
        self._data = b""


Attachment: TypeAlias = Handle | LongBytes

Unfilled: TypeAlias = Unwritten | LongBytes
"""What is so long that it follows the frame that it belongs to."""


def attach(data: bytes | memoryview, later: list[Unfilled] | None, *, in_files: bool) -> Attachment:
    """Make what travels of long data.

    Args:
        data: is copied, unless it is bytes and travels as it is.
        later: gets what is so long that it should follow its frame; None when nothing may follow.
        in_files: whether memory files travel.

    Raises:
        OSError: there is no descriptor left for a file, or no room.
    """
    if not in_files:
        held = LongBytes(bytes(data))
        if later is not None and held.size > LONG:
            later.append(held)
        return held
    if later is not None and type(data) is bytes and len(data) > LONG:
        file = Unwritten(data)
        later.append(file)
        return file.descriptor
    return memory_file.create(data)


def read(attachment: Attachment, size: int) -> bytes:
    """Read all `size` bytes of what was received.

    Raises:
        PayloadError: they are not so many, or it is no memory file.
    """
    return attachment.read(size) if isinstance(attachment, LongBytes) else memory_file.read(attachment, size)


def reading(attachment: Attachment, size: int) -> AbstractContextManager[bytes | mmap]:
    """Show the bytes of what was received for the length of a block; raises what `read` does."""
    if isinstance(attachment, LongBytes):
        return nullcontext(attachment.read(size))
    return memory_file.reading(attachment, size)


def handles_in(attachments: Iterable[Attachment]) -> list[Handle]:
    """Return those that have to be closed."""
    return [each for each in attachments if isinstance(each, Handle)]
