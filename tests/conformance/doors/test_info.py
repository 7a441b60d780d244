"""7.9: door_info."""

import os
import threading
from pathlib import Path

import pytest

from enfilade.transport.doors import DoorInfoError
from enfilade.transport.doors.api import (
    DOOR_IS_UNREF,
    DOOR_LOCAL,
    DOOR_PRIVATE,
    DOOR_QUERY,
    DOOR_REFUSE_DESC,
    DOOR_REVOKED,
    DOOR_UNREF,
    NULL,
    door_create,
    door_dup,
    door_info,
    door_open,
    door_return,
    door_revoke,
    fattach,
    fdetach,
    ffi,
)
from tests.conformance.doors.backend import COUNTS_DUP
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import (
    Arguments,
    CData,
    InThread,
    bound_thread,
    call,
    echo,
    info,
    outcome,
)


def serve(link: Link, path: str) -> None:
    door = door_create(echo, None, DOOR_REFUSE_DESC)
    Path(path).touch()
    fattach(door, path)
    link.say([os.getpid(), info(door).di_uniquifier, info(door).di_attributes])
    link.hear()


def test_door_i1_creator() -> None:
    """The creator sees itself as the target, and LOCAL."""
    door = door_create(echo, None, DOOR_REFUSE_DESC)
    seen = info(door)
    assert seen.di_target == os.getpid()
    assert (
        seen.di_attributes & (DOOR_LOCAL | DOOR_REFUSE_DESC | DOOR_REVOKED) == DOOR_LOCAL | DOOR_REFUSE_DESC
    )
    assert list(seen.di_resv) == [0, 0, 0, 0]
    door_revoke(door)


def test_door_i2_another_process(tmp_path: Path) -> None:
    """Another process sees the server as the target, not LOCAL, and the same id and attributes."""
    path = str(tmp_path / "info.door")
    with Peer(serve, path) as peer:
        pid, number, attributes = peer.hear()
        door = door_open(path)
        seen = info(door)
        assert (seen.di_target, seen.di_uniquifier) == (pid, number)
        assert seen.di_attributes & DOOR_LOCAL == 0
        assert attributes & DOOR_LOCAL
        assert seen.di_attributes & DOOR_REFUSE_DESC
        os.close(door)


def test_server_that_exited(tmp_path: Path) -> None:
    """Of a door whose server has exited the target is -1, and REVOKED is set."""
    path = str(tmp_path / "exited.door")
    with Peer(serve, path) as peer:
        _, number, _ = peer.hear()
        door = door_open(path)
        info(door)
    seen = info(door)
    assert seen.di_target == -1
    assert seen.di_attributes & DOOR_REVOKED
    assert seen.di_uniquifier == number
    os.close(door)


def test_door_i3_fresh_door() -> None:
    """A fresh door has one reference."""
    door = door_create(echo, None, DOOR_UNREF)
    assert info(door).di_attributes & DOOR_IS_UNREF
    door_revoke(door)


def test_door_i4_after_dup() -> None:
    """A second reference clears IS_UNREF; closing it sets it again. (Only door_dup counts in
    the emulation.)
    """
    door = door_create(echo, None, DOOR_UNREF)
    other = os.dup(door) if COUNTS_DUP else door_dup(door)
    assert not info(door).di_attributes & DOOR_IS_UNREF
    os.close(other)
    waiting = threading.Event()
    for _ in range(3000):
        if info(door).di_attributes & DOOR_IS_UNREF:
            break
        waiting.wait(0.01)
    assert info(door).di_attributes & DOOR_IS_UNREF
    door_revoke(door)


def test_door_i6_opened_by_name(tmp_path: Path) -> None:
    """A door that was opened by a name is never IS_UNREF, since the name holds a reference too."""
    path = str(tmp_path / "named.door")
    with Peer(serve, path) as peer:
        peer.hear()
        door = door_open(path)
        assert not info(door).di_attributes & DOOR_IS_UNREF
        os.close(door)
    own = door_create(echo, None, 0)
    other = tmp_path / "own.door"
    other.touch()
    fattach(own, other)
    opened = door_open(other)
    assert not info(opened).di_attributes & DOOR_IS_UNREF
    os.close(opened)
    fdetach(other)
    door_revoke(own)


def test_door_i9_query_without_binding() -> None:
    """DOOR_QUERY is EBADF in a thread that is not bound: the test's own, and one that serves
    the public pool.
    """
    with pytest.raises(DoorInfoError.EBADF):
        info(DOOR_QUERY)

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        answer = str(outcome(lambda: info(DOOR_QUERY))).encode()
        return door_return(answer, len(answer), NULL, 0)

    door = door_create(procedure, None, 0)
    assert call(door) == b"EBADF"
    door_revoke(door)


def test_query_in_a_bound_thread() -> None:
    """In a bound thread DOOR_QUERY is about the door that it is bound to."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        answer = str(info(DOOR_QUERY).di_uniquifier).encode()
        return door_return(answer, len(answer), NULL, 0)

    door = door_create(procedure, None, DOOR_PRIVATE)
    bound_thread(door)
    assert call(door) == str(info(door).di_uniquifier).encode()
    door_revoke(door)


def test_door_i11_no_door() -> None:
    """A file is no door; neither is a closed descriptor."""
    file = os.open("/dev/null", os.O_RDONLY)
    place = ffi.new("door_info_t *")
    for d in (file, -1, 9999):
        with pytest.raises(DoorInfoError.EBADF):
            door_info(d, place)
    os.close(file)


def pass_on(link: Link, path: str) -> None:
    """Says the id of a door that it is passed, and passes it back."""
    from tests.conformance.doors.verbatim import descriptors

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        fd = dp[0].d_data.d_desc.d_descriptor
        answer = str(info(fd).di_uniquifier).encode()
        return door_return(answer, len(answer), descriptors([(fd, 0x10000 | 0x40000)]), 1)

    Path(path).touch()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    link.hear()


def test_door_i15_id_is_stable(tmp_path: Path) -> None:
    """The id is the same for the creator, through names, in another process, and when the door comes back
    from there.
    """
    path, name = str(tmp_path / "pass.door"), tmp_path / "name.door"
    own = door_create(echo, None, 0)
    number = info(own).di_uniquifier
    name.touch()
    fattach(own, name)
    opened = door_open(name)
    assert info(opened).di_uniquifier == number
    with Peer(pass_on, path) as peer:
        assert peer.hear() == "ready"
        other = door_open(path)
        with Arguments(fds=[own], rsize=200).call(other) as arguments:
            assert int(arguments.data) == number
            assert info(arguments.fds[0]).di_uniquifier == number
            assert arguments.entries[0].d_data.d_desc.d_id == number
            assert arguments.entries[0].d_attributes & DOOR_LOCAL
        os.close(other)
    os.close(opened)
    fdetach(name)
    door_revoke(own)


def test_info_during_a_call() -> None:
    """door_info does not wait for calls in progress."""
    entered, leave = threading.Event(), threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        entered.set()
        assert leave.wait(60)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    caller = InThread(lambda: call(door))
    assert entered.wait(60)
    assert info(door).di_target == os.getpid()
    leave.set()
    assert caller.result() == b""
    door_revoke(door)
