"""A node link at its limits: what is exactly as much as allowed passes, and what is one more does not."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.transport.node_link import BATCH_LIMIT, Backlogged, NodeLink
from enfilade.transport.policy import Limits
from enfilade.transport.wire import MalformedBatch, decode_batch, encode_batch
from tests.transport.test_node_link import frame

SIZE = len(frame(1))


def link(*, window: int = 10**6, peer_window: int = 10**6, **limits: Any) -> NodeLink:
    return NodeLink(window=window, peer_window=peer_window, limits=Limits(**limits), clock=lambda: 0.0)


def sizes(side: NodeLink, *, last: bool = True) -> list[int]:
    """How many frames each batch has that may leave, each accepted and taken in at once."""
    found = []
    while (batch := side.next_batch(last=last)) is not None:
        found.append(len(decode_batch(batch.data).frames))
        side.accepted()
    return found


def test_backlog() -> None:
    side = link(backlog=3 * SIZE)
    for _ in range(3):
        side.send(frame(1))
    with pytest.raises(Backlogged):
        side.send(frame(1))
    assert side.queued == 3 * SIZE
    assert sizes(side) == [3]
    assert side.queued == 0
    side.send(frame(1))


@pytest.mark.parametrize(("spare", "batches"), [(0, [2]), (-1, [1])])
def test_batch_as_large_as_the_window(spare: int, batches: list[int]) -> None:
    """Two frames that fill the peer's window exactly leave together; with a byte less, one at a time."""
    side = link(peer_window=2 * SIZE + spare)
    side.send(frame(1))
    assert side.send(frame(2)) is (spare < 0)
    batch = side.next_batch()
    assert batch is not None
    assert [len(decode_batch(batch.data).frames)] == batches


def test_batch_limit() -> None:
    """A batch is never larger than its limit, however large the window."""
    whole = frame(1, BATCH_LIMIT // 2)
    side = link()
    for _ in range(2):
        side.send(whole)
    assert len(whole) * 2 > BATCH_LIMIT
    assert sizes(side) == [1, 1]


@pytest.mark.parametrize(("handles", "batches"), [(100, [2]), (101, [1, 1])])
def test_handles_of_a_batch(handles: int, batches: list[int]) -> None:
    """Two hundred handles travel together, and no more."""
    side = link()
    side.send(frame(1), [object()] * 100)  # type: ignore[list-item]
    side.send(frame(2), [object()] * handles)  # type: ignore[list-item]
    assert sizes(side) == batches


@pytest.mark.parametrize(("spare", "leaves"), [(0, True), (-1, False)])
def test_window_that_is_full(spare: int, leaves: bool) -> None:
    """What fills the rest of the window exactly leaves; one byte more does not."""
    side = link(peer_window=3 * SIZE + spare)
    for number in range(2):
        side.send(frame(number))
        side.next_batch()
        side.accepted()
    side.send(frame(3))
    assert (side.next_batch() is not None) is leaves


@pytest.mark.parametrize(("more", "leaves"), [(0, False), (1, True)])
def test_half_a_window(more: int, leaves: bool) -> None:
    """What is too large for the rest of the window leaves only when less than half of one is under way."""
    side = link(peer_window=2 * SIZE + more)
    side.send(frame(1))
    side.next_batch()
    side.accepted()
    side.send(frame(2, 3 * SIZE))
    assert (side.next_batch() is not None) is leaves


@pytest.mark.parametrize(("more", "due"), [(0, True), (1, False)])
def test_grant(more: int, due: bool) -> None:
    """A grant is due at exactly half a window, once."""
    side = link(window=2 * SIZE + more)
    side.received(encode_batch(0, 0, [frame(1)]))
    assert side.is_grant_due() is due
    if due:
        assert side.next_batch() is not None
        side.accepted()
        assert not side.is_grant_due()


@pytest.mark.parametrize("granted", [SIZE - 1, 2 * SIZE + 1])
def test_grants_that_cannot_be(granted: int) -> None:
    """A peer that has taken in so much can have taken in neither less than it said nor more than came."""
    side = link()
    for number in range(2):
        side.send(frame(number))
    side.next_batch()
    side.accepted()
    side.received(encode_batch(0, SIZE, []))
    with pytest.raises(MalformedBatch, match="took in"):
        side.received(encode_batch(1, granted, []))
    side.received(encode_batch(1, 2 * SIZE, []))
    assert side.under_way == 0


def test_the_last_batch_may_wait() -> None:
    """The last batch, which more may join, leaves only when it is asked for."""
    side = link()
    side.send(frame(1))
    assert side.next_batch(last=False) is None
    assert side.send(frame(2)) is False
    assert sizes(side) == [2]


def test_signs_of_life() -> None:
    """Only a quarter without a batch of one's own asks for a sign, and one sign is enough."""
    side = link()
    assert side.quarter()
    assert side.next_batch() is None
    assert side.quarter()
    assert side.next_batch() is not None
    side.accepted()
    assert side.next_batch() is None
    assert side.quarter()
    assert side.next_batch() is None


def test_silence() -> None:
    """Four quarters of silence are borne, the fifth is death; a batch begins the count anew."""
    side = link()
    assert [side.quarter() for _ in range(4)] == [True] * 4
    side.received(encode_batch(0, 0, []))
    assert [side.quarter() for _ in range(5)] == [True] * 4 + [False]


def test_leftovers() -> None:
    """Whatever has not been accepted is left over, and nothing is queued any more."""
    first, second = object(), object()
    side = link()
    side.send(frame(1), [first])  # type: ignore[list-item]
    side.next_batch()
    side.send(frame(2), [second])  # type: ignore[list-item]
    assert list(side.leftovers()) == [first, second]
    assert side.queued == 0
    assert sizes(side) == []
