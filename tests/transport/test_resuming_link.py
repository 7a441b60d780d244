"""Node links over carriers that lose batches: everything arrives once and in order; idle links are silent."""

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Actor, Node, Ref, open_node
from enfilade.transport import Policy, Settings
from enfilade.transport.carrier import Traits
from enfilade.transport.memory_carrier import LOSSY, MemoryNetwork
from enfilade.transport.policy import Limits
from enfilade.transport.resuming_link import MOST_RESENDS, ResumingLink
from enfilade.transport.seal import Seal
from enfilade.transport.wire import (
    BATCH_LIMIT,
    UNCOUNTED,
    Bye,
    MalformedBatch,
    Refused,
    Seek,
    encode_batch,
    encode_frame,
)
from tests.transport.model import Loss, Station, is_of_handshake, message
from tests.transport.stranger import Stranger
from tests.transport.two_sides import WINDOW, TwoSides, frame

WATCHED = Traits(moment=0.0, lossless=False, watches=True, patience=3.0)
"""As of a mesh: it loses batches, and looks after the peers itself."""


def make(seal: Seal | None = None) -> ResumingLink:
    return ResumingLink(
        settings=Settings(window=WINDOW), peer_window=WINDOW, limits=Limits(), clock=lambda: 0.0, seal=seal
    )


class Sides(TwoSides[ResumingLink]):
    """Two node links, and a way each that loses, repeats, and is interrupted."""

    def __init__(self) -> None:
        super().__init__(make(Seal(b"1", b"2")), make(Seal(b"2", b"1")))
        self.on_the_way: list[list[bytes]] = [[], []]

    @rule(side=st.integers(0, 1))
    def hand_over(self, side: int) -> None:
        while (batch := self.sides[side].next_batch()) is not None:
            self.on_the_way[side].append(batch.data)
            self.sides[side].accepted()

    @rule(side=st.integers(0, 1), lost=st.lists(st.booleans(), max_size=20))
    def arrive(self, side: int, lost: list[bool]) -> None:
        for place, data in enumerate(self.on_the_way[side]):
            if not (place < len(lost) and lost[place]):
                self.take(side, data)
        self.on_the_way[side].clear()

    @rule(side=st.integers(0, 1))
    def come_twice(self, side: int) -> None:
        for data in self.on_the_way[side]:
            self.take(side, data)

    @rule(side=st.integers(0, 1))
    def be_interrupted(self, side: int) -> None:
        assert self.sides[side].received(b"") == ()

    @rule()
    def wait(self) -> None:
        for side in self.sides:
            side.tick()

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        for side in self.sides:
            kept = sum(len(each.batch.data) for each in side._kept)
            assert kept <= WINDOW + 5200 + 60 * len(side._kept), "a window, one large frame, heads and tags"

    @invariant()
    def whoever_rests_has_nothing_to_wait_for(self) -> None:
        for side in self.sides:
            assert side.under_way == 0 or not side.rest()

    def teardown(self) -> None:
        """Whatever was lost before: when no more is, everything arrives, and then both are silent."""
        for _ in range(2000):
            for side in range(2):
                self.hand_over(side)
                self.arrive(side, [])
            self.wait()
            if self.arrived == self.sent and all(side.rest() for side in self.sides):
                assert all(side.is_settled and side.next_batch() is None for side in self.sides)
                return
        raise AssertionError(self.missing())


Sides.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestTwoSides = Sides.TestCase


def test_a_batch_that_is_not_due_yet_is_asked_for_once_in_a_tick() -> None:
    link = make()
    for number in (2, 3, 1, 7):
        assert link.received(encode_batch(number, 0, [frame(1)])) == ()
    batch = link.next_batch()
    assert batch is not None
    assert batch.data == encode_batch(UNCOUNTED, 0, [encode_frame(Seek(0, False))])
    link.accepted()
    assert link.next_batch() is None
    link.tick()
    link.received(encode_batch(4, 0, [frame(1)]))
    assert link.next_batch() is not None


def test_nobody_has_everything_sent_again_and_again() -> None:
    link = make()
    for number in range(3):
        link.send(frame(number))
        assert link.next_batch() is not None
        link.accepted()
    seek = encode_batch(UNCOUNTED, 0, [encode_frame(Seek(0, False))])
    for _ in range(100):
        link.received(seek)
        while link.next_batch() is not None:
            link.accepted()
    assert link.resent == 3 * MOST_RESENDS


@pytest.mark.parametrize(
    ("batch", "fault"),
    [
        (encode_batch(UNCOUNTED, 0, [frame(1)]), "must have one Seek"),
        (encode_batch(UNCOUNTED, 0, [encode_frame(Seek(0, False))] * 2), "must have one Seek"),
        (encode_batch(UNCOUNTED, 0, [encode_frame(Bye(""))]), "must have one Seek"),
        (encode_batch(UNCOUNTED, 0, [encode_frame(Seek(1, False))]), "expects batch 1, but only 0 were sent"),
        (encode_batch(UNCOUNTED, 7, []), "took in 7 of 0"),
        (encode_batch(0, 7, []), "took in 7 of 0"),
        (encode_batch(0, 0, [frame(1, BATCH_LIMIT - 1000), frame(1, 2000)]), "the limit is"),
    ],
    ids=["a Send", "two", "a Bye", "not sent", "uncounted account", "account", "too large"],
)
def test_nonsense_is_refused(batch: bytes, fault: str) -> None:
    with pytest.raises(MalformedBatch, match=fault):
        make().received(batch)


def test_handles_are_the_link_s_own_until_the_peer_has_taken_them_in() -> None:
    link = make()
    link.send(frame(1), (10, 11))
    batch = link.next_batch()
    assert batch is not None
    assert link.accepted() == ()
    size = link.under_way
    link.send(frame(2), (12,))
    assert link.next_batch() is not None
    link.received(encode_batch(UNCOUNTED, size, []))
    assert link.take_released() == (), "the second is under way"
    assert link.accepted() == [10, 11]
    assert link.leftovers() == [12]


class Sink(Actor):
    """Remembers what came."""

    def __init__(self) -> None:
        self.came: list[int] = []

    def on_message(self, message: int) -> None:
        self.came.append(message)

    def count(self) -> int:
        return len(self.came)

    def everything(self) -> list[int]:
        return self.came


async def exchange(one: Node, other: str, count: int) -> None:
    """Send numbers to the sink of another node, with a hundred calls, and see that all have come."""
    sink: Ref[Sink] = one.remote("sink", other)
    for number in range(count):
        sink.send(number)
        if (number + 1) % (count // 100) == 0:
            assert await sink.within(60).call(Sink.count) == number + 1
    assert await sink.within(60).call(Sink.everything) == list(range(count))


@pytest.mark.parametrize(("seed", "count"), [(0, 10_000), *((seed, 1_000) for seed in range(1, 6))])
async def test_mesh_38_everything_arrives_once_and_in_order(
    autojump_clock: object, seed: int, count: int
) -> None:
    """Every fifth batch is lost, and nobody hears of it."""
    network = MemoryNetwork(WATCHED)
    loss = network.loses = Loss(0.2, seed)
    policy = Policy.same_user(exports="sink")
    async with (
        open_node("a", zone="z", carrier=network.carrier("a"), policy=policy, listen="/a") as a,
        open_node("b", zone="z", carrier=network.carrier("b"), policy=policy, listen="/b") as b,
    ):
        for node in (a, b):
            await node.spawn(Sink, name="sink")
        await a.connect("/b")
        (peer,) = a.distribution.rendezvous.peers.values()
        async with trio.open_nursery() as both:
            both.start_soon(exchange, a, "b@z", count)
            both.start_soon(exchange, b, "a@z", count)
        assert not peer.ended.is_set()
        assert loss.lost > 10, "of some hundred batches, which the calls make"


class Lab:
    """Two stations that are connected, and what the network between them carries."""

    def __init__(self, network: MemoryNetwork, a: Station, b: Station) -> None:
        self.network = network
        self.a = a
        self.b = b
        self.carried: list[bytes] = []
        self.lose_next = 0
        network.loses = self._loses

    def _loses(self, data: bytes) -> bool:
        if self.lose_next:
            self.lose_next -= not is_of_handshake(data)
            return not is_of_handshake(data)
        self.carried.append(data)
        return False


@pytest.fixture
async def lab(nursery: trio.Nursery) -> Lab:
    network = MemoryNetwork(WATCHED)
    a, b = (Station(network, name) for name in "ab")
    for station in (a, b):
        await nursery.start(station.run, f"/{station.rendezvous._name}")
    lab = Lab(network, a, b)
    await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    return lab


async def test_mesh_42_the_last_batch_before_silence_arrives(lab: Lab, autojump_clock: object) -> None:
    lab.lose_next = 1
    lab.a.host.up[0].send(message(1))
    await wait_all_tasks_blocked()
    assert lab.b.host.numbers() == []
    await trio.sleep(0.3)
    assert lab.b.host.numbers() == [1]


async def test_mesh_49_idle_node_links_are_silent(lab: Lab, autojump_clock: object) -> None:
    lab.a.host.up[0].send(message(1))
    await trio.sleep(1)
    lab.carried.clear()
    await trio.sleep(3600)
    assert lab.carried == []
    assert not lab.a.host.down


async def test_an_interruption_is_made_up_for_at_once(lab: Lab, autojump_clock: object) -> None:
    lab.lose_next = 3
    peer = lab.a.host.up[0]
    for number in range(3):
        peer.send(message(number))
        await wait_all_tasks_blocked()
    began = trio.current_time()
    lab.network.interrupt("a")
    await wait_all_tasks_blocked()
    assert lab.b.host.numbers() == [0, 1, 2]
    assert trio.current_time() == began


async def test_a_peer_that_gets_nothing_is_given_up(lab: Lab, autojump_clock: object) -> None:
    """It lives, as its carrier says; but nothing of what is sent to it arrives."""
    lab.lose_next = 1_000_000
    lab.a.host.up[0].send(message(1))
    began = trio.current_time()
    await lab.a.host.up[0].ended.wait()
    assert lab.a.host.down == [("b", "b lives, but does not get what is sent to it")]
    assert 3.0 < trio.current_time() - began < 3.2


async def test_a_goodbye_waits_for_what_was_sent_before(lab: Lab, autojump_clock: object) -> None:
    peer = lab.a.host.up[0]
    lab.lose_next = 2
    peer.send(message(1))
    await peer.close("done", 5)
    await wait_all_tasks_blocked()
    assert lab.b.host.numbers() == [1]
    assert lab.b.host.down == [("a", "the peer said goodbye: done")]


@pytest.mark.parametrize("rate", [10.0, 1000.0])
async def test_a_peer_that_is_kept_to_its_rate_is_not_given_up(
    nursery: trio.Nursery, autojump_clock: object, rate: float
) -> None:
    """While it pauses, a node hears nobody ask; it says by itself that it lives."""
    network = MemoryNetwork(WATCHED)
    a = Station(network, "a")
    rules = Policy.same_user(limits=Limits(rate=rate))
    b = Station(network, "b", policy=rules, settings=Settings(window=2000))
    for station in (a, b):
        await nursery.start(station.run, f"/{station.rendezvous._name}")
    peer = await a.rendezvous.connect("/b")
    for number in range(200):
        peer.send(message(number))
    await trio.sleep(60)
    assert b.host.numbers() == list(range(200))
    assert not a.host.down


async def test_a_node_link_that_resumes_and_one_that_does_not_refuse_each_other(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    network = MemoryNetwork(LOSSY)
    b = Station(network, "b")
    await nursery.start(b.run, "/b")
    answer = await Stranger(network.carrier("old")).say_hello("/b", oldest=1, newest=1)
    assert isinstance(answer, Refused)
    assert answer.text == "this node speaks version 3, the caller versions 1 to 1"
    answer = await Stranger(network.carrier("old")).say_hello("/b", oldest=4, newest=4)
    assert isinstance(answer, Refused)
    assert answer.text == "the caller asks for a secret, and this node has none"
