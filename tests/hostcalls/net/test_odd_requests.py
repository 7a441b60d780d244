"""Requests that no browser sends: what guests read of those that are taken, and what the others are told."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.net.test_http_server import request_of
from tests.hostcalls.net.peers import open_server


def request(line: bytes, headers: bytes = b"", body: bytes = b"") -> bytes:
    return line + b"\r\nHost: localhost\r\n" + headers + b"\r\n" + body


GET, POST = b"GET / HTTP/1.1", b"POST / HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

TAKEN = [
    (request(GET, b"A:\r\n"), b"a: \r\n"),
    (request(GET, b"A:  x\ty  \r\n"), b"a: x\ty\r\n"),
    (request(GET, b"A: \xff\xfe\r\n"), b"a: \xff\xfe\r\n"),
    (request(b"GET http://localhost HTTP/1.1"), b"GET / HTTP/1.1\r\n"),
    (request(b"GET http://localhost?x=1 HTTP/1.1"), b"GET /?x=1 HTTP/1.1\r\n"),
    (request(b"GET //a//b HTTP/1.1"), b"GET //a//b HTTP/1.1\r\n"),
    (request(b"GET /%20%00 HTTP/1.1"), b"GET /%20%00 HTTP/1.1\r\n"),
    (request(b"get / HTTP/1.1"), b"get / HTTP/1.1\r\n"),
    (b"GET / HTTP/1.1\r\nhOsT:   LOCALHOST   \r\n\r\n", b"host: LOCALHOST\r\n"),
    (request(POST, b"Content-Length: 003\r\n", b"abc"), b"\r\n\r\nabc"),
    (request(GET, b"Content-Length: 3\r\n", b"abc"), b"\r\n\r\nabc"),
    (request(POST, b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), b"\r\n\r\nabc"),
    (request(POST, CHUNKED, b"0\r\n\r\n"), b"content-length: 0\r\n\r\n"),
    (
        request(POST, CHUNKED.upper(), b"A\r\n0123456789\r\n0\r\n\r\n"),
        b"content-length: 10\r\n\r\n0123456789",
    ),
    (b"\r\n" + request(GET), b"GET / HTTP/1.1\r\n"),
    (request(GET, b"Cookie: a=1\r\nX: 1\r\nCookie: b=2\r\n"), b"cookie: a=1\r\ncookie: b=2\r\nx: 1\r\n"),
]


@pytest.mark.parametrize(("sent", "read"), TAKEN)
async def test_a_guest_reads(sent: bytes, read: bytes) -> None:
    with trio.fail_after(60):
        assert read in await request_of(sent)


REFUSED = [
    (request(b"CONNECT localhost:80 HTTP/1.1"), b"501"),
    *(
        (request(GET, b"Content-Length: %b\r\n" % length), b"400")
        for length in (b"-1", b"1x", b"+1", b"0x1", b"")
    ),
    (request(GET, b"Content-Length: 1\r\nContent-Length: 2\r\n"), b"400"),
    *(
        (request(GET, header + b"\r\n"), b"400")
        for header in (b"A : b", b" folded", b"A: b\r\n c", b"A: b\0c", b"A: b\rc", b"A", b": b", b"A(: b")
    ),
    *(
        (request(line), b"400")
        for line in (
            b"GET / HTTP/2.0",
            b"GET / HTTP/1.2",
            b"GET / HTTP/9",
            b"GET /",
            b"GET",
            b" GET / HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"GET / / HTTP/1.1",
            b"G\xc3T / HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
        )
    ),
    *(
        (b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, b"421")
        for host in (b"other", b"localhost.", b"xlocalhost", b"localhost.other", b"[::1]")
    ),
    *(
        (request(POST, CHUNKED, body), b"400")
        for body in (b"zz\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b" 3\r\nabc\r\n")
    ),
    (request(b"POST / HTTP/1.0", CHUNKED, b"0\r\n\r\n"), b"400"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    (bytes(100) + b"\r\n\r\n", b"400"),
]


@pytest.mark.parametrize(("sent", "code"), REFUSED)
async def test_the_peer_is_told(sent: bytes, code: bytes) -> None:
    """The connection ends with the code, and the guest sees nothing."""
    async with open_server() as server:
        peer = await server.connect()
        with trio.fail_after(60):
            await peer.send(sent)
            answer = await peer.rest()
            assert await server.accepts_nothing()
    assert answer.startswith(b"HTTP/1.1 " + code)
