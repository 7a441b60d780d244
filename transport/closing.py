"""Closes descriptors that came from others, without waiting for whom they lead to.

To close a file is to ask whoever serves it. A file system in user space answers when it pleases; a socket
with SO_LINGER waits for its other end; and a socket may hold more of them, on their way to somebody. So such
a descriptor is closed by a thread. A sealed memory file asks nobody, and is closed at once, unless it is very
long: to give back so much memory takes milliseconds.

There are so many threads, and no more. While all of them wait, descriptors gather; when too many have, no
more are taken in: a peer that sends another loses its node link, and new callers wait at the rendezvous.
"""

import errno
import logging
import os
from _thread import start_new_thread
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from enfilade.transport.memory_file import is_sealed

__all__ = ["close", "is_behind", "is_settled", "refuses"]

logger = logging.getLogger("enfilade.transport")

MOST_THREADS: Final = 16
MOST_UNCLOSED: Final = 128
"""Descriptors that threads close, or that wait for a thread, before no more are taken in."""

IDLE_SECONDS: Final = 5.0
"""A thread without work ends after this time."""

VERY_LONG: Final = 24 * 1024 * 1024
"""Bytes from which on a memory file is closed by a thread, too."""

_Item: TypeAlias = tuple[int, object]
"""A descriptor, and what tells it from another with the same number."""

# Finalizers close descriptors, in any thread and at any moment: a simple queue and sets can bear that.
_waiting: "SimpleQueue[_Item]" = SimpleQueue()
_unclosed: "set[_Item]" = set()
_threads: set[object] = set()
_idle: set[object] = set()


def close(descriptor: int) -> None:
    """Close a descriptor, now or soon. Never waits."""
    if _is_harmless(descriptor):
        os.close(descriptor)
    else:
        item = descriptor, object()
        _unclosed.add(item)
        _waiting.put(item)
        _find_thread()


def is_behind() -> bool:
    """Tell whether so many descriptors wait to be closed that no more should be taken in."""
    return len(_unclosed) >= MOST_UNCLOSED


def is_settled() -> bool:
    """Tell whether everything that was to be closed is closed."""
    return not _unclosed


def refuses(descriptors: Sequence[int]) -> bool:
    """Tell whether descriptors should not be taken in now, because they might never be closed."""
    return is_behind() and not all(handle < 0 or is_sealed(handle) for handle in descriptors)


def _is_harmless(descriptor: int) -> bool:
    return is_sealed(descriptor) and os.fstat(descriptor).st_size <= VERY_LONG


def _find_thread() -> None:
    """Make sure that a thread looks at what waits, if there may be one more."""
    if not _idle and len(_threads) < MOST_THREADS:
        thread = object()
        _threads.add(thread)
        try:
            start_new_thread(_work, (thread,))
        except RuntimeError:  # there is no room for a thread; the next descriptor tries again
            _threads.discard(thread)


def _work(thread: object) -> None:
    while True:
        _idle.add(thread)
        try:
            item = _waiting.get(timeout=IDLE_SECONDS)
        except Empty:
            _idle.discard(thread)  # from here on, who comes does not rely on this thread
            if _waiting.empty():
                break
            continue
        _idle.discard(thread)
        if not _waiting.empty():
            _find_thread()
        try:
            os.close(item[0])
        except OSError as error:  # the descriptor is closed all the same, unless it never was one
            if error.errno == errno.EBADF:
                logger.exception("descriptor %d was to be closed, and is not open", item[0])
        finally:
            _unclosed.discard(item)
    _threads.discard(thread)
    if not _waiting.empty():
        _find_thread()


def _forget_threads() -> None:
    """Start afresh in a forked child, which has none of the threads."""
    global _waiting
    _waiting = SimpleQueue()
    _unclosed.clear()
    _threads.clear()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_threads)
