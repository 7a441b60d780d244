"""The server of the page: on this machine alone, and for those who have the address that it prints."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

import trio

from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.entry import Entry
from enfilade.actors.cli.observe.web.files import page_files
from enfilade.actors.cli.observe.web.gate import HEADERS, Gate
from enfilade.actors.cli.observe.web.http import Answer, HttpConnection, Malformed, Request
from enfilade.actors.cli.observe.web.metrics import PageMetrics
from enfilade.actors.cli.observe.web.visit import Visit
from enfilade.actors.cli.observe.web.websocket import Broken, WebSocket
from enfilade.actors.cli.scrapes import PATH

__all__ = ["Server", "open_listeners"]

MOST_VISITS: Final = 8
MOST_CONNECTIONS: Final = 32
"""How many connections there may be with a WebSocket, and without."""

GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, Broken)
"""What ends a connection, and nothing else."""

STRANGER: Final = b"this page needs an address that is good once: press enter where `enfilade observe` runs\n"


class Server:
    """Serves the page on connections.

    Args:
        audience: the nodes that are looked at.
        port: the port by which browsers name the server.
        now: the clock, in seconds.

    Attributes:
        entry: opens sessions.
        metrics: answers those who ask for metrics.
    """

    def __init__(self, audience: Audience, port: int, now: Callable[[], float] = trio.current_time) -> None:
        self.entry = Entry(now)
        self.metrics = PageMetrics(audience, now)
        self._port = port
        self._gate = Gate(port)
        self._audience = audience
        self._files = page_files()
        self._visits = 0
        self._connections = 0

    def address(self) -> str:
        """A new address of the page, good once and for a minute."""
        return f"http://127.0.0.1:{self._port}/enter?once={self.entry.token()}"

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection, until it ends. A checkpoint."""
        async with stream:
            if self._connections >= MOST_CONNECTIONS:
                return
            self._connections += 1
            is_counted = True
            try:
                http = HttpConnection(stream)
                request = await self._serve_files(http)
                if request is not None:
                    self._connections -= 1
                    is_counted = False
                    await self._serve_page(stream, http, request)
            except* GONE:
                pass
            finally:
                self._connections -= is_counted

    async def _serve_files(self, http: HttpConnection) -> Request | None:
        """Answer requests, until one asks for the page's WebSocket, which is returned; None at the end."""
        try:
            while (request := await http.request()) is not None:
                answer = await self._answer(request)
                if answer is None:
                    return request
                if not await http.answer(answer):
                    break
        except Malformed as error:
            await http.answer(Answer(error.status, headers=HEADERS))
        return None

    async def _answer(self, request: Request) -> Answer | None:
        """The answer to a request; None for one that opens a WebSocket. A checkpoint, if it asks a node."""
        refusal = self._gate.refusal(request)
        if refusal is not None:
            return refusal
        if request.path == "/enter":
            return self._enter(request.query.get("once", ""))
        if not self.entry.knows(self._gate.session(request)):
            return Answer(403, STRANGER, headers=HEADERS)
        if request.path == "/link":
            return self._gate.refusal_of_link(request) or self._refusal_of_upgrade(request)
        if request.path == PATH:
            return await self.metrics.answer(request.header("accept") or "")
        return self._files.get(request.path) or Answer(404, headers=HEADERS)

    def _enter(self, token: str) -> Answer:
        if self.entry.is_barred:
            return Answer(429, headers=HEADERS)
        session = self.entry.open(token)
        return Answer(403, STRANGER, headers=HEADERS) if session is None else self._gate.welcome(session)

    def _refusal_of_upgrade(self, request: Request) -> Answer | None:
        if (request.header("upgrade") or "").lower() != "websocket" or request.method != "GET":
            return Answer(426, headers=(*HEADERS, ("upgrade", "websocket")))
        if self._visits >= MOST_VISITS:
            return Answer(503, headers=HEADERS)
        return None

    async def _serve_page(self, stream: trio.abc.Stream, http: HttpConnection, request: Request) -> None:
        self._visits += 1
        try:
            socket = WebSocket(stream, request, http.trailing)
            try:
                await socket.accept()
            except Malformed as error:
                await http.answer(Answer(error.status, headers=HEADERS))
                return
            await Visit(self._audience, socket).run()
        finally:
            self._visits -= 1


async def open_listeners(port: int) -> list[trio.SocketListener]:
    """Listen at one port of both loopback addresses; of the one that there is, if IPv6 is missing.

    Args:
        port: the port; 0 for one that is free.

    Raises:
        OSError: the port is taken, or may not be used.
    """
    for _ in range(20):
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        found = listeners[0].socket.getsockname()[1]
        try:
            return [*listeners, *await trio.open_tcp_listeners(found, host="::1")]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return listeners
            for listener in listeners:
                await listener.aclose()
            if port:
                raise
    raise OSError(errno.EADDRINUSE, "no port is free at both loopback addresses")
