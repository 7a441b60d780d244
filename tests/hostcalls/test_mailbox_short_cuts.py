"""The short cuts of `receive`, `reply` and `self` answer as their contracts do, or leave the call to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import (
    ActorBody,
    ActorCall,
    ActorReceive,
    ActorReceived,
    ActorReply,
    PlainMessage,
    RequestMessage,
)
from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.abi.received import ReceivedCodec, Wish, body_bytes, plain_bytes, request_bytes
from enfilade.hostcalls.codec.rkyv import Codec, CodecError, codec, layout
from enfilade.hostcalls.contracts.host import ActorHost, Incoming, Request
from enfilade.hostcalls.contracts.inbox import Inbox
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Message
from enfilade.hostcalls.resources.registry import Kind
from tests.hostcalls.desk import INDEX, Desk, NoHost

WAITS = "waits"


class Asked(Request):
    """A call whose answer the test reads."""

    __slots__ = ("answers",)

    def __init__(self, message: bytes | Message, answers: list[Any]) -> None:
        self.message = message
        self.answers = answers

    def reply(self, answer: bytes | Message) -> None:
        self.answers.append(answer if type(answer) is bytes else cast(Message, answer).data)

    def abandon(self) -> None:
        self.answers.append(None)


class Side:
    """A guest with a mailbox, that makes its calls in one of both ways. It is its own host, too."""

    def __init__(self, *, short: bool) -> None:
        self.short = short
        self.desk = Desk()
        self.caller = self.desk.caller(message_bytes=100)
        cast(NoHost, self.caller.host).actors = cast(ActorHost, self)
        self.service = self
        self.queue: deque[Any] = deque()
        self.inbox = Inbox(self.queue, self.desk.clock, self)
        self.receive = self.inbox.receive
        self.answers: list[Any] = []
        self.conversed: list[Any] = []

    def converse(
        self, to: Any, future: int, arguments: bytes, data: tuple[int, int], timeout: float | None, limit: int
    ) -> None:
        """Nobody answers."""
        start, size = data
        self.conversed.append((to, future, arguments[start : start + size], timeout, limit))

    def admit(self, message: Any) -> Any:
        return message

    def translate(self, message: Any) -> Incoming:
        return message  # type: ignore[no-any-return]

    def taken(self, message: Any, incoming: Incoming) -> None:
        """Nobody looks on."""

    def receive_quickly(self, wish: Wish, future: int, caller: Any, convert: Callable[..., Any]) -> Any:
        """Without exchanges, for which there would have to be an engine."""
        if self.queue:
            return self.inbox.take_bytes(wish.limit) if wish.takes_bytes else None
        return self.inbox.wait(wish, caller, convert) if wish.is_patient else None

    def me(self) -> str:
        return "myself"

    def ask(self) -> int:
        """A request that the guest holds; its slot."""
        asked = Asked(b"", self.answers)
        return self.caller.add(Kind.REQUEST, asked, asked.abandon)

    def call(self, hostcall: Hostcall[Any, Any], arguments: bytes) -> Any:
        table, _ = self.desk.kernel._table(self.caller.grants)
        operation = table[INDEX[hostcall.name]]
        if self.short:
            assert operation.quick is not None
            answer = operation.quick(self.caller, arguments, 0)
            if isinstance(answer, Future):
                answer.cancel()
                return WAITS
            if answer is not None:
                return answer
        try:
            outcome: Any = operation.contract.run(self.caller, hostcall.input.decode(arguments))
            if not isinstance(outcome, Future):
                return hostcall.output.encode(outcome)
        except HostcallError as error:
            return error.text
        except CodecError:
            return "trap"
        outcome.cancel()
        return WAITS


messages = st.one_of(
    st.integers(0, 30).map(bytes),
    st.builds(Message, st.integers(0, 30).map(bytes), st.sampled_from((0, 7))),
)
wishes = st.builds(
    ActorReceive,
    st.sampled_from((None, 0, 1000)),
    st.sampled_from((0, 1, 2, 3, 4, 17)),
    st.sampled_from((None, 0, 7)),
    st.sampled_from((0, 10, 30)),
)


@settings(max_examples=150)
@given(st.lists(st.one_of(messages, wishes, st.just("request"), st.just("look")), max_size=30))
def test_a_guest_cannot_tell_how_its_receives_are_answered(script: list[Any]) -> None:
    """Whatever comes and is asked for in whatever order: the answers and what is left are the same."""
    sides = Side(short=False), Side(short=True)
    for step in script:
        answers = []
        for side in sides:
            if isinstance(step, ActorReceive):
                arguments = c.ACTOR_RECEIVE.input.encode(step)
                answers.append(side.call(c.ACTOR_RECEIVE, arguments))
            elif step == "request":
                side.queue.append(Asked(b"question", side.answers))
            elif step == "look":
                side.inbox.look()
            else:
                side.queue.append(step)
        assert answers[:1] == answers[1:]
    assert [len(side.queue) for side in sides[:1]] == [len(side.queue) for side in sides[1:]]


def test_plain_bytes_take_the_short_cut() -> None:
    side = Side(short=True)
    side.queue.extend([b"one", b"two"])
    receive = side.desk.kernel._table(side.caller.grants)[0][INDEX[c.ACTOR_RECEIVE.name]].quick
    assert receive is not None
    wish = c.ACTOR_RECEIVE.input.encode(ActorReceive(None, 0, None, 3))
    assert [receive(side.caller, wish, 0) for _ in range(2)] == [plain_bytes(b"one"), plain_bytes(b"two")]
    waiting = receive(side.caller, wish, 0)
    assert isinstance(waiting, Future)
    assert not waiting.done


replies = st.builds(ActorReply, st.integers(0, 3), st.integers(0, 120).map(bytes), st.just(()))


def both(arguments: bytes) -> None:
    found = []
    for short in (False, True):
        side = Side(short=short)
        side.ask()
        side.caller.add(Kind.OTHER, "no request")
        answer = side.call(c.ACTOR_REPLY, arguments)
        found.append((answer, side.answers, [slot for slot, _ in side.caller.slots]))
    assert found[0] == found[1]


@given(replies, st.integers(0, 9))
def test_a_guest_cannot_tell_how_its_replies_are_given(reply: ActorReply, junk: int) -> None:
    both(bytes(junk) + c.ACTOR_REPLY.input.encode(reply))


@settings(max_examples=200)
@given(st.data())
def test_damaged_replies(data: st.DataObject) -> None:
    """A reply that does not decode is left to the codec; one that does is given alike."""
    spoilt = bytearray(c.ACTOR_REPLY.input.encode(data.draw(replies)))
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(max(0, len(spoilt) - 20), len(spoilt) - 1))
        spoilt[where] = data.draw(st.integers(0, 255) | st.sampled_from([0, 4, 8, 252, 255]))
    both(bytes(spoilt))


@given(st.binary(max_size=40), st.integers(0, 2**32 - 1))
def test_what_is_written_in_one_go(data: bytes, slot: int) -> None:
    """Byte for byte as the codec of the whole type writes it."""
    whole: Codec[Any] = Codec(layout(ActorReceived))
    pairs: list[tuple[Callable[[], bytes], Any]] = [
        (lambda: plain_bytes(data), PlainMessage(0, data, ())),
        (lambda: request_bytes(slot, data), RequestMessage(slot, data, ())),
    ]
    for write, message in pairs:
        assert write() == whole.encode(ActorReceived(message))
        assert ReceivedCodec().decode(write()) == ActorReceived(message)
    assert body_bytes(data) == codec(ActorBody).encode(ActorBody(data))


calls = st.builds(
    ActorCall,
    st.integers(0, 2),
    st.sampled_from((None, 0, 1000)),
    st.integers(0, 110).map(bytes),
    st.just(()),
    st.sampled_from((0, 100)),
)


@settings(max_examples=300)
@given(st.data())
def test_calls_that_are_read_in_one_go(data: st.DataObject) -> None:
    """As the codec reads them, damaged or not; what it refuses, or what has resources, is left to it."""
    spoilt = bytearray(c.ACTOR_CALL.input.encode(data.draw(calls)))
    damages = data.draw(st.integers(0, 3))
    for _ in range(damages):
        where = data.draw(st.integers(max(0, len(spoilt) - 48), len(spoilt) - 1))
        spoilt[where] = data.draw(st.integers(0, 255) | st.sampled_from([0, 4, 8, 252, 255]))
    arguments = bytes(spoilt)
    side = Side(short=True)
    side.caller.add(Kind.ACTOR, "somebody")
    side.caller.add(Kind.OTHER, "nobody")
    table, _ = side.desk.kernel._table(side.caller.grants)
    quick = table[INDEX[c.ACTOR_CALL.name]].quick
    assert quick is not None
    assert quick(side.caller, arguments, 5) is None
    if side.conversed:
        wanted = c.ACTOR_CALL.input.decode(arguments)
        assert not wanted.resources
        assert len(wanted.data) <= 100
        timeout = None if wanted.timeout_ms is None else wanted.timeout_ms / 1000
        assert side.conversed == [("somebody", 5, wanted.data, timeout, wanted.data_limit)]
        assert wanted.to == 0
    elif not damages:
        wanted = c.ACTOR_CALL.input.decode(arguments)
        assert wanted.to or len(wanted.data) > 100 or wanted.timeout_ms == 0


@given(st.lists(st.sampled_from([b"", b"x", "free", "remove", "hold", "again"]), max_size=8))
@example([b"", b"", "hold", "free", b""])
@example([b"", b"", "again", "free", b""])
def test_a_guest_cannot_tell_how_it_is_told_of_itself(script: list[bytes | str]) -> None:
    """The first call makes the slot, later ones find it, also after it was freed; input is refused."""
    told = []
    for short in (False, True):
        side = Side(short=short)
        answers: list[Any] = []
        for step in script:
            if isinstance(step, bytes):
                answers.append(side.call(c.ACTOR_SELF, step))
                continue
            for slot, resource in list(side.caller.slots)[:1]:
                if step == "free":
                    side.caller.slots.free(slot)
                elif step == "hold":  # as a message does that is on its way
                    side.caller.registry.hold(resource)
                elif step == "again":
                    side.caller.slots.insert(resource)
                else:
                    side.caller.registry.remove(resource)
        told.append((answers, [slot for slot, _ in side.caller.slots]))
    assert told[0] == told[1]
