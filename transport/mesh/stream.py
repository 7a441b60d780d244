"""The bytes between a client and its server, in plain or through TLS.

All forms behave as a socket that does not block: `send` takes what it can, `receive` gives what is there, and
either raises BlockingIOError when that is nothing. What TLS has encrypted and the stream below has not taken
is `pending`; it leaves with the next `send` or `flush`.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import trio

from enfilade.transport.mesh.identity import server_fault
from enfilade.transport.mesh.local_owner import owner_of_peer
from enfilade.transport.mesh.settings import MeshError, Server

__all__ = ["Dial", "PlainStream", "Stream", "TlsStream", "dial", "receive", "received", "secured", "send_all"]

RECEIVE_BYTES: Final = 256 * 1024

MOST_PENDING: Final = 64 * 1024
"""Encrypted bytes that may wait for the socket before no more are taken."""

UNKNOWN_ISSUER: Final = (19, 20)
"""What OpenSSL finds in a certificate of an authority that it does not know, with that beside it or not."""

RECORD: Final = 16 * 1024
"""Bytes that are encrypted together."""


class Stream(Protocol):
    """A connection to a server."""

    @property
    def pending(self) -> int:
        """Bytes that were taken and have yet to leave."""
        ...

    def send(self, data: bytes | memoryview) -> int:
        """Take bytes to send, and return how many; raises OSError when the connection is over."""
        ...

    def flush(self) -> None:
        """Send what is pending, as far as the socket takes it; raises OSError as `send` does."""
        ...

    def receive(self) -> bytes:
        """Return what has come; raises OSError when the connection is over."""
        ...

    async def wait_readable(self) -> None:
        """Wait until `receive` does not raise BlockingIOError, more likely than not. A checkpoint."""
        ...

    async def wait_writable(self) -> None:
        """Wait until `send` does not raise BlockingIOError, more likely than not. A checkpoint."""
        ...

    def close(self) -> None:
        """End the connection. Harmless when repeated."""
        ...

    def owner(self) -> int:
        """Return the user whose process on this machine the server is; raises OSError if nobody says."""
        ...


Dial: TypeAlias = Callable[[Server], Awaitable[Stream]]
"""Connects to a server. Raises `OSError` when it does not answer; the caller bounds the time."""


async def dial(server: Server) -> Stream:
    """Connect to a server over TCP. See `Dial`."""
    opened = await trio.open_tcp_stream(server.host, server.port)
    connection = socket.socket(fileno=opened.socket.detach())
    connection.setblocking(False)
    return PlainStream(connection)


class PlainStream(Stream):
    """A connection over TCP, without TLS.

    Args:
        connection: does not block.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    @property
    def pending(self) -> int:
        return 0

    def send(self, data: bytes | memoryview) -> int:
        return self._socket.send(data)

    def flush(self) -> None:
        return

    def receive(self) -> bytes:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("it closed the connection")
        return data

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    def close(self) -> None:
        self._socket.close()

    def owner(self) -> int:
        return owner_of_peer(self._socket)


class TlsStream(Stream):
    """A connection through TLS, over one on which nothing was encrypted yet.

    Args:
        below: carries what is encrypted.
        context: of this node.
        host: the server's, which its certificate must name.
    """

    def __init__(self, below: Stream, context: ssl.SSLContext, host: str) -> None:
        self._below = below
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._encrypted = bytearray()

    @property
    def pending(self) -> int:
        return len(self._encrypted) + self._out.pending

    def shake_hands(self) -> bool:
        """Go on with the handshake, and return whether it is done; raises BlockingIOError to be read for."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            self._in.write(self._below.receive())
            return False
        finally:
            self.flush()
        return True

    @property
    def certificate(self) -> object:
        """The server's certificate."""
        return self._tls.getpeercert()

    def send(self, data: bytes | memoryview) -> int:
        self.flush()
        if self.pending > MOST_PENDING:
            raise BlockingIOError
        taken = 0
        while taken < len(data) and self.pending <= MOST_PENDING:
            taken += self._tls.write(data[taken : taken + RECORD])
        self.flush()
        return taken

    def flush(self) -> None:
        self._encrypted += self._out.read()
        try:
            while self._encrypted:
                with memoryview(self._encrypted) as view:
                    sent = self._below.send(view)
                del self._encrypted[:sent]
        except BlockingIOError:
            pass

    def receive(self) -> bytes:
        data = self._decrypt()
        if not data:
            self._in.write(self._below.receive())
            data = self._decrypt()
            self.flush()  # an answer of TLS itself
            if not data:
                raise BlockingIOError
        return data

    def _decrypt(self) -> bytes:
        """Decrypt what has come whole."""
        parts: list[bytes] = []
        try:
            while part := self._tls.read(RECEIVE_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            if not parts:
                raise ConnectionError("it closed the connection") from None
        return b"".join(parts)

    async def wait_readable(self) -> None:
        await self._below.wait_readable()

    async def wait_writable(self) -> None:
        await self._below.wait_writable()

    def close(self) -> None:
        self._below.close()

    def owner(self) -> int:
        return self._below.owner()


async def secured(below: Stream, context: ssl.SSLContext, server: Server) -> TlsStream:
    """Go on through TLS, with a server that is certified as one.

    Raises:
        OSError: it is none, or refuses this client's certificate.
    """
    stream = TlsStream(below, context, server.host)
    try:
        while True:
            try:
                if stream.shake_hands():
                    break
            except BlockingIOError:
                await stream.wait_readable()
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message
        if error.verify_code in UNKNOWN_ISSUER:
            why = f"another authority than that of this identity has issued it ({why})"
        raise MeshError(f"its certificate cannot be trusted: {why}") from error
    fault = server_fault(stream.certificate)
    if fault:
        raise MeshError(fault)
    return stream


async def send_all(stream: Stream, data: bytes) -> None:
    """Send all data, with what was pending."""
    view = memoryview(data)
    while view or stream.pending:
        try:
            stream.flush()
            view = view[stream.send(view) :]
        except BlockingIOError:
            pass
        if view or stream.pending:
            await stream.wait_writable()


async def receive(stream: Stream) -> bytes:
    """Receive what is there, or wait for it; raises what `received` does."""
    while not (data := received(stream)):
        await stream.wait_readable()
    return data


def received(stream: Stream) -> bytes:
    """Receive what is there: no bytes when that is nothing.

    Raises:
        OSError: the server has closed the connection.
        MeshError: TLS fails; it may be the server that refuses this client's certificate.
    """
    try:
        return stream.receive()
    except BlockingIOError:
        return b""
    except ssl.SSLError as error:
        raise MeshError(f"TLS fails: {error.reason or error}") from error
