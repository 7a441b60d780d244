"""Memory files: long bytes that travel as a descriptor instead of through a frame.

Where the system can seal a file (Linux), it lives in memory, is sealed against every change, and is read in
place. Elsewhere (illumos) it is a file without a name in the directory for temporary files, which is memory
there, and is handed out for reading only. Its maker could still change it, so the receiver copies it before
looking at it.
"""

import fcntl
import mmap
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from enfilade.transport.records import PayloadError

__all__ = ["create", "read", "reading"]

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
    if SEALS:
        memory = os.memfd_create("payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            _write(memory, data)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
        except BaseException:
            os.close(memory)
            raise
        return memory
    file, path = tempfile.mkstemp(prefix="payload-")
    try:
        _write(file, data)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(file)
        os.unlink(path)


def _write(file: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


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
    if not SEALS:
        yield read(memory, size)
        return
    _check(memory, size)
    with mmap.mmap(memory, size, prot=mmap.PROT_READ) as view:
        yield view


def _check(memory: int, size: int) -> None:
    # The seals come first: a file in memory has them, and another may keep us waiting for its size.
    if not _is_sealed(memory):
        raise PayloadError("the payload's memory file is not sealed, or not of the announced size")
    status = os.fstat(memory)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        raise PayloadError("the payload's memory file is not sealed, or not of the announced size")
    held = status.st_blocks * BLOCK
    if SEALS and held < size:
        raise PayloadError(
            f"a memory file must hold what it claims: this one claims another {size} bytes, and holds {held}"
        )


def _is_sealed(memory: int) -> bool:
    try:
        return not SEALS or fcntl.fcntl(memory, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:  # a file on a disk knows no seals
        return False
