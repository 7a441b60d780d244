"""Channels: what the conformance cases leave open, and a random machine against a plain model."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from enfilade.hostcalls.abi import ChannelBackpressure
from enfilade.hostcalls.abi.errors import InvalidArgument
from enfilade.hostcalls.resources.channel import (
    BrokenPipe,
    Channel,
    Frame,
    FrameTooLong,
    Interrupted,
    LeftBehind,
    Reader,
    Writer,
)
from enfilade.hostcalls.resources.futures import Future


def test_frame_longer_than_the_read() -> None:
    """A frame that is too long for the read stays; a longer read gets it."""
    channel = Channel(64)
    reader, writer = channel.reader(), channel.writer()
    writer.write(b"12345")
    with pytest.raises(FrameTooLong):
        reader.read(4).result()
    assert reader.read(5).result().payload == b"12345"


def test_one_operation_at_a_time() -> None:
    """A second read or write while one waits is an invalid argument."""
    channel = Channel(4)
    reader, writer = channel.reader(), channel.writer()
    reader.read(9)
    with pytest.raises(InvalidArgument):
        reader.read(9)
    writer.write(b"1234")
    writer.write(b"5678")
    writer.write(b"9")
    with pytest.raises(InvalidArgument):
        writer.write(b"x")


def test_closing_a_reader_or_writer_that_waits() -> None:
    """What waits is told that it is over."""
    channel = Channel(4)
    reader, writer = channel.reader(), channel.writer()
    waiting = reader.read(9)
    reader.close()
    reader.close()
    with pytest.raises(BrokenPipe):
        waiting.result()
    blocker = channel.reader()
    writer.write(b"1234")
    writer.write(b"12").cancel()
    unreserved = writer.write(b"34")
    writer.close()
    writer.close()
    with pytest.raises(BrokenPipe):
        unreserved.result()
    with pytest.raises(BrokenPipe):
        writer.write(b"x").result()
    assert [blocker.read(9).result().payload for _ in range(2)] == [b"1234", b"12"]


def test_draining_withdraws_a_write_without_a_place() -> None:
    """A write that waits behind an abandoned one of its writer is interrupted by a drain."""
    channel = Channel(4)
    channel.reader()
    writer = channel.writer()
    writer.write(b"1234")
    writer.write(b"12").cancel()
    unreserved = writer.write(b"34")
    channel.drain()
    with pytest.raises(Interrupted):
        unreserved.result()


def test_writer_ids_run_out() -> None:
    """The 65,536th living writer is refused, and a closed one makes room."""
    channel = Channel(4)
    writers = [channel.writer() for _ in range(65_535)]
    with pytest.raises(InvalidArgument):
        channel.writer()
    writers[41].close()
    assert channel.writer().id == 42


@pytest.mark.parametrize("strong", [True, False])
def test_frames_are_bounded(strong: bool) -> None:
    """However small the frames, a channel holds a bounded number of them."""
    channel = Channel(1 << 20)
    reader, writer = channel.reader(strong=strong), channel.writer()
    written = 0
    while written < 100_000 and writer.write(b"x").done:
        written += 1
    assert channel.frames <= (1 << 20) // 64 + 1
    if strong:
        assert written == (1 << 20) // 64
        reader.read(1)
    else:
        assert written == 100_000


def test_drop_frames_are_bounded() -> None:
    """In drop mode the frame after the last is discarded."""
    channel = Channel(1 << 16, ChannelBackpressure.DROP)
    channel.reader()
    writer = channel.writer()
    for _ in range(5000):
        writer.write(b"x")
    assert (channel.frames, channel.discarded) == (1024, 3976)


def test_oversize_frame_without_strong_readers_is_lost() -> None:
    """Parking does not help a frame that no ring can hold; nobody reads it, nobody waits for it."""
    channel = Channel(8)
    reader, writer = channel.reader(strong=False), channel.writer()
    assert writer.write(bytes(20)).result() == 20
    with pytest.raises(LeftBehind):
        reader.read(99).result()
    assert writer.write(b"next").result() == 4
    assert reader.read(99).result().payload == b"next"


def test_parked_frames_are_bounded() -> None:
    """Beyond a second ring of parked frames, writes wait in line: in order, and without holding anything."""
    channel = Channel(4096)
    reader = channel.reader()
    channel.writer().write(bytes(4096))
    writers = [channel.writer() for _ in range(9)]
    futures = [writer.write(b"%d" % number * 1024) for number, writer in enumerate(writers)]
    assert channel.unread == 2 * 4096
    futures[5].cancel()
    writers[6].close()
    with pytest.raises(BrokenPipe):
        futures[6].result()
    for _ in range(3):  # whoever has no place is gone when its writer is
        late = channel.writer()
        late.write(bytes(1024)).cancel()
        late.write(bytes(1024))
        late.close()
    assert channel.unread == 2 * 4096
    read = [reader.read(4096).result().payload for _ in range(8)]
    assert [payload[:1] for payload in read[1:]] == [b"0", b"1", b"2", b"3", b"4", b"7", b"8"]
    assert all(future.done for future in futures)
    assert channel.unread == 0


def test_writes_in_line_end_with_the_channel() -> None:
    """A drain interrupts those who wait in line, a close breaks them; a closed writer waits for nothing."""
    for end, error in ((Channel.drain, Interrupted), (Channel.close, BrokenPipe)):
        channel = Channel(4096)
        channel.reader()
        for _ in range(2):
            channel.writer().write(bytes(4096))
        writer = channel.writer()
        waiting = writer.write(b"x")
        closed = channel.writer()
        closed.close()
        with pytest.raises(BrokenPipe):
            closed.write(b"x").result()
        end(channel)
        with pytest.raises(error):
            waiting.result()
        with pytest.raises(error):
            writer.write(b"x").result()


def test_the_line_moves_on_when_the_slow_reader_goes() -> None:
    """Writers in line get their places as soon as nobody holds the ring back."""
    channel = Channel(4096)
    slow = channel.reader()
    futures = [channel.writer().write(bytes(4096)) for _ in range(5)]
    slow.close()
    assert all(future.result() == 4096 for future in futures)


@pytest.mark.parametrize("capacity", [-1, (1 << 32) + 1])
def test_impossible_capacities(capacity: int) -> None:
    """A capacity is told what it may be."""
    with pytest.raises(ValueError, match=r"expected a capacity of 0 to 4294967296 bytes, got"):
        Channel(capacity)


def drain_of(reader: Reader) -> list[bytes]:
    """All frames that are there."""
    found = []
    while (future := reader.read(1 << 20)).done:
        found.append(future.result().payload)
    future.cancel()
    return found


def test_the_smallest_capacity_is_one_byte() -> None:
    """A capacity of nothing is rounded up like any other."""
    channel = Channel(0, ChannelBackpressure.DROP)
    reader, writer = channel.reader(), channel.writer()
    for payload in (b"a", b"b"):
        assert writer.write(payload).result() == 1
    assert (channel.capacity, channel.discarded, drain_of(reader)) == (1, 1, [b"a"])


def test_two_strong_writers_drop_by_what_is_free() -> None:
    """What a drop looks at is the room that there is, and not where the writer has written last."""
    channel = Channel(8, ChannelBackpressure.DROP)
    reader, one, two = channel.reader(), channel.writer(), channel.writer()
    for writer, payload in ((one, b"1234"), (two, b"5678"), (one, b"lost")):
        writer.write(payload)
    assert reader.read(9).result().payload == b"1234"
    two.write(b"ab")
    one.write(b"cd")
    assert drain_of(reader) == [b"5678", b"ab", b"cd"]
    assert channel.discarded == 1


def test_a_new_reader_begins_with_the_slowest() -> None:
    """Strong or weak, it has what the slowest strong reader still has to read."""
    channel = Channel(64)
    fast, slow, writer = channel.reader(), channel.reader(), channel.writer()
    for payload in (b"1", b"2", b"3"):
        writer.write(payload)
    drain_of(fast)
    slow.read(9)
    for strong in (True, False):
        assert drain_of(channel.reader(strong=strong)) == [b"2", b"3"]


@pytest.mark.parametrize("strong", [True, False])
def test_a_late_reader_gets_what_the_ring_still_has(strong: bool) -> None:
    """Without readers the ring turns; who comes then begins with the oldest frame that is there whole."""
    channel = Channel(8)
    writer = channel.writer()
    for number in range(6):
        writer.write(b"%03d" % number)
    assert drain_of(channel.reader(strong=strong)) == [b"004", b"005"]


def test_a_frame_with_its_place_outlives_its_writer() -> None:
    """A writer that is closed while its frame is parked leaves the frame to the readers, and its number."""
    channel = Channel(4)
    reader, writer = channel.reader(), channel.writer()
    writer.write(b"full")
    parked = writer.write(b"more")
    writer.close()
    assert channel.writer().id == 1
    assert drain_of(reader) == [b"full", b"more"]
    assert parked.result() == 4


def test_draining_and_closed_channels_take_readers() -> None:
    """Who comes while a channel drains reads what is there; an empty payload is no frame anywhere."""
    channel = Channel(64)
    writer = channel.writer()
    writer.write(b"left")
    channel.drain()
    reader = channel.reader(strong=False)
    assert reader.read(9).result().payload == b"left"
    with pytest.raises(Interrupted):
        reader.read(9).result()
    assert writer.write(b"").result() == 0
    channel.close()
    with pytest.raises(BrokenPipe):
        channel.reader().read(9).result()


class ChannelMachine(RuleBasedStateMachine):
    """Strong readers see every frame once, in the order of reservation, each writer's frames in its own
    order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channel = Channel(16)
        self.channel._most_parked = 24  # so that some writes wait in line
        self.keeper = self.channel.reader()
        self.readers: dict[Reader, tuple[deque[bytes], Future[Frame] | None]] = {self.keeper: (deque(), None)}
        self.writers: list[tuple[Writer, list[Future[int]]]] = []
        self.number = 0

    @rule(strong=st.booleans())
    def add_writer(self, strong: bool) -> None:
        if len(self.writers) < 5:
            self.writers.append((self.channel.writer(strong=strong), []))

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), size=st.integers(1, 16))
    def write(self, data: st.DataObject, size: int) -> None:
        writer, pending = data.draw(st.sampled_from(self.writers), label="writer")
        if any(not future.done for future in pending):
            return
        self.number += 1
        payload = b"%x" % self.number
        payload += bytes(max(0, size - len(payload)))
        for expected, _ in self.readers.values():
            expected.append(payload)
        pending.append(writer.write(payload))

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def close_writer(self, data: st.DataObject) -> None:
        writer, pending = data.draw(st.sampled_from(self.writers), label="writer")
        if all(future.done for future in pending):
            writer.close()
            self.writers.remove((writer, pending))

    @rule()
    def add_reader(self) -> None:
        if len(self.readers) < 4:
            slowest = max(self.readers.values(), key=lambda entry: len(entry[0]))[0]
            self.readers[self.channel.reader()] = (deque(slowest), None)

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(list(self.readers)), label="reader")
        expected, pending = self.readers[reader]
        if pending is None:
            self.readers[reader] = (expected, reader.read(99))

    @rule(data=st.data(), close=st.booleans())
    def give_up(self, data: st.DataObject, close: bool) -> None:
        reader = data.draw(st.sampled_from(list(self.readers)), label="reader")
        expected, pending = self.readers[reader]
        if pending is not None and not pending.done:
            pending.cancel()
            self.readers[reader] = (expected, None)
        if close and len(self.readers) > 1:
            self._settle()
            reader.close()
            del self.readers[reader]

    def _settle(self) -> None:
        for reader, (expected, pending) in self.readers.items():
            if pending is not None and pending.done:
                assert pending.result().payload == expected.popleft()
                self.readers[reader] = (expected, None)

    @invariant()
    def in_order(self) -> None:
        self._settle()

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        slowest = max(len(expected) for expected, _ in self.readers.values())
        for expected, pending in self.readers.values():
            if pending is not None and expected and len(expected) == slowest:
                assert pending.done, "the slowest reader waits although a frame is there"

    def teardown(self) -> None:
        self._settle()
        for reader, (expected, pending) in self.readers.items():
            if pending is not None:
                pending.cancel()
            self.readers[reader] = (expected, None)
        while any(expected for expected, _ in self.readers.values()):
            for reader, (expected, _) in self.readers.items():
                if expected:
                    future = reader.read(99)
                    if future.done:
                        assert future.result().payload == expected.popleft()
                    else:
                        future.cancel()
        assert all(future.done for _, pending in self.writers for future in pending)


TestChannelMachine = ChannelMachine.TestCase
TestChannelMachine.settings = settings(max_examples=60, stateful_step_count=40)
