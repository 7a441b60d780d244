"""7.4: what goes in and what comes out of door_call."""

import hashlib
import threading

import pytest

from enfilade.transport.doors import DoorCallError, DoorReturnError
from enfilade.transport.doors.api import (
    NULL,
    door_call,
    door_create,
    door_open,
    door_return,
    door_revoke,
    door_server_create,
    fattach,
    ffi,
    server_thread,
)
from tests.conformance.doors.backend import EMULATED, REPORTS_FAULTS
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import (
    Arguments,
    CData,
    InThread,
    call,
    echo,
    outcome,
    returning,
    text,
)

MEBIBYTE = 1 << 20


def serve(link: Link, path: str) -> None:
    """A server of its own process: doubles a number of eight bytes, and shouts anything else."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if arg_size == 8:
            doubled = ffi.new("uint64_t *", 2 * ffi.cast("uint64_t *", argp)[0])
            return door_return(ffi.cast("char *", doubled), 8, NULL, 0)
        shouted = text(argp, arg_size).upper()
        return door_return(shouted, arg_size, NULL, 0)

    open(path, "w").close()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    link.hear()


@pytest.fixture
def remote(tmp_path):  # type: ignore[no-untyped-def]
    """A descriptor of the door of another process."""
    import os

    path = str(tmp_path / "calls.door")
    with Peer(serve, path) as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        yield door
        os.close(door)


def test_door_d3_double(remote: int) -> None:
    """111 goes in, 222 comes out, in the caller's own buffer."""
    number = ffi.new("uint64_t *", 111)
    params = ffi.new("door_arg_t *")
    params.data_ptr, params.data_size = ffi.cast("char *", number), 8
    params.rbuf, params.rsize = params.data_ptr, 8
    assert door_call(remote, params) == 0
    assert number[0] == 222


def test_door_d4_capitalise(remote: int) -> None:
    """Fourteen bytes, the final NUL among them, come back in upper case."""
    with Arguments(b"hello, world!\0", rsize=100).call(remote) as arguments:
        assert arguments.params.data_size == 14
        assert arguments.data == b"HELLO, WORLD!\0"


def test_null_params_and_empty_reply() -> None:
    """A call without parameters is a call without arguments and without results."""
    sizes: list[tuple[bool, int, bool, int]] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        sizes.append((argp == NULL, arg_size, dp == NULL, n_desc))
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    assert door_call(door, NULL) == 0
    assert sizes == [(True, 0, True, 0)]
    door_revoke(door)


def test_door_d6_null_params_take_no_results() -> None:
    """A result for a caller without parameters fails door_return with E2BIG; the caller waits until it is
    empty.
    """
    failed: list[DoorReturnError] = []
    go_on = threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
        try:
            yield door_return(b"x", 1, NULL, 0)
        except DoorReturnError.E2BIG as error:
            failed.append(error)
            assert go_on.wait(60)
            yield door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    caller = InThread(lambda: door_call(door, NULL))
    while not failed:
        assert caller.running
    assert caller.running
    go_on.set()
    assert caller.result() == 0
    door_revoke(door)


def test_door_d7_unref_cannot_be_forged() -> None:
    """A data pointer of 1 with a size of 0 reaches the procedure as NULL, not as DOOR_UNREF_DATA."""
    seen: list[bool] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        seen.append(argp == NULL)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    params = ffi.new("door_arg_t *")
    params.data_ptr = ffi.cast("char *", 1)
    door_call(door, params)
    assert seen == [True]
    door_revoke(door)


@pytest.mark.skipif(not REPORTS_FAULTS, reason="this implementation does not report bad pointers")
@pytest.mark.parametrize("what", ["data", "descriptors", "params"])
def test_door_d8_door_d9_door_d10_bad_pointers(what: str) -> None:
    """Bad pointers to data, descriptors or the parameters are EFAULT, and the procedure does not run."""
    ran: list[int] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        ran.append(1)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    params = ffi.new("door_arg_t *")
    if what == "data":
        params.data_ptr, params.data_size = ffi.cast("char *", 8), 10
    elif what == "descriptors":
        params.desc_ptr, params.desc_num = ffi.cast("door_desc_t *", 8), 1
    else:
        params = ffi.cast("door_arg_t *", 8)
    with pytest.raises(DoorCallError.EFAULT):
        door_call(door, params)
    assert ran == []
    door_revoke(door)


def default_stacks(link: Link) -> None:
    ran: list[int] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        ran.append(arg_size)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    fits = 2_031_000 - (16 * 1024 if EMULATED else 256 * 1024)
    try:
        call(door, bytes(fits))
        call(door, bytes(2 * MEBIBYTE))
    except DoorCallError.E2BIG:
        link.say(ran == [fits])
    else:
        link.say(False)


def test_door_d11_request_must_fit_the_stack() -> None:
    """With a default stack about two million bytes pass, and 2 MiB are E2BIG before the procedure runs.

    In a process of its own: the server threads of this one may have been made by others, with larger stacks.
    """
    with Peer(default_stacks) as peer:
        assert peer.hear() is True


def big_stacks(link: Link) -> None:
    def create(info: CData) -> None:
        server_thread(lambda: door_return(NULL, 0, NULL, 0), stack_size=16 * MEBIBYTE)

    door_server_create(create)

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        digest = hashlib.sha256(text(argp, arg_size)).digest()
        return door_return(digest, len(digest), NULL, 0)

    door = door_create(procedure, None, 0)
    request = bytes(range(256)) * (4 * MEBIBYTE // 256)
    link.say(call(door, request) == hashlib.sha256(request).digest())


def test_door_d12_larger_stacks_take_larger_requests() -> None:
    """Server threads with stacks of 16 MiB take a request of 4 MiB."""
    with Peer(big_stacks) as peer:
        assert peer.hear() is True


def test_door_d13_large_reply() -> None:
    """A reply has no limit: 64 MiB come back in a mapping."""
    size = 64 * MEBIBYTE
    reply = bytes(range(256)) * (size // 256)
    door = door_create(returning(reply), None, 0)
    with Arguments().call(door) as arguments:
        assert arguments.moved
        assert arguments.params.data_size == size
        assert arguments.data == reply
    door_revoke(door)


@pytest.mark.parametrize("in_place", [False, True])
def test_door_d14_request_is_a_copy(in_place: bool) -> None:
    """What the procedure writes to its argument reaches the client only through the result buffer."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        ffi.memmove(argp, b"changed!", 8)
        return door_return(argp, arg_size, NULL, 0)

    door = door_create(procedure, None, 0)
    request = ffi.new("char[]", b"original")
    params = ffi.new("door_arg_t *")
    params.data_ptr, params.data_size = request, 8
    result = request if in_place else ffi.new("char[]", 8)
    params.rbuf, params.rsize = result, 8
    door_call(door, params)
    assert text(result, 8) == b"changed!"
    assert text(request, 8) == (b"changed!" if in_place else b"original")
    door_revoke(door)


@pytest.mark.parametrize("size", [1, 7, 8, 63, 4096, 20_000, 300_001])
def test_door_d15_alignment_of_the_argument(size: int) -> None:
    """The argument lies at a multiple of eight, whatever its size."""
    addresses: list[int] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        addresses.append(int(ffi.cast("uintptr_t", argp)))
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    call(door, bytes(size))
    assert addresses[0] % 8 == 0
    door_revoke(door)


@pytest.mark.parametrize("size", [64, 100_000, MEBIBYTE])
def test_door_d16_request_changed_during_the_call(size: int) -> None:
    """The procedure's copy does not change when the client writes to its buffer during the call."""
    entered, changed = threading.Event(), threading.Event()
    sums: list[bytes] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        sums.append(hashlib.sha256(text(argp, arg_size)).digest())
        entered.set()
        assert changed.wait(60)
        sums.append(hashlib.sha256(text(argp, arg_size)).digest())
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    arguments = Arguments(b"\x01" * size)
    caller = InThread(lambda: door_call(door, arguments.params))
    assert entered.wait(60)
    ffi.memmove(arguments.request, b"\x02" * size, size)
    changed.set()
    assert caller.result() == 0
    assert sums[0] == sums[1] == hashlib.sha256(b"\x01" * size).digest()
    door_revoke(door)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 16384, 16385, 65536, 65537, 262144, MEBIBYTE])
def test_echo_of_every_size(remote: int, size: int) -> None:
    """Whatever way the bytes take, they arrive as they were, with another process as with our own."""
    door = door_create(echo, None, 0)
    data = (b"abcdefghijklmno" * (size // 15 + 1))[:size]
    assert call(door, data) == data
    if size != 8:
        assert call(remote, data) == data.upper()
    door_revoke(door)


def test_a_procedure_may_change_its_mind() -> None:
    """The last door_return before the procedure gives way is the one that counts."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        door_return(b"first", 5, NULL, 0)
        return door_return(b"second", 6, NULL, 0)

    door = door_create(procedure, None, 0)
    assert call(door) == b"second"
    door_revoke(door)


def test_falling_off_the_end_ends_the_thread() -> None:
    """A procedure that does not call door_return ends its thread: EINTR for the client, and
    others serve on.
    """
    door = door_create(lambda *_: None, None, 0)
    assert outcome(lambda: call(door)) == "EINTR"
    door_revoke(door)
