"""What a hostile server or caller can cost the other side, through the objects that programs use."""

import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.doors import Client, Descriptor, Door, DoorCallError, TypedClient
from tests.conformance.doors.backend import EMULATED
from tests.descriptors import open_descriptors

ROOT = Path(__file__).resolve().parents[3]
MEBIBYTE = 1 << 20
STRANGER = 65534

pytestmark = pytest.mark.skipif(not EMULATED, reason="about the library for Linux")

PRELUDE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from enfilade.transport.doors.api import *
path = sys.argv[1]
def serve(procedure):
    door = door_create(procedure, None, 0)
    open(path, "w").close()
    os.chmod(path, 0o666)
    fattach(door, path)
    print("up", flush=True)
    return door
"""


def start(program: str, path: Path, *, uid: int | None = None) -> subprocess.Popen[str]:
    """A peer in a process of its own, perhaps as another user, once it has said that it is up."""
    peer = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".packaging")},
        user=uid if os.geteuid() == 0 else None,
    )
    assert peer.stdout is not None
    assert peer.stdout.readline() == "up\n"
    return peer


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


HUGE = """
def procedure(cookie, argp, size, dp, n):
    import mmap
    room = mmap.mmap(-1, 256 << 20)  # untouched: it costs the server nothing
    view = ffi.from_buffer(room)
    yield door_return(view, len(room), NULL, 0)
serve(procedure)
signal.pause()
"""


def test_replies_have_a_limit(tmp_path: Path) -> None:
    """A reply that is larger than the client takes costs it no memory and no descriptor."""
    path = tmp_path / "huge.door"
    peer = start(HUGE, path)
    try:
        with Client.open(path) as client, Client.open(path, largest=MEBIBYTE) as careful:
            before, used = descriptors(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for call in (client.call, client.call_with_data, careful.call, client.call_interruptible):
                with pytest.raises(DoorCallError.EOVERFLOW):
                    call(b"x")  # type: ignore[operator]
            assert descriptors() <= before + 2  # a connection for each client
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 64 * 1024
        with Client.open(path, largest=512 * MEBIBYTE) as client, client.call(b"x") as reply:
            assert len(reply) == 256 * MEBIBYTE
    finally:
        peer.kill()
        peer.wait()


def test_limit_of_replies_to_the_byte() -> None:
    """What fits is taken, in the caller's buffer or not; a limit of nothing is no limit, and is refused."""
    sizes = [1, 100, 65536, 65537, MEBIBYTE, 9 * MEBIBYTE]
    with Door(lambda request: bytes(int(request.data))) as door:
        for size in sizes:
            with Client(door, largest=size) as client:
                assert client.call_with_data(b"%d" % size) == bytes(size)
                with pytest.raises(DoorCallError.EOVERFLOW):
                    client.call_with_data(b"%d" % (size + 1))
                with client.call(b"%d" % size, into=bytearray(size)) as reply:
                    assert len(reply) == size
        with pytest.raises(ValueError, match="at least 1 byte"):
            Client(door, largest=0)
    with (
        Door(lambda request: (b"12345678", 1)[0]) as door,
        TypedClient(Client(door, largest=4), _codec(), _codec()) as typed,
        pytest.raises(DoorCallError.EOVERFLOW),
    ):
        typed(7)


def _codec() -> object:
    from enfilade.transport.doors.codec import codec_for

    return codec_for(int)


DIES = {
    "exit": "os._exit(0)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("how", DIES)
def test_death_is_told_with_the_error(how: str, tmp_path: Path) -> None:
    """Who gets EINTR or EBADF from a server's death is told of it by the next question, at once."""
    program = f"""
def procedure(cookie, argp, size, dp, n):
    {DIES[how]}
serve(procedure)
signal.pause()
"""
    for number in range(4):
        path = tmp_path / f"{number}.door"
        peer = start(program, path)
        with Client.open(path) as client:
            with pytest.raises(DoorCallError.EINTR):
                client.call(b"")
            assert not client.info().is_alive
            with pytest.raises(DoorCallError.EBADF):
                client.call(b"")
        peer.wait()


def test_limit_of_requests_does_not_depend_on_cached_stacks() -> None:
    """A thread that is given a larger stack than it asked for takes no larger request."""

    def largest_accepted(door: Door) -> int:
        low, high = 1, 9_000_000
        with door.client() as client:
            while low < high:
                size = (low + high + 1) // 2
                try:
                    client.call(bytes(size)).close()
                    low = size
                except DoorCallError.E2BIG:
                    high = size - 1
        return low

    def echo(request: object) -> bytes:
        return b""

    with Door(echo, threads=1) as door:
        before = largest_accepted(door)
    idle = [threading.Thread(target=time.sleep, args=(0.05,)) for _ in range(4)]
    for thread in idle:
        thread.start()
    for thread in idle:
        thread.join()
    with Door(echo, threads=1) as door:
        assert largest_accepted(door) == before
    with Door(echo, threads=1, stack_size=2 * MEBIBYTE) as door:
        assert largest_accepted(door) == before
    with Door(echo) as door:
        assert abs(largest_accepted(door) - before) < 100  # less what a private door lays beside it


def test_threads_of_a_revoked_door_end() -> None:
    """A door's own threads, and their pool's descriptors, go with it."""
    with Door(lambda request: b"", threads=1) as door, door.client() as client:
        client.call(b"").close()
    assert within(10, lambda: threads() <= 64)
    before, held = threads(), descriptors()
    for _ in range(20):
        with Door(lambda request: b"", threads=8) as door, door.client() as client:
            client.call(b"").close()
    assert within(10, lambda: threads() <= before)
    assert within(10, lambda: descriptors() <= held + 4)


def test_threads_of_the_pool_end() -> None:
    """A flood of calls leaves no threads behind."""
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(request: object) -> bytes:
        entered.release()
        assert leave.wait(60)
        return b""

    with Door(slow) as door:
        before = threads()
        with door.client() as client:
            callers = [threading.Thread(target=client.call, args=(b"",)) for _ in range(40)]
            for caller in callers:
                caller.start()
            for _ in callers:
                assert entered.acquire(timeout=60)
            during = threads()
            leave.set()
            for caller in callers:
                caller.join()
        assert during >= before + 40
        assert within(30, lambda: threads() <= before + 2)


GREEDY = """
from enfilade.transport.doors import Client, Descriptor, DoorCallError
print("up", flush=True)
refused = accepted = 0
files = [Descriptor(os.open("/dev/null", os.O_RDONLY), owned=True) for _ in range(253)]
with Client.open(path) as client:
    for count in (253, 2, 253, 1000):
        try:
            client.call(b"x" * 100, (files * 4)[:count]).close()
            accepted += 1
        except DoorCallError.ENFILE:
            refused += 1
    for _ in range(500):
        client.call(os.environ["HELLO"].encode(), files[:1]).close()
print(accepted, refused, flush=True)
signal.pause()
"""


async def test_an_inlet_for_strangers_holds_few_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stranger sends is the victim's from the moment it arrives, so little of it may arrive."""
    from enfilade.transport.wire import PREFIX

    path = tmp_path / "rendezvous.door"
    monkeypatch.setenv("HELLO", PREFIX.decode("latin1") + "hello")
    carrier = DoorCarrier(mode=0o666)
    inlet = carrier.inlet(capacity=4 * 65536, largest=65536)
    inlet.limit_handles(1, 64)
    try:
        await inlet.attach(str(path))
        before, most = descriptors(), 0
        peer = start(GREEDY, path)
        assert peer.stdout is not None
        try:
            assert peer.stdout.readline() == "0 4\n"
            most = len(open_descriptors())  # without those that are about to be closed
            assert most <= before + 64 + 12  # and the connection
        finally:
            peer.kill()
            peer.wait()
        for arrival in inlet.take():
            for handle in arrival.handles:
                carrier.discard(handle)
        assert within(10, lambda: descriptors() <= before + 4)
    finally:
        inlet.close()


def has_hung_up(end: socket.socket) -> bool:
    poll = select.poll()
    poll.register(end, select.POLLRDHUP)
    return bool(poll.poll(0))


def test_datagrams_from_python_with_foreign_control_messages(tmp_path: Path) -> None:
    """Whoever may open a door can speak the protocol by hand, and set options that add descriptors."""
    magic, abi, attach, sequence = 0x524F4F44, 3, 2, 1
    pass_pidfd, shrink_seal = 76, 2
    path = tmp_path / "victim.door"
    with Door(lambda request: b"served") as door:
        door.install(path)
        with door.client() as client:
            client.call(b"").close()
            before = descriptors()
            for _ in range(50):
                with Client.open(path) as trunk:
                    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    memory = os.memfd_create("session", os.MFD_ALLOW_SEALING)
                    os.truncate(memory, 4096 + 2 * 65536)
                    _seal(memory, shrink_seal)
                    theirs.setsockopt(socket.SOL_SOCKET, pass_pidfd, 1)
                    header = struct.pack("<IHHQQIi32x", magic, abi, attach, 0, 0, 0, 0)
                    with socket.socket(fileno=os.dup(trunk.fileno())) as raw:
                        socket.send_fds(raw, [header], [theirs.fileno(), memory])
                    _, (way,), _, _ = socket.recv_fds(ours, 64, 1)  # of a server that has heard
                    with socket.socket(fileno=way) as out:
                        out.setsockopt(socket.SOL_SOCKET, pass_pidfd, 1)
                        for kind in (5, 6, 9, 11, 200):
                            for _ in range(20):
                                try:
                                    out.send(struct.pack("<IHHQQIi32x", magic, abi, kind, sequence, 0, 0, 0))
                                except OSError:
                                    break
                    assert within(10, lambda ours=ours: has_hung_up(ours))  # it was heard, and refused
                    for one in (ours, theirs):
                        one.close()
                    os.close(memory)
                assert client.call_with_data(b"") == b"served"
            assert within(10, lambda: descriptors() <= before + 4)


def _seal(fd: int, seals: int) -> None:
    import fcntl

    fcntl.fcntl(fd, 1033, seals)


def test_descriptors_of_a_late_reply_are_closed(tmp_path: Path) -> None:
    """A caller who gives up is left with none of the descriptors that come after all."""
    program = """
import time
def procedure(cookie, argp, size, dp, n):
    time.sleep(0.3)
    entries = ffi.new("door_desc_t[]", 200)
    for entry in entries:
        entry.d_attributes = DOOR_DESCRIPTOR
        entry.d_data.d_desc.d_descriptor = 1
    return door_return(NULL, 0, entries, 200)
serve(procedure)
signal.pause()
"""
    path = tmp_path / "late.door"
    peer = start(program, path)
    before_handler = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with Client.open(path) as client:
            before = descriptors()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(DoorCallError.EINTR):
                client.call_interruptible(b"")
            time.sleep(0.4)
            assert descriptors() <= before
            with client.call(b"") as reply:
                assert len(reply.descriptors) == 200
                assert all(isinstance(one, Descriptor) for one in reply.descriptors)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before_handler)
        peer.kill()
        peer.wait()
