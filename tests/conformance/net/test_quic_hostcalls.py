"""Network conformance: QUIC as guests have it, through hostcalls and slots."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import trio
import trustme
from trio.abc import Clock

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.net.sockets import Datagrams
from enfilade.hostcalls.resources.futures import Future
from tests.hostcalls.net.offices import QUIC, Clerk, Office, done, failure
from tests.hostcalls.net.quic_world import pem

INVALID = "invalid argument"
LOST_READ = "internal error: read failed: connection lost"
PORT = 4433


@attrs.define(eq=False)
class Talk:
    """A connection between two guests, as slots of each.

    Attributes:
        server: the guest that listens.
        client: the guest that connects.
        listener: the server's slot.
        accepted: the server's end.
        connected: the client's end.
    """

    server: Clerk
    client: Clerk
    listener: int
    accepted: Any
    connected: Any


def trusting(clerk: Clerk, authority: trustme.CA, alpn: tuple[str, ...] | None = None) -> int:
    """TLS settings of a client that trusts the test's authority; the slot."""
    bundle = abi.TlsClientBundle(authority.cert_pem.bytes(), None, None, alpn)
    return int(clerk.begin(c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(bundle)).handle)


def serving(
    clerk: Clerk,
    certificate: trustme.LeafCert,
    alpn: tuple[str, ...] | None = None,
    ca: bytes | None = None,
    required: bool = False,
) -> int:
    """TLS settings of a server; the slot."""
    bundle = abi.TlsServerBundle(*pem(certificate), ca, alpn, required)
    return int(clerk.begin(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(bundle)).handle)


def bind(clerk: Clerk, domain: str = "localhost", tls: int | None = None) -> int:
    return clerk.bind(domain, PORT, QUIC, tls)


async def accept(clerk: Clerk, slot: int) -> Any:
    return await done(clerk.accept(slot, c.NET_QUIC_ACCEPT))


async def read(clerk: Clerk, slot: int, length: int = 65536) -> bytes:
    return await clerk.read(slot, length, c.NET_QUIC_READ)


async def write(clerk: Clerk, slot: int, payload: bytes) -> int:
    return await clerk.write(slot, payload, c.NET_QUIC_WRITE)


async def talk(office: Office, authority: trustme.CA) -> Talk:
    """Two guests that are connected, after the byte that opens the stream."""
    server, client = office.guest(), office.guest()
    listener = bind(server)
    connected = await done(client.connect("localhost", PORT, QUIC, trusting(client, authority)))
    await write(client, connected.writer, b"!")
    accepted = await accept(server, listener)
    assert await read(server, accepted.reader, 1) == b"!"
    return Talk(server, client, listener, accepted, connected)


async def test_net_141_guests_talk(autojump_clock: Clock, office: Office, authority: trustme.CA) -> None:
    t = await talk(office, authority)
    assert [t.listener, t.accepted.reader, t.accepted.writer] == [
        t.listener,
        t.listener + 1,
        t.listener + 2,
    ]
    assert await write(t.client, t.connected.writer, b"ping") == 4
    assert await read(t.server, t.accepted.reader) == b"ping"
    assert await write(t.server, t.accepted.writer, b"pong") == 4
    assert await read(t.client, t.connected.reader) == b"pong"
    assert t.connected.remote_addr == f"127.0.0.1:{PORT}"
    assert t.accepted.remote_addr.startswith("0.0.0.0:49")  # in memory nobody chooses a source address


async def test_net_16_one_read_at_a_time(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    t = await talk(office, authority)
    first = t.server.begin(c.NET_QUIC_READ, abi.IoRead(t.accepted.reader, 10))
    second = await failure(lambda: t.server.begin(c.NET_QUIC_READ, abi.IoRead(t.accepted.reader, 10)))
    assert second == INVALID
    await write(t.client, t.connected.writer, b"x")
    assert (await done(first)).payload == b"x"


async def test_net_18_one_write_at_a_time(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    t = await talk(office, authority)
    large = bytes(1024 * 1024)
    first = t.client.begin(c.NET_QUIC_WRITE, abi.IoWrite(t.connected.writer, large))
    await trio.sleep(10)
    assert not first.done
    second = await failure(lambda: t.client.begin(c.NET_QUIC_WRITE, abi.IoWrite(t.connected.writer, b"x")))
    assert second == INVALID
    received = 0
    while received < len(large):
        received += len(await read(t.server, t.accepted.reader))
    assert await done(first) == len(large)


async def test_net_26_a_read_of_nothing(autojump_clock: Clock, office: Office, authority: trustme.CA) -> None:
    t = await talk(office, authority)
    await write(t.client, t.connected.writer, b"data")
    await trio.sleep(1)
    assert await read(t.server, t.accepted.reader, 0) == b""
    assert await read(t.server, t.accepted.reader, 100) == b"data"


async def test_net_27_a_write_of_nothing(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    t = await talk(office, authority)
    assert await write(t.client, t.connected.writer, b"") == 0
    assert await write(t.client, t.connected.writer, b"x") == 1
    assert await read(t.server, t.accepted.reader) == b"x"


async def test_net_147_detaching_the_writer_finishes_the_stream(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    t = await talk(office, authority)
    await write(t.client, t.connected.writer, b"all of it")
    t.client.detach(t.connected.writer)
    assert await read(t.server, t.accepted.reader) == b"all of it"
    assert [await read(t.server, t.accepted.reader) for _ in range(2)] == [b"", b""]
    await write(t.server, t.accepted.writer, b"heard")
    assert await read(t.client, t.connected.reader) == b"heard"


@pytest.mark.parametrize("domain", ["elsewhere.test", "127.0.0.1"])
async def test_net_155_156_a_port_is_free_after_a_failed_bind(
    autojump_clock: Clock, office: Office, domain: str
) -> None:
    guest = office.guest()
    text = await failure(lambda: bind(guest, domain))
    assert text.startswith("internal error: failed to build TLS config: ")
    assert isinstance(office.sockets, MemorySockets)
    assert not office.sockets.datagrams
    bind(guest)


async def test_net_158_a_port_is_shared_on_equal_terms(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    guest = office.guest()
    here = authority.issue_cert("localhost")
    first = bind(guest, tls=serving(guest, here, ("x",)))
    assert bind(guest, tls=serving(guest, here, ("x",))) != first
    other = serving(guest, authority.issue_cert("other.test"), ("x",))
    assert bind(guest, "other.test", other)
    refused = [
        serving(guest, here, ("y",)),
        serving(guest, here),
        serving(guest, here, ("x",), authority.cert_pem.bytes()),
        None,
    ]
    for tls in refused:
        assert await failure(lambda tls=tls: bind(guest, tls=tls)) == INVALID  # type: ignore[misc]


async def test_net_158_handles_of_one_domain_share_its_queue(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    a, b, client = office.guest(), office.guest(), office.guest()
    accepts = [guest.accept(bind(guest), c.NET_QUIC_ACCEPT) for guest in (a, b)]
    tls = trusting(client, authority)
    for payload in (b"1", b"2"):
        connected = await done(client.connect("localhost", PORT, QUIC, tls))
        await write(client, connected.writer, payload)
        await trio.sleep(0.1)
    assert await read(a, (await done(accepts[0])).reader) == b"1"
    assert await read(b, (await done(accepts[1])).reader) == b"2"


async def test_net_173_detaching_both_halves_loses_nothing(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    t = await talk(office, authority)
    payload = os.urandom(200_000)
    assert await write(t.client, t.connected.writer, payload) == len(payload)
    t.client.detach(t.connected.writer)
    t.client.detach(t.connected.reader)
    received = b""
    while part := await read(t.server, t.accepted.reader):
        received += part
    assert received == payload


async def test_net_174_the_end_of_a_process_closes_its_connections(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    t = await talk(office, authority)
    pending = t.server.begin(c.NET_QUIC_READ, abi.IoRead(t.accepted.reader, 10))
    t.client.end()
    with trio.fail_after(1):
        assert await failure(pending) in (
            LOST_READ,
            "internal error: read failed: stream reset by peer: error 1",
        )


async def test_net_25_the_last_handle_frees_the_port(autojump_clock: Clock, office: Office) -> None:
    guest = office.guest()
    slot = bind(guest)
    assert isinstance(office.sockets, MemorySockets)
    assert office.sockets.datagrams
    guest.detach(slot)
    await trio.sleep(1)
    assert not office.sockets.datagrams
    bind(guest)


async def test_connections_outlive_their_listener(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    t = await talk(office, authority)
    t.server.detach(t.listener)
    await trio.sleep(1)
    await write(t.client, t.connected.writer, b"still there")
    assert await read(t.server, t.accepted.reader) == b"still there"
    again = bind(t.server)  # the same port, on the same socket
    other = await done(t.client.connect("localhost", PORT, QUIC, trusting(t.client, authority)))
    await write(t.client, other.writer, b"new")
    assert await read(t.server, (await accept(t.server, again)).reader) == b"new"
    for half in (t.accepted.reader, t.accepted.writer):
        t.server.detach(half)
    await trio.sleep(1)
    assert await read(t.client, t.connected.reader) == b""
    text = await failure(lambda: t.client.begin(c.NET_QUIC_WRITE, abi.IoWrite(t.connected.writer, b"x")))
    assert text.startswith("internal error: write failed: ")


async def test_an_accept_ends_with_its_listener(autojump_clock: Clock, office: Office) -> None:
    guest = office.guest()
    slot = bind(guest)
    pending = guest.accept(slot, c.NET_QUIC_ACCEPT)
    guest.detach(slot)
    text = await failure(pending)
    assert text == "internal error: listener closed before any connection arrived"


async def test_connections_in_the_queue_are_closed_with_their_listener(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    server, client = office.guest(), office.guest()
    slot = bind(server)
    connected = await done(client.connect("localhost", PORT, QUIC, trusting(client, authority)))
    await write(client, connected.writer, b"x")
    await trio.sleep(1)
    server.detach(slot)
    assert await failure(lambda: client.begin(c.NET_QUIC_READ, abi.IoRead(connected.reader, 1))) == LOST_READ


async def test_a_dropped_connect_leaves_nothing(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    assert isinstance(office.sockets, MemorySockets)
    guest = office.guest()
    pending = guest.connect("localhost", PORT, QUIC, trusting(guest, authority))
    await trio.sleep(1)
    assert isinstance(pending, Future)
    assert len(office.sockets.datagrams) == 1
    pending.cancel()
    await trio.sleep(1)
    assert not office.sockets.datagrams


async def test_a_failed_connect_leaves_nothing(
    autojump_clock: Clock, office: Office, authority: trustme.CA
) -> None:
    assert isinstance(office.sockets, MemorySockets)
    server, client = office.guest(), office.guest()
    bind(server)
    stranger = trusting(client, trustme.CA())
    text = await failure(client.connect("localhost", PORT, QUIC, stranger))
    assert text.startswith("internal error: connection failed: ")
    await trio.sleep(5)
    assert len(office.sockets.datagrams) == 1
    assert not client.caller.account._halves
    assert client.caller.account.connecting == 0


async def test_names_that_lead_nowhere(autojump_clock: Clock, office: Office) -> None:
    guest = office.guest()
    text = await failure(lambda: guest.connect("[::1]", PORT, QUIC))
    assert text == "internal error: connect failed: invalid server name: [::1]"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system on which another program has every UDP port."""

    def refuse(*_: object) -> Datagrams:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr(MemorySockets, "open_datagrams", refuse)
    return


async def test_a_port_that_another_program_has(autojump_clock: Clock, office: Office, taken: None) -> None:
    text = await failure(lambda: bind(office.guest()))
    assert text == "internal error: failed to start listener: Address already in use (os error 98)"
