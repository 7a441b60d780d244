"""A node link at its limits: what is exactly as much as allowed passes, and what is one more does not.

How a node link behaves within its limits is in test_node_link.py.
"""

from __future__ import annotations

import pytest

from enfilade.transport.node_link import Backlogged, NodeLink
from enfilade.transport.policy import Limits
from enfilade.transport.settings import Settings
from enfilade.transport.wire import BATCH_LIMIT, MalformedBatch, encode_batch
from tests.transport.test_node_link import make
from tests.transport.two_sides import WINDOW, frame


def send_off(link: NodeLink, size: int) -> None:
    """Send so many bytes of frames, which the peer accepts but does not say that it has taken in."""
    link.send(b"x" * size)
    assert link.next_batch() is not None
    link.accepted()


def exact_frame(size: int) -> bytes:
    """A frame of exactly so many bytes."""
    exact = frame(1, size - (len(frame(1, size)) - size))
    assert len(exact) == size
    return exact


@pytest.mark.parametrize(
    ("waiting", "size", "fits"), [(0, 1000, True), (0, 1001, False), (999, 1, True), (999, 2, False)]
)
def test_backlog_at_its_limit(waiting: int, size: int, fits: bool) -> None:
    """The backlog holds exactly as many bytes as its limit; a frame beyond is refused, without effect."""
    link = make(backlog=1000)
    if waiting:
        link.send(b"x" * waiting)
    if fits:
        link.send(b"x" * size)
        assert link.queued == 1000
    else:
        with pytest.raises(Backlogged):
            link.send(b"x" * size)
        assert link.queued == waiting


@pytest.mark.parametrize(
    ("window", "largest"), [(WINDOW, WINDOW), (10**9, BATCH_LIMIT), (BATCH_LIMIT, BATCH_LIMIT)]
)
@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("handles", [(), (7,)])
def test_batch_at_its_limit(window: int, largest: int, beyond: int, handles: tuple[int, ...]) -> None:
    """A batch is as large as the peer's window, but never larger than its limit; handles change nothing."""
    link = NodeLink(settings=Settings(window=window), peer_window=window, limits=Limits(), clock=lambda: 0.0)
    assert link.send(b"x" * (largest - 10)) is False
    assert link.send(b"y" * (10 + beyond), handles) is bool(beyond)
    assert link.next_batch() is not None
    assert link.under_way == largest - (10 if beyond else 0)


@pytest.mark.parametrize("beyond", [0, 1])
def test_handles_at_their_limit(beyond: int) -> None:
    """A batch carries two hundred handles, and no more."""
    link = make()
    link.send(b"x", range(199))
    assert link.send(b"y", range(1 + beyond)) is bool(beyond)
    batch = link.next_batch()
    assert batch is not None
    assert len(batch.handles) == 200 - beyond


@pytest.mark.parametrize(
    ("under_way", "size", "leaves"),
    [
        pytest.param(1500, 500, True, id="fills_the_window"),
        pytest.param(1500, 501, False, id="exceeds_the_window"),
        pytest.param(999, WINDOW, True, id="less_than_half_a_window_under_way"),
        pytest.param(1000, 1001, False, id="half_a_window_under_way"),
        pytest.param(1000, 1000, True, id="the_other_half"),
    ],
)
def test_window_at_its_limit(under_way: int, size: int, leaves: bool) -> None:
    """What fills the window exactly leaves; what exceeds it only if less than half of one is under way."""
    link = make()
    send_off(link, under_way)
    link.send(b"x" * size)
    assert (link.next_batch() is not None) is leaves
    assert link.under_way == under_way + (size if leaves else 0)


@pytest.mark.parametrize(("size", "due"), [(WINDOW // 2 - 1, False), (WINDOW // 2, True)])
def test_grant_at_half_a_window(size: int, due: bool) -> None:
    """A grant is due at exactly half a window, once."""
    link = make()
    link.received(encode_batch(0, 0, [exact_frame(size)]))
    assert link.is_grant_due() is due
    assert (link.next_batch() is not None) is due
    assert not due or not link.is_grant_due()


@pytest.mark.parametrize(("taken_in", "possible"), [(99, False), (100, True), (300, True), (301, False)])
def test_what_a_peer_can_have_taken_in(taken_in: int, possible: bool) -> None:
    """A peer takes in no more than was sent, and never less than it has said before."""
    link = make()
    send_off(link, 100)
    link.received(encode_batch(0, 100, []))
    send_off(link, 200)
    if possible:
        link.received(encode_batch(1, taken_in, []))
        assert link.under_way == 300 - taken_in
    else:
        with pytest.raises(MalformedBatch, match=f"took in {taken_in} of 300"):
            link.received(encode_batch(1, taken_in, []))


def test_last_batch_waits_for_more_frames_when_asked_to() -> None:
    """The last batch, which more frames may join, leaves only when it is asked for."""
    link = make()
    link.send(b"x" * WINDOW)
    assert link.next_batch(last=False) is None
    link.send(b"y")
    assert link.next_batch(last=False) is not None
    link.accepted()
    assert link.next_batch(last=False) is None


def test_allowance_at_its_limit() -> None:
    """However long a peer was silent, it may send the frames of one second at once, and no more."""
    now = [0.0]
    link = make(lambda: now[0], rate=10.0)
    now[0] = 100.0
    link.received(encode_batch(0, 0, [frame(1)] * 15))
    assert link.pause() == pytest.approx(0.5)
