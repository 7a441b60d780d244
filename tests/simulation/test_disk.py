"""The simulated disk: what a program sees of it, and what is left after a power cut."""

from __future__ import annotations

import errno
import itertools
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.actors.simulation import (
    DiskFailure,
    DiskTrouble,
    SimulatedDisk,
    SimulatedFile,
    World,
    run_simulation,
    swarm,
)
from enfilade.actors.simulation.machine.entropy import Stream
from enfilade.transport.simulated.disk import SECTOR

OLD, NEW = b"o", b"n"


def disk(seed: int = 0) -> SimulatedDisk:
    return SimulatedDisk(Stream(str(seed)))


def stored(made: SimulatedDisk, path: str, data: bytes) -> SimulatedFile:
    """A file with that, all of it on the device."""
    file = made.open(path, create=True)
    file.write(0, data)
    file.sync()
    made.sync_directory(os.path.dirname(path))
    return file


def left(made: SimulatedDisk, path: str) -> bytes | None:
    """What is in a file now."""
    return made.open(path).read(0, 10**6) if made.exists(path) else None


def test_sim_55_each_subset_of_unsynced_sectors_is_seen_and_synced_ones_always() -> None:
    """Of three sectors that were overwritten all eight subsets survive over 200 seeds, of one write, too."""
    seen: Counter[bytes] = Counter()
    for seed in range(200):
        made = disk(seed)
        file = stored(made, "book", OLD * 4 * SECTOR)
        file.write(0, NEW * 3 * SECTOR)
        made.lose_unsynced()
        data = left(made, "book") or b""
        sectors = [data[begin : begin + SECTOR] for begin in range(0, 4 * SECTOR, SECTOR)]
        assert all(sector in (OLD * SECTOR, NEW * SECTOR) for sector in sectors)
        assert sectors[3] == OLD * SECTOR
        seen[b"".join(sector[:1] for sector in sectors[:3])] += 1
    assert set(seen) == {b"".join(each) for each in itertools.product((OLD, NEW), repeat=3)}


def test_sim_55_a_later_write_survives_an_earlier_one() -> None:
    """The second of two writes to one sector may be there, or the first, or neither."""
    seen = set()
    for seed in range(50):
        made = disk(seed)
        file = stored(made, "book", b"0" * SECTOR)
        file.write(0, b"1" * SECTOR)
        file.write(0, b"2" * SECTOR)
        made.lose_unsynced()
        seen.add((left(made, "book") or b"")[:1])
    assert seen == {b"0", b"1", b"2"}


def test_sim_55_a_file_that_grew_has_any_of_its_sizes() -> None:
    """What lies below a size that was kept and was not kept itself is zeros."""
    sizes = set()
    for seed in range(100):
        made = disk(seed)
        file = stored(made, "log", b"")
        file.write(0, b"a" * SECTOR)
        file.write(SECTOR, b"b" * SECTOR)
        made.lose_unsynced()
        data = left(made, "log") or b""
        sizes.add(len(data))
        for begin, letter in ((0, b"a"), (SECTOR, b"b")):
            assert data[begin : begin + SECTOR] in (b"", letter * SECTOR, bytes(SECTOR))
    assert sizes == {0, SECTOR, 2 * SECTOR}


def make(made: SimulatedDisk) -> None:
    made.open("new", create=True).sync()


def rename(made: SimulatedDisk) -> None:
    made.rename("old", "new")


def remove(made: SimulatedDisk) -> None:
    made.remove("old")


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [(make, ["old"], ["new", "old"]), (rename, ["old"], ["new"]), (remove, ["old"], [])],
)
def test_sim_57_names_without_a_sync_of_their_directory(
    change: Callable[[SimulatedDisk], None], before: list[str], after: list[str]
) -> None:
    """The old names and the new ones are both seen over seeds; after the sync only the new ones."""
    for is_synced in (False, True):
        seen = set()
        for seed in range(50):
            made = disk(seed)
            stored(made, "old", b"content")
            change(made)
            assert made.names() == after
            if is_synced:
                made.sync_directory()
            made.lose_unsynced()
            seen.add(tuple(made.names()))
        assert seen == ({tuple(after)} if is_synced else {tuple(before), tuple(after)})


def test_sim_57_a_file_that_takes_the_place_of_another_is_whole() -> None:
    """The recipe that programs use: write beside, sync, rename, sync the directory."""
    for seed in range(50):
        made = disk(seed)
        stored(made, "etc/settings", b"old")
        beside = made.open("etc/settings.new", create=True)
        beside.write(0, b"new")
        beside.sync()
        made.rename("etc/settings.new", "etc/settings")
        made.lose_unsynced()
        assert left(made, "etc/settings") in (b"old", b"new")


class TestFaults:
    def test_a_sync_that_fails_loses_what_it_was_to_store(self) -> None:
        """The program sees it, the next sync says that all is well, and after a power cut it is gone."""
        made = disk()
        file = stored(made, "book", OLD)
        file.write(0, NEW)
        made.fail("sync")
        with pytest.raises(OSError, match="Input/output") as caught:
            file.sync()
        assert caught.value.errno == errno.EIO
        file.write(1, b"!")
        file.write(0, NEW)  # a sector that is written again is stored again
        made.fail("sync")
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        assert file.read(0, 10) == NEW + b"!"
        made.lose_unsynced()
        assert left(made, "book") == OLD

    @pytest.mark.parametrize("operation", ["read", "write", "sync"])
    def test_operations_fail_as_often_as_they_are_to(self, operation: Any) -> None:
        made = disk()
        file = stored(made, "book", OLD)
        calls = {"read": lambda: file.read(0, 1), "write": lambda: file.write(0, NEW), "sync": file.sync}
        made.fail(operation, 2)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                calls[operation]()
        calls[operation]()
        for other in calls:
            calls[other]()

    def test_a_full_disk_writes_a_part_and_then_nothing(self) -> None:
        made = disk()
        file = stored(made, "book", b"12345678")
        made.capacity = 10
        assert file.write(8, b"abcd") == 2
        with pytest.raises(OSError, match="No space") as caught:
            file.write(10, b"cd")
        assert caught.value.errno == errno.ENOSPC
        assert file.write(0, b"ABCD") == 4  # what takes no room
        with pytest.raises(OSError, match="No space"):
            file.truncate(11)
        file.truncate(0)
        assert file.write(0, b"abcd") == 4

    def test_a_cache_that_lies(self) -> None:
        seen = set()
        for seed in range(20):
            made = disk(seed)
            file = stored(made, "book", OLD)
            made.is_lying = True
            file.write(0, NEW)
            file.sync()
            made.lose_unsynced()
            seen.add(left(made, "book"))
        assert seen == {OLD, NEW}

    @pytest.mark.parametrize("how", ["flip", "zero", "misdirect"])
    def test_a_damaged_sector_stays_damaged(self, how: Any) -> None:
        made = disk()
        data = b"a" * SECTOR + b"b" * SECTOR + b"c" * 10
        stored(made, "book", data)
        made.corrupt("book", 2, how)
        damaged = left(made, "book") or b""
        assert damaged[: 2 * SECTOR] == data[: 2 * SECTOR]
        assert len(damaged) == len(data)
        tail = damaged[2 * SECTOR :]
        if how == "flip":
            assert sum((one ^ other).bit_count() for one, other in zip(tail, b"c" * 10, strict=True)) == 1
        else:
            assert tail == (bytes(10) if how == "zero" else b"a" * 10)
        made.lose_unsynced()
        assert left(made, "book") == damaged

    def test_what_is_not_there(self) -> None:
        made = disk()
        for call in (made.open, made.remove, made.corrupt, lambda path: made.rename(path, "other")):
            with pytest.raises(FileNotFoundError):
                call("nothing")
        stored(made, "book", OLD)
        with pytest.raises(ValueError, match="expected a sector of 'book', below 1, got 1"):
            made.corrupt("book", 1)


STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("ab"), st.integers(0, 1200), st.binary(max_size=700)),
    st.tuples(st.just("truncate"), st.sampled_from("ab"), st.integers(0, 1500)),
    st.tuples(st.just("rename"), st.sampled_from("ab"), st.sampled_from("abc")),
    st.tuples(st.just("remove"), st.sampled_from("abc")),
)


@given(script=st.lists(STEPS, max_size=20))
@settings(max_examples=60, deadline=None)
def test_a_program_sees_what_it_sees_of_a_real_disk(
    script: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same script on a directory of the system: the same names, contents and errors after each step."""
    directory = tmp_path_factory.mktemp("disk")
    made = disk()
    for step in script:
        assert played(lambda step=step: on_simulated(made, *step)) == played(  # type: ignore[misc]
            lambda step=step: on_real(directory, *step)  # type: ignore[misc]
        )
        real = {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
        assert {name: left(made, name) for name in made.names()} == real


def played(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except OSError as error:
        return error.errno


def on_simulated(made: SimulatedDisk, what: str, path: str, *args: Any) -> Any:
    match what:
        case "write":
            return made.open(path, create=True).write(*args)
        case "truncate":
            return made.open(path).truncate(*args)
        case "rename":
            return made.rename(path, *args)
    return made.remove(path)


def on_real(directory: Path, what: str, path: str, *args: Any) -> Any:
    match what:
        case "write":
            descriptor = os.open(directory / path, os.O_RDWR | os.O_CREAT)
            try:
                return os.pwrite(descriptor, args[1], args[0])
            finally:
                os.close(descriptor)
        case "truncate":
            return os.truncate(directory / path, *args)
        case "rename":
            return os.rename(directory / path, directory / args[0])
    return os.remove(directory / path)


class TestInAWorld:
    @pytest.mark.parametrize(("how", "kept"), [("process", {b"ab"}), ("machine", {b"a", b"a\0", b"ab"})])
    def test_what_each_crash_leaves(self, how: Any, kept: set[bytes]) -> None:
        """What a process has written is there when only the process has ended; else what was synced is."""
        found: set[bytes | None] = set()

        async def main(world: World) -> None:
            host = await world.open_node("east")
            made = world.disk(host)

            def work() -> None:
                file = stored(made, "log", b"a")
                file.write(1, b"b")
                world.crash(host, how)
                for late in (lambda: file.write(2, b"c"), file.sync, lambda: file.truncate(0)):
                    with pytest.raises(ValueError, match="opened in this life of the host"):
                        late()

            with pytest.raises(Exception, match="crashed"):
                await world.on(host, work)
            await world.restart(host)
            found.add(await world.on(host, left, made, "log"))

        for seed in range(20):
            run_simulation(main, seed=seed)
        assert found == kept

    def test_a_slow_disk_takes_its_time_and_holds_nobody_up(self) -> None:
        async def main(world: World) -> tuple[float, int]:
            host = await world.open_node("east")
            made = world.disk(host)
            world.at(0.0, DiskTrouble("east", seconds=10.0, latency=2.0))
            ticks = 0

            async def work() -> float:
                nonlocal ticks
                began = world.now()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, stored, made, "log", b"a")
                    for _ in range(10):
                        await trio.sleep(0.1)
                        ticks += not made.exists("log")
                return world.now() - began

            await world.run(0.1)
            seconds = await world.on(host, work)
            await world.run(20)
            assert made.latency == 0.0
            return seconds, ticks

        assert run_simulation(main, seed=1) == (pytest.approx(2.0), 10)

    def test_a_calm_ends_what_befalls_disks(self) -> None:
        """Also when the trouble was to go on: a program must be able to recover."""

        async def main(world: World) -> None:
            host = await world.open_node("east")
            made = world.disk(host)
            world.faults([(1.0, DiskTrouble("east", 60.0, room=0)), (1.0, DiskFailure("east", "write", 9))])
            await world.run(2.0)
            with pytest.raises(OSError, match="Input/output"):
                await world.on(host, stored, made, "log", b"a")
            await world.calm(1.0)
            await world.on(host, stored, made, "log", b"a")
            await world.run(100.0)
            await world.on(host, stored, made, "log", b"ab")

        run_simulation(main, seed=1)

    def test_troubles_of_a_disk_that_overlap_leave_nothing(self) -> None:
        """The latest holds, whichever ends first, and one that is slow leaves another one's full disk."""

        async def main(world: World) -> list[tuple[float, float]]:
            await world.open_node("east")
            disk = world.disk(world.hosts["east"])
            seen = []
            world.faults(
                [
                    (1.0, DiskTrouble("east", 2.0, latency=0.1)),
                    (2.0, DiskTrouble("east", 2.0, latency=0.2)),
                    (2.2, DiskTrouble("east", 3.0, room=10)),
                ]
            )
            for when in (0.5, 1.5, 2.5, 3.5, 4.5, 6.5):
                world.call_at(when, lambda: seen.append((disk.latency, disk.capacity)))
            await world.run(7.0)
            return seen

        free = float("inf")
        expected = [(0.0, free), (0.1, free), (0.2, 10), (0.2, 10), (0.0, 10), (0.0, free)]
        assert run_simulation(main, seed=1) == expected

    def test_a_world_without_disks_draws_no_faults_of_disks(self) -> None:
        async def main(world: World) -> str:
            await world.open_node("east")
            world.faults(swarm(kinds=("disk full", "crash")))
            return world.options

        assert not any("disk" in run_simulation(main, seed=seed) for seed in range(20))
