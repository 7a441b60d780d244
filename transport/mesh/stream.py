"""The bytes between a client and its server, in plain or through TLS, without waiting.

Both forms behave as a socket that does not block: `send` takes what it can, `receive` gives what is there,
and either raises BlockingIOError when that is nothing. What TLS has encrypted and the socket has not taken
is `pending`; it leaves with the next `send` or `flush`.
"""

import socket
import ssl
from typing import Final, Protocol

__all__ = ["PlainStream", "Stream", "TlsStream"]

RECEIVE_BYTES: Final = 256 * 1024

MOST_PENDING: Final = 64 * 1024
"""Encrypted bytes that may wait for the socket before no more are taken."""

RECORD: Final = 16 * 1024
"""Bytes that are encrypted together."""


class Stream(Protocol):
    """A connection to a server."""

    socket: socket.socket

    @property
    def pending(self) -> int:
        """Bytes that were taken and have yet to leave."""
        ...

    def send(self, data: memoryview) -> int:
        """Take bytes to send, and return how many; raises OSError when the connection is over."""
        ...

    def flush(self) -> None:
        """Send what is pending, as far as the socket takes it; raises OSError as `send` does."""
        ...

    def receive(self) -> bytes:
        """Return what has come; raises OSError when the connection is over."""
        ...


class PlainStream(Stream):
    """A connection without TLS."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    @property
    def pending(self) -> int:
        return 0

    def send(self, data: memoryview) -> int:
        return self.socket.send(data)

    def flush(self) -> None:
        return

    def receive(self) -> bytes:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("it closed the connection")
        return data


class TlsStream(Stream):
    """A connection through TLS, over a socket on which nothing was encrypted yet.

    Args:
        connection: does not block.
        context: of this node.
        host: the server's, which its certificate must name.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self.socket = connection
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
            self._in.write(self._receive_encrypted())
            return False
        finally:
            self.flush()
        return True

    @property
    def certificate(self) -> object:
        """The server's certificate."""
        return self._tls.getpeercert()

    def send(self, data: memoryview) -> int:
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
                del self._encrypted[: self.socket.send(self._encrypted)]
        except BlockingIOError:
            pass

    def receive(self) -> bytes:
        data = self._decrypt()
        if not data:
            self._in.write(self._receive_encrypted())
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

    def _receive_encrypted(self) -> bytes:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("it closed the connection")
        return data
