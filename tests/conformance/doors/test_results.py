"""7.5: where results are put, and who has to free them."""

import mmap
import os
import resource
from pathlib import Path

import pytest

from enfilade.transport.doors import Client, Door, DoorCallError
from enfilade.transport.doors.api import NULL, door_call, door_create, door_return, door_revoke, ffi, munmap
from tests.conformance.doors.backend import REPORTS_FAULTS
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import PAGE, Arguments, CData, descriptors, echo, outcome, text


def sized(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
    """Returns as many bytes and descriptors as the two numbers in the request say."""
    data_size, count = ffi.cast("uint32_t *", argp)[0], ffi.cast("uint32_t *", argp)[1]
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    array = descriptors([(fd, 0x10000 | 0x40000) for fd in files]) if files else NULL
    yield door_return(b"\xa5" * data_size if data_size else NULL, data_size, array, count)


@pytest.fixture
def door():  # type: ignore[no-untyped-def]
    d = door_create(sized, None, 0)
    yield d
    door_revoke(d)


def wanted(data: int, count: int = 0) -> bytes:
    return data.to_bytes(4, "little") + count.to_bytes(4, "little")


def test_door_b1_exact_fit(door: int) -> None:
    """A buffer of exactly the reply's size is used, and its size left alone."""
    with Arguments(wanted(100), rsize=100).call(door) as arguments:
        assert not arguments.moved
        assert arguments.params.rsize == 100
        assert arguments.params.data_ptr == arguments.rbuf
        assert arguments.data == b"\xa5" * 100


def test_door_b2_one_byte_too_small(door: int) -> None:
    """A buffer that is a byte too small is not touched: the reply is in a mapping of whole pages."""
    with Arguments(wanted(100), rsize=99) as arguments:
        ffi.memmove(arguments.rbuf, b"\x11" * 99, 99)
        arguments.call(door)
        assert arguments.moved
        assert arguments.params.rsize == PAGE
        assert arguments.params.data_ptr == arguments.params.rbuf
        assert arguments.data == b"\xa5" * 100
        assert text(arguments.rbuf, 99) == b"\x11" * 99


@pytest.mark.parametrize("rsize", [pytest.param(0, id="b3_no_buffer"), pytest.param(1, id="b4_one_byte")])
def test_door_b3_door_b4_page_of_reply(door: int, rsize: int) -> None:
    """A page of reply with no buffer, or one of a byte, is in a mapping of one page."""
    with Arguments(wanted(PAGE), rsize=rsize).call(door) as arguments:
        assert arguments.moved
        assert arguments.params.rsize == PAGE
        assert arguments.data == b"\xa5" * PAGE


def test_door_b5_nothing_at_all(door: int) -> None:
    """An empty reply leaves a NULL buffer NULL; the data pointer is still the request's."""
    with Arguments(wanted(0)).call(door) as arguments:
        assert not arguments.moved
        params = arguments.params
        assert (params.rbuf, params.rsize, params.data_size, params.desc_num) == (NULL, 0, 0, 0)
        assert params.data_ptr == arguments.request
        assert params.desc_ptr == NULL


@pytest.mark.skipif(not REPORTS_FAULTS, reason="this implementation does not report bad pointers")
def test_door_b7_null_buffer_with_a_size(door: int) -> None:
    """A NULL buffer that claims 100 bytes is EFAULT when a reply would fit."""
    with Arguments(wanted(10)) as arguments:
        arguments.params.rsize = 100
        with pytest.raises(DoorCallError.EFAULT):
            arguments.call(door)


def test_door_b8_rest_of_the_mapping(door: int) -> None:
    """A mapping can be read and written, and is zero after the data."""
    with Arguments(wanted(PAGE + 10)).call(door) as arguments:
        assert arguments.params.rsize == 2 * PAGE
        rest = arguments.params.rbuf + PAGE + 10
        assert text(rest, PAGE - 10) == bytes(PAGE - 10)
        rest[0] = b"w"
        assert rest[0] == b"w"


def test_door_b11_data_and_descriptor_fit(door: int) -> None:
    """Ten bytes and a descriptor need 48: the descriptors begin at the next multiple of 24."""
    with Arguments(wanted(10, 1), rsize=48).call(door) as arguments:
        assert not arguments.moved
        assert arguments.data == b"\xa5" * 10
        assert ffi.cast("char *", arguments.params.desc_ptr) == arguments.rbuf + 24
        os.fstat(arguments.fds[0])


def test_door_b12_descriptor_does_not_fit(door: int) -> None:
    """With 47 bytes both are moved, though the data alone would fit."""
    with Arguments(wanted(10, 1), rsize=47).call(door) as arguments:
        assert arguments.moved
        assert arguments.params.rsize == PAGE
        assert arguments.data == b"\xa5" * 10
        assert ffi.cast("char *", arguments.params.desc_ptr) == arguments.params.rbuf + 24


@pytest.mark.parametrize(("data", "offset"), [(24, 24), (25, 48), (1, 24), (48, 48), (4071, 4080)])
def test_door_b13_where_descriptors_begin(door: int, data: int, offset: int) -> None:
    """The data's size rounded up to a multiple of the size of a descriptor, in a buffer and in a mapping."""
    for rsize in (0, 8192):
        with Arguments(wanted(data, 1), rsize=rsize).call(door) as arguments:
            assert arguments.moved == (rsize == 0)
            assert ffi.cast("char *", arguments.params.desc_ptr) == arguments.params.rbuf + offset
            os.fstat(arguments.fds[0])


def test_door_b14_descriptor_alone(door: int) -> None:
    """A descriptor without data is at the start of the buffer, and the data pointer as it was."""
    with Arguments(wanted(0, 1), rsize=24).call(door) as arguments:
        assert not arguments.moved
        assert ffi.cast("char *", arguments.params.desc_ptr) == arguments.rbuf
        assert arguments.params.data_size == 0
        assert arguments.params.data_ptr == arguments.request


@pytest.mark.skipif(not REPORTS_FAULTS, reason="this implementation does not report bad pointers")
def test_door_b16_read_only_buffer(door: int) -> None:
    """A buffer that cannot be written to is EFAULT; the descriptors of the reply are not leaked (the fixture
    looks).
    """
    page = mmap.mmap(-1, PAGE, prot=mmap.PROT_READ)
    address = ffi.cast("char *", ffi.from_buffer(page))
    with Arguments(wanted(10, 2), rsize=PAGE, rbuf=address) as arguments, pytest.raises(DoorCallError.EFAULT):
        arguments.call(door)
    with Arguments(wanted(10)).call(door) as arguments:
        assert arguments.data == b"\xa5" * 10


def no_room(link: Link, path: str) -> None:
    """A client whose address space is full."""
    with Client.open(path) as client:
        d = client.fileno()
        with Arguments(wanted(10), rsize=100).call(d):
            pass
        with Arguments(wanted(32 << 20)).call(d):
            pass
        used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), limits[1]))
        arguments = Arguments(wanted(32 << 20))
        result = outcome(lambda: arguments.call(d))
        resource.setrlimit(resource.RLIMIT_AS, limits)
        with Arguments(wanted(32 << 20)).call(d) as again:
            size = again.params.data_size
    link.say([result if isinstance(result, str) else "ok", size])


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="asks Linux how large a process is")
def test_door_b17_no_memory_for_the_mapping(tmp_path: os.PathLike[str]) -> None:
    """EOVERFLOW when nothing can be mapped; the server has parked, and the next call works."""
    path = os.path.join(tmp_path, "overflow.door")

    def large(request: object) -> bytes:
        return b"\xa5" * int.from_bytes(request.data[:4], "little")  # type: ignore[attr-defined]

    with Door(large) as server:
        server.install(path)
        with Peer(no_room, path) as peer:
            assert peer.hear() == ["EOVERFLOW", 32 << 20]


def test_door_b18_errors_leave_the_parameters_alone(door: int) -> None:
    """The 48 bytes of the structure are the same after every failure."""
    gone = door_create(echo, None, 0)
    spare = os.dup(gone)
    door_revoke(gone)
    closed = os.open("/dev/null", os.O_RDONLY)
    os.close(closed)
    for d, fds in ((-1, []), (spare, []), (door, [closed]), (door, [(0, 0)])):
        arguments = Arguments(b"some data", fds, rsize=64)
        before = arguments.snapshot()
        with pytest.raises(DoorCallError):
            door_call(d, arguments.params)
        assert arguments.snapshot() == before
    os.close(spare)


def test_door_b19_mapping_used_as_buffer(door: int) -> None:
    """A mapping may be the next call's buffer; if that does not suffice there is a third region, and two to
    unmap.
    """
    params = ffi.new("door_arg_t *")
    request = ffi.new("char[]", wanted(100))
    params.data_ptr, params.data_size = request, 8
    door_call(door, params)
    first, first_size = params.rbuf, params.rsize
    assert first != NULL

    larger = ffi.new("char[]", wanted(first_size + 1))
    params.data_ptr, params.data_size = larger, 8
    door_call(door, params)
    assert params.rbuf != first
    assert params.rsize == 2 * PAGE
    assert text(first, 100) == b"\xa5" * 100
    munmap(params.rbuf, params.rsize)
    munmap(first, first_size)


def test_door_b20_reply_is_freed_once() -> None:
    """The safe layer's reply unmaps once, refuses to be used afterwards, and refuses to unmap what is looked
    at.
    """
    with Door(lambda request: b"r" * 100_000) as server, server.client() as client:
        reply = client.call()
        assert reply.is_mapped
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(reply.view)))
        part = reply.view[10:20]
        with pytest.raises(BufferError):
            reply.close()
        assert bytes(part) == b"r" * 10
        part.release()
        reply.close()
        with pytest.raises(ValueError, match="closed"):
            _ = reply.data
        with pytest.raises(ValueError, match="closed"):
            _ = reply.view
        # Something else at the address must survive whatever a second close would do.
        with mmap.mmap(-1, 100_000 + PAGE) as other:
            other[0:4] = b"mine"
            reply.close()
            del reply
            assert other[0:4] == b"mine"
        assert address > 0


OWNERSHIP = [
    # request, rbuf and its size, reply: what the caller has to free
    pytest.param(b"", 0, 0, "same", id="1-empty-empty"),
    pytest.param(wanted(100), 0, 100, "moved", id="2-no-buffer"),
    pytest.param(wanted(0), 64, 0, "same", id="3-empty-reply"),
    pytest.param(wanted(100), 50, 100, "moved", id="4-too-small"),
    pytest.param(wanted(100), 200, 100, "same", id="5-fits"),
]


@pytest.mark.parametrize(("request_data", "rsize", "size", "place"), OWNERSHIP)
def test_ownership_without_descriptors(request_data: bytes, rsize: int, size: int, place: str) -> None:
    """Rows 1 to 5 of the table of ownership."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        return door_return(b"\xa5" * size if size else NULL, size, NULL, 0)

    d = door_create(procedure, None, 0)
    with Arguments(request_data, rsize=rsize).call(d) as arguments:
        assert arguments.moved == (place == "moved")
        assert arguments.params.data_size == size
        expected = arguments.params.rbuf if size else arguments.request
        assert arguments.params.data_ptr == expected
    door_revoke(d)


@pytest.mark.parametrize("rsize", [pytest.param(4096, id="6-fits"), pytest.param(64, id="7-too-small")])
def test_ownership_request_inside_the_buffer(rsize: int) -> None:
    """Rows 6 and 7: the request lies in the result buffer; it is overwritten if the reply fits, and else
    intact.
    """

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        assert text(argp, arg_size) == b"request"
        return door_return(b"R" * 1000, 1000, NULL, 0)

    d = door_create(procedure, None, 0)
    buffer = ffi.new("char[]", max(rsize, 1000))
    ffi.memmove(buffer + 8, b"request", 7)
    params = ffi.new("door_arg_t *")
    params.data_ptr, params.data_size = buffer + 8, 7
    params.rbuf, params.rsize = buffer, rsize
    door_call(d, params)
    assert text(params.data_ptr, params.data_size) == b"R" * 1000
    if rsize == 64:
        assert params.rbuf != buffer
        assert text(buffer + 8, 7) == b"request"
        munmap(params.rbuf, params.rsize)
    else:
        assert params.rbuf == buffer
    door_revoke(d)
