"""QUIC servers and clients on a network in memory, for tests under virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio
import trustme

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.gate import Gate
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.listener import Listener
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.net.quic_endpoint import Endpoint, connect, site_of, visit_of
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Address, Datagrams
from enfilade.hostcalls.net.tls import Credentials
from enfilade.hostcalls.net.tls_settings import ClientSettings, ServerSettings
from enfilade.hostcalls.resources.futures import Future
from tests.hostcalls.net.certificates import Made

T = TypeVar("T")

HOST = "127.0.0.1"
PORT = 4433


async def get(value: T | Future[T]) -> T:
    """The outcome of a read, a write or an accept."""
    return await value if isinstance(value, Future) else value


def pem(certificate: trustme.LeafCert) -> tuple[bytes, bytes]:
    """The chain and the key of a certificate."""
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return chain, certificate.private_key_pem.bytes()


def root(authority: trustme.CA) -> bytes:
    """The certificate of an authority."""
    return authority.cert_pem.bytes()


async def read_all(connection: Connection, length: int = 65_536) -> bytes:
    """All that comes until the peer has finished."""
    parts = []
    while part := await get(connection.reader.read(length)):
        parts.append(part)
    return b"".join(parts)


class Wire:
    """A UDP socket whose datagrams a test can count, lose or change.

    Attributes:
        sent: datagrams sent, with their receivers.
        pass_out: decides whether a datagram is sent.
    """

    def __init__(self, socket: Datagrams) -> None:
        self._socket = socket
        self.sent: list[tuple[bytes, Address]] = []
        self.pass_out: Callable[[bytes], bool] = lambda data: True

    @property
    def address(self) -> Address:
        return self._socket.address

    async def receive(self) -> tuple[bytes, Address]:
        return await self._socket.receive()

    def send(self, data: bytes, to: Address) -> None:
        if self.pass_out(data):
            self.sent.append((data, to))
            self._socket.send(data, to)

    def close(self) -> None:
        self._socket.close()


@attrs.define(eq=False)
class World:
    """One server's port and any number of clients.

    Attributes:
        authority: signs all certificates.
        certificate: the server's.
        nursery: runs everything.
        sockets: the network.
        gate: counts connections.
        endpoint: the server's port.
        wire: its socket.
        settings: bounds of both sides.
        account: of the guest that listens.
        idle: True once the port has closed.
    """

    authority: trustme.CA
    certificate: trustme.LeafCert
    nursery: trio.Nursery
    settings: NetworkSettings = attrs.field(factory=NetworkSettings)
    account: Account = attrs.field(factory=lambda: Account(Limits()))
    sockets: MemorySockets = attrs.field(factory=MemorySockets)
    gate: Gate = attrs.field(factory=lambda: Gate(connections=1024, from_address=128))
    wire: Wire = attrs.field(init=False)
    endpoint: Endpoint = attrs.field(init=False)
    idle: bool = False

    def __attrs_post_init__(self) -> None:
        self.wire = Wire(self.sockets.open_datagrams(HOST, PORT))
        self.endpoint = Endpoint(self.wire, self.settings, self.gate, on_idle=self._note_idle)
        self.nursery.start_soon(self.endpoint.run)

    def _note_idle(self) -> None:
        self.idle = True

    def listen(
        self,
        domain: str = "localhost",
        *,
        certificate: trustme.LeafCert | None = None,
        made: Made | None = None,
        client_ca: bytes | None = None,
        alpn: Iterable[str] | None = None,
        required: bool = False,
        places: int = 64,
    ) -> Listener:
        """Listen for one domain."""
        chain, key = (made.chain, made.key_text()) if made else pem(certificate or self.certificate)
        settings = ServerSettings(chain, key, client_ca, None if alpn is None else tuple(alpn), required)
        listener = Listener(domain, self.account, places=places, noun="connection")
        self.endpoint.bind(listener, site_of(Credentials(), settings, domain))
        return listener

    async def connect(
        self,
        domain: str = "localhost",
        *,
        ca: bytes | None = None,
        made: Made | None = None,
        alpn: Iterable[str] | None = None,
        account: Account | None = None,
        wire: Wire | None = None,
    ) -> Connection:
        """Connect to the port, perhaps with a certificate."""
        chain, key = (made.chain, made.key_text()) if made is not None else (None, None)
        settings = ClientSettings(
            ca or root(self.authority), chain, key, None if alpn is None else tuple(alpn)
        )
        return await connect(
            wire or Wire(self.sockets.open_datagrams(HOST, 0)),
            (HOST, PORT),
            visit_of(Credentials(), settings, domain),
            account or Account(Limits()),
            self.settings,
            self.nursery,
        )

    async def accept(self, listener: Listener) -> Connection:
        """Accept the next connection."""
        return await get(listener.accept(self.account, lambda connection, _: connection))

    async def pair(self) -> tuple[Connection, Connection]:
        """A client's connection and the server's end of it, after the byte that opens the stream."""
        listener = self.listen()
        client = await self.connect()
        await get(client.writer.write(b"!"))
        server = await self.accept(listener)
        assert await get(server.reader.read(1)) == b"!"
        return client, server


@asynccontextmanager
async def world(
    authority: trustme.CA, certificate: trustme.LeafCert, **fields: object
) -> AsyncIterator[World]:
    """A network with one UDP port that nobody listens on yet; all of it ends with the block."""
    async with trio.open_nursery() as nursery:
        made = World(authority, certificate, nursery, **fields)  # type: ignore[arg-type]
        yield made
        nursery.cancel_scope.cancel()
