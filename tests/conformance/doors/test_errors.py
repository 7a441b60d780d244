"""7.6: the errors of door_call, and which comes first."""

import os
import resource
import socket
from pathlib import Path

import pytest

from enfilade.transport.doors import DoorCallError
from enfilade.transport.doors.api import (
    DOOR_DESCRIPTOR,
    DOOR_PARAM_DATA_MAX,
    DOOR_PARAM_DATA_MIN,
    DOOR_PARAM_DESC_MAX,
    DOOR_REFUSE_DESC,
    NULL,
    door_call,
    door_create,
    door_open,
    door_return,
    door_revoke,
    door_setparam,
    fattach,
    ffi,
)
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import Arguments, CData, call, echo, outcome


def test_door_e1_no_descriptor() -> None:
    """A number that is no open descriptor."""
    closed = os.open("/dev/null", os.O_RDONLY)
    os.close(closed)
    for d in (-1, closed, 9999):
        with pytest.raises(DoorCallError.EBADF):
            call(d)


def test_door_e2_no_door() -> None:
    """A file, a pipe, a socket of somebody's."""
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    one, other = socket.socketpair()
    packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    packets[1].send(b"\0" * 64)
    for d in (read, write, null, one.fileno(), packets[0].fileno()):
        with pytest.raises(DoorCallError.EBADF):
            call(d, b"data")
    for fd in (read, write, null):
        os.close(fd)
    for end in (one, other, *packets):
        end.close()


def test_door_e3_revoked() -> None:
    """A door that was revoked, through another descriptor of it."""
    door = door_create(echo, None, 0)
    other = os.dup(door)
    assert call(other, b"x") == b"x"
    door_revoke(door)
    with pytest.raises(DoorCallError.EBADF):
        call(other)
    os.close(other)


def serve(link: Link, path: str) -> None:
    open(path, "w").close()
    fattach(door_create(echo, None, 0), path)
    link.say("ready")
    link.hear()


@pytest.mark.parametrize("warm", [True, False])
def test_door_e4_server_exited(tmp_path: Path, warm: bool) -> None:
    """A door whose server has exited, whether or not it has been called before."""
    path = str(tmp_path / "exited.door")
    with Peer(serve, path) as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        if warm:
            assert call(door, b"x") == b"x"
        peer.wait()
        with pytest.raises(DoorCallError.EBADF):
            call(door)
        os.close(door)


@pytest.fixture
def limited():  # type: ignore[no-untyped-def]
    """A door of at most 8 bytes, which refuses descriptors."""
    door = door_create(echo, None, DOOR_REFUSE_DESC)
    door_setparam(door, DOOR_PARAM_DATA_MAX, 8)
    yield door
    door_revoke(door)


def test_door_e6_too_much_data(limited: int) -> None:
    """Nine bytes for a door that takes eight."""
    assert call(limited, b"12345678") == b"12345678"
    with pytest.raises(DoorCallError.ENOBUFS):
        call(limited, b"123456789")


def test_too_little_data() -> None:
    """Less than DATA_MIN is ENOBUFS too; a call without parameters counts as one of no bytes."""
    door = door_create(echo, None, 0)
    door_setparam(door, DOOR_PARAM_DATA_MIN, 4)
    for arguments in (Arguments(b"abc").params, NULL):
        with pytest.raises(DoorCallError.ENOBUFS):
            door_call(door, arguments)
    door_revoke(door)


def test_door_e7_size_before_descriptors(limited: int) -> None:
    """Too much data and a refused descriptor: ENOBUFS comes first."""
    with Arguments(b"123456789", [0]) as arguments, pytest.raises(DoorCallError.ENOBUFS):
        arguments.call(limited)


def test_door_e8_descriptors_refused(limited: int) -> None:
    """A descriptor for a door that refuses them."""
    with Arguments(b"1234", [0]) as arguments, pytest.raises(DoorCallError.ENOTSUP):
        arguments.call(limited)


def test_too_many_descriptors_for_the_door() -> None:
    """More than DESC_MAX is ENFILE, and so is more than 1024 where the limit is lower."""
    door = door_create(echo, None, 0)
    door_setparam(door, DOOR_PARAM_DESC_MAX, 2)
    with Arguments(fds=[0, 0, 0]) as arguments, pytest.raises(DoorCallError.ENFILE):
        arguments.call(door)
    with Arguments(fds=[0] * 1025) as arguments, pytest.raises(DoorCallError.ENFILE):
        arguments.call(door)
    door_revoke(door)


def test_more_than_1024_descriptors() -> None:
    """1025 descriptors are E2BIG where the door itself has no limit."""
    door = door_create(echo, None, 0)
    with Arguments(fds=[0] * 1025) as arguments, pytest.raises(DoorCallError.E2BIG):
        arguments.call(door)
    door_revoke(door)


def count_and_close(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
    for entry in dp[0:n_desc]:
        os.close(entry.d_data.d_desc.d_descriptor)
    count = n_desc.to_bytes(4, "little")
    return door_return(count, 4, NULL, 0)


def serve_with_room(link: Link, path: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    open(path, "w").close()
    fattach(door_create(count_and_close, None, 0), path)
    link.say("ready")
    link.hear()


def test_door_e11_1024_descriptors(tmp_path: Path) -> None:
    """1024 descriptors in one call, between processes that have room for them."""
    path = str(tmp_path / "many.door")
    null = os.open("/dev/null", os.O_RDONLY)
    with Peer(serve_with_room, path) as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        with Arguments(fds=[null] * 1024).call(door) as arguments:
            assert int.from_bytes(arguments.data, "little") == 1024
        os.close(door)
    os.close(null)


def test_door_e13_entry_that_is_no_descriptor() -> None:
    """An entry without DOOR_DESCRIPTOR."""
    door = door_create(echo, None, 0)
    with Arguments(fds=[0, (0, 0)]) as arguments, pytest.raises(DoorCallError.EINVAL):
        arguments.call(door)
    door_revoke(door)


def test_door_e14_entry_that_is_closed() -> None:
    """An entry whose descriptor is not open."""
    door = door_create(echo, None, 0)
    closed = os.open("/dev/null", os.O_RDONLY)
    os.close(closed)
    for fd in (closed, -1, 100_000):
        with Arguments(fds=[(fd, DOOR_DESCRIPTOR)]) as arguments, pytest.raises(DoorCallError.EINVAL):
            arguments.call(door)
    door_revoke(door)


def test_door_e16_bad_descriptor_before_bad_data() -> None:
    """No door and bad data: EBADF, because the data is looked at later."""
    params = ffi.new("door_arg_t *")
    params.data_ptr, params.data_size = ffi.cast("char *", 8), 10
    with pytest.raises(DoorCallError.EBADF):
        door_call(-1, params)


def serve_with_full_table(link: Link, path: str) -> None:
    """Serves; when told, fills its table of descriptors, and empties it again."""
    ran: list[int] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        ran.append(n_desc)
        for entry in dp[0:n_desc]:
            os.close(entry.d_data.d_desc.d_descriptor)
        return door_return(NULL, 0, NULL, 0)

    open(path, "w").close()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    link.hear()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    fillers = []
    try:
        while True:
            fillers.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    link.say("full")
    link.hear()
    for fd in fillers:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    link.say(ran)
    link.hear()
    link.say(ran)
    link.hear()


def test_door_e17_server_has_no_room(tmp_path: Path) -> None:
    """The server's table is full: EMFILE, and the procedure does not run."""
    path = str(tmp_path / "full.door")
    null = os.open("/dev/null", os.O_RDONLY)
    with Peer(serve_with_full_table, path) as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        assert call(door) == b""
        assert peer.ask() == "full"
        with Arguments(fds=[null]) as arguments, pytest.raises(DoorCallError.EMFILE):
            arguments.call(door)
        assert peer.ask() == [0]
        with Arguments(fds=[null]).call(door):
            pass
        assert peer.ask() == [0, 1]
        os.close(door)
    os.close(null)


def test_door_e18_opened_read_only(tmp_path: Path) -> None:
    """The mode that a name was opened with does not matter to calls."""
    path = str(tmp_path / "read.door")
    with Peer(serve, path) as peer:
        assert peer.hear() == "ready"
        for mode in (os.O_RDONLY, os.O_RDWR):
            door = door_open(path, mode)
            assert call(door, b"read") == b"read"
            os.close(door)


def test_unlimited_size_of_a_call_of_no_bytes() -> None:
    """outcome() of a call without parameters on an ordinary door."""
    door = door_create(lambda *_: door_return(NULL, 0, NULL, 0), None, 0)
    assert outcome(lambda: door_call(door, NULL)) == 0
    door_revoke(door)
