"""A connection to real servers, and to some that are none."""

import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.transport.mesh.connection import USER, Connection, NoResponders
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.settings import MeshError, Server
from tests.transport.mesh.servers import NatsServer, needs_server, running

pytestmark = pytest.mark.real

PATIENCE = 60
"""Seconds for what takes a moment on a machine that is not overloaded."""


class Notes:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.ready = 0
        self.made = 0
        self.missed: list[list[str]] = []
        self.lost: list[str] = []
        self.resumed = 0
        self.changed = trio.Event()

    def connection_made(self) -> None:
        self.made += 1

    def servers_missed(self, tried: Sequence[str]) -> None:
        self.missed.append(list(tried))
        self._note()

    def connection_ready(self) -> None:
        self.ready += 1
        self._note()

    def connection_lost(self, server: Server, why: str) -> None:
        self.lost.append(why)
        self._note()

    def connection_resumed(self, server: Server, seconds: float) -> None:
        self.resumed += 1

    def messages_read(self) -> None:
        return

    def _note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await self.changed.wait()


@asynccontextmanager
async def connected(
    servers: list[Server], name: str = "a", **options: Any
) -> AsyncIterator[tuple[Connection, Notes]]:
    """A connection that is up, for the length of a block."""
    notes = Notes()
    connection = Connection(
        servers,
        name=name,
        inbox=f"inbox.{name}",
        watcher=notes,
        entropy=os.urandom,
        random=random.random,
        **options,
    )
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            await nursery.start(connection.run)
        yield connection, notes
        nursery.cancel_scope.cancel()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running(tmp_path) as (server,):
        yield server


class Heard:
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._came = trio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._came.set()

    async def until(self, count: int) -> list[Message]:
        with trio.fail_after(PATIENCE):
            while len(self.messages) < count:
                self._came = trio.Event()
                await self._came.wait()
        return self.messages


@pytest.mark.parametrize(("nodes", "pause"), [(1, 0.001), (3, 0.003), (1000, 0.05)])
async def test_few_nodes_need_not_wait_for_one_another(
    nodes: int, pause: float, autojump_clock: object
) -> None:
    """The pause before the next server grows with the number of nodes, and has an end."""
    dialled: list[float] = []

    async def dial(server: Server) -> Any:
        dialled.append(trio.current_time())
        raise OSError("there is nobody")

    connection = Connection(
        [Server("one"), Server("two")],
        name="a",
        inbox="inbox.a",
        watcher=Notes(),
        entropy=os.urandom,
        random=lambda: 1.0,
        dial=dial,
    )
    connection.nodes = lambda: nodes
    began = trio.current_time()
    with trio.move_on_after(0.12):
        await connection._begin_again()
    assert [at - began for at in dialled[:2]] == pytest.approx([pause, 2 * pause])


@needs_server
async def test_publish_and_subscribe(server: NatsServer) -> None:
    heard = Heard()
    async with connected([server.server], "a") as (a, _), connected([server.server], "b") as (b, _):
        number = b.subscribe("x.*", heard)
        await _synchronised(b)
        for size in (0, 1, 1000, 200_000):
            assert a.publish(f"x.{size}", b"y" * size, "back")
        messages = await heard.until(4)
        assert [len(message.payload) for message in messages] == [0, 1, 1000, 200_000]
        assert (messages[0].subject, messages[0].reply) == ("x.0", "back")
        b.unsubscribe(number)
        b.unsubscribe(number)
        await _synchronised(b)
        a.publish("x.1", b"late")
        await _synchronised(a)
        await _synchronised(b)
        assert len(messages) == 4


async def _synchronised(connection: Connection) -> None:
    """Wait until the server has carried out what was published: it answers a request after that."""
    with trio.fail_after(PATIENCE), pytest.raises(NoResponders):
        await connection.request("nobody.hears", b"")


@needs_server
async def test_requests(server: NatsServer) -> None:
    async with connected([server.server], "a") as (a, _), connected([server.server], "b") as (b, _):
        b.subscribe("twice", lambda message: b.publish(message.reply, 2 * message.payload) and None)
        await _synchronised(b)
        with trio.fail_after(PATIENCE):
            assert (await a.request("twice", b"x")).payload == b"xx"
            with pytest.raises(NoResponders):
                await a.request("thrice", b"x")
        assert not a._answers


@needs_server
async def test_much_that_is_published_at_once_arrives(server: NatsServer) -> None:
    """More than any socket takes: the rest follows, and whoever asks is told to wait meanwhile."""
    heard = Heard()
    async with connected([server.server], "a") as (a, notes), connected([server.server], "b") as (b, _):
        b.subscribe("x", heard)
        await _synchronised(b)
        for number in range(200):
            a.publish("x", number.to_bytes(4, "big") + bytes(100_000))
        assert a.unsent > 0
        assert not a.is_ready
        messages = await heard.until(200)
        assert [int.from_bytes(message.payload[:4], "big") for message in messages] == list(range(200))
        await notes.until(lambda: notes.ready == 2)
        assert a.is_ready


@needs_server
async def test_another_server_takes_the_place_of_one_that_is_killed(tmp_path: Path) -> None:
    heard = Heard()
    async with running(tmp_path, 2) as servers:
        addresses = [server.server for server in servers]
        async with connected(addresses, "a") as (a, notes), connected(addresses[1:], "b") as (b, _):
            a.subscribe("x", heard)
            servers[0].kill()
            await notes.until(lambda: notes.resumed == 1 and a.is_ready)
            assert a.server == addresses[1]
            assert len(notes.lost) == 1
            assert a.reconnects == 1
            await _synchronised(a)
            b.publish("x", b"1")
            assert (await heard.until(1))[0].payload == b"1"


@needs_server
async def test_a_server_that_comes_back_is_found_again(server: NatsServer) -> None:
    async with connected([server.server]) as (connection, notes):
        server.kill()
        await notes.until(lambda: len(notes.lost) == 1)
        assert not connection.is_up
        assert not connection.publish("x", b"")
        await trio.sleep(0.05)
        assert connection.down_for > 0
        await server.start()
        await notes.until(lambda: connection.is_ready)
        assert connection.down_for == 0
        await _synchronised(connection)


@needs_server
async def test_a_server_that_is_stopped_is_left(tmp_path: Path) -> None:
    async with running(tmp_path, 2) as servers:
        addresses = [server.server for server in servers]
        async with connected(addresses) as (connection, notes):
            servers[0].signal(signal.SIGSTOP)
            await notes.until(lambda: notes.resumed == 1)
            servers[0].signal(signal.SIGCONT)
            assert notes.lost == ["it said nothing for 2 s"]
            assert connection.server == addresses[1]


@needs_server
async def test_a_token_that_is_not_the_right_one_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, 1, "--user", USER, "--pass", "secret") as (server,):
        async with connected([server.server], token="secret") as (connection, _):
            assert "secret" not in repr(connection)
        with pytest.RaisesGroup(pytest.RaisesExc(MeshError, match="refuses this client: Authorization")):
            async with connected([server.server], token="wrong"):
                pytest.fail("it was let in")


async def test_mesh_5_without_a_server_the_error_says_what_was_tried() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(MeshError, match=r"no server .* tried 127\.0\.0\.1:1: ")):
        async with connected([Server("127.0.0.1", 1)]):
            pytest.fail("nobody listens there")


GOOD = b'INFO {"version":"2.12.0","max_payload":1048576,"headers":true}\r\n'


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "expected a line of a NATS server"),
        (b"PING\r\n", "must introduce itself first"),
        (b'INFO {"version":"2.9.1"}\r\n', "of version 2.12 or later, got '2.9.1'"),
        (b'INFO {"version":"new"}\r\n', "got 'new'"),
        (b'INFO {"version":"2.12.0","max_payload":1000}\r\n', "max_payload must be 262144 or more, got 1000"),
        (b'INFO {"version":"2.12.0","max_payload":1048576}\r\n', "messages with headers"),
        (GOOD.replace(b"}", b',"tls_required":true}'), "asks for TLS"),
        (b"INFO " + b"x" * 70_000, "a line of at most 65536 bytes"),
        (b"", "it closed the connection"),
        (GOOD + b"-ERR 'Authorization Violation'\r\n", "refuses this client: Authorization Violation"),
    ],
    ids=range(10),
)
async def test_mesh_123_what_is_no_server_is_left(said: bytes, fault: str, nursery: trio.Nursery) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            with trio.move_on_after(PATIENCE):
                await stream.send_all(said)
                if said:
                    async for _ in stream:
                        pass

    server = await _listening(nursery, answer)
    with pytest.RaisesGroup(pytest.RaisesExc(MeshError, match=fault)):
        async with connected([server]):
            pytest.fail("it was taken for a server")


async def _listening(nursery: trio.Nursery, answer: Callable[[trio.SocketStream], Any]) -> Server:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, listeners)
    return Server("127.0.0.1", listeners[0].socket.getsockname()[1])
