"""Both ends of HTTP connections in memory: a peer that writes bytes, and a guest's halves without a guest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net import http1_client, http1_server
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.conversation import Conversation
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.listener import Listener, PutBack
from enfilade.hostcalls.net.memory_sockets import stream_pair
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.resources.futures import Future

DATE = b"date: Fri, 13 Feb 2009 23:31:30 GMT\r\n"
NOW = 1234567890.0


def settled(outcome: Any) -> Any:
    """The value of what must not have to wait."""
    if isinstance(outcome, Future):
        assert outcome.done, "expected an outcome at once"
        return outcome.result()
    return outcome


async def outcome(value: Any) -> Any:
    """The value, waited for if it is a future."""
    return await value.wait() if isinstance(value, Future) else value


class Peer:
    """The far end of a connection in memory."""

    def __init__(self, far: Any) -> None:
        self.far = far
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.far.send_all(data)

    async def finish(self) -> None:
        """Close the sending side."""
        await self.far.send_eof()

    async def close(self) -> None:
        await self.far.aclose()

    def reset(self) -> None:
        """Break the connection: what the near end reads or sends fails."""
        self.far.reset()

    async def until(self, end: bytes) -> bytes:
        """Everything up to `end`, inclusive."""
        while end not in self.buffer:
            data = await self._receive()
            assert data, f"the connection was closed after {self.buffer!r}"
            self.buffer += data
        taken, _, self.buffer = self.buffer.partition(end)
        return taken + end

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = await self._receive()
            assert data, f"the connection was closed after {self.buffer!r}"
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    async def rest(self) -> bytes:
        """Everything until the connection is closed."""
        while data := await self._receive():
            self.buffer += data
        taken, self.buffer = self.buffer, b""
        return taken

    async def _receive(self) -> bytes:
        with trio.fail_after(100):
            data: bytes = await self.far.receive_some()
            return data

    async def response(self) -> tuple[bytes, bytes]:
        """Head and body of a response with a length."""
        head = await self.until(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return head, await self.exactly(length)

    async def is_silent(self, seconds: float) -> bool:
        """True if nothing comes for so long."""
        with trio.move_on_after(seconds):
            return not (self.buffer or await self.far.receive_some())
        return True


class Server:
    """A listener in memory and the connections that peers make to it."""

    def __init__(self, nursery: trio.Nursery, domain: str, limits: Limits, settings: NetworkSettings) -> None:
        self.nursery = nursery
        self.account = Account(limits)
        self.settings = settings
        self.listener = Listener(domain, self.account, places=128, noun="request")

    async def connect(
        self, serve: Callable[..., Any] = http1_server.serve, pair: Any = stream_pair, **options: Any
    ) -> Peer:
        near, far = pair()
        options.setdefault("unix_time", lambda: NOW)

        async def run() -> None:
            await serve(near, "192.0.2.7:1234", self.listener, self.settings, **options)

        self.nursery.start_soon(run)
        return Peer(far)

    def begin_accept(self, account: Account | None = None) -> Any:
        """An accept of a guest: the connection, or a future of it."""
        account = account or self.account

        def take(connection: Connection, _: PutBack) -> Connection:
            connection.reader.charge.move(account)
            connection.writer.charge.move(account)
            return connection

        return self.listener.accept(account, take)

    async def accept(self) -> Connection:
        with trio.fail_after(10):
            accepted: Connection = await outcome(self.begin_accept())
        return accepted

    async def accepts_nothing(self) -> bool:
        """True if no request is there."""
        accept = self.begin_accept()
        if not isinstance(accept, Future):
            return False
        await trio.testing.wait_all_tasks_blocked()
        if accept.done:
            return False
        accept.cancel()
        return True


@asynccontextmanager
async def open_server(
    domain: str = "localhost",
    limits: Limits | None = None,
    settings: NetworkSettings | None = None,
) -> AsyncIterator[Server]:
    """A server whose connections are closed at the end of the block; nothing is held for its guest then."""
    async with trio.open_nursery() as nursery:
        server = Server(nursery, domain, limits or Limits(), settings or NetworkSettings())
        yield server
        nursery.cancel_scope.cancel()


class Browser:
    """A guest's outbound connection in memory, and the server at its far end."""

    def __init__(self, conversation: Conversation, peer: Peer, account: Account) -> None:
        self.conversation = conversation
        self.reader = conversation.connection.reader
        self.writer = conversation.connection.writer
        self.peer = peer
        self.account = account
        self.is_over = trio.Event()


@asynccontextmanager
async def open_client(
    domain: str = "localhost",
    port: int = 8080,
    limits: Limits | None = None,
    settings: NetworkSettings | None = None,
    converse: Callable[..., Any] = http1_client.converse,
    pair: Any = stream_pair,
    *,
    secure: bool = False,
) -> AsyncIterator[Browser]:
    """A connection that is closed at the end of the block."""
    account = Account(limits or Limits())
    near, far = pair()
    conversation = Conversation(domain, port, account, secure=secure)
    browser = Browser(conversation, Peer(far), account)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await converse(near, conversation, settings or NetworkSettings())
            browser.is_over.set()

        nursery.start_soon(run)
        yield browser
        nursery.cancel_scope.cancel()


async def read_all(reader: Any, size: int = 65536) -> bytes:
    """Everything up to the first empty read."""
    text = b""
    while part := await outcome(reader.read(size)):
        text += part
    return text
