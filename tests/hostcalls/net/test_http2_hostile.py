"""HTTP/2 peers that mean harm: the connection ends, or the stream, and nobody else is disturbed."""

from __future__ import annotations

import struct

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net import http2_server
from enfilade.hostcalls.net.settings import NetworkSettings
from tests.hostcalls.net.h2_peers import PREFACE, H2Peer, fields, goodbye_of, raw
from tests.hostcalls.net.peers import Server, open_server, settled

OK = b"HTTP/2 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def connect(server: Server) -> H2Peer:
    return H2Peer(await server.connect(http2_server.serve))


def block(*others: tuple[str, str]) -> bytes:
    return Encoder().encode(fields("/", "GET", "localhost", *others))


def headers_frame(stream: int, data: bytes = b"", *flags: str) -> HeadersFrame:
    return HeadersFrame(stream, data or block(), flags=["END_HEADERS", *flags])


def whole(stream: int, data: bytes = b"") -> HeadersFrame:
    return headers_frame(stream, data, "END_STREAM")


CALM = ErrorCodes.ENHANCE_YOUR_CALM
PROTOCOL_ERROR = ErrorCodes.PROTOCOL_ERROR


def rapid_resets(count: int) -> list[Frame]:
    return [
        frame
        for stream in range(1, 2 * count, 2)
        for frame in (whole(stream), RstStreamFrame(stream, error_code=8))
    ]


def bomb() -> list[Frame]:
    """A header of 4000 bytes in the table, and 4000 references to it."""
    encoder = Encoder()
    first = encoder.encode([*fields(), ("x", "y" * 4000)])
    return [whole(1, first), whole(3, encoder.encode(fields()) + b"\xbe" * 4000)]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(rapid_resets(100), CALM, id="net-139"),
        pytest.param([SettingsFrame(0, {3: 5})] * 20, CALM, id="SETTINGS"),
        pytest.param([PingFrame(0, bytes(8))] * 20, CALM, id="PING"),
        pytest.param([headers_frame(1), *[DataFrame(1, b"")] * 1000], CALM, id="empty DATA"),
        pytest.param(
            [headers_frame(1), *[DataFrame(1, b"", pad_length=9, flags=["PADDED"])] * 1000],
            CALM,
            id="padding",
        ),
        pytest.param([PriorityFrame(1, depends_on=0)] * 1000, CALM, id="PRIORITY"),
        pytest.param([WindowUpdateFrame(0, window_increment=1)] * 1000, CALM, id="WINDOW_UPDATE"),
        pytest.param([b"\x00\x00\x00\x77\x00\x00\x00\x00\x00"] * 1000, CALM, id="unknown"),
        pytest.param(
            [HeadersFrame(1, block()), *[ContinuationFrame(1, bytes(16000))] * 99], CALM, id="CONTINUATION"
        ),
        pytest.param(
            [HeadersFrame(1, block()), *[ContinuationFrame(1, b"")] * 99],
            PROTOCOL_ERROR,
            id="empty CONTINUATION",
        ),
        pytest.param(bomb(), CALM, id="HPACK"),
        pytest.param(
            [
                frame
                for stream in range(1, 300, 2)
                for frame in (headers_frame(stream), WindowUpdateFrame(stream, window_increment=2**31 - 1))
            ],
            CALM,
            id="made to reset",
        ),
        pytest.param([whole(stream) for stream in range(1, 500, 2)], CALM, id="250 streams"),
        pytest.param([b"\x00\x40\x01\x00" + bytes(5)], ErrorCodes.FRAME_SIZE_ERROR, id="overlong"),
        pytest.param(
            [whole(1, Encoder().encode([*fields(), ("Upper", "x")]))], PROTOCOL_ERROR, id="upper case"
        ),
        pytest.param(
            [whole(1, Encoder().encode([("x", "y"), *fields()]))],
            PROTOCOL_ERROR,
            id="pseudo-header after header",
        ),
        pytest.param([whole(1, block(("connection", "close")))], PROTOCOL_ERROR, id="connection"),
        pytest.param([whole(2)], PROTOCOL_ERROR, id="even stream"),
        pytest.param([b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x"], PROTOCOL_ERROR, id="DATA on 0"),
        pytest.param(
            [headers_frame(1), *[DataFrame(1, bytes(16384))] * 5],
            ErrorCodes.FLOW_CONTROL_ERROR,
            id="beyond the window",
        ),
        pytest.param(
            [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"], ErrorCodes.FRAME_SIZE_ERROR, id="HTTP/1.1"
        ),
    ],
)
async def test_hostile_frames_end_the_connection_and_no_other(
    frames: list[Frame | bytes], code: ErrorCodes, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_server(limits=Limits(net_bytes=10_000)) as server:
        other = await connect(server)
        hostile = await server.connect(http2_server.serve)

        async def send() -> None:
            await raw(hostile, PREFACE, *frames)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await goodbye_of(hostile) is code
        await hostile.close()
        await trio.testing.wait_all_tasks_blocked()
        assert server.account.held == 0
        assert await server.accepts_nothing()
        stream = await other.request()
        settled((await server.accept()).writer.write(OK))
        assert (await other.response(stream))[1] == b"hi"


async def test_frames_on_a_closed_stream_are_errors_of_the_stream() -> None:
    async with open_server() as server:
        peer = await connect(server)
        stream = peer.begin(end=True)
        await peer.peer.send(peer.h2.data_to_send() + DataFrame(stream, b"x").serialize())
        await peer.until_reset(stream)
        assert peer.resets == {stream: ErrorCodes.STREAM_CLOSED}
        assert await server.accepts_nothing()
        served = await peer.request()
        settled((await server.accept()).writer.write(OK))
        await peer.until_ended(served)


async def test_a_wrong_preface() -> None:
    async with open_server() as server:
        peer = await server.connect(http2_server.serve)
        await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await goodbye_of(peer) is PROTOCOL_ERROR


async def test_floods_are_forgiven_after_a_completed_request() -> None:
    async with open_server() as server:
        peer = await connect(server)
        for _ in range(5):
            for _ in range(15):
                peer.h2.ping(bytes(8))
            stream = await peer.request()
            settled((await server.accept()).writer.write(OK))
            await peer.until_ended(stream)


async def test_floods_are_forgiven_after_their_period(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await connect(server)
        for _ in range(100):
            peer.h2.ping(bytes(8))
            await peer.flush()
            await trio.sleep(0.6)
        assert peer.goodbye is None
        stream = await peer.request()
        settled((await server.accept()).writer.write(OK))
        await peer.until_ended(stream)


async def test_a_table_for_headers_does_not_grow_as_the_peer_likes() -> None:
    async with open_server() as server:
        peer = await connect(server)
        peer.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 2**31})
        stream = await peer.request()
        settled((await server.accept()).writer.write(OK))
        await peer.until_ended(stream)
        assert peer.h2.decoder.header_table_size == 4096


frames = st.builds(
    lambda kind, flags, stream, payload: (
        struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
    ),
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x24, 0x25, 0xFF]),
    st.sampled_from([0, 1, 3, 5, 2, 0x7FFFFFFF]),
    st.one_of(
        st.binary(max_size=12),
        st.just(block()),
        st.just(bytes(8)),
        st.just(bytes(4)),
        st.just(b"\x00\x03\x00\x00\x00\x01"),
    ),
)


@settings(max_examples=60)
@given(st.lists(frames, max_size=8))
def test_any_frames_are_answered_or_end_the_connection(sequence: list[bytes]) -> None:
    """No frame raises what is not expected, leaves bytes behind, or keeps a peer that has closed."""

    async def main() -> None:
        async with open_server(settings=NetworkSettings(response_timeout=1)) as server:
            peer = await server.connect(http2_server.serve)
            await peer.send(PREFACE + b"".join(sequence))
            await peer.finish()
            await peer.rest()
            await trio.testing.wait_all_tasks_blocked()
            assert server.account.held == 0

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
