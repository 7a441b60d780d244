"""7.15: doors and their names."""

import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enfilade.transport.doors import (
    Client,
    Door,
    DoorCallError,
    DoorOpenError,
    FattachError,
    FdetachError,
    IsastreamError,
    NotADoor,
)
from enfilade.transport.doors.api import (
    door_create,
    door_open,
    door_revoke,
    fattach,
    fdetach,
    isastream,
)
from tests.conformance.doors.backend import EMULATED, FSTAT_SAYS_DOOR
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import call, echo, info, outcome, returning

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")


@pytest.fixture
def door() -> Iterator[int]:
    d = door_create(echo, None, 0)
    yield d
    door_revoke(d)


@pytest.fixture
def path() -> Iterator[Path]:
    """A file in a directory that every user may search, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        file = Path(directory, "name.door")
        file.write_text("what was there")
        yield file


def serve(link: Link, path: str) -> None:
    Path(path).touch()
    fattach(door_create(echo, None, 0), path)
    link.say("ready")
    link.hear()


def test_door_n1_attach_open_call(tmp_path: Path) -> None:
    """A door attached to a file by one process is opened and called by another."""
    path = tmp_path / "n1.door"
    with Peer(serve, str(path)) as peer:
        assert peer.hear() == "ready"
        opened = door_open(path)
        assert call(opened, b"through a name") == b"through a name"
        os.close(opened)


def test_door_n2_missing_path(door: int, tmp_path: Path) -> None:
    """The file must exist; the other errors of looking up a path are what they are."""
    with pytest.raises(FattachError.ENOENT):
        fattach(door, tmp_path / "missing")
    with pytest.raises(FattachError.ENOENT):
        fattach(door, "")
    (tmp_path / "file").touch()
    with pytest.raises(FattachError.ENOTDIR):
        fattach(door, tmp_path / "file/below")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FattachError.ELOOP):
        fattach(door, tmp_path / "loop")
    with pytest.raises(FattachError.ENAMETOOLONG):
        fattach(door, tmp_path / ("x" * 300))


def test_door_n5_no_descriptor(path: Path) -> None:
    """A closed number is EBADF; a file that is no door EINVAL."""
    for number in (-1, 9999):
        with pytest.raises(FattachError.EBADF):
            fattach(number, path)
    file = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(FattachError.EINVAL):
        fattach(file, path)
    os.close(file)


def attach_as_nobody(link: Link, path: str, own_mode: str) -> None:
    """An ordinary user attaches, detaches and opens; says what each came to."""
    import grp
    import pwd

    pwd.getpwuid(0)
    grp.getgrgid(0)
    if own_mode:
        file = Path(path)
        file.touch()
        os.chown(path, NOBODY, NOBODY)
        file.chmod(int(own_mode, 8))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    door = door_create(echo, None, 0)
    link.say(
        [
            outcome(lambda: fattach(door, path)),
            outcome(lambda: fdetach(path)),
            outcome(lambda: os.close(door_open(path))),
        ]
    )
    link.hear()


@root_only
def test_door_n6_not_the_owner(path: Path) -> None:
    """Only the owner of a file may attach to it."""
    with Peer(attach_as_nobody, str(path), "") as peer:
        assert peer.hear()[0] == "EPERM"


@root_only
def test_door_n7_owner_without_write_permission(door: int, path: Path) -> None:
    """The owner needs write permission; root does not."""
    with Peer(attach_as_nobody, str(path.parent / "n7.door"), "0400") as peer:
        assert peer.hear()[0] == "EACCES"
    path.chmod(0o400)
    assert fattach(door, path) == 0
    fdetach(path)


def test_door_n8_detach(door: int, path: Path) -> None:
    """After detaching the file's contents are there again, and what was open still works."""
    fattach(door, path)
    opened = door_open(path)
    assert fdetach(path) == 0
    assert path.read_text() == "what was there"
    assert call(opened, b"still open") == b"still open"
    os.close(opened)
    assert os.listdir(path.parent) == [path.name]


def test_door_n9_detach_a_plain_file(path: Path) -> None:
    """Nothing is attached to a plain file: EINVAL; nor to one that does not exist: ENOENT."""
    with pytest.raises(FdetachError.EINVAL):
        fdetach(path)
    with pytest.raises(FdetachError.ENOENT):
        fdetach(path.parent / "missing")


@root_only
def test_door_n10_detach_what_is_not_ones_own(door: int, path: Path) -> None:
    """Another user may not detach a name."""
    fattach(door, path)
    with Peer(attach_as_nobody, str(path), "") as peer:
        assert peer.hear()[1] == "EPERM"
    opened = door_open(path)
    assert call(opened, b"there") == b"there"
    os.close(opened)
    fdetach(path)


def test_door_n11_status_of_a_name(door: int, path: Path) -> None:
    """The name has the file's owner, and its mode, and is a door (in the emulation a socket)."""
    path.chmod(0o640)
    before = path.stat()
    fattach(door, path)
    seen = path.stat()
    is_kind = stat.S_ISDOOR if FSTAT_SAYS_DOOR else stat.S_ISSOCK
    assert is_kind(seen.st_mode)
    assert (seen.st_uid, seen.st_gid) == (before.st_uid, before.st_gid)
    # connect(2) wants write permission where opening wants read permission, so the emulation adds it
    assert seen.st_mode & 0o444 == 0o440
    assert seen.st_mode & 0o777 == (0o660 if EMULATED else 0o640)
    fdetach(path)
    assert path.stat().st_mode & 0o777 == 0o640


def open_as_nobody(link: Link) -> None:
    """An ordinary user opens the names that it is told, and says what came of it."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    while (path := link.hear()) is not None:
        link.say(outcome(lambda path=path: os.close(door_open(path))))


@root_only
def test_door_n12_mode_decides_who_may_open(door: int, path: Path) -> None:
    """Who may read the name may open the door: by the mode of the file, or as changed since."""
    with Peer(open_as_nobody) as peer:
        for mode, answer in (
            (0o600, "EACCES"),
            (0o644, None),
            (0o200, "EACCES"),
            (0o604, None),
            (0o640, "EACCES"),
        ):
            path.chmod(mode)
            fattach(door, path)
            assert peer.ask(str(path)) == answer, f"attached to a file of mode {mode:o}"
            fdetach(path)

            path.chmod(0o666)
            fattach(door, path)
            path.chmod(mode)
            found = peer.ask(str(path))
            for _ in range(100):
                if found == answer or answer is not None:
                    break
                time.sleep(0.05)  # the emulation's server has to see the change before others may connect
                found = peer.ask(str(path))
            assert found == answer, f"changed to mode {mode:o}"
            fdetach(path)


def test_door_n14_door_n15_server_exits(tmp_path: Path) -> None:
    """The name of a server that has exited is there and opens; calls are EBADF; force_install
    takes it over.
    """
    path = tmp_path / "n14.door"
    with Peer(serve, str(path)) as peer:
        assert peer.hear() == "ready"
    path.stat()
    opened = door_open(path)
    with pytest.raises(DoorCallError.EBADF):
        call(opened)
    assert info(opened).di_target == -1
    os.close(opened)
    with Door(lambda request: b"new server") as server:
        with pytest.raises(FattachError.EBUSY):
            server.install(path)
        server.force_install(path)
        with Client.open(path) as client:
            assert client.call_with_data(b"") == b"new server"
    assert path.is_file()


def test_door_n15_the_idiom(tmp_path: Path) -> None:
    """Create if missing, detach ignoring errors, attach: works on a dead name as on a fresh one."""
    path = tmp_path / "n15.door"
    with Peer(serve, str(path)) as peer:
        assert peer.hear() == "ready"
    for _ in range(2):
        door = door_create(echo, None, 0)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY)) if not path.exists() else None
        outcome(lambda: fdetach(path))
        fattach(door, path)
        opened = door_open(path)
        assert call(opened, b"idiom") == b"idiom"
        os.close(opened)
        door_revoke(door)
    fdetach(path)


def test_door_n16_three_names(door: int, tmp_path: Path) -> None:
    """One door at three paths: all work, and are one door."""
    ids = set()
    for name in ("one", "two", "three"):
        (tmp_path / name).touch()
        fattach(door, tmp_path / name)
    for name in ("one", "two", "three"):
        opened = door_open(tmp_path / name)
        assert call(opened, name.encode()) == name.encode()
        ids.add(info(opened).di_uniquifier)
        os.close(opened)
        fdetach(tmp_path / name)
    assert ids == {info(door).di_uniquifier}


def test_attached_already(door: int, path: Path) -> None:
    """A name holds one door: EBUSY; and what was opened by a name cannot be attached again: EBUSY."""
    fattach(door, path)
    other = door_create(echo, None, 0)
    with pytest.raises(FattachError.EBUSY):
        fattach(other, path)
    opened = door_open(path)
    (path.parent / "second").touch()
    with pytest.raises(FattachError.EBUSY):
        fattach(opened, path.parent / "second")
    os.close(opened)
    door_revoke(other)
    fdetach(path)


def test_door_n17_unlink(door: int, path: Path) -> None:
    """Removing an attached name detaches it, and the file is gone; what was open still works."""
    fattach(door, path)
    opened = door_open(path)
    path.unlink()
    assert not path.exists()
    assert call(opened, b"open") == b"open"
    os.close(opened)
    waiting = threading.Event()
    for _ in range(300):
        if not os.listdir(path.parent):
            break
        waiting.wait(0.01)
    assert os.listdir(path.parent) == []


def test_door_n18_open_with_creat(door: int, path: Path) -> None:
    """O_CREAT on a name opens the door; with O_EXCL it is EEXIST."""
    fattach(door, path)
    opened = door_open(path, os.O_CREAT | os.O_RDWR)
    assert call(opened, b"created") == b"created"
    os.close(opened)
    with pytest.raises(DoorOpenError.EEXIST):
        door_open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    fdetach(path)


def test_door_n20_attach_a_revoked_door(path: Path) -> None:
    """A revoked door can be attached; calls through the name are EBADF."""
    door = door_create(echo, None, 0)
    spare = os.dup(door)
    door_revoke(door)
    assert fattach(spare, path) == 0
    opened = door_open(path)
    with pytest.raises(DoorCallError.EBADF):
        call(opened)
    os.close(opened)
    os.close(spare)
    fdetach(path)


def test_door_n21_paths(door: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of more than 300 characters, relative ones, and ones with symbolic links."""
    deep = tmp_path / ("d" * 120) / ("e" * 120) / ("f" * 120)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 300
    (tmp_path / "link").symlink_to(deep)
    (deep / "target").touch()
    (deep / "to-target").symlink_to("target")
    monkeypatch.chdir(deep)
    for attached, opened_by in (
        (deep / "target", Path("target")),
        (Path("target"), tmp_path / "link/target"),
        (tmp_path / "link/target", deep / "target"),
        (deep / "to-target", deep / "target"),
    ):
        fattach(door, attached)
        opened = door_open(opened_by)
        assert call(opened, b"long way") == b"long way"
        os.close(opened)
        fdetach(attached)
        assert (deep / "target").is_file()


def test_door_n22_open_what_is_no_door(path: Path) -> None:
    """Client.open on something else says so, and leaves nothing open (the fixture looks)."""
    for other in (path, path.parent, Path("/dev/null")):
        with pytest.raises(NotADoor, match=r"is not a door"):
            Client.open(other)
    import socket

    with socket.socket(socket.AF_UNIX) as plain:
        plain.bind(str(path.parent / "socket"))
        plain.listen()
        with pytest.raises(NotADoor):
            Client.open(path.parent / "socket")


def test_door_n23_isastream(door: int) -> None:
    """A door is no STREAM; a closed number is EBADF."""
    assert isastream(door) == 0
    with pytest.raises(IsastreamError.EBADF):
        isastream(-1)


def race(link: Link, path: str, name: str) -> None:
    """Takes the name again and again."""
    doors = []
    link.say("ready")
    link.hear()
    for _ in range(40):
        door = Door(lambda request: name.encode())
        door.force_install(path)
        doors.append(door)
    link.say("done")
    link.hear()


def test_door_n24_two_servers_race(tmp_path: Path) -> None:
    """Two servers take a name from each other: whoever opens it always finds a door (in the emulation)."""
    path = tmp_path / "race.door"
    with (
        Door(returning(b"")),
        Peer(race, str(path), "first") as first,
        Peer(race, str(path), "second") as second,
    ):
        for peer in (first, second):
            assert peer.hear() == "ready"
        path.touch()
        initial = Door(lambda request: b"initial")
        initial.force_install(path)
        misses: list[BaseException] = []
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                try:
                    with Client.open(path) as client:
                        assert client.call_with_data(b"") in (b"initial", b"first", b"second")
                except (NotADoor, DoorOpenError, DoorCallError) as error:
                    misses.append(error)

        looking = threading.Thread(target=look)
        looking.start()
        for peer in (first, second):
            peer.say("go")
        for peer in (first, second):
            assert peer.hear() == "done"
        stop.set()
        looking.join(60)
        assert not looking.is_alive()
        if EMULATED:
            assert misses == []
        with Client.open(path) as client:
            assert client.call_with_data(b"") in (b"first", b"second")
        initial.revoke()


def test_uninstall_only_detaches_doors(path: Path) -> None:
    """`Door.uninstall` refuses a name that is no door's."""
    with Door(lambda request: b"") as server, pytest.raises(NotADoor):
        server.uninstall(path)


def test_server_leaves_names_of_others_alone(path: Path) -> None:
    """A server that ends detaches its names, unless another server has taken them over."""
    with Door(lambda request: b"second") as second:
        with Door(lambda request: b"first") as first:
            first.install(path)
            second.force_install(path)
        with Client.open(path) as client:
            assert client.call_with_data(b"") == b"second"
    assert path.read_text() == "what was there"
