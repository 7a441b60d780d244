"""Programs that nobody here wrote ask guests, and are asked by them: curl, nghttp, h2load, hypercorn."""

from __future__ import annotations

import re
import socket
import struct
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import NetProtocol
from enfilade.hostcalls.abi import catalogue as c
from tests.hostcalls.net.interop.programs import curl, needs, run, serving
from tests.hostcalls.net.offices import HTTP, HTTPS, Clerk, Office, done, failure, receive_all
from tests.ports import free_port

HI = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@needs("curl")
async def test_curl_in_every_way_of_http_1(system: Office) -> None:
    async with serving(system) as port:
        url = f"http://localhost:{port}/a?b"
        assert (await curl("--http1.1", url)).startswith(f"GET /a?b HTTP/1.1\r\nhost: localhost:{port}\r\n")
        assert (await curl("--http1.0", url)).startswith("GET /a?b HTTP/1.1\r\n")
        assert (await curl("--http1.0", "--keepalive", "-H", "Connection: keep-alive", url, url)).count(
            "GET"
        ) == 2
        head = await curl("--head", url)
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        chunked = await curl(
            "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", url, stdin=b"x" * 70_000
        )
        assert "transfer-encoding" not in chunked
        assert chunked.endswith("content-length: 70000\r\n\r\n" + "x" * 70_000)
        expects = await curl("--expect100-timeout", "15", "-H", "Expect: 100-continue", "-d", "body", url)
        assert expects.endswith("\r\n\r\nbody")


@needs("curl")
async def test_curl_keeps_its_connection(system: Office) -> None:
    async with serving(system) as port:
        url = f"http://localhost:{port}/"
        shown = await curl("-o", "/dev/null", "-w", "%{num_connects}", url, "-o", "/dev/null", url)
        assert shown == "10"


@needs("curl")
async def test_curl_is_refused(system: Office) -> None:
    async with serving(system) as port:
        url, shows = f"http://localhost:{port}/", ["-o", "/dev/null", "-w", "%{http_code}"]
        assert await curl(*shows, "-H", "Host: other", url) == "421"
        assert await curl(*shows, "-H", "X: " + "y" * 40_000, url) == "431"
        assert await curl(*shows, "--data-binary", "@-", url, stdin=bytes(1024 * 1024 + 1)) == "413"
        assert (
            await curl(
                *shows, "-H", "Transfer-Encoding: chunked", "-H", "Content-Length: 4", "-d", "body", url
            )
            == "400"
        )


@needs("curl")
async def test_net_122_curl_speaks_http_2(system: Office, ca_file: str) -> None:
    async with serving(system, HTTPS) as port:
        url, trusts = f"https://localhost:{port}/", ["--cacert", ca_file]
        assert (await curl("--http2", *trusts, url)).startswith(f"GET / HTTP/2\r\nhost: localhost:{port}\r\n")
        large = await curl("--http2", *trusts, "--data-binary", "@-", url, stdin=b"x" * 500_000)
        assert large.endswith("x" * 500_000)
        many = await curl("--http2", "--parallel", *trusts, *[f"{url}{number}" for number in range(60)])
        assert many.count("HTTP/2\r\n") == 60


@needs("curl")
async def test_net_124_curl_speaks_http_1_over_tls_net_128_and_no_older_tls(
    system: Office, ca_file: str
) -> None:
    async with serving(system, HTTPS) as port:
        url, trusts = f"https://localhost:{port}/", ["--cacert", ca_file]
        assert (await curl("--http1.1", *trusts, url)).startswith("GET / HTTP/1.1\r\n")
        await curl("--tls-max", "1.2", *trusts, url, code=35)
        await curl(f"http://localhost:{port}/", code=52)  # plain text in place of TLS: an empty reply


@needs("curl")
async def test_net_137_curl_shows_a_certificate(
    system: Office, authority: trustme.CA, certificate: trustme.LeafCert, ca_file: str, tmp_path: Any
) -> None:
    def settings(guest: Clerk) -> int:
        bundle = abi.TlsServerBundle(
            b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
            certificate.private_key_pem.bytes(),
            authority.cert_pem.bytes(),
            None,
            True,
        )
        return int(guest.begin(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(bundle)).handle)

    own = tmp_path / "own.pem"
    authority.issue_cert("client@a.test").private_key_and_cert_chain_pem.write_to_path(str(own))
    async with serving(system, HTTPS, tls=settings) as port:
        url, trusts = f"https://localhost:{port}/", ["--cacert", ca_file]
        assert (await curl("--http2", *trusts, "--cert", str(own), url)).startswith("GET / HTTP/2\r\n")
        # The alert comes while curl sends, or afterwards, perhaps after its end of the stream.
        await curl("--http2", *trusts, url, code=(16, 18, 52, 55, 56, 92))


@needs("nghttp")
async def test_nghttp_asks(system: Office) -> None:
    async with serving(system, HTTPS) as port:
        url = f"https://localhost:{port}/"
        assert (await run("nghttp", "--no-verify-peer", url)).startswith(
            f"GET / HTTP/2\r\nhost: localhost:{port}\r\n"
        )
        assert (await run("nghttp", "-m", "20", "--no-verify-peer", url)).count("GET / HTTP/2\r\n") == 20


@needs("h2load")
@pytest.mark.parametrize("streams", [1, 32])
async def test_h2load_asks(system: Office, streams: int) -> None:
    async with serving(system, HTTPS, lambda _: HI) as port:
        output = await run("h2load", "-n", "200", "-c", "4", "-m", str(streams), f"https://localhost:{port}/")
        assert "200 succeeded, 0 failed, 0 errored, 0 timeout" in output
        assert re.search(r"status codes: 200 2xx", output)


async def dial(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_net_77_a_socket_that_is_half_closed_is_answered(system: Office) -> None:
    async with serving(system, respond=lambda _: HI) as port:
        stream = await dial(port)
        await stream.send_all(GET)
        await stream.send_eof()
        assert (await receive_all(stream)).endswith(b"\r\n\r\nhi")


async def reset(stream: trio.SocketStream) -> None:
    """Close a connection so that the peer sees a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def test_net_75_resets_at_every_step(system: Office, caplog: pytest.LogCaptureFixture) -> None:
    guest, port = system.guest(), free_port()
    slot = guest.bind(port=port)
    chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"
    for sent in (b"", b"GET", chunked, GET, GET + GET):
        stream = await dial(port)
        await stream.send_all(sent)
        await trio.sleep(0.02)
        await reset(stream)
    await trio.sleep(0.1)
    accept = guest.accept(slot)
    assert not accept.done, "a request of a client that has gone was not withdrawn"
    # While the guest works, and while its response is sent.
    for response in (HI, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(3_000_000)):
        stream = await dial(port)
        await stream.send_all(GET)
        accepted = await done(accept)
        if response is HI:
            await reset(stream)
        assert await guest.write(accepted.writer, response) == len(response)
        guest.detach(accepted.reader)
        guest.detach(accepted.writer)
        if response is not HI:
            await reset(stream)
        accept = guest.accept(slot)
    stream = await dial(port)
    await stream.send_all(GET)
    accepted = await done(accept)
    await guest.write(accepted.writer, HI)
    assert (await stream.receive_some()).endswith(b"hi")
    assert not caplog.records
    guest.end()


async def test_a_refusal_is_read_by_a_client_that_sends_first_and_reads_later(system: Office) -> None:
    """A socket that is closed with unread input would reset the connection, and the response be lost."""
    async with serving(system) as port:
        for _ in range(5):
            stream = await dial(port)
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
            await stream.send_all(head + bytes(3_000_000))
            assert (await receive_all(stream)).startswith(b"HTTP/1.1 413 Payload Too Large\r\n")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI program that answers with what it was asked."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    shown = f"{scope['http_version']} {scope['method']} {scope['path']} ".encode() + body
    headers = [(b"x-host", dict(scope["headers"]).get(b"host", b"")), (b"x-b", b"1"), (b"x-b", b"2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": shown[:3], "more_body": True})
    await send({"type": "http.response.body", "body": shown[3:]})


@pytest.mark.parametrize(
    ("protocol", "alpn", "version"), [(HTTP, None, "1.1"), (HTTPS, ("http/1.1",), "1.1"), (HTTPS, None, "2")]
)
async def test_guests_ask_hypercorn(
    system: Office,
    authority: trustme.CA,
    certificate: trustme.LeafCert,
    tmp_path: Any,
    protocol: NetProtocol,
    alpn: tuple[str, ...] | None,
    version: str,
) -> None:
    config, port = Config(), free_port()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    if protocol is HTTPS:
        config.certfile, config.keyfile = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(config.certfile)
        certificate.private_key_pem.write_to_path(config.keyfile)
    guest, over = system.guest(), trio.Event()
    tls = None
    if protocol is HTTPS:
        bundle = abi.TlsClientBundle(authority.cert_pem.bytes(), None, None, alpn)
        tls = int(guest.begin(c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(bundle)).handle)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(hypercorn, application, config, shutdown_trigger=over.wait))
        connected = await done(guest.connect("127.0.0.1", port, protocol, tls))
        for number in range(3):
            body = b"x" * 100_000 * number
            request = b"POST /%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (number, len(body), body)
            assert await guest.write(connected.writer, request) == len(request)
            wanted = b"%b POST /%d %b" % (version.encode(), number, body)
            text = b""
            while not text.endswith(wanted):
                text += await guest.read(connected.reader)
            head = text.removesuffix(wanted).decode()
            assert head.startswith(f"HTTP/{version} 201 Created\r\n")
            assert f"x-host: 127.0.0.1:{port}\r\n" in head
            assert "x-b: 1\r\nx-b: 2\r\n" in head
            assert head.endswith(f"content-length: {len(wanted)}\r\n\r\n")
        over.set()
    assert await guest.read(connected.reader) == b""
    write = partial(guest.begin, c.NET_HTTP_WRITE, abi.IoWrite(connected.writer, request))
    assert await failure(write) == "internal error: HTTP connection failed: operation was canceled"
    guest.end()
