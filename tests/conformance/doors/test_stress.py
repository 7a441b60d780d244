"""7.19: many at a time, and some of them killed."""

import contextlib
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.transport.doors import Client, Door, DoorCallError, DoorOpenError, NotADoor
from enfilade.transport.doors.api import (
    DOOR_DESCRIPTOR,
    DOOR_RELEASE,
    NULL,
    door_call,
    door_create,
    door_open,
    door_return,
    door_revoke,
    fattach,
    ffi,
)
from tests.conformance.doors.backend import figures
from tests.conformance.doors.peer import ROOT, Link, Peer
from tests.conformance.doors.verbatim import Arguments, CData, call, echo, outcome, text

CLIENTS = 32
CALLS = 1000
SIZES = (0, 1, 8, 63, 64, 500, 4096, 5000, 20_000, 70_000)


def digest_server(link: Link, path: str) -> None:
    """Answers with a digest of the request, and as much data as that; tells its figures when it is asked."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        data = text(argp, arg_size)
        answer = hashlib.blake2b(data, digest_size=16).digest() + data
        return door_return(answer, len(answer), NULL, 0)

    Path(path).touch()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    while link.hear() is not None:
        link.say(figures())


def converse(path: str, seed: int, calls: int) -> bool:
    """Calls of all sizes, each answer checked."""
    choose = random.Random(seed)
    door = door_open(path)
    for _ in range(calls):
        data = choose.randbytes(choose.choice(SIZES))
        with Arguments(data, rsize=choose.choice((0, 100, 8192))).call(door) as arguments:
            if arguments.data != hashlib.blake2b(data, digest_size=16).digest() + data:
                return False
    os.close(door)
    return True


def crowd(link: Link, path: str, clients: int, calls: int) -> None:
    """Forks clients, and says how many of them got nothing but right answers."""
    children = []
    for seed in range(clients):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = 0 if converse(path, seed, calls) else 1
            finally:
                os._exit(status)
        children.append(pid)
    link.say(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in children))


def steady(peer: Peer, patience: float = 60) -> list[int]:
    """The server's figures, once they have stopped falling."""
    deadline = time.monotonic() + patience
    now: list[int] = peer.ask("figures")
    alike = 0
    while alike < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
        before, now = now, peer.ask("figures")
        alike = alike + 1 if now == before else 0
    return now


def assert_nothing_kept(peer: Peer, before: list[int], clients: int, patience: float = 60) -> None:
    """Wait until a server that has served so many `clients` more, `clients` of them at once at most, has
    nothing left of them: fewer descriptors and mappings than one for every second of them.

    Threads stay, as many as were ever busy at once: those in a call, and those that have replied and not yet
    parked while their client calls again. A thread has a stack, its guard, and an arena of the allocator.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptors, threads, mappings = (
            now - old for now, old in zip(peer.ask("figures"), before, strict=True)
        )
        growth = f"{descriptors} descriptors, {threads} threads, {mappings} mappings more"
        few = clients // 2 - 1
        if descriptors <= few and threads <= 2 * clients and mappings <= 4 * max(threads, 0) + few:
            return
        assert time.monotonic() < deadline, growth
        time.sleep(0.05)


def test_door_t1_many_clients(tmp_path: Path) -> None:
    """32 processes make 1000 calls each; every answer is right, and the server keeps no descriptor or mapping
    of theirs.
    """
    path = str(tmp_path / "t1.door")
    with Peer(digest_server, path) as server:
        assert server.hear() == "ready"
        with Peer(crowd, path, CLIENTS, 20) as first:
            assert first.hear(200) == CLIENTS
        before = steady(server)
        with Peer(crowd, path, CLIENTS, CALLS) as clients:
            assert clients.hear(200) == CLIENTS
        assert_nothing_kept(server, before, CLIENTS)


def doomed(link: Link, path: str) -> None:
    """Calls for ever, in several threads."""
    door = door_open(path)

    def run(seed: int) -> None:
        choose = random.Random(seed)
        while True:
            outcome(lambda: call(door, choose.randbytes(choose.choice(SIZES))))

    for seed in range(3):
        threading.Thread(target=run, args=(seed,), daemon=True).start()
    link.say("calling")
    link.hear()


def test_door_t2_clients_killed(tmp_path: Path) -> None:
    """Clients are killed in the middle of calls, again and again; the server serves on and leaks nothing."""
    path = str(tmp_path / "t2.door")
    choose = random.Random(2)
    with Peer(digest_server, path) as server:
        assert server.hear() == "ready"

        def kill_clients(rounds: int) -> None:
            for _ in range(rounds):
                victims = [Peer(doomed, path) for _ in range(2)]
                for victim in victims:
                    assert victim.hear() == "calling"
                time.sleep(choose.random() * 0.1)
                for victim in victims:
                    victim.kill()
                    victim.close()

        kill_clients(2)
        assert converse(path, 1, 20)
        before = steady(server)
        kill_clients(8)
        assert converse(path, 2, 100)
        assert_nothing_kept(server, before, 16)


def mortal_server(link: Link, path: str) -> None:
    """Takes the name, and serves until it is killed."""
    door = Door(lambda request: request.data)
    door.force_install(path)
    link.say("ready")
    link.hear()


def test_door_t3_servers_killed(tmp_path: Path) -> None:
    """Servers are killed and replaced; clients see EINTR and EBADF and nothing else, and recover by opening
    again.
    """
    path = tmp_path / "t3.door"
    stop = threading.Event()
    seen: set[str] = set()
    served = [0, 0, 0]

    def run(number: int) -> None:
        client: Client | None = None
        while not stop.is_set():
            try:
                client = client or Client.open(path)
                assert client.call_with_data(b"payload %d" % number) == b"payload %d" % number
                served[number] += 1
            except DoorCallError as error:
                seen.add(type(error).__name__)
                if client is not None:
                    client.close()
                client = None
            except (NotADoor, DoorOpenError.ENOENT):
                client = None  # before the first server, or on illumos between two
        if client is not None:
            client.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    server = Peer(mortal_server, str(path))
    assert server.hear() == "ready"
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            time.sleep(0.05)
            server.kill()
            server.close()
            served[:] = [0, 0, 0]
            server = Peer(mortal_server, str(path))
            assert server.hear() == "ready"
            deadline = time.monotonic() + 60
            while not all(served) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert all(served), "a client has not found the new server"
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        server.close()
    assert seen <= {"EINTR", "EBADF"}


def test_door_t4_one_descriptor_many_threads(tmp_path: Path) -> None:
    """64 threads share one descriptor of another process's door, and each gets its own answers."""
    path = str(tmp_path / "t4.door")
    with Peer(digest_server, path) as server:
        assert server.hear() == "ready"
        door = door_open(path)
        wrong: list[object] = []

        def run(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(50):
                data = choose.randbytes(choose.choice(SIZES))
                answer = outcome(lambda data=data: call(door, data))
                if answer != hashlib.blake2b(data, digest_size=16).digest() + data:
                    wrong.append(answer)

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong
        os.close(door)


class Passing:
    """A door that counts what it is passed, and returns some of it."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.door = door_create(self.procedure, None, 0)

    def procedure(self, cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        self.received = [os.fstat(entry.d_data.d_desc.d_descriptor).st_ino for entry in dp[0:n_desc]]
        for entry in dp[0:n_desc]:
            entry.d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE
        return door_return(NULL, 0, dp, n_desc)


@pytest.fixture(scope="module")
def passing() -> Passing:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(8192, hard)), hard))
    return Passing()


@settings(max_examples=40)
@given(
    count=st.one_of(st.integers(0, 6), st.sampled_from([252, 253, 254, 506, 507, 1024])),
    released=st.integers(0, 2**16 - 1),
    room=st.sampled_from([0, 100, 40_000]),
)
def test_door_t5_descriptors_against_a_model(passing: Passing, count: int, released: int, room: int) -> None:
    """Any number of descriptors, some released: order and identity are kept, those released are closed,
    others open.
    """
    pipes = [os.pipe() for _ in range(min(count, 8))]
    fds = [os.dup(pipes[number % len(pipes)][0]) for number in range(count)]
    inodes = [os.fstat(fd).st_ino for fd in fds]
    releases = [bool(released >> (number % 16) & 1) for number in range(count)]
    entries = [
        (fd, DOOR_DESCRIPTOR | (DOOR_RELEASE if release else 0))
        for fd, release in zip(fds, releases, strict=True)
    ]
    with Arguments(b"", entries, rsize=room) as arguments:
        arguments.call(passing.door)
        assert passing.received == inodes
        assert [os.fstat(fd).st_ino for fd in arguments.fds] == inodes
        assert arguments.moved == (24 * count > room)
        kept = [fd for fd, release in zip(fds, releases, strict=True) if not release]
        # A number that was closed may be another's by now; so what is open of each pipe is counted.
        expected = Counter(os.fstat(fd).st_ino for fd in (*itertools.chain(*pipes), *kept, *arguments.fds))
        deadline = time.monotonic() + 60
        while (found := open_pipes(set(expected))) != expected and time.monotonic() < deadline:
            time.sleep(0.01)  # the server thread may be just about to close what it has returned
        assert found == expected
        for fd in kept:
            os.close(fd)
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def open_pipes(inodes: set[int]) -> Counter[int]:
    """How many descriptors this process has of each of these pipes."""
    found: Counter[int] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # another thread has closed it, or it was the directory's
            found[os.fstat(int(number)).st_ino] += 1
    return Counter({inode: count for inode, count in found.items() if inode in inodes})


EXITS = {
    "at the end": "",
    "by sys.exit": "sys.exit(7)",
    "by an exception": "raise SystemExit(7)",
}

EXITING = """
import sys, threading
from enfilade.transport.doors import Door
from enfilade.transport.doors.api import door_create, door_return, NULL

path, style = sys.argv[1], sys.argv[2]
entered = threading.Semaphore(0)

def procedure(request):
    entered.release()
    if style == "waiting":
        threading.Event().wait()
    while True:
        sum(range(1000))

door = Door(procedure)
door.force_install(path)
print("ready", flush=True)
for _ in range(3):
    entered.acquire()
"""


@pytest.mark.parametrize("style", ["waiting", "computing"])
@pytest.mark.parametrize("farewell", EXITS)
def test_door_t7_interpreter_ends_with_active_procedures(tmp_path: Path, style: str, farewell: str) -> None:
    """An interpreter that ends while procedures run neither crashes nor hangs; their clients get EINTR."""
    path = str(tmp_path / "t7.door")
    program = EXITING + EXITS[farewell]
    server = subprocess.Popen(
        [sys.executable, "-c", program, path, style],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        door = door_open(path)
        results: list[object] = []
        threads = [
            threading.Thread(target=lambda: results.append(outcome(lambda: call(door, b"x"))))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        _, errors = server.communicate(timeout=60)
        assert server.returncode == (7 if EXITS[farewell] else 0), errors
        assert "Fatal" not in errors
        for thread in threads:
            thread.join(60)
        assert results == ["EINTR"] * 3
        os.close(door)
    finally:
        server.kill()
        server.communicate()


def test_calls_while_the_interpreter_ends(tmp_path: Path) -> None:
    """Clients that keep calling a server that ends see EINTR and EBADF, and it ends at once."""
    path = str(tmp_path / "ending.door")
    program = (
        "import sys\n"
        "from enfilade.transport.doors import Door\n"
        "door = Door(lambda request: request.data)\n"
        "door.force_install(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        door = door_open(path)
        results: set[str] = set()
        answered = threading.Semaphore(0)

        def run() -> None:
            while (result := outcome(lambda: call(door, b"x"))) != "EBADF":
                results.add(str(result))
                answered.release()
            results.add("EBADF")

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(100):
                assert answered.acquire(timeout=60)
            server.stdin.close()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
            assert server.wait(60) == 0
        finally:
            server.kill()
        assert {"b'x'", "EBADF"} <= results <= {"b'x'", "EINTR", "EBADF"}
        os.close(door)


def test_signals_and_many_calls() -> None:
    """A storm of signals in a process that calls: every call ends well or says that it was interrupted."""
    door = door_create(echo, None, 0)
    handled = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.0005)

    thread = threading.Thread(target=storm)
    thread.start()
    results: dict[object, int] = {}
    for number in itertools.count():
        if number >= 3000 and handled:
            break
        data = b"%d" % number
        result = outcome(lambda data=data: call(door, data) == data)
        results[result] = results.get(result, 0) + 1
    stop.set()
    thread.join()
    signal.signal(signal.SIGUSR1, previous)
    assert set(results) <= {True, "EINTR", "EAGAIN"}
    assert door_call(door, ffi.new("door_arg_t *")) == 0
    door_revoke(door)
