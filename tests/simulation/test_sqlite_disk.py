"""A database on the simulated disk: the disk is as hard on a program as a real one, and no harder.

SQLite keeps its promises on it, at whatever point the power goes, and breaks them when it does not sync.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enfilade.actors.simulation import SimulatedDisk
from enfilade.actors.simulation.machine.entropy import Stream

apsw = pytest.importorskip("apsw", reason="the SQLite that can be given a disk is not installed")
from tests.simulation.sqlite_disk import SimulatedSystem  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PATH = "journal.db"
COMMITS = 5
POINTS = 60
"""More operations than the script has."""


def connected(name: str, disk: SimulatedDisk, how: str = "full") -> tuple[Any, SimulatedSystem]:
    """A connection of one life, and what must live as long."""
    system = SimulatedSystem(name, disk)
    connection = apsw.Connection(PATH, vfs=name)
    for pragma in ("locking_mode = exclusive", "journal_mode = delete", f"synchronous = {how}"):
        list(connection.execute(f"pragma {pragma}"))
    return connection, system


def journal(name: str, disk: SimulatedDisk, how: str = "full") -> list[int]:
    """Commit numbered records one after the other, until something fails; return what was acknowledged."""
    acknowledged: list[int] = []
    try:
        connection, _system = connected(name, disk, how)
        list(connection.execute("create table if not exists log (number integer primary key, data blob)"))
        for number in range(COMMITS):
            list(connection.execute("insert into log values (?, ?)", (number, bytes([number]) * 300)))
            acknowledged.append(number)
    except apsw.Error:
        pass
    return acknowledged


def recovered(name: str, disk: SimulatedDisk) -> list[int]:
    """The records that the next life finds. Raises what SQLite says of a database that is damaged."""
    connection, _system = connected(name, disk)
    assert list(connection.execute("pragma integrity_check")) == [("ok",)]
    if not list(connection.execute("select name from sqlite_schema where name = 'log'")):
        return []
    rows = list(connection.execute("select number, data from log order by number"))
    assert all(data == bytes([number]) * 300 for number, data in rows)
    return [number for number, _ in rows]


class Scripted(SimulatedDisk):
    """A disk that something befalls at an operation of a number, from 1; of one kind, if that is given."""

    def __init__(self, name: str, number: int, befall: Callable[[Scripted], None], kind: str = "") -> None:
        super().__init__(Stream(name))
        self.number = number
        self.befall = befall
        self.kind = kind

    def begin(self, operation: Any, life: int) -> None:
        if not self.kind or operation == self.kind:
            self.number -= 1
            if self.number == 0:
                self.befall(self)
        super().begin(operation, life)


def is_kept(seed: int, how: str) -> bool:
    """Whether what was acknowledged is there after a power cut at a drawn point, in order and whole."""
    point = 1 + Stream(f"point {seed}").below(POINTS)
    disk = Scripted(f"disk {seed}", point, SimulatedDisk.lose_unsynced)
    acknowledged = journal(f"{how} {seed}", disk, how)
    if disk.number > 0:  # it never came to that
        disk.lose_unsynced()
    try:
        found = recovered(f"{how} {seed} again", disk)
    except apsw.Error:
        return False
    return found == list(range(len(found))) and len(found) >= len(acknowledged)


def test_a_database_keeps_what_it_has_acknowledged() -> None:
    """A thousand power cuts."""
    assert [seed for seed in range(1000) if not is_kept(seed, "full")] == []


def test_a_database_that_acknowledges_before_it_syncs_is_found() -> None:
    assert not all(is_kept(seed, "off") for seed in range(100))


def test_sim_59_a_disk_that_is_full_at_any_byte_of_a_commit() -> None:
    """What was acknowledged is there, nothing is there by half, and commits go on when there is room."""
    whole = SimulatedDisk(Stream("whole"))
    assert journal("whole", whole) == list(range(COMMITS))
    for room in range(0, whole.used + 1500, 97):
        disk = SimulatedDisk(Stream("full"))
        disk.capacity = room
        acknowledged = journal(f"room {room}", disk)
        disk.lose_unsynced()
        disk.recover()
        assert recovered(f"room {room} again", disk) == acknowledged
        assert len(acknowledged) < COMMITS or room >= whole.used
        if not acknowledged:
            assert journal(f"room {room} at last", disk) == list(range(COMMITS))


def test_a_sync_that_fails_is_told() -> None:
    """What could not be synced is not acknowledged, at whichever of the syncs that was."""
    for number in range(1, 21):
        disk = Scripted(str(number), number, lambda disk: disk.fail("sync"), "sync")
        acknowledged = journal(f"sync {number}", disk)
        disk.lose_unsynced()
        found = recovered(f"sync {number} again", disk)
        assert found[: len(acknowledged)] == acknowledged
