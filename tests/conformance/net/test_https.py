"""HTTPS, both sides: TLS 1.3, and HTTP/2 or HTTP/1.1 as ALPN chooses. In memory, under virtual time."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import pytest
import trio
import trustme

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from tests.hostcalls.net.certificates import CLIENT, DAY, SERVER, Made, make
from tests.hostcalls.net.h2_peers import H2Peer, fields
from tests.hostcalls.net.offices import (
    HTTPS,
    Clerk,
    Office,
    answer,
    done,
    failure,
    get,
    receive_until,
)
from tests.hostcalls.net.peers import Peer

FAILED_HANDSHAKE = "internal error: TLS handshake failed: "
FAILED = "internal error: HTTP connection failed: "


@pytest.fixture(scope="module")
def root() -> Made:
    """A certificate authority."""
    return make(is_ca=True, common_name="root")


def server_settings(
    guest: Clerk,
    made: Made,
    alpn: tuple[str, ...] | None = None,
    ca: bytes | None = None,
    *,
    required: bool = False,
) -> int:
    """The slot of a server's settings."""
    bundle = abi.TlsServerBundle(made.chain, made.key_text(), ca, alpn, required)
    return int(guest.begin(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(bundle)).handle)


def client_settings(
    guest: Clerk, ca: bytes, alpn: tuple[str, ...] | None = None, own: Made | None = None
) -> int:
    """The slot of a client's settings."""
    certificate, key = (None, None) if own is None else (own.chain, own.key_text())
    bundle = abi.TlsClientBundle(ca, certificate, key, alpn)
    return int(guest.begin(c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(bundle)).handle)


async def dial(
    office: Office, ca: bytes, alpn: list[str] | None = None, **options: Any
) -> trio.SSLStream[Any]:
    """Connect as a peer, and do the handshake."""
    context = ssl.create_default_context(cadata=ca.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    for name, value in options.items():
        setattr(context, name, value)
    stream = trio.SSLStream(await office.dial(), context, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return stream


@pytest.fixture
def ca(authority: trustme.CA) -> bytes:
    """The authority of the host's own certificate."""
    return authority.cert_pem.bytes()


async def open_h2(office: Office, ca: bytes) -> H2Peer:
    """An HTTP/2 client that has done its handshake."""
    stream = await dial(office, ca, ["h2", "http/1.1"])
    assert stream.selected_alpn_protocol() == "h2"
    return H2Peer(Peer(stream))


async def test_net_122_http_2_by_default(office: Office, ca: bytes) -> None:
    guest = office.guest()
    slot = guest.bind(protocol=HTTPS)
    peer = await open_h2(office, ca)
    stream = await peer.request(fields(authority="localhost:8080"))
    assert await guest.serve(slot, answer(b"hi", label="HTTP/2")) == (
        b"GET / HTTP/2\r\nhost: localhost:8080\r\ncontent-length: 0\r\n\r\n"
    )
    head, body = await peer.response(stream)
    assert (head[":status"], body) == ("200", b"hi")


@pytest.mark.parametrize(
    ("label", "code"), [("HTTP/2", "200"), ("HTTP/2.0", "200"), ("HTTP/1.1", "200"), ("HTTP/1.0", "502")]
)
async def test_net_123_labels_of_responses(office: Office, ca: bytes, label: str, code: str) -> None:
    guest = office.guest()
    slot = guest.bind(protocol=HTTPS)
    peer = await open_h2(office, ca)
    stream = await peer.request()
    await guest.serve(slot, answer(label=label))
    head, _ = await peer.response(stream)
    assert head[":status"] == code


@pytest.mark.parametrize("alpn", [None, ["http/1.1"]])
async def test_net_124_clients_without_http_2_are_spoken_to_in_http_1(
    office: Office, ca: bytes, alpn: list[str] | None
) -> None:
    guest = office.guest()
    slot = guest.bind(protocol=HTTPS)
    stream = await dial(office, ca, alpn)
    await stream.send_all(get())
    assert (await guest.serve(slot, answer(b"hi", label="HTTP/2"))).startswith(b"GET / HTTP/1.1\r\n")
    assert (await receive_until(stream, b"hi")).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["http/1.1"], None])
async def test_net_126_settings_may_ask_for_http_1(
    office: Office, root: Made, offered: list[str] | None
) -> None:
    guest = office.guest()
    tls = server_settings(guest, make("localhost", issuer=root), ("http/1.1",))
    slot = guest.bind(protocol=HTTPS, tls=tls)
    stream = await dial(office, root.root, offered)
    await stream.send_all(get())
    assert (await guest.serve(slot, answer(b"hi"))).startswith(b"GET / HTTP/1.1\r\n")
    assert (await receive_until(stream, b"hi")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_explicit_list_that_nobody_offers_ends_the_connection(office: Office, root: Made) -> None:
    guest = office.guest()
    tls = server_settings(guest, make("localhost", issuer=root), ("h2",))
    guest.bind(protocol=HTTPS, tls=tls)
    stream = await dial(office, root.root, ["http/1.1"])
    assert await stream.receive_some() == b""


async def test_net_128_older_tls_is_refused(office: Office, ca: bytes) -> None:
    office.guest().bind(protocol=HTTPS)
    with pytest.raises(trio.BrokenResourceError):
        await dial(office, ca, maximum_version=ssl.TLSVersion.TLSv1_2)


async def test_net_130_streams_are_requests_of_their_own(office: Office, ca: bytes) -> None:
    guest = office.guest()
    slot = guest.bind(protocol=HTTPS)
    peer = await open_h2(office, ca)
    streams = [await peer.request(fields(f"/{number}")) for number in range(3)]
    accepted = [await done(guest.accept(slot)) for _ in streams]
    for number in (2, 0, 1):
        text = await guest.read(accepted[number].reader)
        assert text.startswith(b"GET /%d HTTP/2\r\n" % number)
        await guest.write(accepted[number].writer, answer(b"%d" % number, label="HTTP/2"))
        assert (await peer.response(streams[number]))[1] == b"%d" % number


async def test_net_131_cookies_are_joined(office: Office, ca: bytes) -> None:
    guest = office.guest()
    slot = guest.bind(protocol=HTTPS)
    peer = await open_h2(office, ca)
    await peer.request(fields("/", "GET", "localhost", ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")))
    assert await guest.serve(slot, answer()) == (
        b"GET / HTTP/2\r\nhost: localhost\r\ncookie: a=1; b=2\r\nx: y\r\ncontent-length: 0\r\n\r\n"
    )


async def test_net_133_guests_talk_to_guests(office: Office, ca: bytes) -> None:
    server, client = office.guest(), office.guest()
    slot = server.bind(protocol=HTTPS)
    connected = await done(client.connect(protocol=HTTPS, tls=client_settings(client, ca)))
    assert connected.remote_addr == "localhost:8080"
    request = b"POST /z HTTP/2\r\nX-C: 1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nb"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.write, connected.writer, request)
        assert await server.serve(slot, answer(b"hi", label="HTTP/2")) == (
            b"POST /z HTTP/2\r\nhost: localhost:8080\r\nx-c: 1\r\ncontent-length: 1\r\n\r\nb"
        )
    text = await client.read(connected.reader)
    assert text.startswith(b"HTTP/2 200 OK\r\ncontent-length: 2\r\ndate: ")
    assert text.endswith(b"\r\n\r\nhi")


async def test_net_134_certificates_that_are_not_to_be_trusted(office: Office, root: Made) -> None:
    server, client = office.guest(), office.guest()
    others = make(is_ca=True, common_name="others")
    for number, made in enumerate(
        (
            make("localhost", issuer=others),
            make("elsewhere.test", issuer=root),
            make("localhost", issuer=root, since=-2 * DAY, until=-DAY),
            make("localhost", issuer=root, usages=[CLIENT]),
        )
    ):
        server.bind(port=8100 + number, protocol=HTTPS, tls=server_settings(server, made))
        tls = client_settings(client, root.root)
        text = await failure(client.connect(port=8100 + number, protocol=HTTPS, tls=tls))
        assert text.startswith(FAILED_HANDSHAKE)


async def test_net_135_addresses_are_names_of_certificates_too(office: Office, root: Made) -> None:
    server, client = office.guest(), office.guest()
    made = make("localhost", "127.0.0.1", issuer=root, usages=[SERVER])
    slot = server.bind("", protocol=HTTPS, tls=server_settings(server, made))
    tls = client_settings(client, root.root)
    connected = await done(client.connect("127.0.0.1", protocol=HTTPS, tls=tls))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.write, connected.writer, b"GET / HTTP/1.1\r\n\r\n")
        assert b"host: 127.0.0.1:8080\r\n" in await server.serve(slot, answer())


async def test_net_137_certificates_of_clients(office: Office, root: Made) -> None:
    server, client = office.guest(), office.guest()
    others = make(is_ca=True, common_name="others")
    settings = server_settings(server, make("localhost", issuer=root), ca=root.root, required=True)
    slot = server.bind(protocol=HTTPS, tls=settings)
    accept = server.accept(slot)
    for own in (
        None,
        make("client", issuer=others, usages=[CLIENT]),
        make("client", issuer=root, usages=[SERVER]),
    ):
        tls = client_settings(client, root.root, own=own)
        connected = await done(client.connect(protocol=HTTPS, tls=tls))
        text = await failure(
            partial(client.begin, c.NET_HTTP_WRITE, abi.IoWrite(connected.writer, b"GET / HTTP/2\r\n\r\n"))
        )
        assert text.startswith(FAILED)
    assert not accept.done
    own = make("client", issuer=root, usages=[CLIENT])
    connected = await done(client.connect(protocol=HTTPS, tls=client_settings(client, root.root, own=own)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.write, connected.writer, b"GET / HTTP/2\r\n\r\n")
        accepted = await done(accept)
        await server.write(accepted.writer, answer(label="HTTP/2"))


async def test_a_server_without_http_2_is_spoken_to_in_http_1(office: Office, root: Made) -> None:
    server, client = office.guest(), office.guest()
    slot = server.bind(
        protocol=HTTPS, tls=server_settings(server, make("localhost", issuer=root), ("http/1.1",))
    )
    tls = client_settings(client, root.root)
    connected = await done(client.connect(protocol=HTTPS, tls=tls))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.write, connected.writer, b"GET / HTTP/2\r\n\r\n")
        assert (await server.serve(slot, answer(b"hi"))).startswith(b"GET / HTTP/1.1\r\n")
    assert (await client.read(connected.reader)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_server_that_is_asked_for_http_2_and_has_none(office: Office, root: Made) -> None:
    server, client = office.guest(), office.guest()
    server.bind(protocol=HTTPS, tls=server_settings(server, make("localhost", issuer=root), ("http/1.1",)))
    tls = client_settings(client, root.root, ("h2",))
    assert (await failure(client.connect(protocol=HTTPS, tls=tls))).startswith(FAILED_HANDSHAKE)


async def test_plain_text_in_place_of_tls(office: Office, root: Made) -> None:
    server, client = office.guest(), office.guest()
    server.bind()
    tls = client_settings(client, root.root)
    assert (await failure(client.connect(protocol=HTTPS, tls=tls))).startswith(FAILED_HANDSHAKE)
