"""Guests that tests speak for, with the network's hostcalls, on a network in memory or that of the system."""

from __future__ import annotations

from typing import Any, TypeVar

import trio

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import NetProtocol
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.net.memory_sockets import MemorySockets, MemoryStream
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Sockets
from enfilade.hostcalls.resources.futures import Future
from tests.hostcalls.desk import EVERYTHING, Desk

T = TypeVar("T")

HTTP, HTTPS, QUIC = NetProtocol.HTTP, NetProtocol.HTTPS, NetProtocol.QUIC
PORT = 8080


class Office(Desk):
    """A desk with a network. Made by `open_office`.

    Attributes:
        sockets: the network.
        certificate: PEM of the host's certificate.
        key: PEM of its key.
    """

    def __init__(self, sockets: Sockets, settings: NetworkSettings, nursery: trio.Nursery) -> None:
        super().__init__(network=settings, sockets=sockets)
        self.sockets = sockets
        self.certificate = settings.certificate or b""
        self.key = settings.key or b""
        self.nursery = nursery
        self.kernel.network.open(nursery)

    def guest(self, grants: Any = EVERYTHING, **options: Any) -> Clerk:
        """A guest that the test speaks for."""
        return Clerk(self, grants, **options)

    def close(self) -> None:
        """As the runtime's end does."""
        self.kernel.network.close()
        self.nursery.cancel_scope.cancel()

    async def dial(self, port: int = PORT, address: str = "127.0.0.1") -> MemoryStream:
        """Connect to a listener, as a peer."""
        assert isinstance(self.sockets, MemorySockets)
        return await self.sockets.connect_from("127.0.0.1", address, port)


class Clerk:
    """One guest."""

    def __init__(self, office: Office, grants: Any, **options: Any) -> None:
        self.office = office
        self.caller = office.caller(grants, **options)

    def begin(self, hostcall: Hostcall[Any, Any], value: Any) -> Any:
        """Make a hostcall; its output, or a future of it."""
        return self.office.call(self.caller, hostcall, value)

    async def do(self, hostcall: Hostcall[Any, Any], value: Any) -> Any:
        """Make a hostcall, and wait for its output."""
        return await done(self.begin(hostcall, value))

    def bind(
        self,
        domain: str = "localhost",
        port: int = PORT,
        protocol: NetProtocol = HTTP,
        tls: int | None = None,
    ) -> int:
        """Listen; the slot."""
        hostcall = c.NET_QUIC_BIND if protocol is QUIC else c.NET_HTTP_BIND
        reply = self.begin(hostcall, abi.NetCreateListener(protocol, domain, port, tls))
        return int(reply.handle)

    def accept(self, slot: int, hostcall: Hostcall[Any, Any] = c.NET_HTTP_ACCEPT) -> Any:
        """Begin an accept."""
        return self.begin(hostcall, abi.NetAccept(slot))

    def connect(
        self,
        domain: str = "localhost",
        port: int = PORT,
        protocol: NetProtocol = HTTP,
        tls: int | None = None,
    ) -> Any:
        """Begin to connect."""
        hostcall = c.NET_QUIC_CONNECT if protocol is QUIC else c.NET_HTTP_CONNECT
        return self.begin(hostcall, abi.NetConnect(protocol, domain, port, tls))

    async def read(
        self, slot: int, length: int = 65536, hostcall: Hostcall[Any, Any] = c.NET_HTTP_READ
    ) -> bytes:
        """Read once."""
        frame = await self.do(hostcall, abi.IoRead(slot, length))
        assert frame.writer_id == 0
        return bytes(frame.payload)

    async def write(self, slot: int, payload: bytes, hostcall: Hostcall[Any, Any] = c.NET_HTTP_WRITE) -> int:
        """Write, to the end of the write."""
        return int(await self.do(hostcall, abi.IoWrite(slot, payload)))

    async def serve(self, slot: int, response: bytes) -> bytes:
        """Accept a request, answer it, and let go of it; the request."""
        accepted = await done(self.accept(slot))
        request = await self.read(accepted.reader)
        await self.write(accepted.writer, response)
        self.detach(accepted.reader)
        self.detach(accepted.writer)
        return request

    def detach(self, slot: int) -> None:
        """Free a slot."""
        self.begin(c.CHANNEL_DETACH, slot)

    def end(self) -> None:
        """The guest's end."""
        self.office.kernel.family.ended(self.caller)


async def done(outcome: Any) -> Any:
    """The outcome of a hostcall, in a minute at most."""
    if isinstance(outcome, Future):
        with trio.fail_after(60):
            return await outcome.wait()
    await trio.lowlevel.checkpoint()
    return outcome


async def failure(outcome: Any) -> str:
    """The error text of a hostcall that fails, given as a future or a function that makes it."""
    try:
        result = await done(outcome() if callable(outcome) else outcome)
    except HostcallError as error:
        return error.text
    raise AssertionError(f"no error, but {result!r}")


def answer(body: bytes = b"", *, code: int = 200, label: str = "HTTP/1.1") -> bytes:
    """A response as guests write it."""
    return f"{label} {code} Fine\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def get(path: str = "/", host: str = "localhost", *headers: str) -> bytes:
    """A request as peers send it."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def receive_until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    """Receive until the bytes end with `end`, in a minute at most."""
    received = b""
    with trio.fail_after(60):
        while not received.endswith(end):
            data = await stream.receive_some()
            assert data, f"the peer has ended after {received!r}"
            received += data
    return received


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Receive all until the peer ends, in two minutes at most."""
    received = b""
    with trio.fail_after(120):
        while data := await stream.receive_some():
            received += data
    return received
