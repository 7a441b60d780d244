"""The compiled ways of a frame and their twins in Python: the same batches, states, refusals and calls."""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enfilade.transport import node_link as node_link_file
from enfilade.transport import outward as outward_file
from enfilade.transport.carrier import Arrival, CarrierError, Credentials, Status
from enfilade.transport.core import choice
from enfilade.transport.inward import Inward
from enfilade.transport.node_link import NodeLink
from enfilade.transport.outward import Outward
from enfilade.transport.plain_frames import encode_call, encode_reply, encode_send
from enfilade.transport.policy import Limits
from enfilade.transport.seal import Seal
from enfilade.transport.settings import Settings
from enfilade.transport.wire import (
    BATCH_LIMIT,
    Call,
    Cancel,
    Chunk,
    MalformedBatch,
    Monitor,
    Reply,
    Send,
    encode_batch,
    encode_frame,
)

pytestmark = pytest.mark.skipif(not choice.IS_AVAILABLE, reason="the ways are not compiled here")

PEER = Credentials(pid=7, uid=8, gid=9)
SAME = Credentials(pid=7, uid=8, gid=9)
OTHER = Credentials(pid=10, uid=11, gid=12)

Operation = tuple[Any, ...]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = choice.in_use()
    yield
    choice.choose(is_compiled=before == "compiled")


@attrs.define
class Outlet:
    """An outlet that answers as it is told.

    Attributes:
        answers: to batches, in the order in which it is asked for them; None: not yet.
        at_once: whether `start` answers itself.
        calls: what it was called with.
    """

    answers: deque[Any] = attrs.field(factory=deque)
    at_once: bool = False
    calls: list[Any] = attrs.field(factory=list)

    def start(self, data: bytes, handles: Sequence[int] = (), *, repeatable: bool = False) -> Status | None:
        self.calls.append(("start", data, list(handles), repeatable))
        return self._next() if self.at_once else None

    def answer(self) -> Status | None:
        self.calls.append("answer")
        return self._next()

    def _next(self) -> Status | None:
        answer = self.answers.popleft() if self.answers else Status.ACCEPTED
        if isinstance(answer, CarrierError):
            raise answer
        return answer

    def want(self) -> None:
        self.calls.append("want")

    def close(self) -> None:
        self.calls.append("close")


class Inlet:
    """An inlet in which nothing comes by itself."""

    def take(self) -> Sequence[Arrival]:
        return ()

    def close(self) -> None:
        return


class Rig:
    """Both directions of a node link, between an outlet and an inlet that do as they are told."""

    def __init__(self, window: int, backlog: int, rate: float | None, sealed: bool) -> None:
        self.now = 0.0
        self.step = 0.0
        self.told: list[Any] = []
        self.outlet = Outlet()
        self.link = NodeLink(
            settings=Settings(window=window, batch=512),
            peer_window=window,
            limits=Limits(backlog=backlog, rate=rate),
            clock=self.clock,
            seal=Seal(b"k" * 32, b"k" * 32) if sealed else None,
        )
        self.outward = Outward(self.outlet, self.link, discard=self.discard, end=self.end)
        self.inward = Inward(
            Inlet(),
            (),
            [encode_batch(0, 0, [b"heard"])],
            self.link,
            self.outward,
            peer=PEER,
            clock=self.clock,
            tasks_runnable=lambda: 1,
            is_limited=rate is not None,
            moment=0.0 if window % 2 else 1e-6,
            assembly=None,
            hand_on=self.hand_on,
            refuse=lambda caller: self.told.append(("refuse", caller)),
            discard=self.discard,
            end=self.end,
        )
        self.echoes = False
        self.fails = False
        self.sequence = 0
        self.account = 0

    def clock(self) -> float:
        self.now += self.step
        return self.now

    def discard(self, handles: Sequence[Any]) -> None:
        if handles:
            self.told.append(("discard", list(handles)))

    def end(self, reason: str) -> None:
        self.told.append(("end", reason))
        self.outward.stop()
        self.inward.stop()

    def hand_on(self, frames: Sequence[Any], handles: Sequence[Any]) -> None:
        self.told.append(("frames", [encode_frame(frame) for frame in frames], list(handles)))
        if self.echoes:
            for number, _ in enumerate(frames):
                self.outward.send_encoded(encode_reply(number, b"echo"))
        if self.fails:
            raise LookupError("on purpose")

    def come(self, frames: list[bytes], credentials: Credentials, damage: tuple[str, int]) -> None:
        """Have a batch come, perhaps a damaged one."""
        kind, amount = damage
        consumed = self.link.bytes_out if kind != "account" else amount
        sequence = self.link.batches_in + len(self.inward._arrived) if kind != "sequence" else amount
        data = encode_batch(sequence, consumed, frames)
        if self.link._seal is not None:
            data = self.link._seal.close(data, ())
        if kind == "cut":
            data = data[:amount]
        elif kind == "byte" and data:
            at = amount % len(data)
            data = data[:at] + bytes([data[at] ^ (amount >> 8 & 0xFF or 1)]) + data[at + 1 :]
        elif kind == "more":
            data += bytes(amount % 64)
        arrival: Any = Arrival(None if kind == "gone" else data, (), credentials)
        self.inward._arrived.append(arrival)
        if kind == "twice":
            self.inward._arrived.append(arrival)

    def arrive(self, frames: list[bytes], credentials: Credentials, damage: tuple[str, int]) -> None:
        """Have a batch come, perhaps a damaged one, and take in a turn's worth."""
        self.come(frames, credentials, damage)
        self.inward._take_in_turn()

    def do(self, operation: Operation) -> None:
        """Carry out one operation of a script."""
        match operation:
            case ("send", frame):
                self.outward.send_encoded(frame)
            case ("send with", frame, in_order):
                self.outward.send_encoded(frame, (), in_order=in_order)
            case ("flush", last):
                self.outward.flush(last=last)
            case ("gatherer",):
                if self.outward.pace is outward_file.GATHERING:
                    self.outward.flush()
                    self.outward.pace = outward_file.PROMPT
            case ("answers", answers):
                self.outlet.answers.extend(answers)
            case ("at once", at_once):
                self.outlet.at_once = at_once
            case ("echoes", echoes):
                self.echoes = echoes
            case ("slow", seconds):
                self.step = seconds
            case ("retry",):
                if self.outward.handover is outward_file.FULL:
                    self.outward._pause *= 2  # as the task does that tries again
                    self.outward.handover = outward_file.READY
                    self.outward.flush()
            case ("quarter",):
                self.told.append(self.link.quarter())
            case ("fails", frames):
                self.fails = True
                try:
                    self.arrive(frames, PEER, ("", 0))
                finally:
                    self.fails = False
            case ("come", frames, credentials, damage):
                self.come(frames, credentials, damage)
            case ("arrive", frames, credentials, damage):
                self.arrive(frames, credentials, damage)

    def state(self) -> dict[str, Any]:
        """All that can be seen of it."""
        link, out, into = self.link, self.outward, self.inward
        fields = {name: getattr(link, name) for name in NodeLink.__slots__ if name != "__dict__"}
        del fields["_seal"]
        fields["_gathered"] = [(each.frames, each.handles, each.size, each.memory) for each in link._gathered]
        fields["_aside"] = len(link._aside)
        under_way = link._under_way
        fields["_under_way"] = None if under_way is None else (under_way.data, list(under_way.handles))
        fields |= {name: getattr(out, name) for name in ("pace", "handover", "is_crowded", "_pause")}
        fields["waits"] = (len(into._arrived), len(into._parts), into._is_handing_on, into._turn.frames)
        return fields


def ran(script: Sequence[Operation], options: tuple[int, int, float | None, bool]) -> list[Any]:
    """Run a script; what was seen after each operation."""
    rig, seen = Rig(*options), []
    for operation in script:
        try:
            rig.do(operation)
        except Exception as error:
            seen.append((type(error), str(error)))
        seen.append((rig.state(), rig.told, rig.outlet.calls))
        rig.told, rig.outlet.calls = [], []
    return seen


def both(script: Sequence[Operation], options: tuple[int, int, float | None, bool]) -> None:
    """Run a script on both, and compare."""
    found = {}
    for is_compiled in (False, True):
        choice.choose(is_compiled=is_compiled)
        found[is_compiled] = ran(script, options)
    for number, (twin, compiled) in enumerate(zip(found[False], found[True], strict=True)):
        assert compiled == twin, number


PAYLOAD = encode_frame(Send(1, b"\xc0"))  # type: ignore[arg-type]

frames = st.one_of(
    st.builds(encode_send, st.integers(0, 2**63 - 1), st.binary(max_size=600)),
    st.builds(
        encode_call, st.integers(0, 9), st.just("name"), st.text(max_size=5), st.just((1, "x")), st.just(0)
    ),
    st.builds(encode_reply, st.integers(0, 9), st.none() | st.booleans() | st.floats(allow_nan=False)),
    st.just(encode_frame(Cancel(4))),
    st.just(encode_frame(Monitor(4, "name"))),
    st.just(encode_frame(Chunk(0, memoryview(b"xyz")))),
)
damages = st.one_of(
    st.just(("", 0)),
    st.just(("", 0)),
    st.just(("twice", 0)),
    st.just(("gone", 0)),
    st.tuples(st.sampled_from(["cut", "more"]), st.integers(0, 80)),
    st.tuples(st.just("byte"), st.integers(0, 2**16)),
    st.tuples(st.sampled_from(["account", "sequence"]), st.integers(0, 2**64 - 1) | st.integers(0, 600)),
)
answers = st.lists(
    st.sampled_from(
        [*[Status.ACCEPTED] * 3, None, None, Status.FULL, Status.CLOSED, CarrierError(5, "broken")]
    ),
    max_size=3,
)
operations = st.one_of(
    st.tuples(st.just("send"), frames),
    st.tuples(st.just("send"), frames),
    st.tuples(st.just("send with"), frames, st.booleans()),
    st.tuples(st.just("flush"), st.booleans()),
    st.just(("gatherer",)),
    st.just(("retry",)),
    st.just(("quarter",)),
    st.tuples(st.just("answers"), answers),
    st.tuples(st.just("at once"), st.booleans()),
    st.tuples(st.just("echoes"), st.booleans()),
    st.tuples(st.just("slow"), st.sampled_from([0.0, 1e-4, 0.004, 0.02])),
    st.tuples(st.just("fails"), st.lists(frames, min_size=1, max_size=2)),
    st.tuples(
        st.sampled_from(["come", "arrive"]),
        st.lists(frames, max_size=5),
        st.sampled_from([PEER, PEER, SAME, OTHER]),
        damages,
    ),
    st.tuples(st.just("come"), st.lists(frames, max_size=5), st.just(PEER), st.just(("", 0))),
    st.tuples(st.just("arrive"), st.lists(frames, max_size=5), st.just(PEER), st.just(("", 0))),
)
options = st.tuples(
    st.sampled_from([600, 2001, 64 * 1024]),
    st.sampled_from([700, 10**6]),
    st.sampled_from([None, None, None, 5.0]),
    st.sampled_from([False, False, False, True]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(operations, max_size=14), options)
@example([("fails", [PAYLOAD]), ("arrive", [PAYLOAD], PEER, ("", 0))], (2001, 700, None, False))
@example(
    [("answers", [Status.FULL]), ("send", PAYLOAD), ("send", PAYLOAD), ("retry",)], (600, 700, None, False)
)
def test_both_do_the_same(script: list[Operation], options: tuple[int, int, float | None, bool]) -> None:
    """Whatever is sent, arrives and is answered: bytes, states, calls, refusals."""
    both(script, options)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(frames, max_size=3), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=40)
)
def test_both_refuse_the_same_batches(
    given_frames: list[bytes], sequence: int, consumed: int, tail: bytes
) -> None:
    """Any head, and what is no frame behind it."""
    whole = encode_batch(sequence, consumed, [*given_frames, tail])
    for data in (whole, whole[:28], whole[:27], whole[:23], b"", tail, whole + bytes(BATCH_LIMIT)):
        results = []
        for is_compiled in (False, True):
            choice.choose(is_compiled=is_compiled)
            rig = Rig(2001, 700, None, False)
            try:
                result: Any = [encode_frame(frame) for frame in rig.link.received(data)]
            except Exception as error:
                result = type(error), str(error)
            results.append((result, rig.state()))
        assert results[0] == results[1]


BATCH: Operation = ("arrive", [PAYLOAD], PEER, ("", 0))
GATHERS: list[Operation] = [("send", PAYLOAD), BATCH, ("send", PAYLOAD), ("send", PAYLOAD)]
EDGES: dict[str, list[Operation]] = {
    "an account of more than was sent": [("arrive", [PAYLOAD], PEER, ("account", 1))],
    "an account of all that was sent": [("send", PAYLOAD), ("arrive", [], PEER, ("account", 7)), BATCH],
    "an account that goes back": [("send", PAYLOAD), BATCH, ("arrive", [], PEER, ("account", 6))],
    "a later batch than is due": [("arrive", [PAYLOAD], PEER, ("sequence", 1))],
    "an earlier one": [BATCH, ("arrive", [PAYLOAD], PEER, ("sequence", 0)), BATCH],
    "no frames": [("arrive", [], PEER, ("", 0)), BATCH],
    "no credit": [("send", encode_send(1, bytes(500))) for _ in range(4)],
    "gathered until a batch is full": [*GATHERS, *[("send", encode_send(1, bytes(150))) for _ in range(5)]],
    "exactly full": [*GATHERS, ("send", bytes(512 - len(PAYLOAD))), ("send", b"x"), ("gatherer",)],
    "exactly the backlog": [*GATHERS, ("send", bytes(700 - len(PAYLOAD))), ("gatherer",)],
    "more than the backlog": [*GATHERS, ("send", bytes(701 - len(PAYLOAD))), ("gatherer",)],
    "more at once than the backlog": [("send", bytes(700)), BATCH, ("send", bytes(701))],
    "a full peer": [
        *[("answers", [Status.FULL]), ("send", PAYLOAD), BATCH, ("send", PAYLOAD), ("retry",), BATCH],
        *[("send", PAYLOAD), BATCH],
    ],
    "a full peer, and nothing more to say": [
        *[
            ("answers", [Status.FULL]),
            ("send", PAYLOAD),
            ("flush", True),
            ("retry",),
            BATCH,
            ("send", PAYLOAD),
        ],
    ],
    "more than a small backlog": [*GATHERS, ("send", bytes(301 - len(PAYLOAD))), ("gatherer",)],
    "a peer that is full at once": [
        ("at once", True),
        ("answers", [Status.FULL]),
        ("send", PAYLOAD),
        ("retry",),
    ],
    "turns that grow short": [
        ("slow", 0.02),
        *[("arrive", [PAYLOAD] * 4, PEER, ("", 0)) for _ in range(4)],
        ("slow", 0.0),
        *[("arrive", [PAYLOAD] * 4, PEER, ("", 0)) for _ in range(4)],
    ],
    "several batches in a turn": [
        ("echoes", True),
        *[("come", [PAYLOAD] * count, PEER, ("", 0)) for count in (1, 3, 0, 2)],
        BATCH,
    ],
    "a damaged batch behind others": [
        *[("come", [PAYLOAD] * 2, PEER, ("", 0)) for _ in range(2)],
        ("come", [PAYLOAD], PEER, ("more", 3)),
        BATCH,
    ],
    "a caller of another name behind others": [
        ("come", [PAYLOAD], PEER, ("", 0)),
        ("come", [PAYLOAD], OTHER, ("", 0)),
        ("come", [PAYLOAD], SAME, ("", 0)),
        BATCH,
    ],
    "several batches, more than a turn's time": [
        ("slow", 0.004),
        *[("come", [PAYLOAD] * 4, PEER, ("", 0)) for _ in range(9)],
        *[("arrive", [PAYLOAD] * 9, PEER, ("", 0)) for _ in range(9)],
    ],
    "full batches, one after another": [
        *GATHERS,
        *[("send", encode_send(1, bytes(400))) for _ in range(3)],
        ("answers", [None, Status.ACCEPTED, None, Status.FULL]),
        *[("send", encode_send(1, bytes(400))) for _ in range(3)],
        ("retry",),
        *[("send", encode_send(1, bytes(400))) for _ in range(3)],
        ("flush", False),
        ("flush", True),
    ],
    "full batches that are taken at once": [
        *GATHERS,
        ("at once", True),
        *[("send", encode_send(1, bytes(400))) for _ in range(3)],
        ("answers", [CarrierError(5, "broken")]),
        *[("send", encode_send(1, bytes(400))) for _ in range(3)],
    ],
    "a batch that was heard": [("arrive", [b"heard"], PEER, ("", 0))],
    "answers to several": [
        ("echoes", True),
        ("arrive", [PAYLOAD] * 3, PEER, ("", 0)),
        ("send", PAYLOAD),
        BATCH,
    ],
}


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("backlog", [300, 700])
@pytest.mark.parametrize("window", [600, 2001, 64 * 1024])
@pytest.mark.parametrize("edge", EDGES)
def test_both_do_the_same_at_the_edges(edge: str, window: int, backlog: int, sealed: bool) -> None:
    both(EDGES[edge], (window, backlog, None, sealed))


SCRIPT: list[Operation] = [
    ("send", encode_send(5, b"x" * 70)),
    ("send", encode_send(5, b"y")),
    ("arrive", [encode_reply(3, b"z")], PEER, ("", 0)),
    ("echoes", True),
    ("arrive", [encode_frame(Call(1, 2, "m", PAYLOAD)), PAYLOAD], PEER, ("", 0)),  # type: ignore[arg-type]
    ("gatherer",),
    ("at once", True),
    ("send", encode_send(5, b"z")),
    ("arrive", [PAYLOAD], PEER, ("byte", 50)),
]


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("more", [0, 1])
def test_a_single_frame_may_be_longer_than_a_batch(
    more: int, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice.choose(is_compiled=is_compiled)
    rig = Rig(2**20, 2**20, None, sealed=False)
    data = encode_batch(0, 0, [encode_send(1, bytes(2 * BATCH_LIMIT)), *[encode_send(1, 2)] * more])
    if more:
        with pytest.raises(MalformedBatch, match="2 frames have"):
            rig.link.received(data)
        return
    if is_compiled:
        monkeypatch.setattr(node_link_file, "decode_batch", None)  # of which the twin makes use
    (frame,) = rig.link.received(data)
    assert len(frame.payload) == 2 * BATCH_LIMIT + 5  # type: ignore[union-attr]
    assert rig.link.bytes_in == len(data) - 28


def test_nothing_is_lost_in_c() -> None:
    """No reference is left, and none too many is given back."""
    choice.choose(is_compiled=True)
    known = [PAYLOAD, None, True, False, Status.ACCEPTED, PEER, Reply, *(each for each in outward_file.Pace)]

    def counts() -> list[int]:
        gc.collect()
        return [*(sys.getrefcount(each) for each in known), len(gc.get_objects())]

    ran(SCRIPT, (2001, 700, None, False))
    before = counts()
    for _ in range(300):
        ran(SCRIPT, (2001, 700, None, False))
    assert all(abs(now - was) < 100 for now, was in zip(counts(), before, strict=True))


def test_the_twin_is_chosen_by_name() -> None:
    choice.choose(is_compiled=False)
    assert choice.in_use() == "python"
    assert NodeLink.received is choice.TWINS[NodeLink, "received"]
    choice.choose(is_compiled=True)
    assert choice.in_use() == "compiled"


@pytest.mark.parametrize("is_compiled", [True, False], ids=["compiled", "python"])
def test_a_finalizer_may_send_while_frames_begin_to_gather(is_compiled: bool) -> None:
    """What is made for the first of them may collect garbage: both frames wait, and both are counted."""
    choice.choose(is_compiled=is_compiled)
    rig = Rig(2**20, 2**20, None, sealed=False)
    link: Any = rig.link
    frame = encode_send(7, "from a finalizer")
    heard: list[bytes] = []

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            rig.outward.send_encoded(frame)
            heard.append(frame)

    before = gc.get_threshold()
    gc.collect()
    try:
        for number in range(1, 20):
            gc.disable()
            link._gathered.clear()
            link._queued = 0
            rig.outward.pace = outward_file.GATHERING
            Cycle()
            gc.set_threshold(number, 1_000, 1_000)
            gc.enable()
            rig.outward.send_encoded(b"x" * number)
            gc.disable()
            gc.collect()  # since Python 3.12 garbage is collected some time after it is due
            waiting = [data for gathered in link._gathered for data in gathered.frames]
            assert sorted(waiting) == sorted([*heard, b"x" * number])
            assert link._queued == sum(map(len, waiting))
            gc.collect()
            heard.clear()
    finally:
        gc.set_threshold(*before)
        gc.enable()
