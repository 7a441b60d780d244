"""SQLite on a simulated disk: the real one, which finds the disk where it looks for the operating system."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from enfilade.actors.simulation import SimulatedDisk, SimulatedFile

__all__ = ["SimulatedSystem"]

T = TypeVar("T")

JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL


def _told(function: Callable[..., T], *args: Any) -> T:
    """Call a function, and tell SQLite of its error in SQLite's words."""
    try:
        return function(*args)
    except OSError as error:
        raise (apsw.FullError if error.errno == errno.ENOSPC else apsw.IOError)(str(error)) from None
    except ValueError as error:  # of a life that has ended
        raise apsw.IOError(str(error)) from None


class SimulatedSystem(apsw.VFS):
    """What SQLite takes for the operating system, for one life of a host.

    Args:
        name: by which connections ask for it.
        disk: where the files are.
    """

    def __init__(self, name: str, disk: SimulatedDisk) -> None:
        super().__init__(name, "", exclude={"xDlOpen", "xSetSystemCall", "xGetSystemCall", "xNextSystemCall"})
        self.disk = disk

    def xFullPathname(self, name: str) -> str:  # noqa: N802 (SQLite's names)
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802
        return self.disk.exists(pathname)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        try:
            self.disk.remove(filename)
        except FileNotFoundError:
            raise apsw.IOErrorError from None
        if syncdir:
            self.disk.sync_directory()

    def xOpen(self, name: Any, flags: list[int]) -> SimulatedDatabase:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        existed = self.disk.exists(path)
        file = self.disk.open(path, create=bool(flags[0] & apsw.SQLITE_OPEN_CREATE))
        flags[1] = flags[0]
        is_synced = existed or not flags[0] & JOURNALS
        return SimulatedDatabase(self.disk, file, is_synced=is_synced)


class SimulatedDatabase:
    """An open file, as SQLite sees one. A journal's name is brought to the device with its first sync, as by
    SQLite's own face of Unix.
    """

    def __init__(self, disk: SimulatedDisk, file: SimulatedFile, *, is_synced: bool) -> None:
        self.disk = disk
        self.file = file
        self.is_synced = is_synced

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return _told(self.file.read, offset, amount)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        done = 0
        while done < len(data):
            done += _told(self.file.write, offset + done, bytes(data[done:]))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        _told(self.file.truncate, size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        _told(self.file.sync)
        if not self.is_synced:
            _told(self.disk.sync_directory)
            self.is_synced = True

    def xFileSize(self) -> int:  # noqa: N802
        return self.file.size

    def xClose(self) -> None:  # noqa: N802
        pass

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 512

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return 0
