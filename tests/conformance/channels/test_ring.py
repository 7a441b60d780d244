"""Channel conformance: the ring itself, its readers and its writers.

Each test is one case of the channel conformance list. SR and WR are strong and weak readers, SW and WW
writers.
"""

from collections.abc import Callable

import pytest

from enfilade.hostcalls.abi import ChannelBackpressure
from enfilade.hostcalls.resources.channel import (
    BrokenPipe,
    Channel,
    ChannelError,
    Frame,
    Interrupted,
    LeftBehind,
    Reader,
    Stalled,
    State,
    Writer,
)
from enfilade.hostcalls.resources.futures import Future

PARK, DROP = ChannelBackpressure.PARK, ChannelBackpressure.DROP
LONG = 1 << 20


class Side:
    """Readers and writers of one channel, and what the case asks of them in one word each."""

    def __init__(self, capacity: int = 64, backpressure: ChannelBackpressure = PARK) -> None:
        self.channel = Channel(capacity, backpressure)

    def sr(self) -> Reader:
        return self.channel.reader()

    def wr(self) -> Reader:
        return self.channel.reader(strong=False)

    def sw(self) -> Writer:
        return self.channel.writer()

    def ww(self) -> Writer:
        return self.channel.writer(strong=False)


def wrote(writer: Writer, payload: bytes) -> None:
    """The write is done at once, and reports the length of its payload."""
    assert writer.write(payload).result() == len(payload)


def read(reader: Reader, length: int = LONG) -> bytes:
    """A frame is there at once."""
    return reader.read(length).result().payload


def parks(future: Future[Frame] | Future[int]) -> None:
    assert not future.done


def nothing_to_read(reader: Reader) -> None:
    future = reader.read(LONG)
    parks(future)
    future.cancel()


def test_chan_1_capacity_is_rounded_up() -> None:
    side = Side(5, DROP)
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"12345678")
    wrote(writer, b"9")
    assert read(reader) == b"12345678"
    nothing_to_read(reader)


def test_chan_3_powers_of_two_are_kept() -> None:
    side = Side(65536)
    side.sr()
    writer = side.sw()
    wrote(writer, bytes(65536))
    parks(writer.write(b"x"))


def test_chan_5_one_frame() -> None:
    side = Side()
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"hello")
    frame = reader.read(5).result()
    assert (frame.payload, frame.writer_id) == (b"hello", 1)


def test_chan_7_abi_10_empty_payload_is_no_frame() -> None:
    side = Side()
    reader, writer = side.sr(), side.sw()
    assert writer.write(b"").result() == 0
    nothing_to_read(reader)


def test_chan_8_frames_are_not_merged() -> None:
    side = Side()
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"x")
    wrote(writer, b"y")
    assert [read(reader), read(reader)] == [b"x", b"y"]


def test_chan_9_wrapping() -> None:
    side = Side(4)
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"abc")
    assert read(reader) == b"abc"
    wrote(writer, b"de")
    assert read(reader) == b"de"


def test_chan_13_abi_9_broadcast() -> None:
    side = Side()
    readers, writer = [side.sr(), side.sr()], side.sw()
    wrote(writer, b"x")
    wrote(writer, b"y")
    for reader in readers:
        assert [read(reader), read(reader)] == [b"x", b"y"]


def test_chan_15_abi_9_write_parks_until_there_is_room() -> None:
    side = Side(8)
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"first!")
    second = writer.write(b"second")
    parks(second)
    assert read(reader) == b"first!"
    assert second.result() == 6
    assert read(reader) == b"second"


def test_chan_16_incomplete_frame_is_unreadable() -> None:
    side = Side(8)
    idle, caught_up, writer = side.sr(), side.sr(), side.sw()
    wrote(writer, b"first!")
    assert read(caught_up) == b"first!"
    second = writer.write(b"second")
    parks(second)
    waiting = caught_up.read(LONG)
    parks(waiting)
    assert read(idle) == b"first!"
    assert waiting.result().payload == b"second"
    assert second.result() == 6


def test_chan_19_frame_larger_than_the_channel_fails() -> None:
    side = Side(8)
    reader, writer = side.sr(), side.sw()
    with pytest.raises(Stalled):
        writer.write(bytes(12)).result()
    wrote(writer, b"fits")
    assert read(reader) == b"fits"


def test_chan_20_slow_reader_removed_then_write() -> None:
    side = Side(4)
    slow, fast, writer = side.sr(), side.sr(), side.sw()
    wrote(writer, b"full")
    assert read(fast) == b"full"
    slow.close()
    wrote(writer, b"more")
    assert read(fast) == b"more"


def test_chan_21_removing_the_slow_reader_wakes_the_writer() -> None:
    side = Side(4)
    slow, writer = side.sr(), side.sw()
    wrote(writer, b"full")
    waiting = writer.write(b"more")
    parks(waiting)
    slow.close()
    assert waiting.result() == 4


def test_chan_22_parked_writers_keep_their_order() -> None:
    side = Side(4)
    reader, first, second = side.sr(), side.ww(), side.ww()
    wrote(first, b"full")
    one, two = first.write(b"one"), second.write(b"two")
    assert read(reader) == b"full"
    assert one.done
    assert not two.done
    assert [read(reader), read(reader)] == [b"one", b"two"]
    assert two.done


def test_chan_25_drop_discards() -> None:
    side = Side(8, DROP)
    reader, writer = side.sr(), side.ww()
    wrote(writer, b"12345")
    wrote(writer, b"6789")
    assert side.channel.discarded == 1
    assert read(reader) == b"12345"
    nothing_to_read(reader)


def test_chan_26_abi_9_drop_is_all_or_nothing() -> None:
    side = Side(8, DROP)
    reader, writer = side.sr(), side.ww()
    wrote(writer, b"12345")
    wrote(writer, b"678")
    assert [read(reader), read(reader)] == [b"12345", b"678"]


def test_chan_27_no_gap_marker() -> None:
    side = Side(8, DROP)
    reader, writer = side.sr(), side.ww()
    wrote(writer, b"12345678")
    wrote(writer, b"lost")
    assert read(reader) == b"12345678"
    wrote(writer, b"next")
    assert read(reader) == b"next"


def test_chan_28_abi_9_late_weak_reader_replays() -> None:
    side = Side(16, DROP)
    writer = side.ww()
    for number in range(10):
        wrote(writer, b"%04d" % number)
    reader = side.wr()
    assert [read(reader) for _ in range(4)] == [b"0006", b"0007", b"0008", b"0009"]
    nothing_to_read(reader)


def test_chan_29_abi_10_drop_without_readers() -> None:
    side = Side(8, DROP)
    writer = side.ww()
    wrote(writer, bytes(9))
    wrote(writer, b"12345678")
    assert read(side.sr()) == b"12345678"


def test_chan_32_abi_9_weak_reader_is_left_behind_once() -> None:
    side = Side(8)
    reader, writer = side.wr(), side.ww()
    for number in range(1, 7):
        wrote(writer, b"%03d" % number)
    with pytest.raises(LeftBehind):
        read(reader)
    assert [read(reader), read(reader)] == [b"005", b"006"]
    nothing_to_read(reader)


def test_chan_33_exactly_full_is_not_behind() -> None:
    side = Side(8)
    reader, writer = side.wr(), side.ww()
    wrote(writer, b"1234")
    wrote(writer, b"5678")
    assert [read(reader), read(reader)] == [b"1234", b"5678"]


def test_chan_35_weak_readers_hold_nothing() -> None:
    side = Side(8)
    side.wr()
    writer = side.ww()
    for _ in range(100):
        wrote(writer, b"12345")


def test_chan_36_weak_reader_gets_what_strong_ones_consumed() -> None:
    side = Side()
    strong, weak, writer = side.sr(), side.wr(), side.sw()
    for payload in (b"1", b"2", b"3"):
        wrote(writer, payload)
        assert read(strong) == payload
    wrote(writer, b"4")
    assert [read(weak) for _ in range(4)] == [b"1", b"2", b"3", b"4"]


def test_chan_38_weak_reader_starts_at_the_head() -> None:
    side = Side()
    strong, writer = side.sr(), side.sw()
    for payload in (b"1", b"2", b"3"):
        wrote(writer, payload)
    assert read(strong) == b"1"
    assert read(side.wr()) == b"2"


def test_chan_40_abi_9_late_strong_reader_replays() -> None:
    side = Side()
    writer = side.sw()
    for payload in (b"1", b"2", b"3"):
        wrote(writer, payload)
    reader = side.sr()
    assert [read(reader) for _ in range(3)] == [b"1", b"2", b"3"]


def test_chan_43_consumed_frames_are_not_replayed() -> None:
    side = Side()
    first, writer = side.sr(), side.sw()
    wrote(writer, b"old")
    assert read(first) == b"old"
    second = side.sr()
    waiting = second.read(LONG)
    parks(waiting)
    wrote(writer, b"new")
    assert waiting.result().payload == b"new"


def test_chan_43_nor_after_the_consumer_has_gone() -> None:
    side = Side()
    first, writer = side.sr(), side.sw()
    wrote(writer, b"old")
    assert read(first) == b"old"
    first.close()
    nothing_to_read(side.sr())
    nothing_to_read(side.wr())


def test_chan_44_idle_strong_writer_hides_nothing() -> None:
    side = Side()
    side.sw()
    second, reader = side.sw(), side.sr()
    wrote(second, b"B1")
    wrote(second, b"B2")
    assert [read(reader), read(reader)] == [b"B1", b"B2"]


def test_chan_46_alternating_strong_writers_do_not_lag() -> None:
    side = Side()
    first, second, reader = side.sw(), side.sw(), side.sr()
    for writer, payload in ((first, b"a1"), (second, b"b1"), (first, b"a2")):
        wrote(writer, payload)
        assert read(reader) == payload


def test_chan_47_downgraded_writer_hides_nothing() -> None:
    side = Side()
    idle, writer, reader = side.sw(), side.ww(), side.sr()
    wrote(writer, b"B1")
    idle.downgrade()
    assert read(reader) == b"B1"


def test_chan_48_removing_an_idle_writer() -> None:
    side = Side()
    idle, writer, reader = side.sw(), side.sw(), side.sr()
    waiting = reader.read(LONG)
    wrote(writer, b"B1")
    idle.close()
    assert waiting.result().payload == b"B1"


def test_chan_49_idle_weak_writers_hold_nothing() -> None:
    side = Side()
    first, second, reader = side.ww(), side.ww(), side.sr()
    wrote(first, b"1")
    wrote(second, b"2")
    assert [read(reader), read(reader)] == [b"1", b"2"]


def test_chan_50_weak_writer_beside_an_idle_strong_one() -> None:
    side = Side()
    side.sw()
    writer, reader = side.ww(), side.sr()
    wrote(writer, b"now")
    assert read(reader) == b"now"


def test_chan_51_writer_ids() -> None:
    side = Side()
    assert [side.sw().id, side.ww().id, side.sw().id] == [1, 2, 3]


def test_chan_52_freed_ids_come_first() -> None:
    side = Side()
    first, second = side.sw(), side.sw()
    first.close()
    assert (side.sw().id, second.id, side.sw().id) == (1, 2, 3)


def test_chan_54_live_writers_have_distinct_ids() -> None:
    side = Side()
    first, reader = side.ww(), side.sr()
    wrote(first, b"1")
    second = side.ww()
    wrote(second, b"2")
    ids = [reader.read(LONG).result().writer_id for _ in range(2)]
    assert ids == [1, 2]


@pytest.mark.parametrize("make", [Side.sw, Side.ww])
def test_chan_56_draining_refuses_new_frames(make: Callable[[Side], Writer]) -> None:
    side = Side()
    writer = make(side)
    side.channel.drain()
    with pytest.raises(Interrupted, match="operation interrupted"):
        writer.write(b"x").result()


def test_chan_57_draining_readers_finish() -> None:
    side = Side()
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"1")
    wrote(writer, b"2")
    side.channel.drain()
    assert [read(reader), read(reader)] == [b"1", b"2"]
    for _ in range(3):
        with pytest.raises(Interrupted):
            read(reader)


def test_draining_wakes_readers_that_wait() -> None:
    side = Side()
    strong, weak = side.sr().read(LONG), side.wr().read(LONG)
    side.channel.drain()
    for future in (strong, weak):
        with pytest.raises(Interrupted):
            future.result()


def test_chan_59_parked_strong_frame_completes_while_draining() -> None:
    side = Side(4)
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"full")
    waiting = writer.write(b"more")
    side.channel.drain()
    assert [read(reader), read(reader)] == [b"full", b"more"]
    assert waiting.result() == 4
    with pytest.raises(Interrupted):
        read(reader)


def test_chan_60_parked_weak_frame_completes_while_draining() -> None:
    side = Side(4)
    reader, writer = side.sr(), side.ww()
    wrote(writer, b"full")
    waiting = writer.write(b"more")
    side.channel.drain()
    assert [read(reader), read(reader)] == [b"full", b"more"]
    assert waiting.result() == 4
    with pytest.raises(Interrupted):
        read(reader)


def test_chan_61_draining_twice() -> None:
    side = Side()
    side.channel.drain()
    side.channel.drain()
    assert side.channel.state is State.DRAINING


def test_chan_62_terminated_channels_do_not_drain() -> None:
    side = Side()
    side.channel.terminate()
    with pytest.raises(ChannelError, match="Cannot drain a terminated channel"):
        side.channel.drain()


def test_chan_63_termination_breaks_everyone() -> None:
    side = Side(4)
    reader, writer = side.sr(), side.sw()
    other = side.wr().read(LONG)
    wrote(writer, b"full")
    waiting = writer.write(b"more")
    assert other.result().payload == b"full"
    side.channel.terminate()
    with pytest.raises(BrokenPipe, match="broken pipe"):
        waiting.result()
    with pytest.raises(BrokenPipe):
        read(reader)
    with pytest.raises(BrokenPipe):
        writer.write(b"x").result()


def test_draining_channels_do_not_terminate_but_close() -> None:
    side = Side()
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"x")
    side.channel.drain()
    with pytest.raises(ChannelError, match="Cannot terminate channel that is draining"):
        side.channel.terminate()
    side.channel.close()
    with pytest.raises(BrokenPipe):
        read(reader)


def test_chan_77_cancelled_read_consumes_nothing() -> None:
    side = Side()
    reader, writer = side.sr(), side.sw()
    abandoned = reader.read(LONG)
    abandoned.cancel()
    again = reader.read(LONG)
    wrote(writer, b"frame")
    assert again.result().payload == b"frame"


def test_chan_24_cancelled_write_with_a_place_completes() -> None:
    side = Side(4)
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"full")
    reserved = writer.write(b"kept")
    reserved.cancel()
    unreserved = writer.write(b"gone")
    unreserved.cancel()
    assert [read(reader), read(reader)] == [b"full", b"kept"]
    nothing_to_read(reader)
    wrote(writer, b"next")
    assert read(reader) == b"next"


def test_chan_24_write_behind_an_abandoned_one_waits_for_its_place() -> None:
    side = Side(4)
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"full")
    writer.write(b"one").cancel()
    second = writer.write(b"two")
    parks(second)
    assert [read(reader), read(reader), read(reader)] == [b"full", b"one", b"two"]
    assert second.result() == 3


def test_chan_80_downgraded_reader_keeps_its_place() -> None:
    side = Side(4)
    reader, writer = side.sr(), side.sw()
    wrote(writer, b"ab")
    reader.downgrade()
    assert read(reader) == b"ab"
    wrote(writer, b"cdef")
    wrote(writer, b"g")
    with pytest.raises(LeftBehind):
        read(reader)
    assert read(reader) == b"g"
