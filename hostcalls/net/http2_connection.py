"""One HTTP/2 connection, whichever side this one has.

h2 keeps the state of the protocol and encodes headers. It is given one frame at a time, so that floods are
seen before they cost anything, and no GOAWAY, after which it would refuse the responses that are due.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    Event,
    RemoteSettingsChanged,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from enfilade.hostcalls.net.frames import (
    GOAWAY,
    PREFACE,
    Flooded,
    FloodGuard,
    FrameReader,
    Overlong,
)
from enfilade.hostcalls.net.outgoing import send_all
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.stint import Stint

_READ = 16 * 1024
"""Bytes to read at one time."""

_PART = 16 * 1024
"""Bytes of a body that are sent before other streams have their turn."""

_LARGEST_TABLE = 4096
"""Bytes of the table with which headers are compressed. Peers may want it larger, in memory of this side."""


class Http2Connection:
    """The part of a connection that is the same in both roles: bytes to events, and back.

    Attributes:
        at_end: True when the peer has closed its side.
        last_stream: the last stream that the peer will look at, after it has said goodbye; None before.
    """

    def __init__(self, stream: trio.abc.Stream, settings: NetworkSettings, *, is_client: bool) -> None:
        self.stream = stream
        self.settings = settings
        self.h2 = H2Connection(
            H2Configuration(client_side=is_client, header_encoding=None, normalize_inbound_headers=False)
        )
        if is_client:
            self.h2.local_settings = Settings(
                initial_values={
                    SettingCodes.ENABLE_PUSH: 0,
                    SettingCodes.MAX_HEADER_LIST_SIZE: 2 * settings.head_bytes,
                }
            )
        self.frames = FrameReader(b"" if is_client else PREFACE, 2 * settings.head_bytes)
        self.floods = FloodGuard(settings)
        self.stint = Stint()
        self.at_end = False
        self.last_stream: int | None = None

    async def flush(self) -> None:
        """Send what h2 has to send. A checkpoint if there is anything."""
        if data := self.h2.data_to_send():
            await send_all(self.stream, data, self.settings.write_timeout)

    async def read(self) -> bytes:
        """Read once. Cancelled, it has read nothing. A checkpoint."""
        data = bytes(await self.stream.receive_some(_READ))
        if not data:
            self.at_end = True
        return data

    async def take_in(self, data: bytes, handle: Callable[[Event], None]) -> None:
        """Give `handle` the events in what the peer has sent. Answers of the protocol wait to be flushed.

        Raises `H2Error`, `Flooded` and `Overlong`, with what is to be said about it waiting to be flushed.
        """
        try:
            for part in self.frames.feed(data):
                if isinstance(part, bytes):
                    if part != PREFACE:
                        self.h2.close_connection(ErrorCodes.PROTOCOL_ERROR)
                    self.h2.receive_data(part)
                    continue
                self.floods.count(part)
                if part.type == GOAWAY:
                    self.last_stream = int.from_bytes(part.payload[:4], "big") & 0x7FFFFFFF
                    continue
                for event in self.h2.receive_data(part.raw):
                    if isinstance(event, RemoteSettingsChanged):
                        table = self.h2.encoder.header_table_size
                        self.h2.encoder.header_table_size = min(table, _LARGEST_TABLE)
                    handle(event)
                await self.stint.rest()
        except Overlong:
            self.h2.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
            raise
        except Flooded:
            self.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            raise

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End a stream; nothing happens if it has ended."""
        with contextlib.suppress(H2Error):
            self.h2.reset_stream(stream_id, code)

    def send_body(self, stream_id: int, body: memoryview) -> int:
        """Send a part of a body, its end included, as the peer's window allows.

        Returns: bytes sent. Ends the stream with the last of them.
        """
        window = self.h2.local_flow_control_window(stream_id)
        size = min(len(body), window, _PART, self.h2.max_outbound_frame_size)
        if size > 0:
            self.h2.send_data(stream_id, bytes(body[:size]), end_stream=size == len(body))
            self.floods.progress()
        return max(0, size)
