"""Channel conformance: slots, shared handles and what guests do with channels through hostcalls."""

from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoRead, IoWrite
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.contracts.caller import Caller
from tests.hostcalls.desk import DENIED, INVALID, NOT_FOUND, Desk, fails

PARK = ChannelCreate(64, ChannelBackpressure.PARK)


class Process:
    """One process of a desk, with the hostcalls that the cases are written in."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.caller: Caller = desk.caller()

    def create(self) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_CREATE, PARK))

    def delete(self, slot: int) -> None:
        self.desk.call(self.caller, c.CHANNEL_DELETE, slot)

    def share(self, slot: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_SHARE, slot))

    def attach(self, handle: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_ATTACH, handle))

    def reader(self, slot: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_STRONG_READER_CREATE, slot))

    def writer(self, slot: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_STRONG_WRITER_CREATE, slot))

    def write(self, slot: int, payload: bytes) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_STRONG_WRITE, IoWrite(slot, payload)).result())

    def read(self, slot: int) -> bytes:
        payload: bytes = self.desk.call(self.caller, c.CHANNEL_STRONG_READ, IoRead(slot, 99)).result().payload
        return payload


def test_chan_4_abi_4_slots_are_reused_last_freed_first() -> None:
    process = Process(Desk())
    assert [process.create(), process.create()] == [0, 1]
    process.delete(0)
    assert process.create() == 0


def test_only_the_owner_deletes_and_drains() -> None:
    """Another process that has the channel gets an error, and the channel lives."""
    desk = Desk()
    a, b = Process(desk), Process(desk)
    slot = a.create()
    attached = b.attach(a.share(slot))
    assert fails(lambda: b.delete(attached)) == DENIED
    assert fails(lambda: desk.call(b.caller, c.CHANNEL_DRAIN, attached)) == DENIED
    b.write(b.writer(attached), b"goes on")
    assert a.read(a.reader(slot)) == b"goes on"
    a.delete(slot)


def test_chan_67_deleting_anothers_channel() -> None:
    """By upstream's rules."""
    desk = Desk(upstream=True)
    a, b = Process(desk), Process(desk)
    slot = a.create()
    b.delete(b.attach(a.share(slot)))
    assert fails(lambda: a.reader(slot)) == NOT_FOUND
    desk.call(a.caller, c.CHANNEL_DETACH, slot)
    assert a.create() == slot


def test_chan_68_deleting_a_reader_slot() -> None:
    process = Process(Desk())
    channel = process.create()
    reader, writer = process.reader(channel), process.writer(channel)
    for slot in (reader, writer):
        assert fails(lambda slot=slot: process.delete(slot)) == INVALID
    process.write(writer, b"kept")
    assert process.read(reader) == b"kept"


def test_chan_70_abi_4_shared_handles_count_from_zero() -> None:
    """By upstream's rules."""
    process = Process(Desk(upstream=True))
    slots = [process.create() for _ in range(3)]
    assert [process.share(slot) for slot in slots] == [0, 1, 2]
    assert process.share(slots[1]) == 1


def test_shared_handles_are_random() -> None:
    """A handle has 63 bits, stays the same as long as its resource lives, and cannot be guessed."""
    process = Process(Desk())
    slots = [process.create() for _ in range(100)]
    handles = [process.share(slot) for slot in slots]
    assert len(set(handles)) == 100
    assert all(0 < handle < 1 << 63 for handle in handles)
    assert any(handle >> 62 for handle in handles)
    assert [process.share(slot) for slot in slots] == handles
    assert {process.desk.kernel.registry.shared(handle).shared for handle in handles} == set(handles)


def test_chan_71_unknown_shared_handle() -> None:
    process = Process(Desk())
    assert fails(lambda: process.attach(0)) == NOT_FOUND
    assert fails(lambda: process.attach((1 << 64) - 1)) == NOT_FOUND


def test_chan_72_attached_channels_are_one_channel() -> None:
    desk = Desk()
    a, b = Process(desk), Process(desk)
    in_a = a.create()
    in_b = b.attach(a.share(in_a))
    readers = [(a, a.reader(in_a)), (b, b.reader(in_b))]
    a.write(a.writer(in_a), b"from a")
    b.write(b.writer(in_b), b"from b")
    for process, reader in readers:
        assert [process.read(reader), process.read(reader)] == [b"from a", b"from b"]


def test_chan_73_attaching_twice() -> None:
    process = Process(Desk())
    first = process.create()
    handle = process.share(first)
    second, third = process.attach(handle), process.attach(handle)
    assert len({first, second, third}) == 3
    reader = process.reader(second)
    process.write(process.writer(third), b"x")
    assert process.read(reader) == b"x"


def test_chan_75_shared_reader_has_one_cursor() -> None:
    desk = Desk()
    a, b = Process(desk), Process(desk)
    channel = a.create()
    reader, writer = a.reader(channel), a.writer(channel)
    elsewhere = b.attach(a.share(reader))
    a.write(writer, b"1")
    a.write(writer, b"2")
    assert [b.read(elsewhere), a.read(reader)] == [b"1", b"2"]


def test_one_operation_at_a_time_on_a_shared_reader() -> None:
    desk = Desk()
    a, b = Process(desk), Process(desk)
    channel = a.create()
    reader, writer = a.reader(channel), a.writer(channel)
    elsewhere = b.attach(a.share(reader))
    waiting = desk.call(a.caller, c.CHANNEL_STRONG_READ, IoRead(reader, 9))
    assert fails(lambda: b.read(elsewhere)) == INVALID
    a.write(writer, b"mine")
    assert waiting.result().payload == b"mine"


def test_chan_63_deleting_wakes_a_parked_reader() -> None:
    process = Process(Desk())
    channel = process.create()
    reader = process.reader(channel)
    waiting = process.desk.call(process.caller, c.CHANNEL_STRONG_READ, IoRead(reader, 9))
    process.delete(channel)
    assert fails(lambda: waiting) == "internal error: io error: broken pipe"


def test_deleting_a_draining_channel() -> None:
    """It says that it drains, and is gone all the same; whoever waits is woken."""
    process = Process(Desk())
    channel = process.create()
    reader = process.reader(channel)
    process.desk.call(process.caller, c.CHANNEL_DRAIN, channel)
    assert "Cannot terminate channel that is draining" in fails(lambda: process.delete(channel))
    assert fails(lambda: process.read(reader)) == "internal error: io error: broken pipe"
    assert process.create() == channel
