"""The state of a node link against a model: order, exactly once, credit, life."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from transport.link import BATCH_LIMIT, Backlogged, NodeLink
from transport.policy import Limits
from transport.wire import MalformedBatch, Send, decode_batch, encode_batch, encode_frame

WINDOW = 2000
PERIOD = 8.0


def frame(number: int, size: int = 1) -> bytes:
    """A frame with a number in it, and about so many bytes."""
    return encode_frame(Send(number, msgspec.Raw(msgspec.msgpack.encode("x" * size))))


class TwoSides(RuleBasedStateMachine):
    """Two node links and the two ways between them, each of which holds a batch for as long as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sides = [
            NodeLink(window=WINDOW, peer_window=WINDOW, limits=Limits(), period=PERIOD, now=0.0)
            for _ in range(2)
        ]
        self.on_the_way: list[bytes | None] = [None, None]
        self.sent: list[list[int]] = [[], []]
        self.arrived: list[list[int]] = [[], []]
        self.number = 0

    @rule(side=st.integers(0, 1), count=st.integers(1, 20), size=st.sampled_from([1, 100, 700, 5000]))
    def send(self, side: int, count: int, size: int) -> None:
        for _ in range(count):
            self.number += 1
            self.sides[side].send(frame(self.number, size))
            self.sent[side].append(self.number)

    @rule(side=st.integers(0, 1))
    def hand_over(self, side: int) -> None:
        if self.on_the_way[side] is None:
            batch = self.sides[side].next_batch(self.now)
            if batch is not None:
                self.on_the_way[side] = batch.data

    @rule(side=st.integers(0, 1))
    def was_taken_without_word(self, side: int) -> None:
        """The batch arrived, but its sender does not know: it will hand it over again."""
        data = self.on_the_way[side]
        if data is not None:
            batch = self.sides[1 - side].received(data, self.now)
            self.arrived[side] += [each.to for each in batch.frames]  # type: ignore[union-attr, misc]

    @rule(side=st.integers(0, 1))
    def was_full(self, side: int) -> None:
        """The other said FULL: the very same batch is given out again."""
        data, self.on_the_way[side] = self.on_the_way[side], None
        if data is not None:
            again = self.sides[side].next_batch(self.now)
            assert again is not None
            assert again.data == data

    @rule(side=st.integers(0, 1))
    def accept(self, side: int) -> None:
        data, self.on_the_way[side] = self.on_the_way[side], None
        if data is not None:
            batch = self.sides[1 - side].received(data, self.now)
            self.sides[side].accepted()
            self.arrived[side] += [each.to for each in batch.frames]  # type: ignore[union-attr, misc]

    @rule(seconds=st.floats(0, PERIOD / 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def once_and_in_order(self) -> None:
        for side in range(2):
            assert self.arrived[side] == self.sent[side][: len(self.arrived[side])]

    @invariant()
    def credit_is_kept(self) -> None:
        for side in self.sides:
            assert side.under_way <= WINDOW or side.under_way <= 5100, "one large frame may exceed the window"

    def teardown(self) -> None:
        """Whatever happened before: when both go on, everything arrives."""
        for _ in range(100_000):
            if self.arrived == self.sent:
                return
            self.now += PERIOD / 4
            for side in range(2):
                self.hand_over(side)
                self.accept(side)
        raise AssertionError(f"{[len(each) for each in self.arrived]} of {[len(each) for each in self.sent]}")


TwoSides.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTwoSides = TwoSides.TestCase


def make(**options: float) -> NodeLink:
    return NodeLink(
        window=WINDOW,
        peer_window=WINDOW,
        limits=Limits(backlog=int(options.get("backlog", 10**6)), rate=options.get("rate")),
        period=PERIOD,
        now=0.0,
    )


def test_a_repeated_batch_is_passed_over_and_a_lost_one_ends_the_node_link() -> None:
    link = make()
    assert len(link.received(encode_batch(0, 0, [frame(1)]), 0.0).frames) == 1
    for _ in range(3):
        assert not link.received(encode_batch(0, 0, [frame(1)]), 0.0).frames
    for number in (2, 2**64 - 1):
        with pytest.raises(MalformedBatch, match="where 1 was due"):
            link.received(encode_batch(number, 0, [frame(1)]), 0.0)


def test_a_peer_cannot_take_in_what_was_not_sent() -> None:
    with pytest.raises(MalformedBatch, match="took in 7 of 0"):
        make().received(encode_batch(0, 7, []), 0.0)


def test_an_idle_side_gives_a_sign_of_life_every_quarter() -> None:
    link = make()
    assert link.next_batch(1.9) is None
    sign = link.next_batch(2.0)
    assert sign is not None
    assert decode_batch(sign.data).frames == []
    link.accepted()
    assert link.next_batch(3.9) is None
    assert link.due_at() == 4.0
    assert link.dead_at() == PERIOD
    link.received(encode_batch(0, 0, []), 5.0)
    assert link.dead_at() == 5.0 + PERIOD


def test_credit_is_granted_without_being_asked() -> None:
    link = make()
    link.received(encode_batch(0, 0, [frame(1, 900)]), 0.0)
    assert link.next_batch(0.0) is None
    link.received(encode_batch(1, 0, [frame(1, 200)]), 0.0)
    grant = link.next_batch(0.0)
    assert grant is not None
    assert decode_batch(grant.data).consumed > WINDOW / 2


def test_batches_are_bounded() -> None:
    link = NodeLink(window=10**9, peer_window=10**9, limits=Limits(), period=PERIOD, now=0.0)
    for number in range(200):
        link.send(frame(number, 1000))
    batch = link.next_batch(0.0)
    assert batch is not None
    assert len(batch.data) <= BATCH_LIMIT + 100


def test_backlog() -> None:
    link = make(backlog=1000)
    while link.queued < 900:
        link.send(frame(1, 80))
    with pytest.raises(Backlogged, match="limit is 1000"):
        link.send(frame(1, 80))
    assert link.queued <= 1000


def test_rate() -> None:
    link = make(rate=10.0)
    link.received(encode_batch(0, 0, [frame(1)] * 10), 0.0)
    assert link.pause() == 0.0
    link.received(encode_batch(1, 0, [frame(1)] * 5), 0.0)
    assert link.pause() == pytest.approx(0.5)
    link.received(encode_batch(2, 0, []), 0.5)
    assert link.pause() == pytest.approx(0.0)


def test_handles_are_given_back_in_the_end() -> None:
    link = make()
    link.send(frame(1), (10, 11))
    link.send(frame(2), (12,))
    batch = link.next_batch(0.0)
    assert batch is not None
    assert list(batch.handles) == [10, 11, 12]
    assert list(link.accepted()) == [10, 11, 12]
    link.send(frame(3), (13,))
    link.next_batch(0.0)
    link.send(frame(4), (14,))
    assert sorted(link.leftovers()) == [13, 14]
