"""Descriptors of every kind, in every place in which a peer may send one.

Whoever takes one in looks at it, and closes it. That waits for nobody, costs little, and does nothing with
what the descriptor leads to: nothing is read, written, accepted or moved.
"""

import builtins
import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from enfilade.actors import Node, open_node
from enfilade.transport import Policy, closing, memory_file
from enfilade.transport.carrier import CarrierError, Credentials
from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.doors import Client, Descriptor, Door, Result
from enfilade.transport.payload import _BYTES, _DESCRIPTOR, _MEMORY
from enfilade.transport.records import PayloadError
from tests.conformance.actors.town import Account
from tests.descriptors import open_descriptors
from tests.transport.hostile_files import KINDS, Lingering, SilentFileSystem, is_open, of_kind, within
from tests.transport.stranger import Stranger

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

SECONDS = 5
CALL, SEND, REPLY = 18, 16, 19


@pytest.fixture(params=list(KINDS))
def descriptor(request: pytest.FixtureRequest) -> Iterator[int]:
    """One of each kind; what it leads to must be as it was in the end."""
    try:
        number = of_kind(request.param)
    except OSError as error:
        pytest.skip(f"there is no {request.param} here: {error}")
    before = _state(number)
    yield number
    assert _state(number) == before
    os.close(number)


def _state(number: int) -> list[Any]:
    """What would be different if somebody had used it."""
    with select.epoll() as epoll:
        try:
            epoll.register(number, select.EPOLLIN | select.EPOLLOUT)
            found: list[Any] = [event & ~select.EPOLLOUT for _, event in epoll.poll(0)]
        except OSError:
            found = [None]
    with suppress(OSError):
        found.append(os.lseek(number, 0, os.SEEK_CUR))
    found.append(fcntl.fcntl(number, fcntl.F_GETFL))
    return found


@contextmanager
def at_once() -> Iterator[None]:
    """Whoever waits is interrupted, and the test fails."""

    def strike(*_: object) -> None:
        raise TimeoutError("it waits")

    previous = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_look_waits_for_nobody(descriptor: int) -> None:
    """All that is asked about a descriptor before anything is done with it."""
    with at_once():
        print_ = memory_file.fingerprint(descriptor)
        copy = os.dup(descriptor)
        assert memory_file.fingerprint(copy) == print_
        assert memory_file.weigh([descriptor]) >= 0
        assert memory_file.long_size(descriptor) == 0
        is_empty = memory_file.is_sealed(descriptor) and os.fstat(descriptor).st_size == 0
        for size in (1, 100, 1 << 40) if is_empty else (0, 1, 100, 1 << 40):
            with pytest.raises(PayloadError):
                memory_file.read(descriptor, size)
            with pytest.raises(PayloadError), memory_file.reading(descriptor, size):
                pass
        closing.charge([copy], Credentials(pid=77, uid=77, gid=77))
        closing.close(copy)
        assert within(SECONDS, lambda: not is_open(copy))


def test_it_is_no_door(descriptor: int) -> None:
    with at_once():
        copy = os.dup(descriptor)
        with pytest.raises(CarrierError, match="expected a door in the batch, got another descriptor"):
            DoorCarrier().outlet(copy)
        assert within(SECONDS, lambda: not is_open(copy))


def test_a_look_costs_the_same_however_many_locks_a_file_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc would list them all, and would wait for whoever uses an epoll."""
    locked, epoll = of_kind("locked"), of_kind("epoll")
    monkeypatch.setattr(builtins, "open", lambda *_, **__: pytest.fail("it is looked for in /proc"))
    assert memory_file.fingerprint(locked) != memory_file.fingerprint(epoll)
    monkeypatch.undo()
    os.close(locked)
    os.close(epoll)


def test_a_look_at_a_file_of_a_silent_file_system(tmp_path: Path) -> None:
    """What the kernel remembers of it is enough; fstat(2) would ask."""
    path = tmp_path / "silent"
    path.touch()
    try:
        system = SilentFileSystem(str(path))
    except OSError as error:
        pytest.skip(f"there is no file system in user space here: {error}")
    try:
        number = system.open(str(path))
        with at_once():
            before = memory_file.fingerprint(number)
            system.hush()
            for _ in range(12):  # for longer than the kernel believes what it was told
                assert memory_file.fingerprint(number) == before
                signal.sigtimedwait([], 0.1)
        closing.close(number)
    finally:
        system.end()
    assert within(20, closing.is_settled)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[tuple[Node, Node, Stranger]]:
    """A node with doors, a bystander that is connected, and a stranger that is, too."""
    path = str(tmp_path / "door")
    policy = Policy.same_user(exports="account")
    async with (
        open_node("b", zone="right", listen=path, policy=policy) as node,
        open_node("c", policy=policy) as bystander,
    ):
        await node.spawn(Account, 10, name="account")
        await bystander.connect(path)
        stranger = Stranger(DoorCarrier())
        await stranger.connect(path)
        yield node, bystander, stranger
        stranger.close()


async def check(bystander: Node) -> None:
    with trio.fail_after(SECONDS):
        assert await bystander.remote("account", "b@right").call(Account.give, 5) == 5


async def test_beside_a_payload(town: tuple[Node, Node, Stranger], descriptor: int) -> None:
    """As what a memory file should be, and as what an actor is to have: the message fails, or not, alone."""
    node, bystander, stranger = town
    await check(bystander)
    before = len(open_descriptors())
    pack = msgspec.msgpack.encode
    for code, value in (
        (_MEMORY, [0, 100]),
        (_MEMORY, [0, 0]),
        (_MEMORY, [0, 1 << 40]),
        (_BYTES, [0, 100]),
        (_BYTES, [0, 1 << 62]),
        (_DESCRIPTOR, 0),
    ):
        odd = msgspec.Raw(pack(msgspec.msgpack.Ext(code, pack(value))))
        for frame in ([SEND, "account", odd, 1], [CALL, 1, "account", "give", odd, 1]):
            with trio.fail_after(SECONDS):
                await stranger.throw(frame, handles=[descriptor])
    await check(bystander)
    with trio.fail_after(SECONDS):
        while len(open_descriptors()) > before + 8:  # noqa: ASYNC110 - two lines, both of whose ends are here
            await trio.sleep(0.01)
    assert node.peers


async def test_in_the_place_of_an_inlet(
    town: tuple[Node, Node, Stranger], tmp_path: Path, descriptor: int
) -> None:
    """A Hello brings it where it should bring a door: whoever says it is refused."""
    node, bystander, _ = town
    await check(bystander)
    other = Stranger(DoorCarrier(), "eve@wild")
    honest, other.inlet = other.inlet, _Handle(descriptor)
    with trio.move_on_after(0.2):
        await other.say_hello(str(tmp_path / "door"))
    await check(bystander)
    assert other.name not in node.peers
    honest.close()


class _Handle:
    """An inlet that is none."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    async def receive(self) -> Any:
        await trio.sleep_forever()


def test_in_a_call_of_a_door_and_in_its_reply(descriptor: int) -> None:
    with (
        Door(lambda request: Result(b"", [Descriptor(descriptor)])) as door,
        door.client() as client,
        at_once(),
    ):
        client.call(b"").close()
        client.call(b"x", [Descriptor(descriptor), Descriptor(descriptor)]).close()
        assert client.call(b"y").view.nbytes == 0


def test_a_socket_that_lingers_holds_no_thread_of_a_door() -> None:
    """A door with one thread goes on, although what its caller has sent can be closed by nobody."""
    stuck = [Lingering() for _ in range(3)]
    with Door(lambda request: b"served", threads=1) as door, door.client() as client:
        with at_once():
            for one in stuck:
                client.call(b"", [Descriptor(one.fileno, release=True)]).close()
            assert client.call(b"").data == b"served"
        assert not closing.is_settled()
        for one in stuck:
            one.let_go()
        assert within(20, closing.is_settled)


def test_a_socket_that_lingers_holds_no_caller() -> None:
    """Whoever closes a reply closes what has come with it, and goes on."""
    one = Lingering()
    given = [Descriptor(one.fileno, release=True)]
    with Door(lambda request: Result(b"", given)) as door, door.client() as client:
        with at_once():
            client.call(b"").close()
        assert not closing.is_settled()
        one.let_go()
        assert within(20, closing.is_settled)


def test_a_door_that_its_server_has_filled_holds_nobody() -> None:
    """The door itself is a socket: what its server has put there is closed with it."""
    one = Lingering()
    magic, abi, hello, number = 0x524F4F44, 3, 1, 5
    calling, serving = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    page = os.memfd_create("status", os.MFD_ALLOW_SEALING)
    os.write(page, struct.pack("<QIIQ", magic, abi, 0, number).ljust(4096, b"\0"))
    fcntl.fcntl(page, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    for file in (page, one.fileno):
        header = struct.pack("<IHHQQIi32x", magic, abi, hello, number, 0, 0, 0)
        socket.send_fds(serving, [header], [file])
        os.close(file)  # what was sent keeps it open
    with serving:
        client = Client(calling.detach())
        with at_once():
            client.close()
        assert client.closed
    one.let_go()
    assert within(20, closing.is_settled)
