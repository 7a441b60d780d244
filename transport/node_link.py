"""The state of one node link, without input or output.

What goes out is a queue of encoded frames, gathered into batches as they come; one batch is under way at a
time. What comes in is checked and handed on. The rules:

* Order. Frames leave in the order of `send`, and a batch carries its number. A number that was due earlier
  means that the batch was handed over twice, and it is passed over; one that is not due yet means that
  something was lost, which ends the node link. So frames arrive once and in order, or the node link is down
  and everybody is told. Over a carrier that may lose batches, `ResumingLink` makes up for them.
* Credit. Each side announces a window, and tells with every batch how many bytes of frames it has taken in
  since the beginning, at the latest when that is half a window more than it last told. A sender has at most
  a window of bytes under way beyond that count, or half a window and one batch. An inlet that holds a window
  and a batch therefore never overflows between honest nodes; when it says FULL all the same, the very same
  batch is sent again later. The memory files that travel with frames count as the frames do, one by one, and
  no two of them are in one batch that have more than half a window together. Where descriptors do not
  travel, the files leave before their frame, in `chunks` that are cut when there is credit for them.
* Life. Any batch is a sign of life. Time is counted in quarters of the period, so that no message has to
  look at a clock. A side that has sent nothing for a whole quarter sends an empty batch, so an idle side
  speaks twice a period. A side takes the peer for dead at the fifth tick since the peer's last batch: 1 to
  1.25 periods after that batch, and so 0.5 to 1.25 periods after an idle peer froze.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from enfilade.transport.attachment import Attachment, handles_in
from enfilade.transport.carrier import Handle
from enfilade.transport.chunks import Pieces
from enfilade.transport.memory_file import weigh
from enfilade.transport.policy import Limits
from enfilade.transport.seal import Seal
from enfilade.transport.settings import Settings
from enfilade.transport.wire import (
    BATCH_LIMIT,
    OVERHEAD,
    Batch,
    Frame,
    MalformedBatch,
    decode_batch,
    encode_batch,
    files_of,
)

__all__ = ["Backlogged", "NodeLink", "Outgoing"]

QUARTERS: Final = 4
"""The parts of a period."""


class Backlogged(Exception):
    """Too much waits for a peer that takes nothing in, so the node link must end."""


class Outgoing(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A batch to hand over. The handles are the node link's own, to be closed when it has been accepted."""

    data: bytes
    handles: Sequence[Handle]


class _Gathered(msgspec.Struct, eq=False, gc=False):
    """Frames that leave together.

    Attributes:
        frames: as they are encoded.
        handles: that travel beside them.
        size: bytes of the frames.
        memory: bytes in the memory files among the handles.
        pieces: what leaves in chunks before them.
        data: the end of the last frame, when that is a chunk.
    """

    frames: list[bytes]
    handles: list[Handle]
    size: int
    memory: int
    pieces: Pieces | None = None
    data: memoryview | None = None

    def takes(self, handles: int, memory: int, window: int, most: int) -> bool:
        """Tell whether a frame with so many handles, and bytes in memory files, may leave with these."""
        if memory and 2 * (self.memory + memory) > window:
            return False
        return len(self.handles) + handles <= most


class NodeLink:
    """One node link, from the end of the handshake on.

    Args:
        settings: how much the peer may have under way, and how much leaves together.
        peer_window: bytes that the peer lets us have under way.
        limits: what we let the peer do.
        clock: the time in seconds, for the peer's rate.
        seal: puts tags to batches and checks them; None without a secret.
        cuts: whether what is long travels in chunks.
        mixes: whether the peer takes in other frames between the chunks of one.

    Attributes:
        high_water: bytes that may wait to leave before senders that are willing to wait have to.
        is_paused: whether the peer is kept to its rate just now; what it says meanwhile is heard later.
        frames_out, frames_in: frames that have left, and that were taken in, so far.
    """

    # The fields that the compiled ways of a frame know (`core`), and a dictionary for all others.
    __slots__ = (
        "__dict__",
        "_aside",
        "_backlog",
        "_bulk",
        "_consumed",
        "_expected",
        "_gathered",
        "_granted",
        "_has_sent",
        "_is_sign_due",
        "_largest",
        "_peer_window",
        "_queued",
        "_rate",
        "_seal",
        "_sent",
        "_sequence",
        "_silent",
        "_taken_in",
        "_under_way",
        "_window",
        "frames_in",
        "frames_out",
    )

    def __init__(
        self,
        *,
        settings: Settings,
        peer_window: int,
        limits: Limits,
        clock: Callable[[], float],
        seal: Seal | None = None,
        cuts: bool = False,
        mixes: bool = False,
    ) -> None:
        self._cuts = cuts
        self._mixes = mixes
        self.high_water = settings.high_water
        self._window = settings.window
        self._peer_window = peer_window
        self._largest = min(settings.batch, peer_window)
        self._most_handles = settings.handles
        self._backlog = limits.backlog
        self._rate = limits.rate
        self._clock = clock
        self._seal = seal
        self.frames_out = self.frames_in = 0
        # Out.
        self._gathered: deque[_Gathered] = deque()
        self._aside: deque[_Gathered] = deque()  # what others may overtake
        self._is_asides_turn = True
        self._spared = min(BATCH_LIMIT, peer_window // 8)
        self._cutting: _Gathered | None = None  # whose chunks have begun to leave
        self._queued = 0
        self._bulk = 0
        self._sent = 0
        self._taken_in = 0
        self._sequence = 0
        self._under_way: Outgoing | None = None
        self._is_sign_due = False
        self._has_sent = True
        # In.
        self.is_paused = False
        self._expected = 0
        self._consumed = 0
        self._granted = 0
        self._silent = 0
        self._allowance = limits.rate or 0.0
        self._allowance_at = clock()

    @property
    def queued(self) -> int:
        """Bytes of frames and of their memory files that wait to leave."""
        return self._queued + self._bulk

    @property
    def bulk(self) -> int:
        """Bytes of memory files that wait to leave in chunks."""
        return self._bulk

    @property
    def under_way(self) -> int:
        """Bytes of frames and of their memory files that have left, or are leaving, and that the peer has not
        yet taken in.
        """
        return self._sent - self._taken_in

    @property
    def window(self) -> int:
        """Bytes that the peer lets us have under way."""
        return self._peer_window

    @property
    def bytes_out(self) -> int:
        """Bytes of frames and of their memory files that have left so far."""
        return self._sent

    @property
    def bytes_in(self) -> int:
        """Bytes of frames and of their memory files that were taken in so far."""
        return self._consumed

    @property
    def batches_out(self) -> int:
        """Batches that have been given out, with the one that is not accepted yet."""
        return self._sequence + (self._under_way is not None)

    @property
    def batches_in(self) -> int:
        """Batches that have been taken in."""
        return self._expected

    @property
    def is_settled(self) -> bool:
        """True when the peer has all that was sent."""
        return not self._queued

    def send(self, frame: bytes, attachments: Sequence[Attachment] = (), *, in_order: bool = True) -> bool:
        """Queue a frame.

        Args:
            frame: from `encode_frame`.
            attachments: travel with it; the node link closes them.
            in_order: whether it leaves before all that is sent later; what is long need not.

        Returns:
            Whether a batch that waits has just become as full as it will be.

        Raises:
            Backlogged: there is no room; nothing was queued. A memory file needs none before it waits itself:
                one may be longer than what may wait together.
        """
        size = len(frame)
        handles = handles_in(attachments) if attachments and not self._cuts else []
        memory = weigh(handles) if handles else 0
        if self._queued + size > self._backlog:
            raise Backlogged(
                f"{self._queued} bytes wait for a peer that does not take them in; "
                f"the limit is {self._backlog}"
            )
        self._queued += size + memory
        pieces = None
        if attachments and self._cuts:
            pieces = Pieces(attachments, self._peer_window)
            self._bulk += pieces.rest
            if self._mixes and not in_order:
                self._aside.append(_Gathered([frame], handles, size, memory, pieces))
                return True
        elif self._gathered:
            last = self._gathered[-1]
            together = last.size + size
            if together <= self._largest:
                if not handles:
                    last.frames.append(frame)
                    last.size = together
                    return False
                if last.takes(len(handles), memory, self._peer_window, self._most_handles):
                    last.frames.append(frame)
                    last.size = together
                    last.handles += handles
                    last.memory += memory
                    return False
        self._gathered.append(_Gathered([frame], handles, size, memory, pieces))
        return len(self._gathered) > 1

    def send_at_once(self, frame: bytes) -> Outgoing | None:
        """Make the batch of a frame that need not wait: as `send` and `next_batch` do, in one go.

        Returns:
            The batch; None if something else waits or is under way, or for want of credit: nothing was done.
        """
        size, under_way = len(frame), self._sent - self._taken_in
        if (
            self._queued
            or self._under_way is not None
            or size > self._backlog
            or (under_way + size > self._peer_window and 2 * under_way >= self._peer_window)
        ):
            return None
        self._sent += size
        return self._give_out(self._sequence, (frame,))

    def next_batch(self, *, last: bool = True) -> Outgoing | None:
        """Return the batch to hand over now, or None without anything to send or credit to send it.

        The same batch is given out again until it has been `accepted`. One too large for what is left of the
        window leaves when less than half a window is under way: so much the peer need not have granted anew.

        Args:
            last: also the last batch, which more frames may join.
        """
        if self._under_way is not None:
            return self._under_way
        if self._gathered or self._aside:
            gathered = self._next_gathered(last=last)
            if gathered is not None:
                return self._give_out(self._sequence, gathered.frames, gathered.handles, gathered.data)
        if self._is_sign_due or self.is_grant_due():
            return self._give_out(self._sequence, [])
        return None

    def _next_gathered(self, *, last: bool) -> _Gathered | None:
        """Take the frames that leave next, if there is credit for them.

        What may be overtaken leaves in turn with the rest, and leaves it some credit.
        """
        if not self._aside:
            waiting = self._gathered
            if not waiting or waiting[0].pieces is not None:
                return self._next_of(waiting, last=last)
            cost, under_way = waiting[0].size + waiting[0].memory, self._sent - self._taken_in
            if (not last and len(waiting) == 1) or (
                under_way + cost > self._peer_window and 2 * under_way >= self._peer_window
            ):
                return None
            self._queued -= cost
            self._sent += cost
            return waiting.popleft()
        for _ in range(2):
            self._is_asides_turn = not self._is_asides_turn
            if self._is_asides_turn:
                gathered = self._next_of(self._aside, last=True, spared=self._spared)
            else:
                gathered = self._next_of(self._gathered, last=last)
            if gathered is not None:
                return gathered
        return None

    def _next_of(self, waiting: deque[_Gathered], *, last: bool, spared: int = 0) -> _Gathered | None:
        """Take the frames that leave next of those that wait, if that leaves so much credit for others."""
        if not waiting:
            return None
        gathered = waiting[0]
        if gathered.pieces is not None and self._cutting is not gathered:
            if self._cutting is not None:
                return None  # chunks do not say whose they are
            if not self._may_leave(gathered.pieces.cost + spared):
                return None
            self._cutting = gathered
        if gathered.pieces:
            return self._cut(gathered.pieces, spared)
        cost = gathered.size + gathered.memory
        if len(waiting) > (not last) and self._may_leave(cost):
            waiting.popleft()
            if gathered.pieces is not None:
                self._cutting = None
            self._queued -= cost
            self._sent += cost
            return gathered
        return None

    def _cut(self, pieces: Pieces, spared: int) -> _Gathered | None:
        """Cut off the next chunk of the files that leave before the next frame, if there is credit for it."""
        if not self._may_leave(pieces.cost + spared):
            return None
        opening, data = pieces.cut()
        self._bulk -= len(data)
        size = len(opening) + len(data)
        self._sent += size
        return _Gathered([opening], [], size, 0, data=data)

    def restore_order(self) -> None:
        """Have all that was sent so far leave before what is sent from now on."""
        waiting = sorted((*self._aside, *self._gathered), key=lambda each: each is not self._cutting)
        self._aside.clear()
        self._gathered = deque(waiting)

    def _give_out(
        self,
        sequence: int,
        frames: Sequence[bytes],
        handles: Sequence[Handle] = (),
        end: memoryview | None = None,
    ) -> Outgoing:
        """Make the batch that is handed over now; it tells what has been taken in."""
        self._granted = self._consumed
        self._has_sent = True
        self._is_sign_due = False
        self.frames_out += len(frames)
        data = encode_batch(sequence, self._consumed, frames)
        if end is not None:
            data = b"".join((data, end))
        if self._seal is not None:
            data = self._seal.close(data, handles)
        self._under_way = Outgoing(data, handles)
        return self._under_way

    def _may_leave(self, size: int) -> bool:
        under_way = self._sent - self._taken_in
        return under_way + size <= self._peer_window or 2 * under_way < self._peer_window

    def accepted(self) -> Sequence[Handle]:
        """Note that the peer has the batch that was given out last.

        Returns:
            The handles to close.
        """
        handles = () if self._under_way is None else self._under_way.handles
        self._under_way = None
        self._sequence += 1
        return handles

    def received(self, data: bytes, handles: Sequence[Handle] = ()) -> Sequence[Frame]:
        """Take in a batch and return its frames. A batch that came before has none.

        Raises:
            MalformedBatch: it is malformed or too large, one before it is missing, or it grants what was not
                sent.
        """
        if self._seal is not None:
            data = self._seal.open(data, handles)
        batch = decode_batch(data)
        if batch.sequence != self._expected:
            if batch.sequence < self._expected:
                return ()  # handed over again, because its sender could not know whether it had arrived
            raise MalformedBatch(f"batch {batch.sequence} came where {self._expected} was due")
        if handles or len(data) > BATCH_LIMIT:
            self._check(batch, data, handles)
        if not self._taken_in <= batch.consumed <= self._sent:
            raise MalformedBatch(f"the peer says that it took in {batch.consumed} of {self._sent} bytes")
        self._taken_in = batch.consumed
        if handles or self._rate is not None:
            return self._take(batch, data, handles)
        # As it does, without a call of it.
        self._expected += 1
        self._silent = 0
        frames = batch.frames
        self.frames_in += len(frames)
        self._consumed += len(data) - OVERHEAD
        return frames

    def _check(self, batch: Batch, data: bytes, handles: Sequence[Handle]) -> None:
        """Refuse a batch that is larger than a batch may be."""
        size = len(data) - OVERHEAD
        if size > BATCH_LIMIT and len(batch.frames) > 1:
            raise MalformedBatch(f"{len(batch.frames)} frames have {size} bytes; the limit is {BATCH_LIMIT}")
        memory = weigh(handles) if handles else 0
        if 2 * memory > self._window and sum(files_of(each) > 0 for each in batch.frames) > 1:
            raise MalformedBatch(f"several frames of a batch have {memory} bytes of memory files together")

    def _take(self, batch: Batch, data: bytes, handles: Sequence[Handle]) -> Sequence[Frame]:
        """Count a batch that is taken in."""
        self._expected += 1
        self._silent = 0
        self.frames_in += len(batch.frames)
        self._consumed += len(data) - OVERHEAD + (weigh(handles) if handles else 0)
        if self._rate is not None:
            now = self._clock()
            elapsed, self._allowance_at = now - self._allowance_at, now
            self._allowance = min(self._rate, self._allowance + elapsed * self._rate)
            self._allowance -= len(batch.frames)
        return batch.frames

    def pause(self) -> float:
        """Seconds to wait before taking in more, so that the peer keeps to its rate."""
        if self._rate is None or self._allowance >= 0:
            return 0.0
        return -self._allowance / self._rate

    def quarter(self) -> bool:
        """Count one more quarter of the period; return false when the peer is dead."""
        self._is_sign_due = not self._has_sent
        self._has_sent = False
        self._silent += not self.is_paused
        return self._silent <= QUARTERS

    def acknowledge(self) -> None:
        """Have the next batch tell what has been taken in, also if there is nothing else to tell."""
        self._is_sign_due = True

    def has_to_speak(self) -> bool:
        """Tell whether frames wait to leave, or the peer should learn that it may send more."""
        return self._queued > 0 or self._bulk > 0 or self.is_grant_due()

    def is_grant_due(self) -> bool:
        """Tell whether the peer should learn that it may send more."""
        return 2 * (self._consumed - self._granted) >= self._window

    def leftovers(self) -> Sequence[Handle]:
        """Forget everything that waits to leave, and return the handles to close: the node link is over."""
        handles = [] if self._under_way is None else list(self._under_way.handles)
        for gathered in self._gathered:
            handles += gathered.handles
        self._gathered.clear()
        self._aside.clear()
        self._queued = 0
        self._bulk = 0
        self._under_way = None
        return handles
