"""7.10: door_revoke."""

import os
import threading
from pathlib import Path

import pytest

from enfilade.transport.doors import DoorCallError, DoorRevokeError, DoorSetparamError
from enfilade.transport.doors.api import (
    DOOR_NO_DEPLETION_CB,
    DOOR_PARAM_DATA_MAX,
    DOOR_REVOKED,
    DOOR_UNREF,
    DOOR_UNREF_DATA,
    NULL,
    door_create,
    door_dup,
    door_open,
    door_return,
    door_revoke,
    door_setparam,
    door_xcreate,
    fattach,
    fdetach,
    server_thread,
)
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import Arguments, CData, InThread, call, echo, info, outcome, param


def is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


class Held:
    """A procedure that stays inside until it is let go; served by one thread."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.ran = 0
        self.door = door_xcreate(self.procedure, None, DOOR_NO_DEPLETION_CB, self.create, None, None, 1)

    @staticmethod
    def create(information: CData, start: CData, argument: CData, cookie: object) -> int:
        server_thread(start, argument)
        return 1

    def procedure(self, cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        self.ran += 1
        self.entered.release()
        assert self.leave.acquire(timeout=60)
        return door_return(b"complete", 8, NULL, 0)


def test_door_v1_idle_door() -> None:
    """Revoking an idle door closes the descriptor."""
    door = door_create(echo, None, 0)
    assert door_revoke(door) == 0
    assert is_closed(door)


def serve(link: Link, path: str) -> None:
    Path(path).touch()
    fattach(door_create(echo, None, 0), path)
    link.say("ready")
    link.hear()


def test_door_v2_not_the_owner(tmp_path: Path) -> None:
    """Another process's door cannot be revoked, and stays open; nor can one whose server has exited."""
    path = str(tmp_path / "v2.door")
    with Peer(serve, path) as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        with pytest.raises(DoorRevokeError.EPERM):
            door_revoke(door)
        assert call(door, b"still") == b"still"
    with pytest.raises(DoorRevokeError.EPERM):
        door_revoke(door)
    assert not is_closed(door)
    os.close(door)


def test_door_v3_no_door() -> None:
    """Something that is no door."""
    file = os.open("/dev/null", os.O_RDONLY)
    for d in (-1, file):
        with pytest.raises(DoorRevokeError.EBADF):
            door_revoke(d)
    assert not is_closed(file)
    os.close(file)


def test_door_v4_door_v6_call_in_progress() -> None:
    """Revoking returns at once while a call is in progress, and the call completes with its reply."""
    held = Held()
    caller = InThread(lambda: call(held.door))
    assert held.entered.acquire(timeout=60)
    assert door_revoke(held.door) == 0
    assert caller.running
    held.leave.release()
    assert caller.result() == b"complete"


def test_door_v5_queued_call() -> None:
    """A call that waits for a thread ends with EBADF at once; the procedure does not run for it."""
    held = Held()
    other = os.dup(held.door)
    first = InThread(lambda: call(held.door))
    assert held.entered.acquire(timeout=60)
    queued = [InThread(lambda: call(other)) for _ in range(3)]
    assert all(one.waits() for one in queued)  # were they late, they would find the door revoked
    door_revoke(held.door)
    assert [one.result() for one in queued] == ["EBADF"] * 3
    held.leave.release()
    assert first.result() == b"complete"
    assert held.ran == 1
    os.close(other)


def test_door_v7_parameters_after_revocation() -> None:
    """setparam is EBADF on a revoked door; getparam still works."""
    door = door_create(echo, None, 0)
    other = os.dup(door)
    door_setparam(door, DOOR_PARAM_DATA_MAX, 100)
    door_revoke(door)
    with pytest.raises(DoorSetparamError.EBADF):
        door_setparam(other, DOOR_PARAM_DATA_MAX, 50)
    assert param(other, DOOR_PARAM_DATA_MAX) == 100
    assert info(other).di_attributes & DOOR_REVOKED
    assert info(other).di_target == os.getpid()
    os.close(other)


def test_door_v9_revoked_twice() -> None:
    """A second revocation, through another descriptor, succeeds and closes that one."""
    door = door_create(echo, None, 0)
    other = os.dup(door)
    assert door_revoke(door) == 0
    assert door_revoke(other) == 0
    assert is_closed(other)


def test_door_v10_name_after_revocation(tmp_path: Path) -> None:
    """The name of a revoked door can still be looked at and opened; a call is EBADF."""
    path = tmp_path / "v10.door"
    path.touch()
    door = door_create(echo, None, 0)
    fattach(door, path)
    door_revoke(door)
    os.stat(path)
    opened = door_open(path)
    with pytest.raises(DoorCallError.EBADF):
        call(opened)
    os.close(opened)
    fdetach(path)


def hold_a_door(link: Link, path: str) -> None:
    """Keeps a door that it is passed until it is told to close it."""
    kept: list[int] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        kept.extend(entry.d_data.d_desc.d_descriptor for entry in dp[0:n_desc])
        return door_return(NULL, 0, NULL, 0)

    Path(path).touch()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    link.hear()
    for fd in kept:
        os.close(fd)
    link.say("closed")
    link.hear()


def test_door_v11_no_unref_after_revocation(tmp_path: Path) -> None:
    """A revoked door is not told that it is unreferenced."""
    notified: list[bool] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        notified.append(argp == DOOR_UNREF_DATA)
        return door_return(NULL, 0, NULL, 0)

    path = str(tmp_path / "v11.door")
    door = door_create(procedure, None, DOOR_UNREF)
    spare = os.dup(door)
    with Peer(hold_a_door, path) as peer:
        assert peer.hear() == "ready"
        target = door_open(path)
        with Arguments(fds=[door]).call(target):
            pass
        door_revoke(door)
        assert peer.ask() == "closed"
        os.close(target)
    assert outcome(lambda: call(spare)) == "EBADF"
    later = threading.Event()

    def note(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        later.set()
        return door_return(NULL, 0, NULL, 0)

    another = door_create(note, None, DOOR_UNREF)
    os.close(door_dup(another))
    assert later.wait(60)  # the notice of a later event has come
    assert notified == []
    door_revoke(another)
    os.close(spare)
