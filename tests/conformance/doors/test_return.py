"""7.7: door_return, and what becomes of the client when it fails."""

import logging
import os
import resource
import threading
from pathlib import Path

import pytest

from enfilade.transport.doors import Attributes, Client, Descriptor, Door, DoorError, DoorReturnError, Result
from enfilade.transport.doors.api import (
    DOOR_DESCRIPTOR,
    DOOR_RELEASE,
    DOOR_UNREF_DATA,
    NULL,
    door_bind,
    door_call,
    door_create,
    door_return,
    door_revoke,
    door_server_create,
    ffi,
    server_thread,
)
from tests.conformance.doors.backend import REPORTS_FAULTS
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import Arguments, CData, InThread, call, descriptors, echo


@pytest.mark.skipif(not REPORTS_FAULTS, reason="this implementation does not report bad pointers")
def test_door_r3_bad_data() -> None:
    """Bad data is EFAULT at the server; the client waits meanwhile, and gets what is returned next."""
    failed = threading.Event()
    go_on = threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
        try:
            yield door_return(ffi.cast("char *", 8), 10, NULL, 0)
        except DoorReturnError.EFAULT:
            failed.set()
            assert go_on.wait(60)
            yield door_return(b"instead", 7, NULL, 0)

    door = door_create(procedure, None, 0)
    caller = InThread(lambda: call(door))
    assert failed.wait(60)
    assert caller.running
    go_on.set()
    assert caller.result() == b"instead"
    door_revoke(door)


def test_door_r4_bad_descriptor() -> None:
    """A descriptor that is not open is EINVAL at the server, and the entries with RELEASE have
    been closed.
    """
    seen: list[str] = []
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    closed = 123_456

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
        released = DOOR_DESCRIPTOR | DOOR_RELEASE
        array = descriptors([(opened[0], released), opened[1], closed, (opened[2], released)])
        try:
            yield door_return(b"data", 4, array, 4)
        except DoorReturnError.EINVAL:
            for fd in opened:
                try:
                    os.fstat(fd)
                    seen.append("open")
                except OSError:
                    seen.append("closed")
            yield door_return(b"instead", 7, NULL, 0)

    door = door_create(procedure, None, 0)
    assert call(door) == b"instead"
    assert seen == ["closed", "open", "closed"]
    os.close(opened[1])
    door_revoke(door)


def full_client(link: Link, path: str) -> None:
    """A client with room for one descriptor more calls a door that returns three."""
    with Client.open(path) as client:
        d = client.fileno()
        call(d, b"warm")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        fillers = []
        try:
            while True:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            os.close(fillers.pop())
        with Arguments(b"three").call(d) as arguments:
            answer = [arguments.data.decode(), len(arguments.fds)]
        for fd in fillers:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        link.say(answer)


def test_client_without_room(tmp_path: Path) -> None:
    """A client that has no room fails door_return with EMFILE; no descriptor has been taken
    from the server.
    """
    path = str(tmp_path / "return.door")
    opened: list[int] = []
    states: list[str] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
        if ffi.buffer(argp, arg_size)[:] != b"three":
            yield door_return(NULL, 0, NULL, 0)
        opened.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(3))
        array = descriptors([(fd, DOOR_DESCRIPTOR | DOOR_RELEASE) for fd in opened])
        try:
            yield door_return(b"with three", 10, array, 3)
        except DoorReturnError.EMFILE:
            for fd in opened:
                os.close(fd)
                states.append("was open")
            yield door_return(b"no room", 7, NULL, 0)

    from enfilade.transport.doors.api import fattach

    open(path, "w").close()
    door = door_create(procedure, None, 0)
    fattach(door, path)
    with Peer(full_client, path) as peer:
        assert peer.hear() == ["no room", 0]
    assert states == ["was open"] * 3
    door_revoke(door)


def test_more_than_1024_descriptors_are_too_many() -> None:
    """1025 descriptors are E2BIG at the server."""
    failed: list[type] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
        try:
            yield door_return(NULL, 0, descriptors([0] * 1025), 1025)
        except DoorReturnError.E2BIG as error:
            failed.append(type(error))
            yield door_return(b"fewer", 5, NULL, 0)

    door = door_create(procedure, None, 0)
    assert call(door) == b"fewer"
    assert failed == [DoorReturnError.E2BIG]
    door_revoke(door)


def test_more_bytes_than_there_are(caplog: pytest.LogCaptureFixture) -> None:
    """What lies behind a bytes object is nobody's reply: the layer refuses, and the client gets nothing."""
    door = door_create(lambda *_: door_return(b"abc", 10, NULL, 0), None, 0)
    assert call(door) == b""
    assert "expected 10 bytes of data, got 3" in caplog.text
    door_revoke(door)


def own_thread_serves(link: Link) -> None:
    """No thread but the test's own serves this process's public door."""
    door_server_create(lambda info: None)

    def who(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        number = str(threading.get_native_id()).encode()
        return door_return(number, len(number), NULL, 0)

    door = door_create(who, None, 0)
    caller = InThread(lambda: call(door))
    waited = caller.waits()
    ids: list[int] = []

    def start() -> None:
        ids.append(threading.get_native_id())
        door_return(NULL, 0, NULL, 0)

    server_thread(start)
    answer = caller.result()
    link.say([waited, int(answer) == ids[0]])


def test_door_r7_thread_of_the_program_becomes_a_server() -> None:
    """A thread that calls door_return without having been called joins the pool, and serves."""
    with Peer(own_thread_serves) as peer:
        assert peer.hear() == [True, True]


def test_python_threads_do_not_become_servers() -> None:
    """On a thread of Python's, whose stack cannot be given up, door_return refuses."""
    with pytest.raises(RuntimeError, match="server_thread"):
        door_return(NULL, 0, NULL, 0)


def test_door_r8_unref_takes_no_results() -> None:
    """A result for an unref notification is E2BIG at the server; an empty one is right."""
    failed = threading.Event()
    done = threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int):  # type: ignore[no-untyped-def]
        if argp != DOOR_UNREF_DATA:
            for entry in dp[0:n_desc]:
                os.close(entry.d_data.d_desc.d_descriptor)
            yield door_return(NULL, 0, NULL, 0)
        try:
            yield door_return(b"x", 1, NULL, 0)
        except DoorReturnError.E2BIG:
            failed.set()
            done.set()
            yield door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, Attributes.UNREF)
    with Arguments(fds=[door]) as arguments:
        arguments.call(door)
    assert failed.wait(60)
    assert done.wait(60)
    assert door_call(door, NULL) == 0
    door_revoke(door)


def test_door_r11_exception_in_a_python_procedure(caplog: pytest.LogCaptureFixture) -> None:
    """An exception reaches the error hook; the client gets the hook's reply or an empty one; no thread is
    lost.
    """
    caught: list[Exception] = []

    def hook(error: Exception, request: object) -> bytes | None:
        caught.append(error)
        return b"sorry" if str(error) == "loud" else None

    def procedure(request: object) -> bytes:
        data: bytes = request.data  # type: ignore[attr-defined]
        if data:
            raise ValueError(data.decode())
        return str(threading.get_native_id()).encode()

    with Door(procedure, threads=1, on_error=hook) as door, door.client() as client:
        thread = client.call_with_data(b"")
        for number in range(20):
            assert client.call_with_data(b"loud" if number % 2 else b"quiet") == (
                b"sorry" if number % 2 else b""
            )
        assert client.call_with_data(b"") == thread
    assert len(caught) == 20

    def broken(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        raise ValueError("verbatim")

    verbatim = door_create(broken, None, 0)
    with caplog.at_level(logging.ERROR, "enfilade.transport.doors"):
        assert call(verbatim) == b""
    assert "verbatim" in caplog.text
    door_revoke(verbatim)


def test_failed_return_reaches_the_error_hook() -> None:
    """In the safe layer a door_return that fails is an error for the hook, and the client is not kept
    waiting.
    """
    caught: list[Exception] = []

    def hook(error: Exception, request: object) -> bytes | None:
        caught.append(error)
        return b"instead"

    def procedure(request: object) -> Result:
        return Result(b"", [Descriptor(0)] * 1025)

    with Door(procedure, on_error=hook) as door, door.client() as client:
        assert client.call_with_data(b"") == b"instead"
    assert isinstance(caught[0], DoorReturnError.E2BIG)
    assert isinstance(caught[0], DoorError)


def test_bound_thread_parks_at_its_door() -> None:
    """door_return outside of an invocation parks the thread where it is bound."""
    from enfilade.transport.doors.api import DOOR_PRIVATE

    door = door_create(echo, None, DOOR_PRIVATE)

    def start() -> None:
        door_bind(door)
        door_return(NULL, 0, NULL, 0)

    server_thread(start)
    assert call(door, b"bound") == b"bound"
    door_revoke(door)
