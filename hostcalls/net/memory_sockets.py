"""A network in memory, for tests under virtual time: no system call, no packet, nothing at random."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Mapping

import attrs
import trio

from enfilade.hostcalls.net.sockets import Address, Datagrams, StreamListener

_BUFFER = 64 * 1024
"""Bytes that a stream holds in each direction, like a socket's buffers."""

_FIRST_PORT = 49152
"""The first port given out where any is good enough."""


@attrs.define(eq=False)
class _Pipe:
    """One direction of a stream."""

    data: bytearray = attrs.field(factory=bytearray)
    ended: bool = False  # the sender sends no more
    reset: bool = False
    changed: trio.Event = attrs.field(factory=trio.Event)

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory. Made by `stream_pair` or `MemorySockets`."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, waiting while the buffer is full. A checkpoint.

        Raises `trio.ClosedResourceError` and `trio.BrokenResourceError`.
        """
        left = memoryview(data)
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed or self._outgoing.ended:
                raise trio.ClosedResourceError
            if self._outgoing.reset:
                raise trio.BrokenResourceError
            room = _BUFFER - len(self._outgoing.data)
            if left and room > 0:
                self._outgoing.data += left[:room]
                left = left[room:]
                self._outgoing.wake()
            if not left:
                return
            await self._outgoing.changed.wait()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the buffer. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while len(self._outgoing.data) >= _BUFFER and not self._outgoing.reset:
            await self._outgoing.changed.wait()

    async def send_eof(self) -> None:
        """End the outgoing direction. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self._outgoing.ended = True
        self._outgoing.wake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive bytes, none at the end. A checkpoint.

        Raises `trio.ClosedResourceError` and `trio.BrokenResourceError`.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            if self._incoming.data:
                data = bytes(self._incoming.data[: max_bytes or _BUFFER])
                del self._incoming.data[: len(data)]
                self._incoming.wake()
                return data
            if self._incoming.reset:
                raise trio.BrokenResourceError
            if self._incoming.ended:
                return b""
            await self._incoming.changed.wait()

    def reset(self) -> None:
        """Close at once, so that the peer sees a broken connection."""
        for pipe in (self._incoming, self._outgoing):
            pipe.reset = True
            pipe.data.clear()
        self._close()

    def _close(self) -> None:
        self._closed = True
        self._outgoing.ended = True
        self._incoming.reset = True  # what the peer sends from now on reaches nobody
        self._outgoing.wake()
        self._incoming.wake()

    async def aclose(self) -> None:
        """Close both directions. A checkpoint, and closed even if cancelled."""
        self._close()
        await trio.lowlevel.checkpoint()


def stream_pair() -> tuple[MemoryStream, MemoryStream]:
    """Two ends of one connection."""
    there, back = _Pipe(), _Pipe()
    return MemoryStream(back, there), MemoryStream(there, back)


class _MemoryListener:
    def __init__(self, sockets: MemorySockets, address: Address) -> None:
        self.address = address
        self._sockets = sockets
        self._send, self._receive = trio.open_memory_channel[tuple[MemoryStream, Address]](128)

    def connect(self, peer: Address) -> MemoryStream:
        near, far = stream_pair()
        self._send.send_nowait((far, peer))
        return near

    async def accept(self) -> tuple[trio.abc.HalfCloseableStream, Address]:
        return await self._receive.receive()

    def close(self) -> None:
        if self._sockets.listening.pop(self.address, None) is None:
            return
        while self._receive.statistics().current_buffer_used:
            self._receive.receive_nowait()[0].reset()
        self._receive.close()


class _MemoryDatagrams:
    def __init__(self, sockets: MemorySockets, address: Address) -> None:
        self.address = address
        self._sockets = sockets
        self._arrived: deque[tuple[bytes, Address]] = deque()
        self._changed = trio.Event()
        self._closed = False

    async def receive(self) -> tuple[bytes, Address]:
        await trio.lowlevel.checkpoint()
        while not self._arrived:
            if self._closed:
                raise trio.ClosedResourceError
            await self._changed.wait()
        return self._arrived.popleft()

    def send(self, data: bytes, to: Address) -> None:
        target = self._sockets.datagrams.get(to)
        if target is not None and not self._closed:
            target.arrive(bytes(data), self.address)

    def arrive(self, data: bytes, sender: Address) -> None:
        self._arrived.append((data, sender))
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._sockets.datagrams.pop(self.address, None)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class MemorySockets:
    """A network in memory: every address exists, and nothing is lost.

    Args:
        names: the addresses of names.
        silent: addresses where nobody answers: connections to them wait for ever.

    Attributes:
        names: as above; may be changed.
        silent: as above; may be changed.
        looked_up: the names that were looked up.
        connected: the addresses and ports that connections were tried to.
        listening: the listening sockets.
        datagrams: the UDP sockets.
    """

    def __init__(self, names: Mapping[str, Iterable[str]] | None = None, silent: Iterable[str] = ()) -> None:
        self.names = {name: tuple(addresses) for name, addresses in (names or {}).items()}
        self.looked_up: list[str] = []
        self.connected: list[Address] = []
        self.listening: dict[Address, _MemoryListener] = {}
        self.datagrams: dict[Address, _MemoryDatagrams] = {}
        self.silent = frozenset(silent)
        self._last_port = _FIRST_PORT

    async def resolve(self, name: str) -> tuple[str, ...]:
        """See `enfilade.hostcalls.net.sockets.Sockets.resolve`."""
        await trio.lowlevel.checkpoint()
        self.looked_up.append(name)
        found = self.names.get(name)
        if found is None:
            raise OSError(0, "Name or service not known")
        return found

    def listen(self, address: str, port: int) -> StreamListener:
        """See `enfilade.hostcalls.net.sockets.Sockets.listen`."""
        if (address, port) in self.listening:
            raise _error(errno.EADDRINUSE)
        listener = self.listening[address, port] = _MemoryListener(self, (address, port))
        return listener

    async def connect(self, address: str, port: int) -> trio.abc.HalfCloseableStream:
        """See `enfilade.hostcalls.net.sockets.Sockets.connect`."""
        return await self.connect_from("127.0.0.1", address, port)

    async def connect_from(self, source: str, address: str, port: int) -> MemoryStream:
        """Connect as `connect` does, from the address `source`."""
        self.connected.append((address, port))
        await trio.lowlevel.checkpoint()
        if address in self.silent:
            await trio.sleep_forever()
        listener = self.listening.get((address, port))
        if listener is None:
            raise _error(errno.ECONNREFUSED)
        return listener.connect((source, self._free_port()))

    def open_datagrams(self, address: str, port: int) -> Datagrams:
        """See `enfilade.hostcalls.net.sockets.Sockets.open_datagrams`."""
        place = address, port or self._free_port()
        if place in self.datagrams:
            raise _error(errno.EADDRINUSE)
        opened = self.datagrams[place] = _MemoryDatagrams(self, place)
        return opened

    def _free_port(self) -> int:
        self._last_port += 1
        return self._last_port


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
