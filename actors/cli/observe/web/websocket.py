"""A WebSocket on a connection whose request has been read: messages of text, each of limited length."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from enfilade.actors.cli.observe.web.http import Malformed, Request, send_within

__all__ = ["Broken", "WebSocket"]

MESSAGE_LIMIT: Final = 16 * 1024
"""Characters of a message from the client."""

PING_SECONDS: Final = 20.0
"""Seconds between two pings; a client that has not answered the last one is gone."""

RECEIVE: Final = 16 * 1024


class Broken(Exception):
    """The client has broken the protocol, and was told so."""


class WebSocket:
    """A WebSocket, after `accept`.

    Args:
        stream: what it goes over.
        request: the request that asks for it.
        trailing: what has come after the request.
    """

    def __init__(self, stream: trio.abc.Stream, request: Request, trailing: bytes) -> None:
        self._stream = stream
        self._request = request
        self._trailing = trailing
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._writing = trio.Lock()
        self._events: deque[Event] = deque()
        self._is_answered = True
        self._is_torn = False

    async def accept(self) -> None:
        """Accept it. A checkpoint.

        Raises:
            Malformed: the request does not ask for a WebSocket in a way that can be accepted.
            trio.TooSlowError: the client does not read.
        """
        fields = [(name.encode(), value.encode("latin-1")) for name, value in self._request.headers]
        try:
            self._protocol.initiate_upgrade_connection(fields, self._request.target)
            list(self._protocol.events())
            data = self._protocol.send(AcceptConnection())
        except (RemoteProtocolError, LocalProtocolError) as error:
            raise Malformed(400) from error
        await send_within(self._stream, data)
        if self._trailing:
            self._take(self._trailing)

    async def _send(self, event: Event) -> None:
        async with self._writing:
            if self._is_torn:
                raise trio.ClosedResourceError
            try:
                data = self._protocol.send(event)
            except LocalProtocolError as error:  # the client has begun to leave
                raise trio.ClosedResourceError from error
            self._is_torn = True  # a frame that was sent in part is followed by nothing
            await send_within(self._stream, data)
            self._is_torn = False

    async def send(self, text: str) -> None:
        """Send a message. A checkpoint.

        Raises:
            trio.TooSlowError: the client does not read.
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is lost.
        """
        await self._send(TextMessage(data=text))

    async def receive(self) -> str | None:
        """The next message; None when the client has left. A checkpoint.

        Raises:
            Broken: it has sent what is not a message of text, or one that is too long.
            trio.TooSlowError: it does not read.
            trio.BrokenResourceError: the connection is lost.
        """
        parts: list[str] = []
        length = 0
        while True:
            match await self._next():
                case TextMessage(data=text, message_finished=is_last):
                    parts.append(text)
                    length += len(text)
                    if length > MESSAGE_LIMIT:
                        await self._refuse(CloseReason.MESSAGE_TOO_BIG, "the message is too long")
                    if is_last:
                        return "".join(parts)
                case BytesMessage():
                    await self._refuse(CloseReason.UNSUPPORTED_DATA, "expected text")
                case Ping(payload=payload):
                    await self._send(Pong(payload=payload))
                case Pong():
                    self._is_answered = True
                case CloseConnection() as close:
                    await self._close(close)
                    return None

    async def _next(self) -> Event:
        while not self._events:
            self._take(bytes(await self._stream.receive_some(RECEIVE)))
        return self._events.popleft()

    def _take(self, data: bytes) -> None:
        self._protocol.receive_data(data or None)
        self._events.extend(self._each())

    def _each(self) -> Iterator[Event]:
        """The events of what has come, up to the end of the connection."""
        for event in self._protocol.events():
            yield event
            if isinstance(event, CloseConnection):
                return

    async def _close(self, close: CloseConnection) -> None:
        """Answer the client's farewell, or what breaks the protocol; where it has just gone, nobody hears."""
        try:
            await self._send(CloseConnection(code=close.code, reason=close.reason))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return

    async def _refuse(self, code: int, text: str) -> None:
        await self._send(CloseConnection(code=code, reason=text))
        raise Broken(text)

    async def refuse(self, text: str) -> None:
        """Tell the client that it has broken the protocol of its messages. A checkpoint.

        Raises:
            Broken: always.
        """
        await self._refuse(CloseReason.POLICY_VIOLATION, text)

    async def ping(self) -> None:
        """Ask the client for signs of life, until it gives none. A checkpoint.

        Raises:
            trio.TooSlowError: it gives none, or does not read.
            trio.BrokenResourceError: the connection is lost.
        """
        while self._is_answered:
            self._is_answered = False
            await self._send(Ping())
            await trio.sleep(PING_SECONDS)
        raise trio.TooSlowError
