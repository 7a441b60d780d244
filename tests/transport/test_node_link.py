"""The state of a node link against a model: order, exactly once, credit, life."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from enfilade.transport.node_link import Backlogged, NodeLink
from enfilade.transport.policy import Limits
from enfilade.transport.settings import Settings
from enfilade.transport.wire import BATCH_LIMIT, MalformedBatch, decode_batch, encode_batch
from tests.transport.two_sides import WINDOW, TwoSides, frame


def make(clock: Callable[[], float] = lambda: 0.0, **limits: Any) -> NodeLink:
    return NodeLink(
        settings=Settings(window=WINDOW), peer_window=WINDOW, limits=Limits(**limits), clock=clock
    )


class Sides(TwoSides[NodeLink]):
    """Two node links and the two ways between them, each of which holds a batch for as long as it likes."""

    def __init__(self) -> None:
        super().__init__(make(), make())
        self.on_the_way: list[bytes | None] = [None, None]

    @rule(side=st.integers(0, 1))
    def hand_over(self, side: int) -> None:
        if self.on_the_way[side] is None:
            batch = self.sides[side].next_batch()
            if batch is not None:
                self.on_the_way[side] = batch.data

    @rule(side=st.integers(0, 1))
    def was_taken_without_word(self, side: int) -> None:
        """The batch arrived, but its sender does not know: it will hand it over again."""
        data = self.on_the_way[side]
        if data is not None:
            self.take(side, data)

    @rule(side=st.integers(0, 1))
    def was_full(self, side: int) -> None:
        """The other said FULL: the very same batch is given out again."""
        data, self.on_the_way[side] = self.on_the_way[side], None
        if data is not None:
            again = self.sides[side].next_batch()
            assert again is not None
            assert again.data == data

    @rule(side=st.integers(0, 1))
    def accept(self, side: int) -> None:
        data, self.on_the_way[side] = self.on_the_way[side], None
        if data is not None:
            self.take(side, data)
            self.sides[side].accepted()

    @rule(side=st.integers(0, 1))
    def hand_over_what_is_full(self, side: int) -> None:
        """The last batch waits for more frames."""
        if self.on_the_way[side] is None:
            batch = self.sides[side].next_batch(last=False)
            if batch is not None:
                self.on_the_way[side] = batch.data

    @rule()
    def wait(self) -> None:
        for side in self.sides:
            side.quarter()

    @invariant()
    def credit_is_kept(self) -> None:
        for side in self.sides:
            assert side.under_way <= WINDOW // 2 + 5100, "one large frame may exceed the window"

    def teardown(self) -> None:
        """Whatever happened before: when both go on, everything arrives."""
        for _ in range(100_000):
            if self.arrived == self.sent:
                return
            for side in range(2):
                self.sides[side].quarter()
                self.hand_over(side)
                self.accept(side)
        raise AssertionError(self.missing())


Sides.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestTwoSides = Sides.TestCase


def test_a_repeated_batch_is_passed_over_and_a_lost_one_ends_the_node_link() -> None:
    link = make()
    assert len(link.received(encode_batch(0, 0, [frame(1)]))) == 1
    for _ in range(3):
        assert not link.received(encode_batch(0, 0, [frame(1)]))
    for number in (2, 2**64 - 1):
        with pytest.raises(MalformedBatch, match="where 1 was due"):
            link.received(encode_batch(number, 0, [frame(1)]))


def test_a_peer_cannot_take_in_what_was_not_sent() -> None:
    with pytest.raises(MalformedBatch, match="took in 7 of 0"):
        make().received(encode_batch(0, 7, []))


def test_a_side_that_was_silent_for_a_quarter_gives_a_sign_of_life() -> None:
    link = make()
    link.send(frame(1))
    for _ in range(3):
        assert link.next_batch() is not None
        link.accepted()
        link.quarter()
        assert link.next_batch() is None, "a batch in every quarter is sign enough"
        link.send(frame(1))
    link.next_batch()
    link.accepted()
    for _ in range(3):
        link.quarter()
        link.quarter()
        sign = link.next_batch()
        assert sign is not None
        assert decode_batch(sign.data).frames == []
        link.accepted()
        assert link.next_batch() is None


def test_a_peer_that_is_silent_for_four_quarters_is_dead() -> None:
    link = make()
    assert [link.quarter() for _ in range(3)] == [True] * 3
    link.received(encode_batch(0, 0, []))
    assert [link.quarter() for _ in range(6)] == [True] * 4 + [False] * 2


def test_credit_is_granted_without_being_asked() -> None:
    link = make()
    link.received(encode_batch(0, 0, [frame(1, 900)]))
    assert link.next_batch() is None
    link.received(encode_batch(1, 0, [frame(1, 200)]))
    grant = link.next_batch()
    assert grant is not None
    assert decode_batch(grant.data).consumed > WINDOW / 2


@given(st.lists(st.integers(1, 3 * WINDOW), max_size=50))
def test_credit_never_runs_dry(sizes: list[int]) -> None:
    """Whatever was sent: when the peer has taken it in, either it grants anew or the next batch may leave."""
    one, other = make(), make()
    for size in sizes:
        one.send(frame(1, size))
    while one.queued:
        batch = one.next_batch()
        assert batch is not None, "no credit, and nobody is going to grant any"
        other.received(batch.data)
        one.accepted()
        if other.is_grant_due():
            grant = other.next_batch()
            assert grant is not None
            one.received(grant.data)
            other.accepted()


def test_batches_are_bounded() -> None:
    link = NodeLink(settings=Settings(window=10**9), peer_window=10**9, limits=Limits(), clock=lambda: 0.0)
    full = [link.send(frame(number, 1000)) for number in range(200)]
    assert full.count(True) == 200 * len(frame(100, 1000)) // BATCH_LIMIT
    sizes = []
    while (batch := link.next_batch(last=False)) is not None:
        sizes.append(len(batch.data))
        link.accepted()
    assert len(sizes) == full.count(True)
    assert all(BATCH_LIMIT - 2000 < size <= BATCH_LIMIT + 100 for size in sizes)
    assert 0 < link.queued < BATCH_LIMIT
    assert link.next_batch() is not None
    assert link.queued == 0


def test_a_full_backlog_ends_the_node_link() -> None:
    link = make(backlog=1000)
    while link.queued < 900:
        link.send(frame(1, 80))
    with pytest.raises(Backlogged, match="limit is 1000"):
        link.send(frame(1, 80))
    assert link.queued <= 1000


def test_a_peer_that_is_too_fast_makes_a_pause() -> None:
    now = [0.0]
    link = make(lambda: now[0], rate=10.0)
    link.received(encode_batch(0, 0, [frame(1)] * 10))
    assert link.pause() == 0.0
    link.received(encode_batch(1, 0, [frame(1)] * 5))
    assert link.pause() == pytest.approx(0.5)
    now[0] = 0.5
    link.received(encode_batch(2, 0, []))
    assert link.pause() == pytest.approx(0.0)


def test_handles_are_given_back_in_the_end() -> None:
    link = make()
    link.send(frame(1), (10, 11))
    link.send(frame(2), (12,))
    batch = link.next_batch()
    assert batch is not None
    assert list(batch.handles) == [10, 11, 12]
    assert list(link.accepted()) == [10, 11, 12]
    link.send(frame(3), (13,))
    link.next_batch()
    link.send(frame(4), (14,))
    assert list(link.leftovers()) == [13, 14]
    assert link.queued == 0
    assert link.next_batch() is None
