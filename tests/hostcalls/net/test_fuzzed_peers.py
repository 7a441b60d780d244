"""Peers that say anything: whatever comes, the task of a connection ends without a fault of its own.

What is said is put together from pieces that mean something, some of them changed. A guest that waits is
told, nobody's bytes are held for ever, and a request that has no one meaning reaches no guest.
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hpack
import pytest
import trio
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.net import http1_client, http1_server, http2_client, http2_server
from enfilade.hostcalls.resources.futures import Future
from tests.hostcalls.net.h2_peers import PREFACE
from tests.hostcalls.net.peers import Server, open_client, open_server, outcome

FEW, MANY = 150, 20_000

STARTS = (
    *(b"GET / HTTP/1.1", b"POST /x?y HTTP/1.1", b"HEAD * HTTP/1.0", b"GET http://a:1/b#c HTTP/1.1"),
    *(b"CONNECT a:1 HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET  / HTTP/1.1", b"G@T / HTTP/1.1", b"GET /"),
    *(b"get / http/1.1", b"GET / HTTP/2.0", b"\x16\x03\x01\x02", b"PRI * HTTP/2.0"),
)
ANSWERS = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 204 ", b"HTTP/1.0 304", b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 X"),
    *(
        b"HTTP/1.1 000 X",
        b"HTTP/1.1 999 X",
        b"HTTP/1.1 20 X",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 abc",
        b"HTTP/1.2 200",
    ),
    *(b"HTTP/1.1 200 \xff\x00", b"ICY 200 OK", b"HTTP/1.1", b"http/1.1 200 OK"),
)
LINES = (
    *(
        b"Host: localhost",
        b"Host:",
        b"Host: a\x00b",
        b"Content-Length: 5",
        b"Content-Length: 6",
        b"Content-Length: 0",
    ),
    *(
        b"Content-Length: 10000000000000000000",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: -1",
    ),
    *(
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: \xb2",
        b"Content-Length:",
        b"Content-Length: 5_0",
    ),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked"),
    *(b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:"),
    *(
        b"Connection: close",
        b"Connection: ,,x",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
        b"X: " + b"y" * 40_000,
    ),
    *(b" folded", b": x", b"no colon", b"X\x00: y", b"X: \r", b"Cookie: a=b", b"Te: trailers", b""),
)
BODIES = (
    *(b"", b"abcde", b"abcdef", b"5\r\nabcde\r\n0\r\n\r\n", b"5;x=y\r\nabcde\r\n0\r\nA: b\r\n\r\n"),
    *(b"-5\r\nabcde\r\n", b"5\r\nabcdeX\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFFFF\r\nx", b"0\r\nno colon\r\n\r\n"),
    *(
        b"5\nabcde\n0\n\n",
        b"1;" + b"x" * 50_000,
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
)
ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n")


def changed(data: bytes, dice: random.Random) -> bytes:
    """The data, some of them with a few bytes changed, left out or cut off."""
    mutable = bytearray(data)
    for _ in range(dice.choice((0, 0, 0, 1, 3))):
        at = dice.randrange(len(mutable) + 1)
        match dice.randrange(3):
            case 0:
                mutable[at:at] = dice.randbytes(dice.randint(1, 3))
            case 1:
                del mutable[at : at + dice.randint(1, 5)]
            case _:
                mutable = mutable[: max(1, at)]
    return bytes(mutable)


def message(starts: Sequence[bytes], dice: random.Random) -> bytes:
    """Head and body of HTTP/1.1, once or more often."""
    end = dice.choice(ENDS)
    lines = [dice.choice(starts), *dice.choices(LINES, k=dice.randint(0, 5))]
    if dice.random() < 0.7:
        lines.insert(1, b"Host: localhost")
    head = end.join(lines) + 2 * end
    return changed(head + dice.choice(BODIES), dice) * dice.choice((1, 1, 1, 3))


GOOD_REQUEST = ((b":method", b"GET"), (b":path", b"/"), (b":scheme", b"https"), (b":authority", b"localhost"))
FIELDS = (
    *((b":status", code) for code in (b"200", b"204", b"103", b"abc", b"99999", b"0", b"", b"-20", b"\xff")),
    *GOOD_REQUEST,
    *((b":path", b""), (b":authority", b"\xff"), (b":nonsense", b"x")),
    *((b"content-length", length) for length in (b"5", b"1" + b"0" * 19, b"-1")),
    *((b"X-Upper", b"y"), (b"x", b"a\x00b"), (b"x", b" y "), (b"", b"x"), (b"te", b"gzip"), (b"\xff", b"x")),
    *((b"connection", b"close"), (b"cookie", b"a"), (b"x", b"y" * 40_000), (b"host", b"other")),
)


def frame(is_request: bool, dice: random.Random) -> bytes:
    """A frame of HTTP/2; nothing where it is one that the library does not make."""
    stream = dice.choice((1, 1, 1, 3, 5, 2, 0, 2**31 - 1))
    chosen = list(GOOD_REQUEST if is_request and dice.random() < 0.6 else dice.choices(FIELDS[:3], k=1))
    chosen += dice.choices(FIELDS, k=dice.randint(0, 3))
    block = hpack.Encoder().encode(chosen, huffman=False) if dice.random() < 0.9 else dice.randbytes(9)
    number = dice.choice((0, 1, 2**31 - 1, 2**32 - 1, 4242, 65536))
    made: Callable[[], Any] = dice.choice(
        (
            lambda: HeadersFrame(stream, block, flags=["END_HEADERS"]),
            lambda: HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"]),
            lambda: HeadersFrame(stream, block),
            lambda: ContinuationFrame(stream, block, flags=["END_HEADERS"]),
            lambda: DataFrame(stream, b"abcde", flags=dice.choice(([], ["END_STREAM"]))),
            lambda: RstStreamFrame(stream, number),
            lambda: WindowUpdateFrame(stream, number & 0x7FFFFFFF or 1),
            lambda: SettingsFrame(0, {dice.randrange(1, 9): number}),
            lambda: PingFrame(0, bytes(8)),
            lambda: GoAwayFrame(0, number & 0x7FFFFFFF, number),
            lambda: PushPromiseFrame(stream, 2, block, flags=["END_HEADERS"]),
            lambda: PriorityFrame(stream, stream, 255),
        )
    )
    with contextlib.suppress(ValueError, HyperframeError):
        return changed(made().serialize(), dice)
    return b""


COUNTS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.soak)]
SERVERS = [pytest.param(http1_server.serve, 1, id="http1"), pytest.param(http2_server.serve, 2, id="http2")]
CLIENTS = [
    pytest.param(http1_client.converse, 1, id="http1"),
    pytest.param(http2_client.converse, 2, id="http2"),
]


def said(starts: Sequence[bytes], version: int, dice: random.Random) -> bytes:
    if version == 1:
        return message(starts, dice)
    is_request = starts is STARTS
    opening = PREFACE if is_request else SettingsFrame(0).serialize()
    return opening + b"".join(frame(is_request, dice) for _ in range(dice.randint(1, 8)))


FAILED = "internal error: HTTP connection failed: "


async def read_one(server: Server) -> None:
    """A guest that accepts a request, and looks whether it has one meaning."""
    accepted = server.begin_accept()
    try:
        connection = await outcome(accepted)
    finally:
        if isinstance(accepted, Future):
            accepted.cancel()
    head, _, body = (await outcome(connection.reader.read(1 << 20))).partition(b"\r\n\r\n")
    assert not set(b"\r\n\0") & set(head.replace(b"\r\n", b""))
    assert b"\r\ncontent-length: %d" % len(body) in head


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("serve", "version"), SERVERS)
async def test_servers(serve: Any, version: int, count: int, autojump_clock: object) -> None:
    """Requests are answered or their connections closed, in the end; guests see requests with one meaning."""
    dice = random.Random(7)
    async with open_server("") as server:
        for _ in range(count):
            data = said(STARTS, version, dice)
            with noted(data):
                async with trio.open_nursery() as guests:
                    guests.start_soon(read_one, server)
                    peer = await server.connect(serve)
                    with contextlib.suppress(trio.BrokenResourceError):  # it may close the connection early
                        await peer.send(data)
                        await peer.finish()
                    await peer.rest()
                    guests.cancel_scope.cancel()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("converse", "version"), CLIENTS)
async def test_clients(converse: Any, version: int, count: int, autojump_clock: object) -> None:
    """A guest's request gets a response, or an error that is none of the connection's task."""
    dice = random.Random(8)
    for _ in range(count):
        data = said(ANSWERS, version, dice)
        with noted(data):
            async with open_client("localhost", 80, converse=converse, secure=version == 2) as browser:
                written = browser.writer.write(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(trio.BrokenResourceError):
                    await browser.peer.send(data)
                    await browser.peer.finish()
                try:
                    await outcome(written)
                except HostcallError as error:
                    assert error.text.startswith(FAILED)  # noqa: PT017 - there may be a response, too
                else:
                    text = await outcome(browser.reader.read(1 << 20))
                    assert re.match(rb"HTTP/(1.1|2) [2-9]\d\d[ \r]", text)
                await browser.is_over.wait()
            assert browser.account.held == 0


@contextlib.contextmanager
def noted(data: bytes) -> Iterator[None]:
    """Say, when something fails, after which bytes."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"said: {data!r:.2000}")
        raise
