"""The server of the page on streams in memory, and a browser's side of its protocols."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import h11
import trio
from trio.testing import memory_stream_pair
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from enfilade.actors import Node
from enfilade.actors.cli.observe.observed import RIGHTS, Connect, Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.server import Server
from enfilade.transport.policy import Rights
from tests.actors.cli.observe.recorded import nowhere
from tests.actors.cli.observe.shop import hall, shop

PORT = 4711
HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://{HOST}"


ALL = Rights(observe=True, inspect=True, trace=True, control=True)


class Hall:
    """The node that is shown.

    Attributes:
        node: the node, once it is there.
    """

    def __init__(self, rights: Rights = ALL, setup: Callable[[Node], Any] = hall) -> None:
        self.node: Any = None
        self._rights = rights
        self._setup = setup

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[Node, str]]:
        async with shop(self._rights) as (node, eye):
            await self._setup(node)
            self.node = node
            yield eye, "shop@east"

    @property
    def life(self) -> str:
        """The start of the node, as a page knows it."""
        return f"{self.node.incarnation:016x}"

    def till(self, number: int) -> Any:
        """The ref of a till."""
        return self.node.whereis(f"till {number:05}")


def watches(node: Any) -> int:
    """The number of watches that the node has."""
    return sum(1 for process in node.processes.values() if type(process.body.actor).__name__ == "Watch")


class Answered:
    """An answer, as a browser sees it."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.body = body


async def get(
    stream: trio.abc.Stream, target: str = "/", method: str = "GET", **headers: str | None
) -> Answered:
    """The answer to a request. A header that is None is left out."""
    fields = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    client = h11.Connection(h11.CLIENT)
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    client.send(h11.Request(method=method, target=target, headers=[("host", "for h11")]))
    client.send(h11.EndOfMessage())
    await stream.send_all(f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
    body = b""
    head: Any = None
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(bytes(await stream.receive_some(65_536)))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return Answered(head.status_code, list(head.headers), body)


class Link:
    """The page's side of its WebSocket.

    Attributes:
        status: that of the handshake.
        pings: how many have come; they are answered unless `is_mute`.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.status = 0
        self.pings = 0
        self.is_mute = False
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: deque[Event] = deque()
        self._text = ""

    async def open(self, cookie: str, *, origin: str | None = ORIGIN, host: str = HOST) -> Link:
        headers = [(b"cookie", cookie.encode())]
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        wish = Request(host=host, target="/link", extra_headers=headers)
        await self._stream.send_all(self._protocol.send(wish))
        event = await self._next()
        self.status = 101 if isinstance(event, AcceptConnection) else 0
        if isinstance(event, RejectConnection):
            self.status = event.status_code
        return self

    async def _next(self) -> Event:
        while not self._events:
            self._protocol.receive_data(bytes(await self._stream.receive_some(65_536)) or None)
            self._events.extend(self._protocol.events())
        return self._events.popleft()

    async def order(self, do: str, **fields: Any) -> None:
        """Send an order."""
        await self.send_text(json.dumps({"do": do, **fields}))

    async def send_text(self, text: str) -> None:
        await self.send(TextMessage(data=text))

    async def send(self, event: Event) -> None:
        """Send an event, unless the server has begun to close."""
        if self._protocol.state is not ConnectionState.OPEN:
            return
        with suppress(trio.BrokenResourceError):  # its farewell is still to be read
            await self._stream.send_all(self._protocol.send(event))

    async def take(self) -> dict[str, Any]:
        """The next message; a `CloseConnection` raises it."""
        while True:
            event = await self._next()
            match event:
                case TextMessage(data=data, message_finished=is_last):
                    self._text += data
                    if is_last:
                        text, self._text = self._text, ""
                        found: dict[str, Any] = json.loads(text)
                        return found
                case Ping():
                    self.pings += 1
                    if not self.is_mute:
                        await self.send(Pong(payload=event.payload))
                case CloseConnection():
                    raise Closed(event.code, event.reason)

    async def ack(self, update: dict[str, Any]) -> None:
        await self.order("ack", watch=update["watch"], number=update["number"])

    async def until(self, test: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first update whose state passes a test; all are acknowledged."""
        with trio.fail_after(600):
            while True:
                update = await self.take()
                await self.ack(update)
                if update.get("state") is not None and test(update["state"]):
                    return update

    async def close(self) -> None:
        await self._stream.aclose()


class Closed(Exception):
    """The server has closed the WebSocket: code and reason."""


class Served:
    """A server, and clients of it.

    Attributes:
        server: the server.
    """

    def __init__(self, nodes: list[Observed], nursery: trio.Nursery) -> None:
        self.server = Server(Audience([Sight(observed) for observed in nodes]), PORT)
        self._nursery = nursery

    def stream(self) -> trio.abc.Stream:
        """A connection to it."""
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self.server.serve, theirs)
        return ours

    async def cookie(self) -> str:
        """That of a new session."""
        answer = await get(self.stream(), f"/enter?once={self.server.entry.token()}")
        return answer.headers["set-cookie"].partition(";")[0]

    async def link(self) -> Link:
        """The WebSocket of a new session."""
        link = await Link(self.stream()).open(await self.cookie())
        assert link.status == 101
        return link


@asynccontextmanager
async def serving(
    *connects: Connect, allowed: tuple[str, ...] = RIGHTS, withheld: str = ""
) -> AsyncIterator[Served]:
    """A server of the page of some nodes."""
    nodes = [
        Observed("shop.door", connect, trio.current_time, allowed=allowed, withheld=withheld)
        for connect in connects
    ]
    async with trio.open_nursery() as nursery:
        for observed in nodes:
            nursery.start_soon(observed.run)
        yield Served(nodes, nursery)
        nursery.cancel_scope.cancel()


def serving_nothing() -> Any:
    """A server of a page that shows a node which cannot be connected to."""
    return serving(nowhere)
