"""The bytes that the peer of an HTTP/1.1 connection sends, cut into heads and bodies.

h11 parses heads and bodies, a new one for each message. Everything that it is lenient in is checked before
or after it: the size of heads, continued lines, two lengths, versions.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import h11
import trio

from enfilade.hostcalls.net.account import Charge
from enfilade.hostcalls.net.message import Headers
from enfilade.hostcalls.net.stint import Stint

READ = 16 * 1024
"""Bytes to read at one time, and to read ahead while a guest works on a request."""

VERSIONS = (b"1.0", b"1.1")
"""Versions that are understood."""

CONTINUED = re.compile(rb"\n[ \t]")
"""A header line that goes on in the next one, which h11 would join (RFC 9112 5.2 forbids it)."""

_HEAD_END = re.compile(rb"\n\r?\n")


class HeadTooLarge(Exception):
    """The head has no end within the limit."""


class BodyTooLarge(Exception):
    """The body is larger than it may be."""


class PeerFinished(Exception):
    """The peer has closed its sending side."""


class Input:
    """The bytes that a peer sends, a buffer of at most `READ` bytes more than were asked for."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.buffer = bytearray()
        self.at_end = False

    async def more(self) -> None:
        """Read once; nothing happens at the end. Cancelled, it has read nothing. A checkpoint."""
        data = await self._stream.receive_some(READ)
        if data:
            self.buffer += data
        else:
            self.at_end = True

    async def first_byte(self) -> bool:
        """Wait for a message. False if the peer closes before one. Empty lines in front are skipped."""
        while True:
            del self.buffer[: len(self.buffer) - len(self.buffer.lstrip(b"\r\n"))]
            if self.buffer or self.at_end:
                return bool(self.buffer)
            await self.more()

    async def head(self, largest: int) -> bytes:
        """Read until the buffer begins with a whole head, and take it.

        Raises `HeadTooLarge` for one of more than `largest` bytes, `PeerFinished` if its end never comes.
        """
        searched = 0
        while True:
            end = _HEAD_END.search(self.buffer, searched)
            size = end.end() if end else len(self.buffer)
            if size > largest:
                raise HeadTooLarge
            if end:
                taken = bytes(self.buffer[:size])
                del self.buffer[:size]
                return taken
            if self.at_end:
                raise PeerFinished
            searched = max(0, size - 2)
            await self.more()

    async def body(
        self,
        parser: h11.Connection,
        charge: Charge,
        largest: int,
        read: Callable[[int], Awaitable[None]],
    ) -> bytes:
        """Read the body of the message whose head `parser` has.

        Args:
            charge: counts the body while it is read; closed at the end.
            largest: bytes that it may have.
            read: called with the size of the body so far when more is needed; it calls `more`.

        Raises `BodyTooLarge`, `h11.RemoteProtocolError`, and what `read` does.
        """
        body = bytearray()
        stint = Stint()
        if self.buffer:
            self.feed(parser)
        try:
            while True:
                event = parser.next_event()
                if isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                if isinstance(event, h11.Data):
                    body += event.data
                    charge.hold(len(event.data))
                    if len(body) > largest:
                        raise BodyTooLarge
                    await stint.rest()
                    continue
                await read(len(body))
                if self.at_end:
                    parser.receive_data(b"")
                else:
                    self.feed(parser)
        finally:
            charge.close()

    def feed(self, parser: h11.Connection) -> None:
        """Give the parser everything that is buffered."""
        parser.receive_data(bytes(self.buffer))
        self.buffer.clear()

    def take_back(self, parser: h11.Connection) -> None:
        """Buffer again what the parser has not used: it belongs to the next message."""
        self.buffer[:0] = parser.trailing_data[0]


def header_fields(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    return tuple((bytes(name), bytes(value)) for name, value in event.headers)
