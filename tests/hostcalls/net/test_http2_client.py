"""HTTP/2 as client: guests' requests, and servers that mean harm. In memory, under virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hpack
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.events import RequestReceived
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.net import http2_client
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.h2_peers import H2Peer, goodbye_of
from tests.hostcalls.net.peers import Browser, open_client, outcome, read_all

GET = b"GET /x HTTP/2\r\nX-A: b\r\nHost: LOCALHOST:1\r\n\r\n"
FAILED = "internal error: HTTP connection failed: "


class Far:
    """A guest's HTTP/2 connection, and the server at its far end."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.server = H2Peer(browser.peer, client=False)

    def write(self, payload: bytes = GET) -> Future[int]:
        written = self.browser.writer.write(payload)
        assert isinstance(written, Future)
        return written

    async def request(self) -> int:
        """Receive until a request is whole; its stream."""
        with trio.fail_after(100):
            while True:
                for event in await self.server.turn():
                    if isinstance(event, RequestReceived):
                        return event.stream_id

    async def respond(
        self, stream: int, body: bytes = b"", *others: tuple[str, str], code: str = "200"
    ) -> None:
        self.server.h2.send_headers(stream, [(":status", code), *others], end_stream=not body)
        if body:
            self.server.h2.send_data(stream, body, end_stream=True)
        await self.server.flush()

    async def exchange(self, payload: bytes = GET, body: bytes = b"hi") -> None:
        written = self.write(payload)
        await self.respond(await self.request(), body)
        await outcome(written)


def open_far(**options: Any) -> Any:
    return open_client("localhost", 8443, converse=http2_client.converse, secure=True, **options)


async def test_requests_on_the_wire() -> None:
    async with open_far() as browser:
        far = Far(browser)
        far.write(b"POST /y?z http/1.1\r\nX-A: b\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nbody")
        stream = await far.request()
        assert far.server.heads[stream] == [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost:8443"),
            (":path", "/y?z"),
            ("x-a", "b"),
            ("content-length", "4"),
        ]
        await far.server.until_ended(stream)
        assert far.server.bodies[stream] == b"body"


async def test_responses_as_guests_read_them() -> None:
    async with open_far() as browser:
        far = Far(browser)
        written = far.write()
        stream = await far.request()
        far.server.h2.send_headers(stream, [(":status", "103"), ("x", "early")])
        far.server.h2.send_headers(stream, [(":status", "599"), ("x", "y"), ("a", "b"), ("x", "z")])
        far.server.h2.send_data(stream, b"hi")
        far.server.h2.send_headers(stream, [("trailer", "t")], end_stream=True)
        await far.server.flush()
        assert await outcome(written) == len(GET)
        assert await outcome(browser.reader.read(999)) == (
            b"HTTP/2 599\r\nx: y\r\nx: z\r\na: b\r\ncontent-length: 2\r\n\r\nhi"
        )
        assert not browser.reader.read(1).done


async def test_head_keeps_its_length() -> None:
    async with open_far() as browser:
        far = Far(browser)
        written = far.write(b"HEAD / HTTP/2\r\n\r\n")
        await far.respond(await far.request(), b"", ("content-length", "99"))
        await outcome(written)
        assert await outcome(browser.reader.read(999)) == b"HTTP/2 200 OK\r\ncontent-length: 99\r\n\r\n"


async def test_requests_follow_each_other() -> None:
    async with open_far() as browser:
        far = Far(browser)
        for _ in range(3):
            await far.exchange()
        assert (await outcome(browser.reader.read(9999))).count(b"HTTP/2 200 OK\r\n") == 3


async def test_large_bodies_both_ways() -> None:
    async with open_far() as browser:
        far = Far(browser)
        written = far.write(b"POST / HTTP/2\r\n\r\n" + bytes(500_000))
        stream = await far.request()
        await far.server.until_ended(stream)
        assert len(far.server.bodies[stream]) == 500_000
        far.server.h2.send_headers(stream, [(":status", "200")])
        left = 500_000
        while left:
            size = min(left, far.server.h2.local_flow_control_window(stream), 16384)
            if size:
                left -= size
                far.server.h2.send_data(stream, bytes(size), end_stream=not left)
                await far.server.flush()
            else:
                await far.server.turn()
        await outcome(written)
        size = 0
        while size < 500_000:
            size += len(await outcome(browser.reader.read(65536)))


async def test_an_early_response_to_a_large_request() -> None:
    async with open_far() as browser:
        far = Far(browser)
        far.server.opens_windows = False
        written = far.write(b"POST / HTTP/2\r\n\r\n" + bytes(500_000))
        stream = await far.request()
        await far.respond(stream, code="413")
        await outcome(written)
        await far.server.until_reset(stream)
        far.server.opens_windows = True
        far.server.h2.increment_flow_control_window(65535)
        await far.exchange()


async def test_the_server_answers_and_says_goodbye() -> None:
    async with open_far() as browser:
        far = Far(browser)
        written = far.write()
        stream = await far.request()
        await browser.peer.send(GoAwayFrame(0, last_stream_id=stream).serialize())
        await far.respond(stream, b"hi")
        await outcome(written)
        assert (await read_all(browser.reader)).endswith(b"hi")
        await browser.is_over.wait()
        with pytest.raises(HostcallError, match="operation was canceled"):
            browser.writer.write(GET)


async def test_pings_are_answered_between_requests() -> None:
    async with open_far() as browser:
        far = Far(browser)
        await far.exchange()
        far.server.h2.ping(b"12345678")
        await far.server.flush()
        with trio.fail_after(10):
            while not any(type(event).__name__ == "PingAckReceived" for event in await far.server.turn()):
                pass
        await far.exchange()


def frames(*sent: Any) -> Callable[[Far, int], Any]:
    """A server that answers with frames."""

    async def respond(far: Far, stream: int) -> None:
        data = [each if isinstance(each, bytes) else each.serialize() for each in sent]
        await far.browser.peer.send(b"".join(data))

    return respond


async def close(far: Far, stream: int) -> None:
    await far.browser.peer.close()


async def reset(far: Far, stream: int) -> None:
    far.server.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
    await far.server.flush()


async def begin_and_close(far: Far, stream: int) -> None:
    far.server.h2.send_headers(stream, [(":status", "200")])
    await far.server.flush()
    await far.browser.peer.close()


async def too_large(far: Far, stream: int) -> None:
    await far.respond(stream, b"x", ("content-length", "1048577"))


async def too_little(far: Far, stream: int) -> None:
    far.server.h2.send_headers(stream, [(":status", "200"), ("content-length", "5")])
    far.server.h2.send_data(stream, b"abcd")
    far.server.h2.send_headers(stream, [("trailer", "t")], end_stream=True)
    await far.server.flush()


async def head_alone(far: Far, stream: int) -> None:
    far.server.h2.send_headers(stream, [(":status", "200"), ("content-length", "5")], end_stream=True)
    await far.server.flush()


async def large_head(far: Far, stream: int) -> None:
    await far.respond(stream, b"x", ("x", "y" * 32768))


async def many_interim(far: Far, stream: int) -> None:
    for _ in range(99):
        far.server.h2.send_headers(stream, [(":status", "103")])
    await far.server.flush()


STATUS = b"\x88"  # :status 200


def of_status(text: bytes) -> HeadersFrame:
    """A response with a status that need not be one."""
    block = hpack.Encoder().encode([(b":status", text)], huffman=False)
    return HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"])


BAD_STATUSES = (
    b"abc",
    b"",
    b"-20",
    b"0",
    b"99",
    b"2000",
    b"99999",
    b"2 0",
    b"+200",
    b"\xb2\xb0\xb0",
    b"2_00",
)


@pytest.mark.parametrize(
    ("respond", "text"),
    [
        (close, "connection closed before message completed"),
        (begin_and_close, "error reading a body from connection"),
        (reset, "stream error received: REFUSED_STREAM"),
        (frames(RstStreamFrame(1, 4242)), "stream error received: 4242"),
        (frames(RstStreamFrame(1, 2**32 - 1)), "stream error received: 4294967295"),
        *((frames(of_status(text)), "invalid HTTP header parsed") for text in BAD_STATUSES),
        (frames(GoAwayFrame(0, last_stream_id=0)), "connection closed before message completed"),
        (too_large, "response too large"),
        (large_head, "message head is too large"),
        (too_little, "http2 error: InvalidBodyLengthError: Expected 5 bytes, received 4"),
        (head_alone, "http2 error: InvalidBodyLengthError: Expected 5 bytes, received 0"),
        (many_interim, "too many interim responses"),
        (frames(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "http2 error: "),
        (frames(*[PingFrame(0, bytes(8))] * 20), "http2 error: "),
        (frames(*[SettingsFrame(0)] * 20), "http2 error: "),
        (frames(PushPromiseFrame(1, 2, STATUS, flags=["END_HEADERS"])), "http2 error: "),
        (frames(HeadersFrame(1, b"\xff" * 9, flags=["END_HEADERS"])), "http2 error: "),
        (frames(HeadersFrame(1, STATUS, flags=["END_HEADERS"]), *[DataFrame(1)] * 1000), "http2 error: "),
    ],
)
async def test_failures(respond: Callable[[Far, int], Any], text: str) -> None:
    async with open_far() as browser:
        far = Far(browser)
        written = far.write()
        await respond(far, await far.request())
        with pytest.raises(HostcallError) as caught, trio.fail_after(10):
            await outcome(written)
        assert caught.value.text.startswith(FAILED + text)
        assert await read_all(browser.reader) == b""
        await browser.is_over.wait()
        assert browser.account.held == 0


async def test_a_server_that_never_opens_its_window(autojump_clock: trio.testing.MockClock) -> None:
    async with open_far() as browser:
        far = Far(browser)
        far.server.opens_windows = False
        written = far.write(b"POST / HTTP/2\r\n\r\n" + bytes(500_000))
        await far.request()

        async def listen() -> None:
            while not far.server.is_closed:
                await far.server.turn()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            with pytest.raises(HostcallError) as caught:
                await outcome(written)
            nursery.cancel_scope.cancel()
        assert caught.value.text == FAILED + "the peer took nothing for 30.0 s"
        assert trio.current_time() == 30


async def test_the_process_ends_and_the_connection_is_closed_at_once() -> None:
    async with open_far() as browser:
        far = Far(browser)
        far.write()
        await far.request()
        browser.writer.release(Departure.PROCESS_ENDED)
        browser.reader.release(Departure.PROCESS_ENDED)
        await browser.is_over.wait()
        assert await goodbye_of(browser.peer) is None
        assert browser.account.held == 0
