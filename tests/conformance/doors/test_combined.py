"""Clauses that meet: bounds to the byte together with descriptors, revocation, references and forks."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from enfilade.transport.doors import (
    DoorCallError,
    DoorInfoError,
    DoorRevokeError,
    DoorSetparamError,
    DoorUcredError,
    DoorUnbindError,
)
from enfilade.transport.doors.api import (
    DOOR_DESCRIPTOR,
    DOOR_LOCAL,
    DOOR_PARAM_DATA_MAX,
    DOOR_PARAM_DATA_MIN,
    DOOR_PARAM_DESC_MAX,
    DOOR_QUERY,
    DOOR_REFUSE_DESC,
    DOOR_RELEASE,
    DOOR_REVOKED,
    NULL,
    door_create,
    door_dup,
    door_info,
    door_return,
    door_revoke,
    door_setparam,
    door_ucred,
    door_unbind,
    ffi,
)
from tests.conformance.doors.verbatim import Arguments, descriptors, info, param, text


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def echo(cookie: Any, data: Any, size: int, entries: Any, count: int) -> None:
    for entry in entries[0:count] if count else ():
        os.close(entry.d_data.d_desc.d_descriptor)
    door_return(text(data, size), size, NULL, 0)


@pytest.fixture
def door() -> Iterator[int]:
    made = door_create(echo, None, 0)
    yield made
    if is_open(made):
        door_revoke(made)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 16384, 16385, 65535, 65536, 65537, 1 << 20])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_reply_and_its_buffer_to_the_byte(door: int, size: int, more: int) -> None:
    """A reply that fits stays in the caller's buffer; with a byte less, the reply has memory of its own."""
    room = max(size + more, 0)
    request = os.urandom(size)
    with Arguments(request, rsize=room).call(door) as reply:
        assert reply.data == request
        assert reply.moved is (size > room)
        assert reply.params.rsize >= size


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("less", [0, 1])
def test_a_reply_of_data_and_descriptors_to_the_byte(count: int, less: int) -> None:
    """Data, rounded up to an entry's size, and the entries of descriptors share the buffer."""
    pipe = os.pipe()

    def give(cookie: Any, data: Any, size: int, entries: Any, number: int) -> None:
        door_return(b"abcde", 5, descriptors([pipe[1]] * count), count)

    door = door_create(give, None, 0)
    try:
        needed = 24 + count * ffi.sizeof("door_desc_t")
        with Arguments(rsize=needed - less).call(door) as reply:
            assert reply.data == b"abcde"
            assert len(set(reply.fds)) == count
            for number, fd in enumerate(reply.fds):
                os.write(fd, b"x")
                assert os.read(pipe[0], 2) == b"x", number
            assert reply.moved is bool(less)
    finally:
        door_revoke(door)
        for fd in pipe:
            os.close(fd)


@pytest.mark.parametrize(("least", "most"), [(0, 0), (3, 3), (2, 9)])
def test_sizes_beside_the_limits(door: int, least: int, most: int) -> None:
    """DATA_MIN and DATA_MAX include themselves; what is refused keeps its descriptors."""
    door_setparam(door, DOOR_PARAM_DATA_MAX, most)
    door_setparam(door, DOOR_PARAM_DATA_MIN, least)
    for size in range(most + 3):
        with open(os.devnull) as file:
            fd = os.dup(file.fileno())
            arguments = Arguments(b"x" * size, [(fd, DOOR_DESCRIPTOR | DOOR_RELEASE)], rsize=64)
            if least <= size <= most:
                with arguments.call(door) as reply:
                    assert reply.data == b"x" * size
                assert not is_open(fd)
            else:
                before = arguments.snapshot()
                with pytest.raises(DoorCallError.ENOBUFS):
                    arguments.call(door)
                assert arguments.snapshot() == before
                assert is_open(fd)
                os.close(fd)


def test_limits_that_cross_are_refused(door: int) -> None:
    """A least above the most, or a most below the least, is EINVAL and changes nothing."""
    door_setparam(door, DOOR_PARAM_DATA_MAX, 10)
    door_setparam(door, DOOR_PARAM_DATA_MIN, 10)
    with pytest.raises(DoorSetparamError.EINVAL):
        door_setparam(door, DOOR_PARAM_DATA_MIN, 11)
    with pytest.raises(DoorSetparamError.EINVAL):
        door_setparam(door, DOOR_PARAM_DATA_MAX, 9)
    with pytest.raises(DoorSetparamError.EINVAL):
        door_setparam(door, 77, 1)
    assert (param(door, DOOR_PARAM_DATA_MIN), param(door, DOOR_PARAM_DATA_MAX)) == (10, 10)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_numbers_of_descriptors_beside_the_limit(door: int, most: int) -> None:
    """DESC_MAX includes itself; more are ENFILE, also where it is 0, and stay the caller's."""
    door_setparam(door, DOOR_PARAM_DESC_MAX, most)
    for count in range(most + 3):
        fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
        arguments = Arguments(b"", [(fd, DOOR_DESCRIPTOR | DOOR_RELEASE) for fd in fds])
        if count <= most:
            arguments.call(door)
        else:
            with pytest.raises(DoorCallError.ENFILE):
                arguments.call(door)
        assert [is_open(fd) for fd in fds] == [count > most] * count
        for fd in fds:
            if count > most:
                os.close(fd)


def test_a_door_that_refuses_descriptors_keeps_refusing() -> None:
    door = door_create(echo, None, DOOR_REFUSE_DESC)
    try:
        assert param(door, DOOR_PARAM_DESC_MAX) == 0
        assert Arguments(b"ab", rsize=2).call(door).data == b"ab"
        with open(os.devnull) as file, pytest.raises(DoorCallError.ENOTSUP):
            Arguments(b"", [file.fileno()]).call(door)
        with pytest.raises(DoorSetparamError.ENOTSUP):
            door_setparam(door, DOOR_PARAM_DESC_MAX, 1)
        door_setparam(door, DOOR_PARAM_DESC_MAX, 0)
    finally:
        door_revoke(door)


def test_a_door_goes_round_through_itself() -> None:
    """A door that is passed, returned, and passed again is the same door, and its process's own."""
    entries: list[tuple[int, int]] = []

    def back(cookie: Any, data: Any, size: int, given: Any, count: int) -> None:
        fd = given[0].d_data.d_desc.d_descriptor
        entries.append((given[0].d_attributes, given[0].d_data.d_desc.d_id))
        door_return(b"", 0, descriptors([(fd, DOOR_DESCRIPTOR | DOOR_RELEASE)]), 1)

    door = door_create(back, None, 0)
    try:
        first = info(door)
        with Arguments(b"", [door]).call(door) as once, Arguments(b"", once.fds).call(door) as twice:
            for reply in (once, twice):
                same = info(reply.fds[0])
                assert same.di_uniquifier == first.di_uniquifier == reply.entries[0].d_data.d_desc.d_id
                assert same.di_attributes & DOOR_LOCAL
                assert same.di_target == os.getpid()
        assert [identity for _, identity in entries] == [first.di_uniquifier] * 2
        assert all(attributes & DOOR_LOCAL for attributes, _ in entries)
    finally:
        door_revoke(door)


def test_a_revoked_door_by_another_descriptor() -> None:
    """Whoever holds another descriptor sees that it is revoked, cannot call it, and can revoke it again."""
    door = door_create(echo, None, 0)
    copy = door_dup(door)
    number = info(door).di_uniquifier
    door_revoke(door)
    assert not is_open(door)
    seen = info(copy)
    assert seen.di_attributes & DOOR_REVOKED
    assert seen.di_attributes & DOOR_LOCAL
    assert (seen.di_uniquifier, seen.di_target) == (number, os.getpid())
    for arguments in (Arguments(), Arguments(b"x" * 100_000, [copy], rsize=10)):
        with pytest.raises(DoorCallError.EBADF):
            arguments.call(copy)
    assert door_revoke(copy) == 0
    assert not is_open(copy)
    with pytest.raises(DoorRevokeError.EBADF):
        door_revoke(copy)


def test_a_call_within_a_call_of_a_door_that_is_revoked_meanwhile() -> None:
    """A procedure revokes its own door: its caller gets the reply, and the next one EBADF."""
    copies: list[int] = []

    def suicide(cookie: Any, data: Any, size: int, entries: Any, count: int) -> None:
        door_revoke(copies[0])
        door_return(b"last", 4, NULL, 0)

    door = door_create(suicide, None, 0)
    copies.append(door_dup(door))
    assert Arguments(rsize=8).call(door).data == b"last"
    with pytest.raises(DoorCallError.EBADF):
        Arguments(rsize=8).call(door)
    os.close(door)


def test_outside_of_any_call() -> None:
    """What belongs to a server thread is refused on any other."""
    with pytest.raises(DoorUcredError.EINVAL):
        door_ucred(ffi.new("ucred_t **"))
    with pytest.raises(DoorUnbindError.EBADF):
        door_unbind()
    with pytest.raises(DoorInfoError.EBADF):
        door_info(DOOR_QUERY, ffi.new("door_info_t *"))


def test_a_child_of_fork_calls_its_parent(door: int) -> None:
    """In the child the door is the parent's: it can be called, is not local, and cannot be revoked."""
    mine = os.getpid()
    assert Arguments(b"before", rsize=8).call(door).data == b"before"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            seen = info(door)
            good = seen.di_target == mine and not seen.di_attributes & DOOR_LOCAL
            good = good and Arguments(b"child", rsize=8).call(door).data == b"child"
            good = good and Arguments(b"y" * 70_000, rsize=70_000).call(door).data == b"y" * 70_000
            try:
                door_revoke(door)
            except DoorRevokeError.EPERM:
                status = 0 if good and is_open(door) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert Arguments(b"after", rsize=8).call(door).data == b"after"


def test_threads_that_come_and_go_call_with_large_first_requests(door: int) -> None:
    """Each thread's first call is one that shared memory has no room for; with a descriptor, too."""
    outcomes: list[bool] = []

    def ask(number: int) -> None:
        request = bytes([number]) * (65_537 + number)
        with open(os.devnull) as file:
            for fds in ([], [file.fileno()]) if number % 2 else ([file.fileno()], []):
                with Arguments(request, fds, rsize=number).call(door) as reply:
                    outcomes.append(reply.data == request and reply.moved)

    for number in range(1, 12):
        thread = threading.Thread(target=ask, args=(number,))
        thread.start()
        thread.join()
    assert outcomes == [True] * 22
