"""The nodes of this user that run: how an observer finds them without being told where their doors are.

Each leaves a file in the user's runtime directory, which says where its door is and where its dumps lie. The
file of a process that is gone, or that is another one by now, is passed over and deleted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs
import msgspec

from enfilade.actors.messages.blocks import block
from enfilade.ownership import is_own
from enfilade.transport.process_start import started

__all__ = ["RunningNode", "announced", "file_stem", "running_nodes", "runtime_directory"]

LARGEST: Final = 65_536
"""Bytes of a file that are read."""


@attrs.frozen
class RunningNode:
    """A node that runs, as it has announced itself.

    Attributes:
        full_name: its name and zone.
        pid: its OS process.
        began: when that started, in ticks since the boot; None where the system does not say.
        door: the path of its door; None.
        zone_file: the file that it was started from; None.
        dumps: the directory of its dump files, if SIGQUIT has it write one; None.
    """

    full_name: str
    pid: int
    began: int | None
    door: str | None
    zone_file: str | None
    dumps: str | None

    @property
    def is_alive(self) -> bool:
        """True if its process still runs."""
        if self.began is not None:
            return started(self.pid) == self.began
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True


def runtime_directory() -> Path:
    """The directory of the files: below `XDG_RUNTIME_DIR`, or in the user's home."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    return Path(given, "enfilade") if given else Path.home() / ".local" / "state" / "enfilade" / "run"


def file_stem(full_name: str) -> str:
    """The name, without an ending, of the files that this process leaves for a node."""
    return f"{os.getpid()}-{quote(full_name, safe='@')}"


@block
def announced(
    full_name: str, *, door: str | None, zone_file: str | None = None, dumps: Path | None = None
) -> Iterator[None]:
    """Announce a node of this process for the length of a block.

    Args:
        full_name: its name and zone.
        door: the path of its door; None.
        zone_file: the file that it was started from; None.
        dumps: the directory of its dump files, if SIGQUIT has it write one; None.

    Raises:
        OSError: the runtime directory belongs to somebody else, or cannot be written to.
    """
    pid = os.getpid()
    place = None if dumps is None else os.path.abspath(dumps)
    found = RunningNode(full_name, pid, started(pid), door, zone_file, place)
    directory = own_directory()
    path = directory / f"{file_stem(full_name)}.json"
    hidden = path.with_suffix(".part")
    hidden.unlink(missing_ok=True)
    with open(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(found))
    hidden.rename(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def own_directory() -> Path:
    """The runtime directory, which is made if it is not there.

    Raises:
        OSError: it belongs to somebody else, is open to others, or cannot be made.
    """
    directory = runtime_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_own(directory):
        raise PermissionError(f"{directory} must belong to this user and be closed to others: `chmod 700` it")
    return directory


def running_nodes() -> list[RunningNode]:
    """The nodes of this user that run, by name. The files of those that are gone are deleted."""
    directory = runtime_directory()
    if not _is_own(directory):
        return []
    found: list[RunningNode] = []
    for path in sorted(directory.glob("*.json")):
        node = _read(path)
        if node is not None and node.is_alive:
            found.append(node)
            continue
        for stale in (path, path.with_suffix(".door")):
            with suppress(OSError):
                stale.unlink()
    return sorted(found, key=lambda node: (node.full_name, node.pid))


def _read(path: Path) -> RunningNode | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(file, "rb") as content:
            if not is_own(os.fstat(file)):
                return None
            return msgspec.json.decode(content.read(LARGEST), type=RunningNode)
    except (OSError, msgspec.MsgspecError):
        return None


def _is_own(directory: Path) -> bool:
    """Tell whether a directory is ours, and nobody else can change or read what is in it."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and is_own(status) and not status.st_mode & 0o077
