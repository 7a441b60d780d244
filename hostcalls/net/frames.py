"""HTTP/2 frames as they arrive: cut from the bytes, and counted, before anything is decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs
import trio

from enfilade.hostcalls.net.settings import NetworkSettings

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 2, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
"""Types of frames, as RFC 9113 numbers them."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""Bytes with which a client begins."""

_HEADER = 9
_LONGEST = 16384
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4

_OTHER_FRAMES = 1000
"""Frames that carry nothing, within the period, that end a connection: empty DATA, PRIORITY, unknown types,
and windows that are opened without a response that waits for them.
"""


class Overlong(Exception):
    """A frame is longer than this side has allowed."""


class Flooded(Exception):
    """The peer sends too much that leads to nothing."""


@attrs.frozen
class Frame:
    """One whole frame.

    Attributes:
        type: as the RFC numbers them.
        flags: of the type.
        stream: its stream's number; 0 for the connection.
        raw: header and payload.
    """

    type: int
    flags: int
    stream: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        return self.raw[_HEADER:]

    @property
    def is_idle(self) -> bool:
        """True for a DATA frame that neither carries anything nor ends its stream."""
        return self.type == DATA and len(self.raw) == _HEADER and not self.flags & _END_STREAM


class FrameReader:
    """Cuts what a peer sends into frames.

    Args:
        preface: bytes that come before the first frame. Whether they are right is for others to see.
        longest_head: bytes of one block of headers, compressed, over all its frames.

    Attributes:
        head_since: since when the beginning of a head, or of anything else but DATA, waits for its end;
            None without one.
        data_stream: the stream of which a DATA frame waits for its end; 0 without one.
    """

    def __init__(self, preface: bytes, longest_head: int) -> None:
        self._preface = len(preface)
        self._longest_head = longest_head
        self._buffer = bytearray()
        self._block = 0  # bytes of the block of headers that is not at its end
        self.head_since = trio.current_time() if preface else None
        self.data_stream = 0

    def feed(self, data: bytes) -> Iterator[Frame | bytes]:
        """The frames that are whole now; before them the preface, as bytes, when it is.

        Raises `Overlong` and `Flooded`.
        """
        self._buffer += data
        if self._preface:
            if len(self._buffer) < self._preface:
                self._note_rest()
                return
            preface = self._take(self._preface)
            self._preface = 0
            yield preface
        while len(self._buffer) >= _HEADER:
            length = int.from_bytes(self._buffer[:3], "big")
            if length > _LONGEST:
                raise Overlong
            if len(self._buffer) < _HEADER + length:
                break
            raw = self._take(_HEADER + length)
            frame = Frame(raw[3], raw[4], int.from_bytes(raw[5:9], "big") & 0x7FFFFFFF, raw)
            self._count_block(frame)
            if not self._block:
                self.head_since = None
            yield frame
        self._note_rest()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _count_block(self, frame: Frame) -> None:
        if frame.type not in (HEADERS, CONTINUATION):
            return
        self._block += len(frame.raw)
        if self._block > self._longest_head:
            raise Flooded("a block of headers is too large")
        if frame.flags & _END_HEADERS:
            self._block = 0

    def _note_rest(self) -> None:
        """Note since when there is a beginning without an end."""
        is_data = len(self._buffer) >= _HEADER and self._buffer[3] == DATA
        self.data_stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF if is_data else 0
        if not self._block and (is_data or (not self._buffer and not self._preface)):
            self.head_since = None
        elif self.head_since is None:
            self.head_since = trio.current_time()


class FloodGuard:
    """Counts what a peer sends for nothing, within a period without a completed request.

    Args:
        settings: how many frames of which kind are too many.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        self._period = settings.http2_period
        self._times: dict[str, deque[float]] = {
            "resets": deque(maxlen=settings.http2_resets),
            "SETTINGS": deque(maxlen=settings.http2_settings),
            "PINGs": deque(maxlen=settings.http2_pings),
            "other frames": deque(maxlen=_OTHER_FRAMES),
        }

    def count(self, frame: Frame) -> None:
        """Count a frame. Raises `Flooded` when it is one too many."""
        if frame.type == SETTINGS and not frame.flags & _ACK:
            self._add("SETTINGS")
        elif frame.type == PING and not frame.flags & _ACK:
            self._add("PINGs")
        elif frame.type == RST_STREAM:
            self.count_reset()
        elif frame.type in (PRIORITY, WINDOW_UPDATE) or frame.type > CONTINUATION or frame.is_idle:
            self._add("other frames")

    def count_reset(self) -> None:
        """Count a stream that came to nothing, whoever ended it. Raises `Flooded` when it is one too many."""
        self._add("resets")

    def count_empty(self) -> None:
        """Count a frame that brought nothing but padding. Raises `Flooded` when it is one too many."""
        self._add("other frames")

    def progress(self) -> None:
        """Some of a response was sent: windows were opened for it."""
        self._times["other frames"].clear()

    def completed(self) -> None:
        """A request was completed: begin to count again."""
        for times in self._times.values():
            times.clear()

    def _add(self, kind: str) -> None:
        times = self._times[kind]
        now = trio.current_time()
        times.append(now)
        if len(times) == times.maxlen and now - times[0] <= self._period:
            raise Flooded(f"too many {kind}")
