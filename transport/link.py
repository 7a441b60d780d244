"""The state of one node link, without input or output.

What goes out is a queue of encoded frames, cut into batches; one batch is under way at a time. What comes
in is checked and handed on. The rules:

* Order. Frames leave in the order of `send`, and a batch carries its number. A number that was due earlier
  means that the batch was handed over twice, and it is passed over; one that is not due yet means that
  something was lost, which ends the node link. So frames arrive once and in order, or the node link is down
  and everybody is told.
* Credit. Each side announces a window, and tells with every batch how many bytes of frames it has taken in
  since the beginning. A sender has at most a window of bytes under way beyond that count. An inlet that
  holds a window therefore never overflows between honest nodes; when it says FULL all the same, the very
  same batch is sent again later.
* Life. Any batch is a sign of life. A side that has sent nothing for a quarter of the period sends an empty
  batch. A side that has heard nothing for a whole period declares the peer dead.

Times come from outside, as seconds of whatever clock the caller uses, so that tests can run in virtual time.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import attrs

from transport.carrier import Handle
from transport.policy import Limits
from transport.wire import Batch, MalformedBatch, decode_batch, encode_batch

__all__ = ["Backlogged", "NodeLink", "Outgoing"]

QUARTER: Final = 0.25
"""The part of the period after which an idle side says that it lives."""

HANDLES_LIMIT: Final = 200
"""Handles in one batch; below what one call can carry on every carrier."""

BATCH_LIMIT: Final = 64 * 1024
"""Bytes of frames in one batch, unless it is a single frame: a batch is taken in whole, and while that lasts
nobody else has a turn."""


class Backlogged(Exception):
    """So much waits for a peer that does not take it in that the node link must end."""


@attrs.frozen
class Outgoing:
    """A batch to hand over. The handles are the node link's own, to be closed when it has been accepted."""

    data: bytes
    handles: Sequence[Handle]


@attrs.define
class _Queued:
    frame: bytes
    handles: Sequence[Handle]


class NodeLink:
    """One node link, from the end of the handshake on.

    Args:
        window: bytes that we let the peer have under way.
        peer_window: bytes that the peer lets us have under way.
        limits: what we let the peer do.
        period: seconds of silence after which the peer is dead; the same on both sides.
        now: the time.
    """

    def __init__(self, *, window: int, peer_window: int, limits: Limits, period: float, now: float) -> None:
        self._window = window
        self._peer_window = peer_window
        self._limits = limits
        self._period = period
        # Out.
        self._queue: deque[bytes | _Queued] = deque()
        self._queued = 0
        self._sent = 0
        self._taken_in = 0
        self._sequence = 0
        self._under_way: Outgoing | None = None
        self._last_sent = now
        # In.
        self._expected = 0
        self._consumed = 0
        self._granted = 0
        self._last_heard = now
        self._allowance = limits.rate or 0.0
        self._allowance_at = now

    @property
    def queued(self) -> int:
        """Bytes of frames that wait to leave."""
        return self._queued

    @property
    def under_way(self) -> int:
        """Bytes of frames that have left, or are leaving, and that the peer has not yet taken in."""
        return self._sent - self._taken_in

    def send(self, frame: bytes, handles: Sequence[Handle] = ()) -> None:
        """Queue a frame.

        Args:
            frame: from `encode_frame`.
            handles: travel with it; the node link closes them.

        Raises:
            Backlogged: there is no room; nothing was queued.
        """
        if self._queued + len(frame) > self._limits.backlog:
            raise Backlogged(
                f"{self._queued} bytes wait for a peer that does not take them in; "
                f"the limit is {self._limits.backlog}"
            )
        self._queued += len(frame)
        self._queue.append(_Queued(frame, handles) if handles else frame)

    def next_batch(self, now: float) -> Outgoing | None:
        """The batch to hand over now, or None when there is nothing to say or no credit to say it.

        The same batch is given out again until it has been `accepted`. A frame larger than the peer's whole
        window leaves when nothing else is under way; it could never leave otherwise.
        """
        if self._under_way is not None:
            return self._under_way
        frames: list[bytes] = []
        handles: list[Handle] = []
        size = 0
        room = self._peer_window - self.under_way
        while self._queue:
            head = self._queue[0]
            frame = head if isinstance(head, bytes) else head.frame
            if size + len(frame) > room and (frames or self.under_way):
                break
            if frames and size + len(frame) > BATCH_LIMIT:
                break
            if isinstance(head, _Queued):
                if frames and len(handles) + len(head.handles) > HANDLES_LIMIT:
                    break
                handles += head.handles
            self._queue.popleft()
            frames.append(frame)
            size += len(frame)
        if not frames and not self.is_grant_due() and now < self.due_at():
            return None
        self._under_way = Outgoing(encode_batch(self._sequence, self._consumed, frames), handles)
        self._granted = self._consumed
        self._queued -= size
        self._sent += size
        self._last_sent = now
        return self._under_way

    def accepted(self) -> Sequence[Handle]:
        """Tell that the peer has the batch that was given out last.

        Returns:
            The handles to close.
        """
        handles = () if self._under_way is None else self._under_way.handles
        self._under_way = None
        self._sequence += 1
        return handles

    def received(self, data: bytes, now: float) -> Batch:
        """Take in a batch. One that came before comes out empty.

        Raises:
            MalformedBatch: it is not one, or one before it is missing, or it grants what was not sent.
        """
        batch = decode_batch(data)
        if batch.sequence > self._expected:
            raise MalformedBatch(f"batch {batch.sequence} came where {self._expected} was due")
        if batch.sequence < self._expected:
            # Handed over again, because its sender could not know whether it had arrived.
            return attrs.evolve(batch, frames=(), size=0)
        if not self._taken_in <= batch.consumed <= self._sent:
            raise MalformedBatch(f"the peer says that it took in {batch.consumed} of {self._sent} bytes")
        self._expected += 1
        self._taken_in = batch.consumed
        self._last_heard = now
        self._consumed += batch.size
        if self._limits.rate is not None:
            elapsed, self._allowance_at = now - self._allowance_at, now
            self._allowance = min(self._limits.rate, self._allowance + elapsed * self._limits.rate)
            self._allowance -= len(batch.frames)
        return batch

    def pause(self) -> float:
        """Seconds to wait before taking in more, so that the peer keeps to its rate."""
        if self._limits.rate is None or self._allowance >= 0:
            return 0.0
        return -self._allowance / self._limits.rate

    def dead_at(self) -> float:
        """When the peer is dead, if nothing is heard from it before."""
        return self._last_heard + self._period

    @property
    def quarter(self) -> float:
        """Seconds without sending after which a sign of life is due."""
        return self._period * QUARTER

    def due_at(self) -> float:
        """When to give a sign of life, if nothing is sent before."""
        return self._last_sent + self.quarter

    def leftovers(self) -> Sequence[Handle]:
        """Forget everything that waits to leave, and return the handles to close: the node link is over."""
        handles = [] if self._under_way is None else list(self._under_way.handles)
        for queued in self._queue:
            if isinstance(queued, _Queued):
                handles += queued.handles
        self._queue.clear()
        self._queued = 0
        self._under_way = None
        return handles

    def is_grant_due(self) -> bool:
        """Whether the peer should be told that it may send more."""
        return 2 * (self._consumed - self._granted) >= self._window
