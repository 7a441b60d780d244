"""Channels: bounded rings of frames that any number of readers and writers share.

A channel hands every frame to every reader (broadcast), in one total order: the order in which writers
*reserve* their place. Positions are byte offsets that only grow; a ring of `capacity` bytes holds the last
`capacity` of them.

* A **strong** reader holds the ring back: what it has not read is not overwritten. The slowest one is the
  *head*.
  A **weak** reader holds nothing; when its bytes have been overwritten it learns so once and goes on with
  the oldest frame that is left.
* A write that finds no room **parks** until the head has moved, or **drops** its frame, whole, as the
  channel was created to do. A parked frame has its place already and is seen by readers when all its bytes
  fit. As many may be parked as would fill another ring; further writes wait in line for a place.
* **Drain** lets readers finish what is there and refuses new frames; **terminate** ends everything at once.

The frames are kept as they came instead of being copied into a ring: the positions alone say what would
still be there. Everything here is synchronous and runs on one thread; a wait is a `Future`. Nothing is
checked and then done in two steps, so no wake-up is lost: each change of state looks at everyone who waits.
"""

from __future__ import annotations

import enum
from bisect import insort
from collections import deque
from typing import NamedTuple

from enfilade.hostcalls.abi import ChannelBackpressure
from enfilade.hostcalls.abi.errors import InvalidArgument, SubsystemError
from enfilade.hostcalls.resources.futures import Future

_WRITER_IDS = 65_535
_LEAST_FRAMES = 1024  # a channel may hold so many frames, however small its capacity
_LEAST_PARKED = 4096  # and so many bytes may be parked
_LARGEST = 1 << 32


class ChannelError(SubsystemError):
    """A channel could not do what was asked of it."""


class BrokenPipe(ChannelError):
    """The channel was terminated, or the reader or writer was closed."""

    def __init__(self) -> None:
        super().__init__("io error: broken pipe")


class Interrupted(ChannelError):
    """The channel is draining: it takes no new frames, and every frame has been read."""

    def __init__(self) -> None:
        super().__init__("io error: operation interrupted")


class FrameTooLong(ChannelError):
    """The next frame is longer than the read allows; it stays where it is."""

    def __init__(self) -> None:
        super().__init__("io error: frame exceeds requested length")


class LeftBehind(ChannelError):
    """A weak reader was too slow; its next read gives the oldest frame that is left."""

    def __init__(self) -> None:
        super().__init__("io error: Reader was too slow and got left behind")


class Stalled(ChannelError):
    """A frame larger than the channel could never be read by the strong readers."""

    def __init__(self) -> None:
        super().__init__("io error: write stalled mid-frame")


class Frame(NamedTuple):
    """One frame, and where it lies: the how manieth it is, its first position and the one behind its last."""

    writer_id: int
    payload: bytes
    sequence: int
    start: int
    end: int


class State(enum.Enum):
    """The state of a channel: what it still accepts and delivers."""

    OPEN = "open"
    DRAINING = "draining"
    TERMINATED = "terminated"


class Channel:
    """A channel of `capacity` bytes, rounded up to a power of two. `backpressure` says what becomes of a
    write to a full one: it is parked, or dropped.

    Raises `ValueError` when the capacity is negative or more than 4 GiB.
    """

    def __init__(self, capacity: int, backpressure: ChannelBackpressure = ChannelBackpressure.PARK) -> None:
        if not 0 <= capacity <= _LARGEST:
            raise ValueError(f"expected a capacity of 0 to {_LARGEST} bytes, got {capacity}")
        self.capacity = 1 << (max(1, capacity) - 1).bit_length()
        self.backpressure = backpressure
        self.state = State.OPEN
        self.discarded = 0  # frames that were dropped for want of room
        self._most_frames = max(_LEAST_FRAMES, self.capacity // 64)
        self._most_parked = max(_LEAST_PARKED, self.capacity)
        self._frames: deque[Frame] = deque()
        self._base = 0  # sequence number of the first frame that is kept
        self._next = 0  # the first free position
        self._consumed = 0  # frames before this one were read by all strong readers of their time
        self._strong: list[Reader] = []
        self._slowest: Reader | None = None
        self._waiting: dict[Reader, None] = {}
        self._parked: deque[tuple[Writer, Frame]] = deque()
        self._parked_bytes = 0
        self._line: dict[Writer, None] = {}  # writers that wait for a place, first come first served
        self._free_ids: list[int] = []
        self._last_id = 0
        self._writers: dict[Writer, None] = {}

    # Making readers and writers.

    def reader(self, *, strong: bool = True) -> Reader:
        """Make a reader; with `strong`, writers wait for it. It begins where the slowest strong reader is, or
        else at the oldest frame not yet consumed.
        """
        reader = Reader(self, strong=strong)
        if self._slowest is not None:
            reader.sequence, reader.position = self._slowest.sequence, self._slowest.position
        else:
            reader.sequence = max(self._base, self._consumed)
            index = reader.sequence - self._base
            reader.position = self._frames[index].start if index < len(self._frames) else self._next
        if strong:
            self._strong.append(reader)
            self._find_slowest()
        return reader

    def writer(self, *, strong: bool = True) -> Writer:
        """Make a writer, with the number of a closed one if there is any. `strong` as of `reader`.

        Raises `InvalidArgument` when 65,535 writers live.
        """
        if not self._free_ids and self._last_id == _WRITER_IDS:
            raise InvalidArgument
        if self._free_ids:
            identity = self._free_ids.pop()
        else:
            self._last_id = identity = self._last_id + 1
        writer = Writer(self, identity, strong=strong)
        self._writers[writer] = None
        return writer

    # Ending.

    def drain(self) -> None:
        """Take no new frames; readers read what is there and are then interrupted. Draining twice is the
        same.

        Raises `ChannelError` when the channel is terminated.
        """
        if self.state is State.TERMINATED:
            raise ChannelError("Cannot drain a terminated channel")
        self.state = State.DRAINING
        for writer in list(self._writers):
            writer._fail_unreserved(Interrupted())
        self._wake_readers()

    def terminate(self) -> None:
        """End at once: everyone who waits gets `BrokenPipe`, now and from then on.

        Raises `ChannelError` when the channel is draining; `close` does not.
        """
        if self.state is State.DRAINING:
            raise ChannelError("Cannot terminate channel that is draining")
        self.close()

    def close(self) -> None:
        """End at once, in any state."""
        self.state = State.TERMINATED
        self._base += len(self._frames)
        self._frames.clear()
        self._parked.clear()
        self._parked_bytes = 0
        for writer in list(self._writers):
            writer._break()
        self._wake_readers()

    # The ring.

    @property
    def frames(self) -> int:
        """Frames that the channel keeps, unread or not."""
        return len(self._frames)

    @property
    def terminated(self) -> bool:
        """True once the channel has ended for everyone."""
        return self.state is State.TERMINATED

    @property
    def unread(self) -> int:
        """Bytes that the slowest strong reader has not read yet, 0 without strong readers."""
        return self._next - self._slowest.position if self._slowest is not None else 0

    def _fits(self, end: int, sequence: int) -> bool:
        """Whether a frame that ends there is complete, that is, whether the head has left it room."""
        head = self._slowest
        return head is None or (
            end - head.position <= self.capacity and sequence - head.sequence < self._most_frames
        )

    def _has_place(self, size: int) -> bool:
        """Whether a frame of `size` bytes may have its place now; what is refused or dropped needs none."""
        parks = self.backpressure is ChannelBackpressure.PARK and self.state is State.OPEN
        if not parks or size > self.capacity:
            return True
        if self._fits(self._next + size, self._base + len(self._frames)):
            return True
        return self._parked_bytes + size <= self._most_parked and len(self._parked) < self._most_frames

    def _reserve(self, writer: Writer, payload: bytes) -> Frame | None:
        """Give `payload` the next place; its frame if it is parked there, None if it is done with."""
        size = len(payload)
        sequence, end = self._base + len(self._frames), self._next + size
        if self.backpressure is ChannelBackpressure.DROP:
            if size > self.capacity or not self._fits(end, sequence):
                self.discarded += 1
                return None
        elif size > self.capacity and self._slowest is not None:
            raise Stalled
        frame = Frame(writer.id, payload, sequence, self._next, end)
        if self._fits(end, sequence):
            self._append(frame)
            return None
        self._next = end
        self._frames.append(frame)
        self._parked.append((writer, frame))
        self._parked_bytes += size
        return frame

    def _append(self, frame: Frame) -> None:
        """Take a frame that is complete."""
        self._next = frame.end
        self._frames.append(frame)
        self._prune()
        if self._waiting:
            self._wake_readers()

    def _find_slowest(self) -> None:
        strong = self._strong
        if len(strong) == 1:
            slowest: Reader | None = strong[0]
        else:
            slowest = min(strong, key=lambda reader: reader.sequence, default=None)
        self._slowest = slowest
        if slowest is not None and slowest.sequence > self._consumed:
            self._consumed = slowest.sequence

    def _head_moved(self) -> None:
        """A strong reader has read, has become weak, or is gone."""
        before = self._slowest
        self._find_slowest()
        if before is None:
            return
        self._prune()
        completed = []
        while self._parked and self._fits(self._parked[0][1].end, self._parked[0][1].sequence):
            completed.append(self._parked.popleft())
            self._parked_bytes -= len(completed[-1][1].payload)
        if completed:
            self._wake_readers()
        for writer, frame in completed:
            writer._completed(frame)
        while self._line:
            first = next(iter(self._line))
            if not self._has_place(len(first._unreserved)):
                break
            first._place(first._leave_line())

    def _prune(self) -> None:
        """Forget the frames whose bytes would have been overwritten."""
        frames, head = self._frames, self._slowest
        keep = self._next - self.capacity
        if head is not None and head.position < keep:
            keep = head.position
        while frames and frames[0].start < keep:
            frames.popleft()
            self._base += 1
        if head is None:
            while len(frames) > self._most_frames:
                frames.popleft()
                self._base += 1

    def _wake_readers(self) -> None:
        if [reader for reader in list(self._waiting) if reader._retry()]:
            self._head_moved()


class Reader:
    """Reads the frames of a channel, one after the other. Made by `Channel.reader`."""

    __slots__ = ("_length", "_pending", "_returned", "channel", "closed", "position", "sequence", "strong")

    def __init__(self, channel: Channel, *, strong: bool) -> None:
        self.channel = channel
        self.strong = strong
        self.sequence = 0  # the frame that is read next
        self.position = 0  # where it starts
        self.closed = False
        self._length = 0
        self._pending: Future[Frame] | None = None
        self._returned: list[Frame] | None = None  # those that it has read and not wanted; None for none

    def read(self, length: int) -> Future[Frame]:
        """The next frame, if it is no longer than `length`, as soon as it is complete.

        The future fails with `FrameTooLong`, `LeftBehind`, `Interrupted` or `BrokenPipe`. Cancelling it
        leaves the frame for the next read. Raises `InvalidArgument` while an earlier read waits.
        """
        if self._pending is not None:
            raise InvalidArgument
        future: Future[Frame] = Future(self._forget)
        self._length = length
        self._pending = future
        if self._retry():
            self.channel._head_moved()
        if not future.done:
            self.channel._waiting[self] = None
        return future

    def read_now(self, length: int) -> Frame | None:
        """Read the next frame if it is complete and no longer than `length`; return None for everything else.

        What `read` would answer with an error, or only later, changes nothing here.
        """
        channel = self.channel
        frames = channel._frames
        index = self.sequence - channel._base
        if self._pending is not None or self.closed or self._returned or not 0 <= index < len(frames):
            return None
        frame = frames[index]
        if len(frame.payload) > length or not channel._fits(frame.end, frame.sequence):
            return None
        self.sequence += 1
        self.position = frame.end
        if channel._slowest is self:
            if len(channel._strong) == 1 and not channel._parked and not channel._line:
                # Nobody else is the slowest now, and nobody waits for room.
                channel._consumed = max(channel._consumed, self.sequence)
                channel._prune()
            else:
                channel._head_moved()
        return frame

    @property
    def unread(self) -> int:
        """Frames that are there and that it has not read, parked ones included."""
        returned = len(self._returned) if self._returned else 0
        return max(0, self.channel._base + len(self.channel._frames) - self.sequence) + returned

    def give_back(self, frame: Frame) -> None:
        """Take back `frame`, which was read and not looked at: it is read again before all others.

        It has no place in the ring any more, and holds no writer back.
        """
        if self.closed or self.channel.terminated:
            return
        if self._returned is None:
            self._returned = []
        insort(self._returned, frame, key=lambda returned: returned.sequence)
        self._retry()

    def downgrade(self) -> None:
        """Become a weak reader that goes on from where it is."""
        if self.strong:
            self.strong = False
            self.channel._strong.remove(self)
            self.channel._head_moved()

    def close(self) -> None:
        """Be gone; a read that waits fails with `BrokenPipe`."""
        if not self.closed:
            self.closed = True
            self._retry()
            self.downgrade()

    def _forget(self) -> None:
        self._pending = None
        self.channel._waiting.pop(self, None)

    def _retry(self) -> bool:
        """Try again what waits; whether the head may have moved by that."""
        future = self._pending
        if future is None:
            return False
        try:
            frame = self._take()
        except ChannelError as error:
            self._forget()
            future.fail(error)
            return False
        if frame is None:
            return False
        self._forget()
        future.resolve(frame)
        return self.channel._slowest is self

    def _take(self) -> Frame | None:
        channel = self.channel
        if self.closed or channel.state is State.TERMINATED:
            raise BrokenPipe
        if self._returned:
            frame = self._returned[0]
            if len(frame.payload) > self._length:
                raise FrameTooLong
            del self._returned[0]
            return frame
        index = self.sequence - channel._base
        if index < 0:
            self.sequence = channel._base
            self.position = channel._frames[0].start if channel._frames else channel._next
            raise LeftBehind
        if index >= len(channel._frames):
            if channel.state is State.DRAINING:
                raise Interrupted
            return None
        frame = channel._frames[index]
        if len(frame.payload) > self._length:
            raise FrameTooLong
        if not channel._fits(frame.end, frame.sequence):
            return None
        self.sequence += 1
        self.position = frame.end
        return frame


class Writer:
    """Writes frames to a channel. Made by `Channel.writer`."""

    __slots__ = ("_frame", "_pending", "_unreserved", "channel", "closed", "id", "strong")

    def __init__(self, channel: Channel, identity: int, *, strong: bool) -> None:
        self.channel = channel
        self.id = identity
        self.strong = strong
        self.closed = False
        self._frame: Frame | None = None  # reserved and not complete yet
        self._unreserved = b""  # waits for that, or in line for a place
        self._pending: Future[int] | None = None

    def write(self, payload: bytes) -> Future[int]:
        """Write `payload` as one frame; the value is its length, also when the frame was dropped.

        An empty payload is no frame. The future fails with `Interrupted`, `BrokenPipe` or `Stalled`.
        Cancelling it withdraws a frame that has no place yet; one that has, is completed. Raises
        `InvalidArgument` while an earlier write waits.
        """
        if self._pending is not None:
            raise InvalidArgument
        if not payload:
            return Future.of(0)
        future: Future[int] = Future(self._cancelled)
        self._pending = future
        if self.closed:
            self._finish(BrokenPipe())
        elif self._frame is not None:
            self._unreserved = payload
        else:
            self._begin(payload)
        return future

    def write_now(self, payload: bytes) -> bool:
        """Write `payload` if that needs no waiting; return whether it is written.

        What `write` would answer with an error, or only later, changes nothing here.
        """
        channel = self.channel
        size, start = len(payload), channel._next
        sequence, end = channel._base + len(channel._frames), start + size
        if (
            self._pending is not None
            or self._frame is not None
            or self.closed
            or not size
            or size > channel.capacity
            or channel.state is not State.OPEN
            or channel._line
            or not channel._fits(end, sequence)
        ):
            return False
        channel._append(Frame(self.id, payload, sequence, start, end))
        return True

    @property
    def rests(self) -> bool:
        """True while nothing that was written with it waits."""
        return self._pending is None and self._frame is None

    def downgrade(self) -> None:
        """Become a weak writer, with the same number."""
        self.strong = False

    def close(self) -> None:
        """Be gone; a frame that has its place is still completed, a write that waits for one fails."""
        if not self.closed:
            self.closed = True
            self._fail_unreserved(BrokenPipe())
            self.channel._writers.pop(self, None)
            self.channel._free_ids.append(self.id)

    def _begin(self, payload: bytes) -> None:
        """Give the payload its place, or its turn behind those who wait for theirs."""
        channel = self.channel
        if channel._line or not channel._has_place(len(payload)):
            self._unreserved = payload
            channel._line[self] = None
        else:
            self._place(payload)

    def _place(self, payload: bytes) -> None:
        channel = self.channel
        try:
            if channel.state is State.TERMINATED:
                raise BrokenPipe
            if channel.state is State.DRAINING:
                raise Interrupted
            self._frame = channel._reserve(self, payload)
        except ChannelError as error:
            self._finish(error)
            return
        if self._frame is None:
            self._finish(len(payload))

    def _leave_line(self) -> bytes:
        """Wait no longer; the payload that has waited, if any."""
        self.channel._line.pop(self, None)
        payload, self._unreserved = self._unreserved, b""
        return payload

    def _completed(self, frame: Frame) -> None:
        self._frame = None
        payload = self._leave_line()
        if payload:
            self._begin(payload)
        else:
            self._finish(len(frame.payload))

    def _cancelled(self) -> None:
        self._pending = None
        self._leave_line()

    def _fail_unreserved(self, error: ChannelError) -> None:
        if self._leave_line():
            self._finish(error)

    def _break(self) -> None:
        self._frame = None
        self._leave_line()
        self._finish(BrokenPipe())

    def _finish(self, outcome: int | ChannelError) -> None:
        future, self._pending = self._pending, None
        if future is None:
            return
        if isinstance(outcome, int):
            future.resolve(outcome)
        else:
            future.fail(outcome)
