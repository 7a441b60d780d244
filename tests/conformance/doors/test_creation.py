"""7.2 and 7.3: door_create, door_server_create, door_xcreate."""

import ctypes
import errno
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enfilade.transport.doors import DoorCreateError, DoorXcreateError
from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.api import (
    DOOR_DEPLETION_CB,
    DOOR_NO_DEPLETION_CB,
    DOOR_PRIVATE,
    DOOR_PRIVCREATE,
    DOOR_REFUSE_DESC,
    DOOR_UNREF,
    DOOR_UNREF_MULTI,
    NULL,
    door_create,
    door_return,
    door_revoke,
    door_server_create,
    door_xcreate,
    server_thread,
)
from tests.conformance.doors.backend import figures
from tests.conformance.doors.compiled import compiled
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import (
    CData,
    InThread,
    call,
    echo,
    info,
    outcome,
    returning,
)


def one_thread(info: CData, start: CData, argument: CData, cookie: Any) -> int:
    """A thread creation function that does as it is told."""
    server_thread(start, argument)
    return 1


def test_door_c3_unref_and_unref_multi() -> None:
    """The two unref attributes exclude each other."""
    with pytest.raises(DoorCreateError.EINVAL):
        door_create(echo, None, DOOR_UNREF | DOOR_UNREF_MULTI)


@pytest.mark.parametrize(
    "attributes", [DOOR_NO_DEPLETION_CB, DOOR_PRIVCREATE, 0x400, 0x800, 0x04, 0x80000000]
)
def test_door_c4_attributes_not_for_door_create(attributes: int) -> None:
    """NO_DEPLETION_CB and PRIVCREATE are not for door_create, nor is any bit outside of the create mask."""
    with pytest.raises(DoorCreateError.EINVAL):
        door_create(echo, None, attributes)


def full_table(link: Link) -> None:
    call(door_create(echo, None, 0), b"warm")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, hard))
    fillers = []
    try:
        while True:
            fillers.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    result = outcome(lambda: door_create(echo, None, 0))
    for fd in fillers:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    leaked = len(os.listdir("/proc/self/fd")) - used
    door = door_create(echo, None, 0)
    link.say([result, leaked, call(door, b"after").decode()])


def test_door_c5_descriptor_table_full() -> None:
    """EMFILE with a full table; nothing is leaked, and doors can be made again afterwards."""
    with Peer(full_table) as peer:
        assert peer.hear() == ["EMFILE", 0, "after"]


def test_door_c6_two_doors_of_one_procedure() -> None:
    """Two doors with the same procedure have ids of their own, and each call sees its door's cookie."""

    def procedure(cookie: bytes, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        return door_return(cookie, len(cookie), NULL, 0)

    first = door_create(procedure, b"first", 0)
    second = door_create(procedure, b"second", 0)
    assert info(first).di_uniquifier != info(second).di_uniquifier
    assert info(first).di_data != info(second).di_data
    assert call(first) == b"first"
    assert call(second) == b"second"
    door_revoke(first)
    door_revoke(second)


def create_and_close(link: Link) -> None:
    for _ in range(50):
        os.close(door_create(echo, None, 0))
    before = figures()
    for _ in range(1000):
        os.close(door_create(echo, None, 0))
    link.say("closed")
    link.hear()
    link.say([before, figures()])


def test_door_c7_thousand_doors_made_and_closed() -> None:
    """A thousand doors, made and closed, leave no descriptor and no thread behind."""
    with Peer(create_and_close) as peer:
        assert peer.hear() == "closed"
        before, after = peer.ask()
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1]


def test_door_c8_procedure_and_cookie_in_door_info() -> None:
    """A C procedure and its cookie are shown by door_info as they were given; a Python one's cookie is a
    handle.
    """
    procedure = ffi.addressof(lib, "dispatch_procedure")
    cookie = ffi.cast("void *", 0xFEEDF00D12345678)
    native = door_create(procedure, cookie, 0)
    assert info(native).di_proc == int(ffi.cast("uintptr_t", procedure))
    assert info(native).di_data == 0xFEEDF00D12345678
    door_revoke(native)

    first, second = door_create(echo, object(), 0), door_create(echo, object(), 0)
    assert info(first).di_proc == info(second).di_proc != 0
    assert info(first).di_data != info(second).di_data
    door_revoke(first)
    door_revoke(second)


def create_functions(link: Link) -> None:
    given: list[bool] = []

    def create(info: CData) -> None:
        given.append(info == NULL)
        server_thread(lambda: door_return(NULL, 0, NULL, 0))

    door_server_create(create)
    first = door_create(echo, None, 0)
    after_first = list(given)
    door_create(echo, None, 0)
    after_second = list(given)
    link.say([after_first, after_second, call(first, b"served").decode()])


def test_door_c9_create_function_of_the_first_public_door() -> None:
    """The first public door calls the create function once, with NULL; the second does not call it."""
    with Peer(create_functions) as peer:
        first, second, answer = peer.hear()
    assert first == [True]
    assert second == [True]
    assert answer == "served"


def test_door_c11_door_server_create_returns_the_previous_function() -> None:
    """Each call returns the function before; so the one in force can be put back."""

    def first(info: CData) -> None:
        server_thread(lambda: door_return(NULL, 0, NULL, 0))

    def second(info: CData) -> None:
        server_thread(lambda: door_return(NULL, 0, NULL, 0))

    original = door_server_create(first)
    assert door_server_create(second) is first
    assert door_server_create(original) is second
    assert door_server_create(original) == original


def test_door_c12_vfork_child(tmp_path: Path) -> None:
    """A child of vfork, which runs in its parent's memory, cannot create doors; its parent still can."""
    door = door_create(echo, None, 0)
    library = ctypes.CDLL(compiled("vforked.c", tmp_path))
    create, procedure = (
        ctypes.c_void_p(int(ffi.cast("uintptr_t", ffi.addressof(lib, name))))
        for name in ("door_create", "dispatch_procedure")
    )
    assert library.create_in_child(create, procedure) == errno.ENOTSUP
    assert call(door, b"still") == b"still"
    another = door_create(echo, None, 0)
    assert call(another, b"again") == b"again"
    door_revoke(door)
    door_revoke(another)


def test_procedure_that_is_no_function() -> None:
    """NULL is accepted, as in C; a Python object that cannot be called is a mistake of the caller's."""
    with pytest.raises(TypeError, match="got 5"):
        door_create(5, None, 0)  # type: ignore[arg-type]
    door_revoke(door_create(NULL, None, 0))


def test_private_create_calls_the_create_function_every_time() -> None:
    """door_create(DOOR_PRIVATE) calls the create function with the door's own information, each time."""
    seen: list[int] = []

    def create(info: CData) -> None:
        seen.append(info.di_uniquifier if info != NULL else 0)
        server_thread(lambda: door_return(NULL, 0, NULL, 0))

    previous = door_server_create(create)
    try:
        doors = [door_create(echo, None, DOOR_PRIVATE) for _ in range(2)]
        assert seen == [info(door).di_uniquifier for door in doors]
    finally:
        door_server_create(previous)
    for door in doors:
        door_revoke(door)


@pytest.mark.parametrize("nthread", [0, -1])
def test_door_x2_no_thread(nthread: int) -> None:
    """A door_xcreate door has at least one thread."""
    with pytest.raises(DoorXcreateError.EINVAL):
        door_xcreate(echo, None, 0, one_thread, None, None, nthread)


def test_door_x3_no_creation_function() -> None:
    """The thread creation function may not be NULL."""
    with pytest.raises(DoorXcreateError.EINVAL):
        door_xcreate(echo, None, 0, None, None, None, 1)


def test_creation_function_that_declines() -> None:
    """A creation function that returns 0 while the door is made makes door_xcreate fail with EINVAL."""
    with pytest.raises(DoorXcreateError.EINVAL):
        door_xcreate(echo, None, 0, lambda *_: 0, None, None, 1)


def test_door_x5_creation_function_fails() -> None:
    """A creation function that returns -1 makes door_xcreate fail with EPIPE."""
    with pytest.raises(DoorXcreateError.EPIPE):
        door_xcreate(echo, None, 0, lambda *_: -1, None, None, 1)


def test_door_x6_privcreate_given() -> None:
    """PRIVCREATE is set by door_xcreate and may not be given."""
    with pytest.raises(DoorXcreateError.EINVAL):
        door_xcreate(echo, None, DOOR_PRIVCREATE, one_thread, None, None, 1)


@pytest.mark.parametrize("extra", [0, DOOR_REFUSE_DESC, DOOR_NO_DEPLETION_CB])
def test_door_x7_attributes(extra: int) -> None:
    """The door shows PRIVATE and PRIVCREATE besides what was asked for."""
    door = door_xcreate(echo, None, extra, one_thread, None, None, 1)
    expected = DOOR_PRIVATE | DOOR_PRIVCREATE | extra
    assert info(door).di_attributes & (expected | DOOR_NO_DEPLETION_CB) == expected
    assert call(door, b"works") == b"works"
    door_revoke(door)


class Gate:
    """A procedure whose calls wait inside until they are let go; it records what happened in which order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)

    def procedure(self, cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        self.events.append("procedure")
        self.entered.release()
        assert self.leave.acquire(timeout=60)
        return door_return(NULL, 0, NULL, 0)

    def wait(self) -> None:
        assert self.entered.acquire(timeout=60)


def depleting(gate: Gate, answer: int | None) -> Callable[[CData, CData, CData, Any], int]:
    """A creation function that records depletions and answers them with `answer`, or with a thread."""

    def create(info: CData, start: CData, argument: CData, cookie: Any) -> int:
        if info.di_attributes & DOOR_DEPLETION_CB:
            gate.events.append("depletion")
            if answer is not None:
                return answer
        server_thread(start, argument)
        return 1

    return create


def test_door_x8_depletion() -> None:
    """The call that takes the last of two threads has the creation function called first, with DEPLETION_CB
    set.
    """
    gate = Gate()
    door = door_xcreate(gate.procedure, None, 0, depleting(gate, None), None, None, 2)
    calls = []
    for _ in range(2):
        calls.append(InThread(lambda: call(door)))
        gate.wait()
    assert gate.events == ["procedure", "depletion", "procedure"]
    for _ in calls:
        gate.leave.release()
    assert [one.result() for one in calls] == [b"", b""]
    door_revoke(door)


def test_door_x9_no_depletion_callback() -> None:
    """With NO_DEPLETION_CB the function is not called again, and a third call waits for a thread."""
    gate = Gate()
    door = door_xcreate(gate.procedure, None, DOOR_NO_DEPLETION_CB, depleting(gate, None), None, None, 2)
    calls = [InThread(lambda: call(door)) for _ in range(3)]
    gate.wait()
    gate.wait()
    assert all(one.waits() for one in calls)
    assert gate.events == ["procedure"] * 2
    gate.leave.release()
    gate.wait()
    assert gate.events == ["procedure"] * 3
    gate.leave.release(2)
    assert [one.result() for one in calls] == [b""] * 3
    door_revoke(door)


@pytest.mark.parametrize("answer", [0, -1])
def test_door_x10_depletion_declined(answer: int) -> None:
    """A creation function may decline or fail at depletion; the call goes on."""
    gate = Gate()
    door = door_xcreate(gate.procedure, None, 0, depleting(gate, answer), None, None, 1)
    gate.leave.release()
    assert call(door) == b""
    assert gate.events == ["depletion", "procedure"]
    door_revoke(door)


def test_set_up_function_runs_on_each_thread_first() -> None:
    """door_xcreate returns when the set-up function has run, with the creation cookie, on each thread."""
    ran: list[tuple[str, int]] = []

    def set_up(cookie: str) -> None:
        ran.append((cookie, threading.get_ident()))

    door = door_xcreate(returning(b"x"), None, 0, one_thread, set_up, "cookie", 3)
    assert [cookie for cookie, _ in ran] == ["cookie"] * 3
    assert len({thread for _, thread in ran}) == 3
    assert call(door) == b"x"
    door_revoke(door)
