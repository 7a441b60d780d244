"""HTTP/2: streams as requests, the host's rules, and peers that mean harm. In memory, under virtual time."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    DataFrame,
    HeadersFrame,
    PingFrame,
)

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net import http2_server
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.h2_peers import PREFACE, H2Peer, fields, goodbye_of
from tests.hostcalls.net.peers import Server, open_server, read_all, settled

OK = b"HTTP/2 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def connect(server: Server) -> H2Peer:
    return H2Peer(await server.connect(http2_server.serve))


async def request_of(headers: Any, body: bytes | None = None, domain: str = "localhost") -> bytes:
    """What the guest reads of a request."""
    async with open_server(domain) as server:
        peer = await connect(server)
        await peer.request(headers, body)
        return await read_all((await server.accept()).reader)


async def refusal_of(headers: Any, body: bytes | None = None, domain: str = "localhost") -> tuple[str, bytes]:
    """Code and body of the host's refusal; the guest sees nothing, and the connection goes on."""
    async with open_server(domain) as server:
        peer = await connect(server)
        head, text = await peer.response(await peer.request(headers, body))
        assert await server.accepts_nothing()
        served = await peer.request(fields(authority=domain or "any"))
        settled((await server.accept()).writer.write(OK))
        assert (await peer.response(served))[1] == b"hi"
        return head[":status"], text


async def response_of(payload: bytes, method: str = "GET") -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body that the peer gets for what the guest writes."""
    async with open_server() as server:
        peer = await connect(server)
        stream = await peer.request(fields(method=method))
        settled((await server.accept()).writer.write(payload))
        await peer.until_ended(stream)
        return peer.heads[stream], peer.bodies[stream]


async def test_authority_is_the_first_header_unless_there_is_a_host() -> None:
    assert await request_of(fields("/a?b", "GET", "LocalHost:1", ("x", "y"))) == (
        b"GET /a?b HTTP/2\r\nhost: LocalHost:1\r\nx: y\r\ncontent-length: 0\r\n\r\n"
    )
    with_host = [*fields()[:2], (":path", "/"), ("x", "y"), ("host", "localhost")]
    assert await request_of(with_host) == (
        b"GET / HTTP/2\r\nx: y\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
    )


async def test_bodies_and_trailers() -> None:
    async with open_server() as server:
        peer = await connect(server)
        stream = peer.begin(fields(method="POST"))
        peer.h2.send_data(stream, b"ab", pad_length=9)
        peer.h2.send_data(stream, b"c")
        peer.h2.send_headers(stream, [("trailer", "t")], end_stream=True)
        await peer.flush()
        text = await read_all((await server.accept()).reader)
        assert text == b"POST / HTTP/2\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc"


@pytest.mark.parametrize("body", [None, b"", b"abcd"], ids=["head alone", "nothing", "too little"])
async def test_a_body_of_another_length_is_no_request(body: bytes | None) -> None:
    """RFC 9113, 8.1.1: the stream is reset, whether its head or its trailers end it; others are served."""
    async with open_server() as server:
        peer = await connect(server)
        bad = peer.begin(fields("/", "POST", "localhost", ("content-length", "5")), end=body is None)
        if body is not None:
            peer.h2.send_data(bad, body)
            peer.h2.send_headers(bad, [("trailer", "t")], end_stream=True)
        await peer.flush()
        await peer.until_reset(bad)
        assert peer.resets[bad] == ErrorCodes.PROTOCOL_ERROR
        stream = await peer.request(fields("/next"))
        connection = await server.accept()
        assert (await read_all(connection.reader)).startswith(b"GET /next ")
        settled(connection.writer.write(OK))
        await peer.until_ended(stream)
        assert server.account.held == 0


async def test_large_bodies_get_windows_as_they_are_stored() -> None:
    async with open_server() as server:
        peer = await connect(server)
        stream = peer.begin(fields(method="POST"))
        left = 1024 * 1024
        while left:
            size = min(left, peer.h2.local_flow_control_window(stream), 16384)
            if size:
                left -= size
                peer.h2.send_data(stream, bytes(size), end_stream=not left)
                await peer.flush()
            else:
                await peer.turn()
        assert len(await read_all((await server.accept()).reader)) > 1024 * 1024
        assert server.account.held == 0


@pytest.mark.parametrize(
    ("headers", "body", "refusal"),
    [
        (fields(authority="other"), None, ("421", b"host mismatch")),
        ([(":method", "CONNECT"), (":authority", "localhost")], None, ("501", b"not implemented")),
        (fields("/a b"), None, ("400", b"")),
        (fields("x"), None, ("400", b"")),
        (fields(method="G T"), None, ("400", b"")),
        (fields("/", "GET", "localhost", ("x(y", "z")), None, ("400", b"")),
        (fields("/", "GET", "localhost", ("x", "a\x01b")), None, ("400", b"")),
        (fields("/", "GET", "localhost", ("x", "y" * 32768)), None, ("431", b"")),
        (fields("/", "GET", "localhost", *[("x", "y")] * 100), None, ("431", b"")),
        (
            fields("/", "POST", "localhost", ("content-length", "1048577")),
            None,
            ("413", b"request too large"),
        ),
    ],
)
async def test_refusals(headers: Any, body: bytes | None, refusal: tuple[str, bytes]) -> None:
    if refusal[0] == "413":
        async with open_server() as server:
            peer = await connect(server)
            stream = peer.begin(headers)
            await peer.flush()
            head, text = await peer.response(stream)
            assert (head[":status"], text) == refusal
            assert await server.accepts_nothing()
        return
    assert await refusal_of(headers, body) == refusal


async def test_a_body_that_grows_too_large() -> None:
    async with open_server(limits=Limits(http_body=1000)) as server:
        peer = await connect(server)
        stream = peer.begin(fields(method="POST"))
        peer.h2.send_data(stream, bytes(1001))
        await peer.flush()
        head, text = await peer.response(stream)
        assert (head[":status"], text) == ("413", b"request too large")
        await peer.until_reset(stream)
        assert peer.resets[stream] == ErrorCodes.NO_ERROR
        assert server.account.held == 0


async def test_headers_about_the_connection_are_left_out_of_responses() -> None:
    head, body = await response_of(
        b"HTTP/2 404 Gone fishing\r\nX-A: 1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\n"
        b"Transfer-Encoding: gzip\r\nUpgrade: x\r\nTe: trailers\r\n\r\nbody"
    )
    assert head == [
        (":status", "404"),
        ("x-a", "1"),
        ("content-length", "4"),
        ("date", "Fri, 13 Feb 2009 23:31:30 GMT"),
    ]
    assert body == b"body"


async def test_head_has_the_length_and_no_body() -> None:
    head, body = await response_of(OK, "HEAD")
    assert ("content-length", "2") in head
    assert body == b""


async def test_large_responses_go_as_the_windows_allow_and_take_turns() -> None:
    async with open_server() as server:
        peer = await connect(server)
        large, small = await peer.request(), await peer.request(fields("/2"))
        payload = b"HTTP/2 200 OK\r\n\r\n" + bytes(500_000)
        settled((await server.accept()).writer.write(payload))
        settled((await server.accept()).writer.write(OK))
        await peer.until_ended(small)
        assert large not in peer.ended
        assert (await peer.response(large))[1] == bytes(500_000)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_stream_that_is_reset_is_withdrawn() -> None:
    async with open_server() as server:
        peer = await connect(server)
        first, second = await peer.request(), await peer.request(fields("/2"))
        await trio.testing.wait_all_tasks_blocked()
        peer.h2.reset_stream(first)
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
        connection = await server.accept()
        assert (await read_all(connection.reader)).startswith(b"GET /2 ")
        settled(connection.writer.write(OK))
        await peer.until_ended(second)


async def test_a_stream_that_is_reset_after_the_accept() -> None:
    async with open_server() as server:
        peer = await connect(server)
        stream = await peer.request()
        connection = await server.accept()
        peer.h2.reset_stream(stream)
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert settled(connection.writer.write(OK)) == len(OK)
        assert await read_all(connection.reader)
        assert server.account.held == 0


async def test_a_client_that_has_said_goodbye_is_answered() -> None:
    async with open_server() as server:
        peer = await connect(server)
        stream = await peer.request()
        connection = await server.accept()
        frame = struct.pack(">I", 8)[1:] + b"\x07" + bytes(5) + bytes(8)
        await peer.peer.send(frame)
        await peer.finish()
        await trio.testing.wait_all_tasks_blocked()
        settled(connection.writer.write(OK))
        assert (await peer.response(stream))[1] == b"hi"
        assert await peer.until_closed() == ErrorCodes.NO_ERROR


async def test_a_body_that_breaks_off() -> None:
    async with open_server() as server:
        peer = await connect(server)
        stream = peer.begin(fields(method="POST"))
        await peer.flush()
        await peer.finish()
        head, text = await peer.response(stream)
        assert (head[":status"], text) == ("500", b"request failed")


async def test_guests_that_do_not_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await connect(server)
        late, gone = await peer.request(), await peer.request()
        accepted = await server.accept()
        (await server.accept()).writer.release(Departure.PROCESS_ENDED)
        assert (await peer.response(gone))[1] == b"invalid response"
        assert (await peer.response(late))[1] == b"response timeout"
        assert trio.current_time() == 60
        assert settled(accepted.writer.write(OK)) == len(OK)


async def test_slow_bodies(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await connect(server)
        stream = peer.begin(fields(method="POST"))
        await peer.flush()
        head, text = await peer.response(stream)
        assert (head[":status"], text) == ("408", b"request timeout")
        assert trio.current_time() == 10
        slow = peer.begin(fields(method="POST"))
        await peer.flush()

        async def trickle() -> None:
            frame = DataFrame(slow, bytes(16384)).serialize()
            for byte in range(len(frame)):
                await trio.sleep(1)
                await peer.peer.send(frame[byte : byte + 1])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            assert (await peer.response(slow))[1] == b"request timeout"
            assert trio.current_time() == 70
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("sent", "seconds", "code"),
    [
        (b"", 10, ErrorCodes.ENHANCE_YOUR_CALM),
        (PREFACE[:9], 10, ErrorCodes.ENHANCE_YOUR_CALM),
        (PREFACE + b"\x00\x00\x09\x01", 10, ErrorCodes.ENHANCE_YOUR_CALM),
        (PREFACE + HeadersFrame(1, b"\x82").serialize(), 10, ErrorCodes.ENHANCE_YOUR_CALM),
        (PREFACE, 75, ErrorCodes.NO_ERROR),
    ],
    ids=["nothing", "preface", "frame", "block", "no request"],
)
async def test_slow_heads(
    sent: bytes, seconds: float, code: ErrorCodes, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_server() as server:
        peer = await server.connect(http2_server.serve)
        await peer.send(sent)
        assert await goodbye_of(peer) is code
        # A peer that does not close its side is given 2 s to read the goodbye.
        assert seconds <= trio.current_time() <= seconds + 2


async def test_frames_of_which_reads_end_in_the_middle_are_no_slow_heads(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_server() as server:
        peer = await connect(server)
        await peer.flush()
        frame = PingFrame(0, bytes(8)).serialize()
        await peer.peer.send(frame[:5])
        for _ in range(15):
            await trio.sleep(1)
            await peer.peer.send(frame[5:] + frame[:5])
        await trio.sleep(1)
        stream = peer.begin(end=True)
        await peer.peer.send(frame[5:] + peer.h2.data_to_send())
        settled((await server.accept()).writer.write(OK))
        assert (await peer.response(stream))[1] == b"hi"


async def test_a_peer_that_never_opens_its_window(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await connect(server)
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        stuck = await peer.request()
        connection = await server.accept()
        settled(connection.writer.write(OK))
        connection.writer.release(Departure.RELEASED)
        await trio.testing.wait_all_tasks_blocked()
        assert server.account.held > 0
        await peer.until_reset(stuck)
        assert trio.current_time() == 30
        connection.reader.release(Departure.RELEASED)
        assert server.account.held == 0


async def test_a_peer_that_reads_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await connect(server)
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        peer.h2.increment_flow_control_window(2**31 - 1 - 65535)
        await peer.request()
        settled((await server.accept()).writer.write(b"HTTP/2 200 OK\r\n\r\n" + bytes(1_000_000)))
        await trio.sleep(29)
        held = server.account.held
        assert held > 1_000_000
        await trio.sleep(2)
        assert server.account.held < 1000
        with pytest.raises(trio.BrokenResourceError):
            await peer.peer.send(bytes(9))


async def test_refused_streams_and_a_limit_that_was_told(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await connect(server)
        streams = [peer.begin(end=True) for _ in range(40)]
        await peer.flush()
        while len(peer.resets) < 8:
            await peer.turn()
        assert set(peer.resets) == set(streams[32:])
        assert set(peer.resets.values()) == {ErrorCodes.REFUSED_STREAM}
        assert peer.h2.remote_settings.max_concurrent_streams == 32
        for stream in streams[:32]:
            settled((await server.accept()).writer.write(OK))
            await peer.until_ended(stream)


async def test_a_guest_without_room_gets_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(limits=Limits(net_bytes=100_000)) as server:
        peer = await connect(server)
        streams = [peer.begin(fields(method="POST")) for _ in range(4)]
        for stream in streams:
            peer.h2.send_data(stream, bytes(10_000))
        await peer.flush()
        sent = 40_000
        with trio.move_on_after(1):
            while True:
                size = min(peer.h2.local_flow_control_window(streams[0]), 16384)
                if size:
                    sent += size
                    peer.h2.send_data(streams[0], bytes(size))
                    await peer.flush()
                else:
                    await peer.turn()
        assert 100_000 <= server.account.held <= 200_000
        assert sent <= 200_000
        for stream in streams[1:]:
            peer.h2.reset_stream(stream)
        peer.h2.reset_stream(streams[0])
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert server.account.held == 0


async def test_a_closed_listener_ends_idle_connections() -> None:
    async with open_server() as server:
        idle, busy = await connect(server), await connect(server)
        stream = await busy.request()
        await idle.flush()
        connection = await server.accept()
        server.listener.close()
        assert await idle.until_closed() == ErrorCodes.NO_ERROR
        late = await busy.request()
        head, text = await busy.response(late)
        assert (head[":status"], text) == ("503", b"listener closed")
        settled(connection.writer.write(OK))
        assert (await busy.response(stream))[1] == b"hi"
        assert await busy.until_closed() == ErrorCodes.NO_ERROR
