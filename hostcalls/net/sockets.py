"""Sockets and name look-ups: the only place where the network of guests meets the system's."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from typing import Protocol, TypeAlias

import trio

from enfilade.hostcalls.abi.errors import SubsystemError

Address: TypeAlias = tuple[str, int]
"""An IP address as text, and a port."""

_BACKLOG = 1024
"""Connections that the system keeps until they are accepted; it may keep fewer (`net.core.somaxconn`).

As many as a node takes in all. A client beyond it believes that it is connected, but the system drops its
request, which it sends again after one second, two, four, and so on for a minute.
"""

_LARGEST_DATAGRAM = 65535

_OTHERS_FAULTS = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE)
"""Errors of a UDP socket that tell what became of a datagram sent earlier."""

_LOOK_UPS = 16
"""Look-ups of names at one time. Each keeps a worker thread, also after the guest has given up."""


class StreamListener(Protocol):
    """A listening TCP socket."""

    @property
    def address(self) -> Address:
        """The address and port that it is bound to."""
        ...

    async def accept(self) -> tuple[trio.abc.HalfCloseableStream, Address]:
        """Accept the next connection: its stream and the peer's address. A checkpoint. Raises `OSError`."""
        ...

    def close(self) -> None:
        """Stop listening at once. Closing twice is the same."""
        ...


class Datagrams(Protocol):
    """A UDP socket."""

    @property
    def address(self) -> Address:
        """The address and port that it is bound to."""
        ...

    async def receive(self) -> tuple[bytes, Address]:
        """The next datagram and its sender. A checkpoint.

        Raises `OSError` when the socket is of no use any more, `trio.ClosedResourceError` when it was closed.
        """
        ...

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram, or lose it when it cannot be sent at present. Not a checkpoint."""
        ...

    def close(self) -> None:
        """Close it at once. Closing twice is the same."""
        ...


class Sockets(Protocol):
    """The network that guests are on: the system's, or one in memory."""

    async def resolve(self, name: str) -> tuple[str, ...]:
        """Look up the addresses of a name, IPv4 first. A checkpoint. Raises `OSError`."""
        ...

    def listen(self, address: str, port: int) -> StreamListener:
        """Listen for TCP connections. Not a checkpoint. Raises `OSError`."""
        ...

    async def connect(self, address: str, port: int) -> trio.abc.HalfCloseableStream:
        """Open a TCP connection. A checkpoint; cancelled, nothing stays open. Raises `OSError`."""
        ...

    def open_datagrams(self, address: str, port: int) -> Datagrams:
        """Open a UDP socket; port 0 is any free one. Not a checkpoint. Raises `OSError`."""
        ...


def system_error(prefix: str, error: OSError) -> SubsystemError:
    """An error of the system as guests read it: prefix, the system's text, its number.

    The text is the system's own: trio puts the address in front of it where a connection fails late.
    """
    if isinstance(error, socket.gaierror) or not error.errno:
        return SubsystemError(f"{prefix}: {error.strerror or error}")
    return SubsystemError(f"{prefix}: {os.strerror(error.errno)} (os error {error.errno})")


def address_text(address: Address) -> str:
    """An address as guests read it: `ip:port`, or `[ip]:port` for IPv6."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _SystemListener:
    def __init__(self, sock: socket.socket) -> None:
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self.address: Address = sock.getsockname()[:2]

    async def accept(self) -> tuple[trio.abc.HalfCloseableStream, Address]:
        while True:
            stream = await self._listener.accept()
            with contextlib.suppress(OSError):  # the peer has gone again: there is nobody to serve
                return stream, stream.socket.getpeername()[:2]
            await trio.aclose_forcefully(stream)

    def close(self) -> None:
        self._listener.socket.close()


class _SystemDatagrams:
    def __init__(self, sock: socket.socket) -> None:
        self._sending = sock  # the same socket, which never blocks
        self._socket = trio.socket.from_stdlib_socket(sock)
        self.address: Address = sock.getsockname()[:2]

    async def receive(self) -> tuple[bytes, Address]:
        while True:
            try:
                data, address = await self._socket.recvfrom(_LARGEST_DATAGRAM)
            except OSError as error:
                if error.errno not in _OTHERS_FAULTS:
                    raise
            else:
                return data, address[:2]

    def send(self, data: bytes, to: Address) -> None:
        with contextlib.suppress(OSError):
            self._sending.sendto(data, to)

    def close(self) -> None:
        self._socket.close()


class SystemSockets:
    """The system's network."""

    def __init__(self) -> None:
        self._look_ups = trio.CapacityLimiter(_LOOK_UPS)

    async def resolve(self, name: str) -> tuple[str, ...]:
        """See `Sockets.resolve`. The look-up itself runs on in its worker when this is cancelled."""
        found = await trio.to_thread.run_sync(
            lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=self._look_ups,
        )
        return four_first(str(entry[4][0]) for entry in found)

    def listen(self, address: str, port: int) -> StreamListener:
        """See `Sockets.listen`. IPv6 sockets take IPv6 connections only."""
        sock = _bound(socket.SOCK_STREAM, address, port)
        try:
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
        return _SystemListener(sock)

    async def connect(self, address: str, port: int) -> trio.abc.HalfCloseableStream:
        """See `Sockets.connect`."""
        sock = trio.socket.socket(_family(address), socket.SOCK_STREAM)
        try:
            await sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    def open_datagrams(self, address: str, port: int) -> Datagrams:
        """See `Sockets.open_datagrams`."""
        return _SystemDatagrams(_bound(socket.SOCK_DGRAM, address, port))


def four_first(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses without repetitions, IPv4 before IPv6, otherwise in their order."""
    return tuple(sorted(dict.fromkeys(addresses), key=lambda address: ":" in address))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    sock = socket.socket(_family(address), kind)
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:  # a port is free as soon as nobody listens on it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock
