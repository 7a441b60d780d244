"""A watchdog around every case, and a look at what it leaves behind."""

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from enfilade.transport.doors import is_door
from tests.conformance.doors.backend import path_of
from tests.conformance.doors.peer import Link, Peer, watch

PATIENCE = 240
O_PATH = getattr(os, "O_PATH", 0)


def owned() -> set[tuple[int, str]]:
    """The descriptors that a test may have opened: files, pipes and doors, but not the library's own ones."""
    found = set()
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = path_of(name)
            if target.startswith("socket:"):
                if is_door(int(name)):
                    found.add((int(name), "door"))
            elif not target.startswith(("anon_inode:", "/memfd:", "/proc/")) and not holds_name(name):
                found.add((int(name), target))
        except OSError:
            continue  # the directory's own descriptor, or one of another thread
    return found


def holds_name(fd: str) -> bool:
    """Whether it is what the library keeps of an attached name: a descriptor with O_PATH."""
    if not O_PATH:
        return False
    flags = Path(f"/proc/self/fdinfo/{fd}").read_text().partition("flags:")[2].split()[0]
    return bool(int(flags, 8) & O_PATH)


def children() -> set[str]:
    """The processes that this one has started and not waited for."""
    found: set[str] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            found.update(task.read_text().split())
    return found


def nothing(link: Link) -> None:
    """A peer that ends at once."""


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """No case leaves a process, a file descriptor or a door behind, and none runs for ever."""

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the case has not ended after {PATIENCE} seconds")

    watch(2 * PATIENCE)
    before_handler = signal.signal(signal.SIGALRM, expire)
    signal.alarm(PATIENCE)
    Peer(nothing).close()  # the first one makes the forge, which stays
    before, before_children = owned(), children()
    try:
        yield
        deadline = time.monotonic() + 60
        while (owned() - before or children() - before_children) and time.monotonic() < deadline:
            time.sleep(0.01)  # a server thread may be just about to close what it was passed
        left_open, left_running = owned() - before, children() - before_children
        assert not left_open
        assert not left_running
        assert not Peer.living
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before_handler)
        faulthandler.cancel_dump_traceback_later()
