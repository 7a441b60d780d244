"""Descriptors whose closing waits for others: sockets that linger, files of a file system that is silent."""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import open_node
from enfilade.transport import Policy, closing, memory_file
from enfilade.transport.carrier import Status
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.wire import Send, encode_batch, encode_frame
from tests.conformance.actors.town import Account
from tests.transport.stranger import Stranger, payload

pytestmark = [pytest.mark.serial, pytest.mark.timeout(120)]

LINGER_SECONDS = 30


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


class Lingering:
    """A socket whose closing takes until the other end reads what was sent, or is gone."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            self.far, _ = server.accept()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
        near.setblocking(False)
        try:
            while True:
                near.send(bytes(65536))
        except BlockingIOError:
            self.fileno = near.detach()

    def let_go(self) -> None:
        self.far.close()


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    """Nothing is left to be closed when a test has ended: this is set up first, and looks last."""
    yield
    assert within(20, closing.is_settled)


@pytest.fixture
def lingering(settled: None) -> Iterator[Lingering]:
    one = Lingering()
    try:
        yield one
    finally:
        one.let_go()


class Mute:
    """A file that stands for one in a file system in user space that does not answer when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.answers = threading.Event()
        self.close = os.close
        self._inode = path.stat().st_ino

    def open(self) -> int:
        return os.open(self.path, os.O_RDONLY)

    def wait_and_close(self, number: int) -> None:
        if os.fstat(number).st_ino == self._inode:
            assert threading.current_thread() is not threading.main_thread(), "the loop would wait"
            self.answers.wait()
        self.close(number)


@pytest.fixture
def mute(settled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mute]:
    mute = Mute(tmp_path / "mute")
    monkeypatch.setattr(os, "close", mute.wait_and_close)
    try:
        yield mute
    finally:
        mute.answers.set()


def test_a_socket_that_lingers_holds_nobody(lingering: Lingering) -> None:
    """The close returns, the descriptor is closed when its other end lets it be."""
    closing.close(lingering.fileno)
    assert not closing.is_settled()  # and yet we are here
    lingering.let_go()
    assert within(20, closing.is_settled)
    assert not is_open(lingering.fileno)


def test_a_memory_file_is_closed_at_once() -> None:
    """It asks nobody, so it takes no thread."""
    memory = memory_file.create(bytes(100))
    closing.close(memory)
    assert not is_open(memory)


def test_one_that_waits_does_not_hold_up_the_next(mute: Mute) -> None:
    """Each descriptor has a thread of its own as long as there are some."""
    for _ in range(closing.MOST_THREADS - 1):
        closing.close(mute.open())
    quick = os.dup(0)
    closing.close(quick)
    assert within(20, lambda: not is_open(quick))
    assert not closing.is_settled()


def test_threads_are_bounded_and_end(mute: Mute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "IDLE_SECONDS", 0.05)
    assert within(20, lambda: not closing._threads)
    before = len(os.listdir("/proc/self/task"))
    for _ in range(3 * closing.MOST_THREADS):
        closing.close(mute.open())
    assert len(os.listdir("/proc/self/task")) <= before + closing.MOST_THREADS
    mute.answers.set()
    assert within(20, closing.is_settled)
    assert within(20, lambda: len(os.listdir("/proc/self/task")) <= before)


async def test_peers_are_served_while_descriptors_cannot_be_closed(
    lingering: Lingering, mute: Mute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admitted peer sends what nobody can close: others go on, and at the bound it loses its node link."""
    monkeypatch.setattr(closing, "MOST_UNCLOSED", 4)
    network = MemoryNetwork()
    policy = Policy.same_user(exports="account")
    async with (
        open_node("b", zone="right", carrier=network.carrier("b"), listen="/b", policy=policy) as node,
        open_node("c", carrier=network.carrier("c"), policy=Policy.same_user()) as bystander,
    ):
        await node.spawn(Account, 10, name="account")
        await bystander.connect("/b")
        account = bystander.remote("account", "b@right")
        mallory = Stranger(network.carrier("mallory"))
        await mallory.connect("/b")
        sends = Send("nobody", payload(None), 1)
        batch = encode_batch(0, 0, [encode_frame(sends)])
        assert mallory.outlet.start(batch, [lingering.fileno]) is Status.ACCEPTED
        os.close(lingering.fileno)  # before anybody else has a turn: the node has the last one
        mallory.sequence += 1
        file = mute.open()
        for number in range(3):
            await mallory.throw(sends, handles=[file])
            with trio.fail_after(20):
                assert await account.call(Account.give, number) == number
        assert closing.is_behind()
        await mallory.throw(sends, handles=[file])
        mute.close(file)
        assert mallory.is_cut_off
        with trio.fail_after(20):
            assert len(await account.call(Account.give, bytes(200_000))) == 200_000  # a memory file goes on
        late = Stranger(network.carrier("late"), "late@wild")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(late.connect, "/b")
            await trio.sleep(0.2)
            assert "late@wild" not in node.peers  # each caller brings a descriptor, so it waits
            mute.answers.set()
            lingering.let_go()
        await wait_all_tasks_blocked()
        assert "late@wild" in node.peers
        for stranger in (mallory, late):
            stranger.close()


def test_a_forked_child_has_threads_of_its_own() -> None:
    closing.close(os.dup(0))
    assert within(20, closing.is_settled)
    pid = os.fork()
    if pid == 0:
        try:
            file = os.dup(0)
            closing.close(file)
            os._exit(0 if within(20, lambda: not is_open(file)) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
