"""The safe layer: who owns what, and for how long."""

import contextlib
import gc
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from enfilade.transport.doors import (
    Attributes,
    Capabilities,
    Client,
    Descriptor,
    Door,
    DoorCallError,
    DoorCounters,
    DoorCreateError,
    DoorReturnError,
    NotADoor,
    Reply,
    Request,
    Result,
    is_door,
)
from enfilade.transport.doors.api import NULL, door_call, ffi
from enfilade.transport.doors.reply import Room


def shout(request: Request) -> bytes:
    return request.data.upper()


@pytest.fixture
def door() -> Iterator[Door]:
    with Door(shout) as made:
        yield made


@pytest.fixture
def client(door: Door) -> Iterator[Client]:
    with door.client() as made:
        yield made


def pipe() -> tuple[int, int]:
    return os.pipe()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_small_reply_is_a_copy(client: Client) -> None:
    reply = client.call(b"hello")
    assert (reply.data, len(reply), reply.is_mapped) == (b"HELLO", 5, False)
    reply.close()
    reply.close()


def test_reply_into_a_buffer_borrows_it(client: Client) -> None:
    buffer = bytearray(16)
    with client.call(b"hello", into=buffer) as reply:
        assert bytes(reply.view) == b"HELLO"
        assert buffer[:5] == b"HELLO"
        buffer[0:1] = b"J"
        assert reply.data == b"JELLO"


def test_reply_too_large_for_the_buffer_is_mapped(client: Client) -> None:
    buffer = bytearray(b"untouched")
    with client.call(b"a longer request", into=buffer) as reply:
        assert reply.is_mapped
        assert reply.data == b"A LONGER REQUEST"
    assert buffer == b"untouched"


def test_large_reply_is_mapped_and_freed_with_its_last_reference(client: Client) -> None:
    reply = client.call(b"x" * 200_000)
    assert reply.is_mapped
    view = reply.view[:10]
    del reply
    gc.collect()
    assert bytes(view) == b"X" * 10  # still mapped, because it is still looked at


def test_a_reply_ends_with_its_block() -> None:
    read, write = os.pipe()

    def gives(request: Request) -> Result:
        return Result(b"x", [Descriptor(write, release=True)])

    with Door(gives) as door, door.client() as client:
        with client.call() as reply:
            received = reply.descriptors[0]
            assert os.fstat(received.fileno())
        assert received.closed
        with pytest.raises(ValueError, match="closed"):
            reply.view  # noqa: B018
        reply.close()  # once more
    assert os.read(read, 1) == b""  # nobody has the other end any more
    os.close(read)


def test_mapping_of_a_large_reply_is_used_again(client: Client) -> None:
    """One that no reply uses any more, and for a while: never one that somebody still looks at."""

    def place(reply: Reply) -> int:
        return int(ffi.cast("uintptr_t", ffi.from_buffer(reply.view)))

    client.call(b"x" * 200_000).close()
    with client.call(b"y" * 200_000) as first:
        kept = place(first)
        with client.call(b"z" * 200_000) as second, client.call(b"w" * 100_000) as third:
            assert len({kept, place(second), place(third)}) == 3
            assert (first.data, second.data) == (b"Y" * 200_000, b"Z" * 200_000)
            assert third.data == b"W" * 100_000
    with client.call(b"v" * 150_000) as again:
        assert again.data == b"V" * 150_000
    with client.call(b"u" * 1_900_000) as larger:
        assert larger.data == b"U" * 1_900_000
    for _ in range(100):  # small ones: nothing is kept for good
        with client.call(b"small") as reply:
            assert not reply.is_mapped
            assert reply.data == b"SMALL"
    assert Room.take() is None


def test_request_of_any_buffer(client: Client) -> None:
    for data in (b"bytes", bytearray(b"bytes"), memoryview(b"bytes")):
        assert client.call_with_data(data) == b"BYTES"
    assert client.call_with_data(b"") == b""


def test_nested_calls_do_not_share_buffers() -> None:
    """A procedure that calls, in the thread that serves, gets its own answer, and so does its caller."""
    with Door(shout) as inner, inner.client() as inner_client:
        outer = Door(lambda request: inner_client.call_with_data(request.data) + b"!")
        with outer, outer.client() as client:
            assert client.call_with_data(b"deep") == b"DEEP!"


def test_request_is_over_with_its_procedure() -> None:
    """Data that was looked at may be kept; the view may not, and nothing can be asked of the request any
    more.
    """
    kept: list[Request] = []
    views: list[memoryview] = []

    def procedure(request: Request) -> None:
        assert request.data == b"kept"
        kept.append(request)
        views.append(request.view)

    with Door(procedure) as door, door.client() as client:
        client.call(b"kept").close()
    assert kept[0].data == b"kept"
    with pytest.raises(ValueError, match="over"):
        _ = kept[0].view
    with pytest.raises(ValueError, match="over"):
        kept[0].credentials()
    with pytest.raises(ValueError, match="released"):
        bytes(views[0])


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_view_that_ends_in_time_is_not_reported(size: int) -> None:
    errors: list[Exception] = []

    def note(error: Exception, request: Request | None) -> bytes | None:
        errors.append(error)
        return None

    def counts(request: Request) -> bytes:
        with request.view[:1] as first:
            return bytes(first) + str(len(request.view)).encode()

    with Door(counts, on_error=note) as door, door.client() as client:
        assert client.call(bytes(size)).data == b"\0" + str(size).encode()
        assert client.call(b"abc").data == b"a3"
    assert not errors


def test_slice_that_outlives_its_request_is_reported() -> None:
    slices: list[memoryview] = []
    errors: list[Exception] = []

    def hook(error: Exception, request: Request | None) -> None:
        errors.append(error)

    with (
        Door(lambda request: slices.append(request.view[1:2]), on_error=hook) as door,
        door.client() as client,
    ):
        client.call(b"data").close()
    assert isinstance(errors[0], BufferError)
    slices.clear()


def test_descriptors_of_a_request_are_closed_unless_taken() -> None:
    taken: list[Descriptor] = []

    def procedure(request: Request) -> None:
        if request.data == b"take":
            taken.extend(request.take_descriptors())

    reading, writing = pipe()
    with Door(procedure) as door, door.client() as client:
        client.call(b"leave", [Descriptor(writing, release=True)]).close()
        assert os.read(reading, 1) == b""  # nobody holds the other end
        client.call(b"take", [Descriptor(reading, release=True)]).close()
        taken[0].close()


def test_descriptor_of_the_request_in_the_result() -> None:
    """What came with the request can be returned; the client has it then, and the server has not."""
    reading, writing = pipe()
    with Door(lambda request: Result(b"", request.descriptors)) as door, door.client() as client:
        reply = client.call(b"", [Descriptor(writing, release=True)])
        os.write(reply.descriptors[0].fileno(), b"x")
        assert os.read(reading, 1) == b"x"
        reply.close()
        assert os.read(reading, 1) == b""
    os.close(reading)


def test_borrowed_descriptor_in_the_result_stays_open() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    with Door(lambda request: Result(b"", [Descriptor(fd)])) as door, door.client() as client:
        for _ in range(3):
            client.call().close()
        assert is_open(fd)
    os.close(fd)


def test_released_descriptor_after_failures() -> None:
    """After an early failure it is still ours; after EINVAL it is gone."""
    reading, writing = pipe()
    with Door(shout, Attributes.REFUSE_DESC) as door, door.client() as client:
        one = Descriptor(reading, release=True)
        with pytest.raises(DoorCallError.ENOTSUP):
            client.call(b"", [one])
        assert not one.closed
        one.close()
    with Door(shout) as door, door.client() as client:
        other = Descriptor(writing, release=True)
        with pytest.raises(DoorCallError.EINVAL):
            client.call(b"", [other, Descriptor(123_456)])
        assert other.closed


def test_descriptor_says_when_it_is_lost() -> None:
    reading, writing = pipe()
    os.close(writing)
    lost = Descriptor(reading, owned=True)
    with pytest.warns(ResourceWarning, match="never closed"):
        del lost
    assert not is_open(reading)


def test_descriptor_is_detached_once() -> None:
    descriptor = Descriptor(os.open("/dev/null", os.O_RDONLY), owned=True)
    assert not descriptor.is_door
    fd = descriptor.detach()
    with pytest.raises(ValueError, match="detached"):
        descriptor.detach()
    os.close(fd)


def test_door_through_a_door(door: Door) -> None:
    """A door that is received is called like any other; it says whose it is."""
    giver = Door(lambda request: Result(b"", [door.descriptor()]))
    with giver, giver.client() as client, client.call() as reply:
        received = reply.descriptors[0]
        assert received.is_door
        assert received.id == door.info().id
        assert Attributes.LOCAL in received.attributes
        with Client(received) as through:
            assert through.call_with_data(b"again") == b"AGAIN"


def test_client_refuses_what_is_no_door() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(NotADoor):
        Client(fd)
    assert is_open(fd)
    os.close(fd)


def test_wrong_types_are_told_at_once(client: Client) -> None:
    with pytest.raises(TypeError, match=r"Client\.open\(\) takes a path"):
        Client("/var/run/some.door")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Descriptor\(0\)"):
        client.call(b"", [0])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="null byte"):
        Client.open("/etc\0/some.door")


def test_closed_client_and_revoked_door(door: Door) -> None:
    client = door.client()
    client.close()
    client.close()
    assert client.closed
    with pytest.raises(ValueError, match="closed"):
        client.call()
    with door.client() as other:
        door.revoke()
        door.revoke()
        with pytest.raises(DoorCallError.EBADF):
            other.call()
        assert not other.info().is_alive
    assert door.closed


def test_a_request_outside_of_the_limits_is_refused() -> None:
    with Door(shout, data_min=2, data_max=4, descriptors_max=1) as door, door.client() as client:
        assert client.call_with_data(b"abc") == b"ABC"
        for data in (b"a", b"abcde"):
            with pytest.raises(DoorCallError.ENOBUFS):
                client.call(data)
        with pytest.raises(DoorCallError.ENFILE):
            client.call(b"abc", [Descriptor(0), Descriptor(0)])


def open_doors() -> set[int]:
    """The numbers of this process's descriptors that are doors."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if is_door(int(name)):
                found.add(int(name))
    return found


def test_limits_that_cross_leave_no_door_behind() -> None:
    before = open_doors()
    with pytest.raises(OSError, match="EINVAL"):
        Door(shout, data_min=5, data_max=4)
    with pytest.raises(DoorCreateError.EINVAL):
        Door(shout, Attributes.UNREF | Attributes.UNREF_MULTI)
    assert open_doors() <= before


def test_what_is_no_function_serves_no_door() -> None:
    with pytest.raises(TypeError, match="got 5"):
        Door(5)  # type: ignore[arg-type]


def test_threads_bound_the_number_of_simultaneous_calls() -> None:
    inside = 0
    most = 0
    lock = threading.Lock()
    pairs = threading.Barrier(2)

    def procedure(request: Request) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.02)
        pairs.wait(60)
        with lock:
            inside -= 1

    with Door(procedure, threads=2) as door, door.client() as client:
        callers = [threading.Thread(target=lambda: client.call().close()) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
    assert most == 2


def test_on_unref_is_called_with_the_door() -> None:
    seen: list[Door] = []
    told = threading.Event()

    def unreferenced(door: Door) -> None:
        seen.append(door)
        told.set()

    with Door(shout, on_unref=unreferenced) as door:
        client = door.client()
        client.close()
        assert told.wait(60)
        assert seen == [door]


def test_result_that_is_no_data_reaches_the_hook(caplog: pytest.LogCaptureFixture) -> None:
    """Without a hook errors are logged; the client gets an empty reply and is not kept waiting."""
    with Door(lambda request: 7) as door, door.client() as client, caplog.at_level(logging.ERROR):
        assert client.call_with_data(b"") == b""
    assert "server procedure failed" in caplog.text


def test_client_that_takes_no_results_is_not_answered_for_ever() -> None:
    """Whatever the hook would fall back to, a caller without parameters gets nothing."""
    errors: list[Exception] = []

    def hook(error: Exception, request: Request | None) -> bytes:
        errors.append(error)
        return b"fallback"

    with Door(lambda request: b"data", on_error=hook) as door, door.client() as client:
        assert door_call(client.fileno(), NULL) == 0
    assert [type(error) for error in errors] == [DoorReturnError.E2BIG] * 2


def test_install_does_not_leave_its_file_when_it_fails(tmp_path: Path, door: Door) -> None:
    door.install(tmp_path / "one")
    door.uninstall(tmp_path / "one")
    assert (tmp_path / "one").is_file()
    with pytest.raises(FileNotFoundError):
        door.install(tmp_path / "missing/one")


def test_install_with_a_mode(tmp_path: Path, door: Door) -> None:
    before = os.umask(0)
    try:
        door.install(tmp_path / "private", mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "private").stat().st_mode & 0o077 == 0


def test_no_resource_warnings_in_ordinary_use(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Door(shout) as door:
            door.install(tmp_path / "tidy.door")
            with Client.open(tmp_path / "tidy.door") as client:
                assert client.call_with_data(b"x") == b"X"
                assert "Client of door" in repr(client)
        gc.collect()


def test_replies_of_all_sizes_in_turn() -> None:
    """Short ones are copied, long ones stay where they are until they have been read; none is mistaken."""
    sizes = (0, 1, 4096, 4097, 40_000, 70_000, 2_000_000, 3, 9_000_000, 0)
    with Door(lambda request: os.urandom(1) * int(request.data), threads=1) as door, door.client() as client:
        for size in sizes * 2:
            reply = client.call_with_data(b"%d" % size)
            assert len(reply) == size
            assert len(set(reply)) == min(size, 1)
            with client.call(b"%d" % size) as again:
                assert len(again) == size
                assert len(set(again.data)) == min(size, 1)


def test_reply_that_changes_later_was_copied() -> None:
    kept = bytearray(100_000)

    def procedure(request: Request) -> bytearray:
        kept[:] = request.data * len(kept)
        return kept

    with Door(procedure) as door, door.client() as client:
        first = client.call_with_data(b"1")
        assert client.call_with_data(b"2") == b"2" * len(kept)
        assert first == b"1" * len(kept)


def test_received_descriptors_are_not_inherited() -> None:
    """What the safe layer receives is closed on exec, as all that Python opens."""
    seen: list[bool] = []

    def procedure(request: Request) -> Result:
        seen.extend(os.get_inheritable(one.fileno()) for one in request.descriptors)
        return Result(b"", request.descriptors)

    with Door(procedure) as door, door.client() as client, client.call(b"", [Descriptor(0)] * 2) as reply:
        assert [os.get_inheritable(one.fileno()) for one in reply.descriptors] == [False, False]
    assert seen == [False, False]


@pytest.mark.skipif(Capabilities.COUNTERS not in Capabilities.here(), reason="this system does not count")
def test_counters_tell_what_has_become_of_calls(tmp_path: Path) -> None:
    """Every holder sees them, also when the server is busy: calls, those that failed, those in progress."""
    entered, leave = threading.Event(), threading.Event()

    def procedure(request: Request) -> None:
        entered.set()
        assert leave.wait(60)

    with Door(procedure, data_max=4) as door:
        door.install(tmp_path / "counted.door")
        with Client.open(tmp_path / "counted.door") as client:
            assert client.counters() == DoorCounters(calls=0, failures=0, active=0, references=3)
            thread = threading.Thread(target=client.call_with_data, args=(b"",))
            thread.start()
            assert entered.wait(60)
            assert client.counters() == DoorCounters(calls=1, failures=0, active=1, references=3)
            leave.set()
            thread.join()
            with pytest.raises(DoorCallError.ENOBUFS):
                client.call(b"more than four")
            assert door.counters() == DoorCounters(calls=1, failures=0, active=0, references=3)
