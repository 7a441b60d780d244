"""Memory files: long bytes that travel as a descriptor instead of through a frame.

Where the system can seal a file (Linux), it lives in memory, is sealed against every change, and is read in
place. Elsewhere (illumos) it is a file without a name in the directory for temporary files, which is memory
there, and is handed out for reading only. Its maker could still change it, so the receiver copies it before
looking at it.
"""

import errno
import fcntl
import hashlib
import io
import mmap
import os
import stat
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from enfilade.transport.records import PayloadError

__all__ = [
    "FRAGMENT",
    "LONG",
    "MOST_FILES",
    "Growing",
    "Unwritten",
    "create",
    "fingerprint",
    "is_sealed",
    "long_size",
    "read",
    "read_in_fragments",
    "reading",
    "weigh",
]

LONG: Final = 1024 * 1024
"""Bytes from which on a file is written and read in fragments, between which others have a turn."""

FRAGMENT: Final = 256 * 1024
"""Bytes that are copied in one turn."""

MOST_FILES: Final = 33
"""Memory files of one payload: some for long bytes in it, and one for all the rest."""

SEALS: Final = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    if hasattr(fcntl, "F_SEAL_SHRINK") and hasattr(os, "memfd_create")
    else 0
)
"""What a memory file must be sealed against; 0 where there are no seals."""

BLOCK: Final = 512
"""Bytes of the blocks that a file's status counts."""


def create(data: bytes | memoryview) -> int:
    """Copy `data` into a memory file. Returns its descriptor, the caller's to close.

    Raises:
        OSError: there is no descriptor left, or no room.
    """
    file = Growing()
    try:
        file.write(data)
        return file.finish()
    except BaseException:
        file.drop()
        os.close(file.descriptor)
        raise


class Growing:
    """A memory file that is not whole yet.

    Attributes:
        descriptor: what is to travel, or to be read, when the file is whole; the caller's to close.

    Raises:
        OSError: there is no descriptor left.
    """

    def __init__(self) -> None:
        if SEALS:
            self.descriptor = self._file = os.memfd_create("payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            return
        self._file, path = tempfile.mkstemp(prefix="payload-")
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(self._file)
            raise
        finally:
            os.unlink(path)

    def write(self, data: bytes | memoryview) -> None:
        """Add data at its end.

        Raises:
            OSError: there is no room.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> int:
        """Seal the file, which is whole. Return its descriptor."""
        if SEALS:
            fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, SEALS)
        self.drop()
        return self.descriptor

    def drop(self) -> None:
        """Write no more. Harmless when repeated."""
        file, self._file = self._file, -1
        if not SEALS and file >= 0:
            os.close(file)


class Unwritten:
    """A memory file that is not filled yet.

    Args:
        data: what is to be in it; nobody may change it meanwhile.

    Attributes:
        descriptor: what is to travel, the caller's to close; only when `fill` has come to its end.
        size: bytes that are to be in it.
    """

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._rest = memoryview(data)
        self._file = Growing()
        self.descriptor = self._file.descriptor

    def fill(self) -> Iterator[None]:
        """Write what is left of the data, a fragment each time that the iterator is asked.

        Raises:
            OSError: there is no room.
        """
        while self._rest:
            fragment, self._rest = self._rest[:FRAGMENT], self._rest[FRAGMENT:]
            self._file.write(fragment)
            yield
        self._file.finish()

    @property
    def attachment(self) -> int:
        """The descriptor, which travels."""
        return self.descriptor

    def drop(self) -> None:
        """Let go of the data, whether they have been written or not. Harmless when repeated."""
        self._rest = memoryview(b"")
        self._file.drop()


def weigh(handles: Iterable[int]) -> int:
    """Count the bytes in the memory files among handles: both ends of a node link count the same, because
    a sealed file never changes. Where there are no seals, they count nothing.
    """
    return sum(os.fstat(handle).st_size for handle in handles if handle >= 0 and is_sealed(handle))


def long_size(memory: int) -> int:
    """Tell how many bytes are in a memory file that was received and is long; 0 for any other descriptor."""
    try:
        size = os.fstat(memory).st_size if not SEALS or is_sealed(memory) else 0
        if size > LONG:
            _check(memory, size)
            return size
    except (OSError, PayloadError):
        pass
    return 0


def read_in_fragments(memory: int, size: int) -> Generator[None, None, bytes]:
    """Read as `read` does, a fragment each time that the generator is asked; it returns the bytes."""
    data = io.BytesIO()
    for start in range(0, size, FRAGMENT):
        data.write(os.pread(memory, min(FRAGMENT, size - start), start))
        yield
    if data.tell() != size:
        raise PayloadError(f"expected {size} bytes in the memory file, got {data.tell()}")
    return data.getvalue()


def read(memory: int, size: int) -> bytes:
    """Read all `size` bytes of a memory file that was received.

    Raises:
        PayloadError: it is no memory file of that size.
    """
    _check(memory, size)
    data = os.pread(memory, size, 0)  # of a file in memory, all is read at once
    if len(data) != size:
        raise PayloadError(f"expected {size} bytes in the memory file, got {len(data)}")
    return data


@contextmanager
def reading(memory: int, size: int) -> Iterator[bytes | mmap.mmap]:
    """Map a memory file that was received for the length of a block; raises what `read` does."""
    if not SEALS or size == 0:  # nothing cannot be mapped
        yield read(memory, size)
        return
    _check(memory, size)
    try:
        view = mmap.mmap(memory, size, prot=mmap.PROT_READ)
    except OSError as error:  # there is no room, or it is made of large pages
        raise PayloadError(f"failed to map the payload's memory file: {error.strerror}") from error
    with view:
        yield view


def _check(memory: int, size: int) -> None:
    # The seals come first: a file in memory has them, and another may keep us waiting for its size.
    if SEALS and not is_sealed(memory):
        raise PayloadError("the payload's memory file is not sealed, or not of the announced size")
    status = os.fstat(memory)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        raise PayloadError("the payload's memory file is not sealed, or not of the announced size")
    held = status.st_blocks * BLOCK
    if SEALS and held < size:
        raise PayloadError(
            f"a memory file must hold what it claims: this one claims another {size} bytes, and holds {held}"
        )


def is_sealed(memory: int) -> bool:
    """Tell whether a descriptor is that of a sealed memory file, without asking anybody but the kernel.

    Where there are no seals, no descriptor is.
    """
    try:
        return SEALS != 0 and fcntl.fcntl(memory, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:  # a file on a disk knows no seals
        return False


def fingerprint(handle: int) -> bytes:
    """Describe what travels beside a batch, so that nobody can put something else in its place unnoticed: a
    memory file by its contents, any other file by its identity.

    Raises:
        OSError: it is not open, or there is no room to look into it.
    """
    if handle < 0:  # an inlet of the memory carrier
        return hashlib.sha256(b"inlet").digest()
    if not SEALS or not is_sealed(handle):
        return hashlib.sha256(b"file" + _identity(handle)).digest()
    status = os.fstat(handle)
    digest = hashlib.sha256(b"memory%d" % status.st_size)
    if 0 < status.st_size <= status.st_blocks * BLOCK:  # a sparse one is refused when it is read
        with mmap.mmap(handle, status.st_size, prot=mmap.PROT_READ) as view:
            digest.update(view)
    return digest.digest()


def _identity(file: int) -> bytes:
    """The mount and the inode of a file, without asking its file system, which may belong to an enemy."""
    from enfilade.transport.doors._doors import ffi, lib  # what sends no descriptors gets along without it

    look = ffi.new("struct look *")
    if lib.look_at(file, look) == 0:
        where, inode = (b"mnt_id:", look.mount) if look.mount else (b"device:", look.device), look.inode
        return b"%b\t%d\nino:\t%d\n" % (*where, inode)
    if ffi.errno == errno.EACCES:  # a file system that shows itself to its own user alone
        with suppress(OSError), open(f"/proc/self/fdinfo/{file}", "rb") as lines:
            return b"".join(line for line in lines if line.startswith((b"mnt_id:", b"ino:")))
    raise OSError(ffi.errno, f"failed to look at descriptor {file}: {os.strerror(ffi.errno)}")
