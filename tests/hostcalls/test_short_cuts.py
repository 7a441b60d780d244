"""The short cuts of operations answer as their contracts do, or leave the call to them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoRead, IoWrite
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.codec.rkyv import CodecError
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.resources.futures import Future
from tests.hostcalls.desk import INDEX, Desk

CALLS: tuple[Hostcall[Any, Any], ...] = (
    c.CHANNEL_STRONG_READ,
    c.CHANNEL_WEAK_READ,
    c.CHANNEL_STRONG_WRITE,
    c.CHANNEL_WEAK_WRITE,
)
CREATE = (
    c.CHANNEL_STRONG_READER_CREATE,
    c.CHANNEL_WEAK_READER_CREATE,
    c.CHANNEL_STRONG_WRITER_CREATE,
    c.CHANNEL_WEAK_WRITER_CREATE,
)
SLOTS = 10  # a few more than there are, so that some lead nowhere


def taken(answer: Any) -> Any:
    """What is offered, as the guest that polls it has it."""
    return answer.value if isinstance(answer, Offer) else answer


class Side:
    """A guest with a channel, readers and writers, that makes its calls in one of both ways."""

    def __init__(self, backpressure: ChannelBackpressure, *, short: bool) -> None:
        self.desk = Desk()
        self.caller: Caller = self.desk.caller()
        self.short = short
        self.pending: list[tuple[Hostcall[Any, Any], Future[Any]]] = []
        channel = self.desk.call(self.caller, c.CHANNEL_CREATE, ChannelCreate(64, backpressure))
        for hostcall in (*CREATE, *CREATE):
            self.desk.call(self.caller, hostcall, channel)

    def call(self, hostcall: Hostcall[Any, Any], arguments: bytes) -> Any:
        """The encoded answer, an error's text, or None for one that comes later."""
        table, _ = self.desk.kernel._table(self.caller.grants)
        operation = table[INDEX[hostcall.name]]
        if self.short:
            assert operation.quick is not None
            answer = operation.quick(self.caller, arguments, 0)
            if answer is not None:
                return taken(answer)
        try:
            outcome: Any = operation.contract.run(self.caller, hostcall.input.decode(arguments))
            if outcome.done:
                return hostcall.output.encode(taken(outcome.result()))
        except HostcallError as error:
            return error.text
        except CodecError:
            return "trap"
        self.pending.append((hostcall, outcome))
        return None

    def later(self) -> list[Any]:
        """What has come of the calls that were not answered at once."""
        found: list[Any] = []
        for hostcall, future in self.pending:
            try:
                found.append(hostcall.output.encode(taken(future.result())) if future.done else None)
            except HostcallError as error:
                found.append(error.text)
        return found

    def state(self) -> Any:
        channel = self.caller.slots.get(0).payload
        return channel.frames, channel.unread, channel.discarded, channel._next


reads = st.builds(
    lambda slot, size: IoRead(slot, size), st.integers(0, SLOTS), st.sampled_from((0, 1, 8, 20, 64, 1000))
)
writes = st.builds(
    lambda slot, size: IoWrite(slot, bytes(range(size))),
    st.integers(0, SLOTS),
    st.sampled_from((0, 1, 3, 8, 20, 64, 65)),
)
steps = st.one_of(
    st.tuples(st.sampled_from(CALLS[:2]), reads),
    st.tuples(st.sampled_from(CALLS[2:]), writes),
    st.sampled_from(("drain", "close")).map(lambda what: (None, what)),
)


@settings(max_examples=60)
@given(st.sampled_from(tuple(ChannelBackpressure)), st.lists(steps, max_size=40))
def test_a_guest_cannot_tell(backpressure: ChannelBackpressure, script: list[tuple[Any, Any]]) -> None:
    """Whatever is read and written in whatever order: answers, waits, errors and the channel are the same."""
    long, short = Side(backpressure, short=False), Side(backpressure, short=True)
    for hostcall, value in script:
        if hostcall is None:
            for side in (long, short):
                with contextlib.suppress(HostcallError):  # one that is closed cannot be drained
                    getattr(side.caller.slots.get(0).payload, value)()
        else:
            arguments = hostcall.input.encode(value)
            assert long.call(hostcall, arguments) == short.call(hostcall, arguments)
        assert long.later() == short.later()
        assert long.state() == short.state()


@settings(max_examples=150)
@given(st.sampled_from(CALLS), st.binary(max_size=48))
def test_damaged_arguments(hostcall: Hostcall[Any, Any], arguments: bytes) -> None:
    """Arguments that do not decode are left to the codec; those that do give the same."""
    long, short = Side(ChannelBackpressure.PARK, short=False), Side(ChannelBackpressure.PARK, short=True)
    assert long.call(hostcall, arguments) == short.call(hostcall, arguments)
    assert long.state() == short.state()


@pytest.mark.parametrize(
    "arguments",
    [
        bytes(11),
        (3).to_bytes(4, "little") + (-12).to_bytes(4, "little", signed=True) + (4).to_bytes(4, "little"),
        (3).to_bytes(4, "little") + (-5).to_bytes(4, "little", signed=True) + (1).to_bytes(4, "little"),
        bytes(4) + (3).to_bytes(4, "little") + (-4).to_bytes(4, "little", signed=True) + bytes([2, 0, 0, 0]),
        bytes(2) + c.CHANNEL_STRONG_WRITE.input.encode(IoWrite(3, b"payload")),
        bytes(4) + c.CHANNEL_STRONG_WRITE.input.encode(IoWrite(3, b"payload")),
    ],
)
def test_payloads_that_lie_outside(arguments: bytes) -> None:
    long, short = Side(ChannelBackpressure.PARK, short=False), Side(ChannelBackpressure.PARK, short=True)
    assert long.call(c.CHANNEL_STRONG_WRITE, arguments) == short.call(c.CHANNEL_STRONG_WRITE, arguments)
    assert long.state() == short.state()


@pytest.mark.parametrize("junk", range(9))
def test_arguments_behind_junk(junk: int) -> None:
    """The root of a message is its end, aligned to 4: of what comes before, only the length matters."""
    long, short = Side(ChannelBackpressure.PARK, short=False), Side(ChannelBackpressure.PARK, short=True)
    answers = []
    for side in (long, short):
        side.call(c.CHANNEL_STRONG_WRITE, c.CHANNEL_STRONG_WRITE.input.encode(IoWrite(3, b"frame")))
        read = bytes(junk) + c.CHANNEL_STRONG_READ.input.encode(IoRead(1, 99))
        answers.append(side.call(c.CHANNEL_STRONG_READ, read))
    assert answers[0] == answers[1]
    assert (answers[0] == "trap") is bool(junk % 4)


def test_they_serve_what_can_be_answered_at_once() -> None:
    """A write that finds room and a read that finds a frame need no contract."""
    side = Side(ChannelBackpressure.PARK, short=True)
    table, _ = side.desk.kernel._table(side.caller.grants)
    write, read = (table[INDEX[call.name]].quick for call in (c.CHANNEL_STRONG_WRITE, c.CHANNEL_STRONG_READ))
    assert write is not None
    assert read is not None
    written = write(side.caller, c.CHANNEL_STRONG_WRITE.input.encode(IoWrite(3, b"frame")), 0)
    assert written == c.CHANNEL_STRONG_WRITE.output.encode(5)
    answer = read(side.caller, c.CHANNEL_STRONG_READ.input.encode(IoRead(1, 99)), 0)
    assert c.CHANNEL_STRONG_READ.output.decode(taken(answer)).payload == b"frame"
    assert read(side.caller, c.CHANNEL_STRONG_READ.input.encode(IoRead(1, 99)), 0) is None
