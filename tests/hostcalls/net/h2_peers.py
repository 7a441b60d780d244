"""HTTP/2 peers in memory: h2 as the other side, and frames that no library would send."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from hyperframe.frame import Frame, SettingsFrame

from tests.hostcalls.net.peers import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()

Fields = list[tuple[str, str]]


def fields(
    path: str = "/", method: str = "GET", authority: str = "localhost", *others: tuple[str, str]
) -> Fields:
    """The headers of a request."""
    return [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *others]


class H2Peer:
    """The far end of an HTTP/2 connection.

    Attributes:
        h2: its state, for what the methods do not do.
        heads: headers by stream.
        bodies: bodies by stream.
        ended: streams that the near end has ended.
        resets: error codes by stream.
        goodbye: the error code of the near end's GOAWAY.
    """

    def __init__(self, peer: Peer, *, client: bool = True) -> None:
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=client, header_encoding="latin-1"))
        self.h2.initiate_connection()
        self.heads: dict[int, Fields] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        self.resets: dict[int, ErrorCodes | int] = {}
        self.goodbye: ErrorCodes | int | None = None
        self.is_closed = False
        self.is_finished = False
        self.opens_windows = True

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            await self.peer.send(data)

    async def finish(self) -> None:
        """Close the sending side."""
        self.is_finished = True
        await self.peer.finish()

    async def request(self, headers: Fields | None = None, body: bytes | None = None) -> int:
        """Send a whole request; its stream."""
        stream = self.begin(headers, end=body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        await self.flush()
        return stream

    def begin(self, headers: Fields | None = None, *, end: bool = False) -> int:
        """Begin a request; its stream. Nothing is sent before `flush`."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers or fields(), end_stream=end)
        return stream

    async def turn(self) -> list[Event]:
        """Receive once, and note what has come."""
        data = await self.peer.far.receive_some()
        if not data:
            self.is_closed = True
            return []
        events = self.h2.receive_data(data)
        for event in events:
            self.note(event)
        if not self.is_closed and self.goodbye is None and not self.is_finished:
            await self.flush()
        return events

    def note(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | RequestReceived):
            self.heads[event.stream_id] = [(str(name), str(value)) for name, value in event.headers]
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id] += event.data
            if self.opens_windows:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, ConnectionTerminated):
            self.goodbye = event.error_code

    async def until_ended(self, *streams: int) -> None:
        """Receive until these streams have ended."""
        with trio.fail_after(100):
            while not self.ended.issuperset(streams):
                assert not self.is_closed, "the connection was closed"
                await self.turn()

    async def until_reset(self, *streams: int) -> None:
        """Receive until these streams were reset."""
        with trio.fail_after(100):
            while not self.resets.keys() >= set(streams):
                assert not self.is_closed, "the connection was closed"
                await self.turn()

    async def until_closed(self) -> ErrorCodes | int | None:
        """Receive until the near end says goodbye; the error code."""
        with trio.fail_after(1000):
            while not self.is_closed and self.goodbye is None:
                await self.turn()
        return self.goodbye

    async def response(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Head and body of a response."""
        await self.until_ended(stream)
        return dict(self.heads[stream]), self.bodies[stream]


async def raw(peer: Peer, *frames: Frame | bytes) -> None:
    """Send frames as they are, all at once."""
    await peer.send(b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames))


async def goodbye_of(peer: Peer) -> Any:
    """The error code with which the near end closes the connection; None if it says nothing."""
    reader = H2Peer(peer)
    reader.h2.data_to_send()
    data = await peer.rest()
    code = None
    while len(data) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        if frame.type == 7:
            code = ErrorCodes(int.from_bytes(data[13:17], "big"))
        data = data[9 + length :]
    return code
