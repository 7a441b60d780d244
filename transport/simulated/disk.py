"""A simulated disk: what a program sees of its files, and what is left of them after a power cut.

Each file is there twice. The program sees the one; the device has the other. A write changes the first, and
`SimulatedFile.sync` brings that file's bytes to the second. Names are a thing apart, as on Linux: one that
was made, renamed or removed is on the device after `SimulatedDisk.sync_directory`, and not before.

After a power cut each sector that was not synced has one of the states that it has had since it was; the
draws say which. So of several writes a later one may be there without an earlier one, and of one write a
part. Changes of names are there in order, as in the journal of a file system: some number of the first of
them. A process that was killed, on the other hand, leaves what it has seen.

Nothing here waits. Code of a host calls it in `trio.to_thread.run_sync`, as it would call the operating
system; that takes the disk's latency there.
"""

from __future__ import annotations

import errno
import math
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol, TypeVar

import attrs

from enfilade.transport.simulated.disturbances import Disturbances

__all__ = ["SECTOR", "SimulatedDisk", "SimulatedFile"]

T = TypeVar("T")

SECTOR: Final = 512
"""Bytes that a device writes whole or not at all."""

Operation = Literal["read", "write", "sync"]


class Draws(Protocol):
    """A stream of chance that belongs to one disk."""

    def below(self, count: int) -> int:
        """Draw an integer from 0 to `count`, `count` excluded."""
        ...


@attrs.define(eq=False)
class _Content:
    """What is in a file, under whatever name.

    Attributes:
        seen: by the program.
        stored: on the device.
        states: for each sector that was written since the last sync, what it has held since, in order.
        sizes: the sizes since the last sync, in order.
    """

    seen: bytearray = attrs.field(factory=bytearray)
    stored: bytes = b""
    states: dict[int, list[bytes]] = attrs.field(factory=dict)
    sizes: list[int] = attrs.field(factory=list)

    def changed(self, begin: int, end: int) -> None:
        """Note that the bytes from `begin` to `end` are others."""
        for sector in range(begin // SECTOR, -(-end // SECTOR)):
            state = bytes(self.seen[sector * SECTOR : (sector + 1) * SECTOR])
            self.states.setdefault(sector, []).append(state)
        if len(self.seen) != (self.sizes or [len(self.stored)])[-1]:
            self.sizes.append(len(self.seen))

    def store(self) -> None:
        """Bring everything to the device."""
        self.stored = bytes(self.seen)
        self.forget()

    def forget(self) -> None:
        """Take everything for stored, whether it is or not."""
        self.states.clear()
        self.sizes.clear()

    def lose_unsynced(self, draws: Draws) -> None:
        """Keep what was stored, and of the rest what the draws say."""
        size = _one_of([len(self.stored), *self.sizes], draws)
        left = bytearray(self.stored[:size].ljust(size, b"\0"))
        for sector in sorted(self.states):
            begin, end = sector * SECTOR, min((sector + 1) * SECTOR, size)
            stored = self.stored[begin : begin + SECTOR]
            state = _one_of([stored, *self.states[sector]], draws)
            if begin < end:
                left[begin:end] = state[: end - begin].ljust(end - begin, b"\0")
        self.seen = left
        self.store()


def _one_of(states: Sequence[T], draws: Draws) -> T:
    return states[draws.below(len(states))]


@attrs.frozen
class _Rename:
    """A change of names, from `old` to `new`: no old one if it was made, no new one if removed."""

    old: str | None
    new: str | None
    content: _Content

    def apply(self, names: dict[str, _Content]) -> None:
        """Change names."""
        if self.old is not None:
            names.pop(self.old, None)
        if self.new is not None:
            names[self.new] = self.content

    def touches(self, directory: str) -> bool:
        """Tell whether a name in that directory changes."""
        return any(name is not None and posixpath.dirname(name) == directory for name in (self.old, self.new))


class SimulatedDisk:
    """The disk of a simulated host. It outlives the lives of the host's node.

    Paths are texts with slashes. Directories need not be made.

    Args:
        draws: say what a power cut leaves.

    Attributes:
        latency: seconds that what code of the host does in `trio.to_thread.run_sync` takes.
        capacity: bytes that all files may have together.
        is_lying: whether syncs say that they have stored what they have not: the cache of a device, or of a
            virtual one, that power takes along.
    """

    def __init__(self, draws: Draws) -> None:
        self.latency = 0.0
        self.capacity = math.inf
        self.is_lying = False
        self._draws = draws
        self._seen: dict[str, _Content] = {}
        self._stored: dict[str, _Content] = {}
        self._renames: list[_Rename] = []
        self._failing: Counter[str] = Counter()
        self._life = 0
        self._disturbances = Disturbances(self)

    # What a program does.

    def open(self, path: str, *, create: bool = False) -> SimulatedFile:
        """Open a file to read and write.

        Args:
            path: its name.
            create: make it if there is none.

        Raises:
            FileNotFoundError: there is none.
        """
        content = self._seen.get(path)
        if content is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            content = _Content()
            self._rename(None, path, content)
        return SimulatedFile(self, path, content)

    def rename(self, old: str, new: str) -> None:
        """Rename the file `old` to `new`; what had that name is removed. Raises `FileNotFoundError`."""
        content = self._find(old)
        if old != new:
            self._rename(old, new, content)

    def remove(self, path: str) -> None:
        """Remove the file `path`. Raises `FileNotFoundError`."""
        self._rename(path, None, self._find(path))

    def names(self, directory: str = "") -> list[str]:
        """Return the names of the files in `directory`, in order."""
        return sorted(posixpath.basename(path) for path in self._seen if posixpath.dirname(path) == directory)

    def exists(self, path: str) -> bool:
        """Tell whether there is a file `path`."""
        return path in self._seen

    def sync_directory(self, directory: str = "") -> None:
        """Write the names in `directory` to the device, with all changes of names that came before.

        Raises:
            OSError: EIO, if it is to fail.
        """
        self.begin("sync", self._life)
        if not self.is_lying:
            touching = [number for number, each in enumerate(self._renames) if each.touches(directory)]
            self._store_names(touching[-1] + 1 if touching else 0)

    # What befalls it.

    def fail(self, operation: Operation, times: int = 1) -> None:
        """Let the next `times` operations of the kind `operation` fail with EIO.

        After a sync that has failed, what it was to store counts as stored, as on Linux: the next one
        succeeds, and stores nothing of it.
        """
        self._failing[operation] += times

    def corrupt(self, path: str, sector: int = 0, how: Literal["flip", "zero", "misdirect"] = "flip") -> None:
        """Damage a sector of a file at rest.

        Args:
            path: of the file.
            sector: which one, from 0.
            how: "flip" changes a drawn bit, "zero" all of them; with "misdirect" the file's first sector, or
                its second one, has been written there.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it has no such sector.
        """
        content = self._find(path)
        begin = sector * SECTOR
        data = content.seen
        if not 0 <= begin < len(data):
            raise ValueError(f"expected a sector of {path!r}, below {-(-len(data) // SECTOR)}, got {sector}")
        end = min(begin + SECTOR, len(data))
        if how == "flip":
            data[begin + self._draws.below(end - begin)] ^= 1 << self._draws.below(8)
        elif how == "zero":
            data[begin:end] = bytes(end - begin)
        else:
            other = 0 if sector else SECTOR
            data[begin:end] = bytes(data[other : other + SECTOR]).ljust(SECTOR, b"\0")[: end - begin]
        content.stored = bytes(data[:end]) + content.stored[end:]
        content.states.pop(sector, None)

    def lose_unsynced(self) -> None:
        """The machine has no power any more: keep what was synced, and of the rest what the draws say."""
        self.end_life()
        self._store_names(self._draws.below(len(self._renames) + 1))
        self._renames.clear()
        self._seen = dict(self._stored)
        for path in sorted(self._seen):
            self._seen[path].lose_unsynced(self._draws)

    def end_life(self) -> None:
        """The process that has opened files here has ended: it can do nothing more with them."""
        self._life += 1

    def fill(self, room: int = 0) -> None:
        """Leave room for `room` more bytes, until `recover`: what needs more fails with ENOSPC."""
        self.disturb(capacity=self.used + room)

    def slow(self, seconds: float) -> None:
        """Let each operation in `trio.to_thread.run_sync` take so many seconds, until `recover`."""
        self.disturb(latency=seconds)

    def disturb(self, **properties: float) -> Callable[[], None]:
        """Change `latency` or `capacity` until what is returned is called. Of several disturbances the latest
        holds.
        """
        return self._disturbances.begin(properties)

    def recover(self) -> None:
        """End all faults."""
        self._disturbances.end()
        self.latency = 0.0
        self.capacity = math.inf
        self.is_lying = False
        self._failing.clear()

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return sum(len(content.seen) for content in self._seen.values())

    # For files.

    def begin(self, operation: Operation, life: int) -> None:
        """Begin `operation` on a file, which belongs to the life of the number `life`.

        Raises:
            ValueError: the process that has opened the file has ended.
            OSError: EIO, if it is to fail.
        """
        if life != self._life:
            raise ValueError(
                "expected a file that this life of the host has opened, got one of an earlier life"
            )
        if self._failing[operation]:
            self._failing[operation] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    @property
    def life(self) -> int:
        """The number of the life that goes on now."""
        return self._life

    def _find(self, path: str) -> _Content:
        content = self._seen.get(path)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return content

    def _rename(self, old: str | None, new: str | None, content: _Content) -> None:
        change = _Rename(old, new, content)
        change.apply(self._seen)
        self._renames.append(change)

    def _store_names(self, count: int) -> None:
        for change in self._renames[:count]:
            change.apply(self._stored)
        del self._renames[:count]


class SimulatedFile:
    """An open file. Made by `SimulatedDisk.open`; of the life of the host in which that was.

    Each of its methods raises `ValueError` in a later life, and `OSError` if the disk is to fail.

    Attributes:
        path: the name that it was opened by.
    """

    def __init__(self, disk: SimulatedDisk, path: str, content: _Content) -> None:
        self.path = path
        self._disk = disk
        self._content = content
        self._life = disk.life

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self._content.seen)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end of the file."""
        self._disk.begin("read", self._life)
        return bytes(self._content.seen[offset : offset + size])

    def write(self, offset: int, data: bytes) -> int:
        """Write `data` at `offset`; return how many bytes were written: fewer when the disk is full.

        Raises:
            OSError: ENOSPC: there is no room for any.
        """
        self._disk.begin("write", self._life)
        content = self._content
        room = self._disk.capacity - self._disk.used
        before = len(content.seen)
        end = int(min(offset + len(data), max(before, before + room)))
        count = end - offset
        if not data:
            return 0
        if count <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        if offset > before:
            content.seen.extend(bytes(offset - before))
        content.seen[offset:end] = data[:count]
        content.changed(min(before, offset), end)
        return count

    def truncate(self, size: int) -> None:
        """Cut the file, or add zeros, so that it has `size` bytes. Raises `OSError`, ENOSPC without room."""
        self._disk.begin("write", self._life)
        content = self._content
        before = len(content.seen)
        if size - before > self._disk.capacity - self._disk.used:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        del content.seen[size:]
        content.seen.extend(bytes(size - len(content.seen)))
        content.changed(min(before, size), max(min(before, size), size))

    def sync(self) -> None:
        """Bring what was written to the device. The file's name is another matter: `sync_directory`.

        Raises:
            OSError: EIO, if it is to fail. What was written counts as stored then, and is not.
        """
        try:
            self._disk.begin("sync", self._life)
        except OSError:
            self._content.forget()
            raise
        if not self._disk.is_lying:
            self._content.store()
