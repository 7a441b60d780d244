"""Closes descriptors that came from others, without waiting for whom they lead to.

To close a file is to ask whoever serves it. A file system in user space answers when it pleases; a socket
with SO_LINGER waits for its other end; and a socket may hold more of them, on their way to somebody. So
threads close such descriptors (`transport/doors/c/closing.h`). A sealed memory file asks nobody, and is
closed at once, unless it is very long.

Each descriptor has a payer: the process that sent it, and that process's user. A payer has a few threads and
a share of descriptors that may be left to close. Whoever has used up its share loses its node link with the
next descriptor, and its calls at the rendezvous go unheard; others notice nothing.
"""

import os
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from enfilade.transport.carrier import Credentials
from enfilade.transport.memory_file import is_sealed

__all__ = ["charge", "close", "disown", "is_behind", "is_settled", "refuses"]

VERY_LONG: Final = 24 * 1024 * 1024
"""Bytes from which on a memory file is closed by a thread, too."""


class _Payer(NamedTuple):
    """The process that pays; -1 stands for what cannot be told."""

    user: int
    zone: int
    process: int


_NOBODY: Final = _Payer(-1, 0, -1)

_payers: dict[int, _Payer] = {}
"""Who pays for descriptors that arrived. Finalizers use it in any thread, one operation at a time."""


def charge(descriptors: Iterable[int], sender: Credentials) -> None:
    """Remember who pays for closing descriptors that have just arrived. Memory files cost nothing."""
    foreign = [descriptor for descriptor in descriptors if descriptor >= 0 and not is_sealed(descriptor)]
    if foreign:
        _payers.update(dict.fromkeys(foreign, _payer(sender)))


def disown(descriptor: int) -> None:
    """Forget who pays for a descriptor: somebody else closes it, when it pleases."""
    _payers.pop(descriptor, None)


def close(descriptor: int) -> None:
    """Close a descriptor, now or soon. Never waits."""
    payer = _payers.pop(descriptor, _NOBODY)
    if is_sealed(descriptor) and os.fstat(descriptor).st_size <= VERY_LONG:
        os.close(descriptor)
    else:
        ffi, lib = _library()
        lib.closing_close(descriptor, ffi.new("struct closing_payer *", payer))


def is_behind(sender: Credentials) -> bool:
    """Tell whether so many descriptors of a sender cannot be closed that no more should be taken in."""
    ffi, lib = _library()
    behind = lib.closing_is_behind(ffi.new("struct closing_payer *", _payer(sender)))
    return bool(behind == lib.CLOSING_STUCK)


def is_settled() -> bool:
    """Tell whether everything that was to be closed is closed."""
    return not _library()[1].closing_unclosed()


def refuses(descriptors: Sequence[int], sender: Credentials) -> bool:
    """Tell whether descriptors should not be taken in now, because they might never be closed."""
    return is_behind(sender) and not all(handle < 0 or is_sealed(handle) for handle in descriptors)


def _payer(sender: Credentials) -> _Payer:
    zone = zlib.crc32(sender.zone.encode()) if sender.zone else 0
    return _Payer(sender.uid, zone, sender.pid)


def _library() -> tuple[Any, Any]:
    from enfilade.transport.doors._doors import ffi, lib  # what sends no descriptors gets along without it

    return ffi, lib
