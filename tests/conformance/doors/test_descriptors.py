"""7.8: descriptors that are passed, and who closes them."""

import fcntl
import os
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest

from enfilade.transport.doors import DoorCallError
from enfilade.transport.doors.api import (
    DOOR_DESCRIPTOR,
    DOOR_LOCAL,
    DOOR_NO_DEPLETION_CB,
    DOOR_PARAM_DATA_MAX,
    DOOR_PARAM_DESC_MAX,
    DOOR_REFUSE_DESC,
    DOOR_RELEASE,
    NULL,
    door_call,
    door_create,
    door_dup,
    door_open,
    door_return,
    door_revoke,
    door_setparam,
    door_xcreate,
    fattach,
    server_thread,
)
from tests.conformance.doors.backend import path_of
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import (
    Arguments,
    CData,
    InThread,
    call,
    descriptors,
    echo,
    info,
    outcome,
    returning,
)

RELEASED = DOOR_DESCRIPTOR | DOOR_RELEASE


def is_open(fd: int) -> bool:
    """Whether the number is still the device that `null` opened; the library may have it for
    its own by now.
    """
    try:
        return stat.S_ISCHR(os.fstat(fd).st_mode)
    except OSError:
        return False


def swallow(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
    """Closes what it is passed, and returns how much that was."""
    for entry in dp[0:n_desc]:
        os.close(entry.d_data.d_desc.d_descriptor)
    return door_return(n_desc.to_bytes(4, "little"), 4, NULL, 0)


@pytest.fixture
def swallower():  # type: ignore[no-untyped-def]
    door = door_create(swallow, None, 0)
    yield door
    door_revoke(door)


def null() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def test_door_f2_without_release(swallower: int) -> None:
    """A descriptor passed without RELEASE stays open."""
    fd = null()
    with Arguments(fds=[fd]).call(swallower):
        assert is_open(fd)
    os.close(fd)


def test_door_f3_with_release(swallower: int) -> None:
    """One passed with RELEASE is closed when the call has succeeded."""
    fd = null()
    inode = os.fstat(fd).st_ino
    assert inode
    with Arguments(fds=[(fd, RELEASED)]).call(swallower):
        assert not is_open(fd)


def test_release_happens_before_the_procedure() -> None:
    """The procedure holds the only descriptor of a released pipe end: when it closes it,
    readers see the end.
    """

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        os.close(dp[0].d_data.d_desc.d_descriptor)
        assert os.read(read, 1) == b""
        return door_return(b"ended", 5, NULL, 0)

    read, write = os.pipe()
    door = door_create(procedure, None, 0)
    with Arguments(fds=[(write, RELEASED)], rsize=10).call(door) as arguments:
        assert arguments.data == b"ended"
    os.close(read)
    door_revoke(door)


@pytest.mark.parametrize("failure", ["EBADF", "ENOBUFS", "ENOTSUP", "ENFILE", "E2BIG"])
def test_door_f4_release_and_early_failure(failure: str) -> None:
    """A call that fails before it looks at the descriptors leaves them open and the caller's."""
    fd = null()
    door = door_create(swallow, None, DOOR_REFUSE_DESC if failure == "ENOTSUP" else 0)
    data = b""
    entries = [(fd, RELEASED)]
    if failure == "ENOBUFS":
        door_setparam(door, DOOR_PARAM_DATA_MAX, 1)
        data = b"two"
    elif failure == "ENFILE":
        door_setparam(door, DOOR_PARAM_DESC_MAX, 0)
    elif failure == "E2BIG":
        entries *= 1025
    arguments = Arguments(data, entries)
    target = os.dup(door)
    if failure == "EBADF":
        door_revoke(door)
    assert outcome(lambda: door_call(target, arguments.params)) == failure
    assert is_open(fd)
    os.close(fd)
    os.close(target)
    if failure != "EBADF":
        door_revoke(door)


def test_release_and_bad_entry(swallower: int) -> None:
    """EINVAL closes every entry with RELEASE that could be closed, before and after the bad one."""
    first, plain, last = null(), null(), null()
    arguments = Arguments(fds=[(first, RELEASED), plain, (123_456, RELEASED), (last, RELEASED)])
    assert outcome(lambda: door_call(swallower, arguments.params)) == "EINVAL"
    assert [is_open(fd) for fd in (first, plain, last)] == [False, True, False]
    os.close(plain)


class Busy:
    """A procedure that waits to be let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.reply_fds = 0

    def procedure(self, cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
        for entry in dp[0:n_desc]:
            os.close(entry.d_data.d_desc.d_descriptor)
        self.entered.release()
        assert self.leave.acquire(timeout=60)
        fds = [null() for _ in range(self.reply_fds)]
        yield door_return(NULL, 0, descriptors([(fd, RELEASED) for fd in fds]) if fds else NULL, len(fds))


def interrupt(link: Link, path: str, fds: int) -> None:
    """A client that is interrupted in a call, and says what became of the descriptors that it gave away."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    door = door_open(path)
    mine = [null() for _ in range(fds)]
    arguments = Arguments(fds=[(fd, RELEASED) for fd in mine], rsize=4096)
    count = len(os.listdir("/proc/self/fd"))
    link.say("calling")
    result = outcome(lambda: door_call(door, arguments.params))
    link.say([result, [is_open(fd) for fd in mine], len(os.listdir("/proc/self/fd")) - count])
    link.hear()


def bounded(procedure: object) -> int:
    """A door that is served by a single thread."""

    def create(information: CData, start: CData, argument: CData, cookie: object) -> int:
        server_thread(start, argument)
        return 1

    return door_xcreate(procedure, None, DOOR_NO_DEPLETION_CB, create, None, None, 1)  # type: ignore[arg-type]


def test_door_f6_release_and_eintr(tmp_path: Path) -> None:
    """Interrupted while the procedure ran: the descriptors had been given away."""
    busy, path = Busy(), str(tmp_path / "f6.door")
    door = bounded(busy.procedure)
    Path(path).touch()
    fattach(door, path)
    with Peer(interrupt, path, 2) as peer:
        assert peer.hear() == "calling"
        assert busy.entered.acquire(timeout=60)
        peer.kill(signal.SIGUSR1)
        result, states, _ = peer.hear()
        assert (result, states) == ("EINTR", [False, False])
        busy.leave.release()
    door_revoke(door)


def test_door_f7_release_and_eagain(tmp_path: Path) -> None:
    """Interrupted before a thread was free: the descriptors are still the caller's."""
    busy, path = Busy(), str(tmp_path / "f7.door")
    door = bounded(busy.procedure)
    Path(path).touch()
    fattach(door, path)
    occupying = InThread(lambda: call(door))
    assert busy.entered.acquire(timeout=60)
    with Peer(interrupt, path, 2) as peer:
        assert peer.hear() == "calling"
        result = None
        while result is None:
            peer.kill(signal.SIGUSR1)
            try:
                result, states, _ = peer.hear(patience=0.2)
            except AssertionError:
                continue
        assert (result, states) == ("EAGAIN", [True, True])
    busy.leave.release()
    assert occupying.result() == b""
    # What was queued for the only thread would be served before a call that comes later.
    busy.leave.release(2)
    assert call(door) == b""
    assert busy.entered.acquire(blocking=False)
    assert not busy.entered.acquire(blocking=False)
    door_revoke(door)


def test_door_f8_received_descriptors_survive_exec() -> None:
    """A received descriptor has FD_CLOEXEC clear, at the server and at the client."""
    flags: list[int] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        fd = dp[0].d_data.d_desc.d_descriptor
        flags.append(fcntl.fcntl(fd, fcntl.F_GETFD))
        return door_return(NULL, 0, descriptors([(fd, RELEASED)]), 1)

    fd = null()
    door = door_create(procedure, None, 0)
    with Arguments(fds=[fd]).call(door) as arguments:
        assert not flags[0] & fcntl.FD_CLOEXEC
        assert not fcntl.fcntl(arguments.fds[0], fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(fd)
    door_revoke(door)


def test_door_f9_opened_file_in_the_reply(tmp_path: Path) -> None:
    """A file that the server opens and releases is read by the client; the server has no descriptor more."""
    file = tmp_path / "contents"
    file.write_text("the contents")

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        fd = os.open(file, os.O_RDONLY)
        return door_return(NULL, 0, descriptors([(fd, RELEASED)]), 1)

    door = door_create(procedure, None, 0)
    with Arguments().call(door) as arguments:
        assert os.read(arguments.fds[0], 100) == b"the contents"
        holders = [name for name in os.listdir("/proc/self/fd") if is_at(name, file)]
        assert len(holders) == 1
    door_revoke(door)


def open_descriptors() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
            found.append(int(name))
        except OSError:
            continue
    return found


def is_at(name: str, file: Path) -> bool:
    try:
        return path_of(name) == str(file)
    except OSError:
        return False


def test_door_f10_door_passed_to_its_own_server() -> None:
    """The server that receives its own door sees LOCAL, and the door's id."""
    seen: list[tuple[int, int]] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        seen.append((dp[0].d_attributes, dp[0].d_data.d_desc.d_id))
        os.close(dp[0].d_data.d_desc.d_descriptor)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    with Arguments(fds=[door]).call(door):
        pass
    attributes, number = seen[0]
    assert attributes & (DOOR_DESCRIPTOR | DOOR_LOCAL) == DOOR_DESCRIPTOR | DOOR_LOCAL
    assert number == info(door).di_uniquifier
    door_revoke(door)


def use_passed_door(link: Link, path: str) -> None:
    """A third process: serves one call, and calls through the door that it is passed."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        door = dp[0].d_data.d_desc.d_descriptor
        link.say([call(door, b"ping").decode(), info(door).di_target, dp[0].d_attributes & DOOR_LOCAL])
        os.close(door)
        return door_return(NULL, 0, NULL, 0)

    Path(path).touch()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    link.hear()


def test_door_f11_door_passed_to_a_third_process(tmp_path: Path) -> None:
    """A door that is passed on is served by the one who made it, and says so."""
    path = str(tmp_path / "third.door")
    door = door_create(returning(str(os.getpid()).encode()), None, 0)
    with Peer(use_passed_door, path) as peer:
        assert peer.hear() == "ready"
        third = door_open(path)
        caller = InThread(lambda: Arguments(fds=[door]).call(third))
        answer, target, local = peer.hear()
        caller.result()
        os.close(third)
    assert int(answer) == target == os.getpid()
    assert local == 0
    door_revoke(door)


def receive_door(link: Link, number: int) -> None:
    with socket.socket(fileno=number) as channel:
        _, fds, _, _ = socket.recv_fds(channel, 10, 1)
    link.say(call(fds[0], b"over a socket").decode())
    link.hear()


def test_door_f12_door_over_a_socket() -> None:
    """A door that travels over a Unix socket can be called."""
    door = door_create(echo, None, 0)
    here, there = socket.socketpair()
    with Peer(receive_door, there.fileno(), pass_fds=[there.fileno()]) as peer:
        socket.send_fds(here, [b"x"], [door])
        assert peer.hear() == "over a socket"
    here.close()
    there.close()
    door_revoke(door)


def test_door_f13_same_door_twice() -> None:
    """A door passed twice in a call is two working descriptors."""
    results: list[bytes] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        fds = [entry.d_data.d_desc.d_descriptor for entry in dp[0:n_desc]]
        assert fds[0] != fds[1]
        for fd in fds:
            results.append(call(fd, b"again"))
            os.close(fd)
        return door_return(NULL, 0, NULL, 0)

    target, door = door_create(procedure, None, 0), door_create(echo, None, 0)
    with Arguments(fds=[door, door]).call(target):
        pass
    assert results == [b"again", b"again"]
    door_revoke(door)
    door_revoke(target)


def test_door_f14_same_descriptor_twice_with_release(swallower: int) -> None:
    """The same number twice with RELEASE: the second look finds it closed, EINVAL."""
    fd = null()
    arguments = Arguments(fds=[(fd, RELEASED), (fd, RELEASED)])
    with pytest.raises(DoorCallError.EINVAL):
        door_call(swallower, arguments.params)
    assert not is_open(fd)


def ignore_descriptors(link: Link, path: str) -> None:
    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        return door_return(NULL, 0, NULL, 0)

    Path(path).touch()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    while link.hear() is not None:
        link.say(len([name for name in os.listdir("/proc/self/fd") if is_at(name, Path("/dev/null"))]))


def test_door_f15_ignored_descriptors_are_the_servers(tmp_path: Path) -> None:
    """A hundred descriptors that the procedure ignores are open in the server; the safe layer closes them."""
    from enfilade.transport.doors import Client, Descriptor, Door

    path = str(tmp_path / "ignore.door")
    fd = null()
    with Peer(ignore_descriptors, path) as peer:
        assert peer.hear() == "ready"
        before = peer.ask("count")
        door = door_open(path)
        for _ in range(100):
            with Arguments(fds=[fd]).call(door):
                pass
        assert peer.ask("count") == before + 100
        os.close(door)
    with Door(lambda request: None) as safe, Client(safe) as client:
        count = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            client.call(b"", [Descriptor(fd)]).close()
        assert len(os.listdir("/proc/self/fd")) <= count + 8
    os.close(fd)


def test_door_f17_reply_with_descriptors_for_a_client_that_left(tmp_path: Path) -> None:
    """Descriptors of a reply whose client was interrupted are leaked on neither side."""
    busy, path = Busy(), str(tmp_path / "f17.door")
    busy.reply_fds = 5
    door = bounded(busy.procedure)
    Path(path).touch()
    fattach(door, path)
    with Peer(interrupt, path, 0) as peer:
        assert peer.hear() == "calling"
        assert busy.entered.acquire(timeout=60)
        peer.kill(signal.SIGUSR1)
        result, _, more = peer.hear()
        assert result == "EINTR"
        assert more <= 0
        busy.leave.release()
        busy.leave.release()
        with Arguments().call(door) as arguments:  # served by the same thread, after it has parked
            assert len(arguments.fds) == 5
    door_revoke(door)


def test_door_f18_other_attributes_are_ignored(swallower: int) -> None:
    """Bits other than DESCRIPTOR and RELEASE mean nothing in what is passed."""
    fd = null()
    with Arguments(fds=[(fd, DOOR_DESCRIPTOR | 0x01 | 0x20 | 0x80000 | 0x100000)]).call(
        swallower
    ) as arguments:
        assert arguments.data == (1).to_bytes(4, "little")
    assert is_open(fd)
    os.close(fd)


def test_door_itself_may_be_released(swallower: int) -> None:
    """The door that is called may be among those that are given away."""
    other = door_dup(swallower)
    inode = os.fstat(other).st_ino
    with Arguments(fds=[(other, RELEASED)]).call(other) as arguments:
        assert arguments.data == (1).to_bytes(4, "little")
    assert inode not in {os.fstat(fd).st_ino for fd in open_descriptors()}
