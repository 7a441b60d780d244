"""The handshake and the life of node links, on the memory carrier and in virtual time."""

import math
import os
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.transport.carrier import CarrierError, Credentials, Status, hand_over
from enfilade.transport.memory_carrier import LOSSLESS, MemoryInlet, MemoryNetwork
from enfilade.transport.peer import Peer
from enfilade.transport.policy import Identity, NotAdmitted, Policy, Rights, Rule
from enfilade.transport.rendezvous import HandshakeFailed
from enfilade.transport.settings import Settings
from enfilade.transport.terms import version_of
from enfilade.transport.wire import Cancel, Frame, Hello, Refused, Welcome, encode_batch, encode_frame
from tests.transport.model import Start, Station, message


async def test_connect_and_exchange(start: Start, autojump_clock: object) -> None:
    a, b = await start("a"), await start("b")
    peer = await a.rendezvous.connect("/b")
    assert peer.name == "b"
    for number in range(1000):
        peer.send(message(number))
    await wait_all_tasks_blocked()
    assert b.host.numbers() == list(range(1000))
    b.host.up[0].send(message(7))
    await wait_all_tasks_blocked()
    assert a.host.numbers() == [7]


async def test_connecting_twice_gives_the_same_peer(start: Start, autojump_clock: object) -> None:
    a, b = await start("a"), await start("b")
    peer = await a.rendezvous.connect("/b")
    assert await a.rendezvous.connect("/b") is peer
    back = await b.rendezvous.connect("/a")
    assert back is b.host.up[0]
    assert len(a.host.up) == len(b.host.up) == 1


@pytest.mark.parametrize("late", [0.0, 0.2, 4.0])
async def test_connects_again_before_the_peer_has_noticed_the_end(
    start: Start, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """A node that the other still takes for connected is connected at once: the other asks, or finds that
    it cannot hand anything over.
    """
    a, b = await start("a"), await start("b")
    peer = await a.rendezvous.connect("/b")
    lost: list[tuple[Any, Any]] = []
    forget = MemoryInlet.forget
    with monkeypatch.context() as patched:
        patched.setattr(MemoryInlet, "forget", lambda *what: lost.append(what))
        peer.end("for the test")

    async def notice() -> None:
        await trio.sleep(late)
        for what in lost:
            forget(*what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notice)
        began = trio.current_time()
        again = await a.rendezvous.connect("/b")
        assert trio.current_time() - began < 0.1
    assert again is not peer
    again.send(message(5))
    await wait_all_tasks_blocked()
    assert b.host.numbers() == [5]


async def test_policy_refuses(start: Start, autojump_clock: object) -> None:
    a = await start("a")
    b = await start("b", policy=Policy(rules=[Rule(nodes="trusted-*")]))
    with pytest.raises(NotAdmitted, match="does not admit node 'a'"):
        await a.rendezvous.connect("/b")
    assert "does not admit node 'a'" in b.host.refused[0]
    assert not b.host.up


async def test_the_caller_has_a_policy_too(start: Start, autojump_clock: object) -> None:
    a = await start("a", policy=Policy(rules=[Rule(uids={12345})]))
    b = await start("b")
    with pytest.raises(NotAdmitted):
        await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    assert not b.host.up


@pytest.mark.parametrize(
    ("one", "other", "admitted"),
    [(b"x", b"x", True), (b"x", b"y", False), (b"x", None, False), (None, b"x", False)],
)
async def test_act_s18_wrong_secret_is_refused(
    start: Start, autojump_clock: object, one: bytes | None, other: bytes | None, admitted: bool
) -> None:
    """act-S18: given a wrong cookie, when connecting, then refused and nothing decoded."""
    rule = Rule()
    a = await start("a", policy=Policy(rules=[rule], secret=one))
    b = await start("b", policy=Policy(rules=[rule], secret=other))
    if admitted:
        peer = await a.rendezvous.connect("/b")
        peer.send(message(3))
        await wait_all_tasks_blocked()
        assert b.host.numbers() == [3]
    else:
        with pytest.raises(NotAdmitted):
            await a.rendezvous.connect("/b")
        await trio.sleep(10)
        assert not a.host.up
        assert not b.host.up
        assert not b.host.frames


async def test_act_s15_silent_caller_is_dropped(
    start: Start, network: MemoryNetwork, autojump_clock: object
) -> None:
    """act-S15: given a silent peer at handshake, when the timeout passes, then closed; the server lives."""
    b = await start("b", settings=Settings(handshake=2.0))
    stranger = network.carrier("stranger")
    inlet = stranger.inlet(capacity=1000, largest=1000)
    outlet = await stranger.open("/b")
    version = version_of(has_secret=False, is_lossless=network.traits.lossless)
    hello = Hello(version, version, "stranger", "z", 1, 1000, 15.0)
    await hand_over(outlet, encode_batch(0, 0, [encode_frame(hello)]), (inlet.handle,))
    outlet.close()
    began = trio.current_time()
    while (arrival := (await inlet.receive())[0]).data is not None:
        assert b"z" in arrival.data
    assert trio.current_time() - began == pytest.approx(2.0, abs=0.1)
    assert "in time" in b.host.refused[0]
    a = await start("a")
    assert (await a.rendezvous.connect("/b")).name == "b"


async def test_silent_answerer(start: Start, network: MemoryNetwork, autojump_clock: object) -> None:
    a = await start("a", settings=Settings(handshake=3.0))
    await network.carrier("mute").inlet(capacity=1000, largest=1000).attach("/mute")
    with pytest.raises(HandshakeFailed, match="said nothing for 3 s"):
        await a.rendezvous.connect("/mute")
    with pytest.raises(CarrierError):
        await a.rendezvous.connect("/nowhere")


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [encode_frame(Cancel(1))],
        [encode_frame(Hello(1, 1, "x", "z", 1, 1, 1.0))] * 2,
        [encode_frame(Hello(7, 9, "x", "z", 1, 1, 1.0))],
        [encode_frame(Hello(1, 1, "x", "z", 1, -5, 1.0))],
        [encode_frame(Hello(1, 1, "x", "z", 1, 1, float("nan")))],
        [encode_frame(Hello(1, 1, "b", "z", 1, 1, 1.0))],
        [encode_frame(Hello(1, 1, "", "z", 1, 1, 1.0))],
        [b"\xc1"],
        [msgspec.msgpack.encode([99, 1])],
    ],
)
async def test_act_s22_nonsense_at_the_rendezvous(
    start: Start, network: MemoryNetwork, autojump_clock: object, frames: list[bytes]
) -> None:
    """act-S22: given malformed frames, when received, then one clear error, and the node lives."""
    b = await start("b")
    stranger = network.carrier("stranger")
    inlet = stranger.inlet(capacity=1000, largest=1000)
    outlet = await stranger.open("/b")
    assert await hand_over(outlet, encode_batch(0, 0, frames), (inlet.handle,)) is Status.ACCEPTED
    assert await hand_over(outlet, b"GET / HTTP/1.1", ()) is Status.MALFORMED
    await wait_all_tasks_blocked()
    (refusal,) = b.host.refused
    assert f"process {os.getpid()} of uid {os.geteuid()}" in refusal
    a = await start("a")
    assert (await a.rendezvous.connect("/b")).name == "b"


@pytest.mark.parametrize(
    "answer",
    [
        Welcome(1, "", "z", 1, 1000, 1.0),
        Welcome(1, "a", "z", 1, 1000, 1.0),
        Welcome(2, "b", "z", 1, 1000, 1.0),
        Welcome(1, "b", "z", 1, 0, 1.0),
        Welcome(1, "b", "z", 1, 1000, math.nan),
        Welcome(1, "b", "z", 1, 1000, -1.0),
        Welcome(1, "b\x1b[2J", "z\n", 1, 1000, 1.0),
        Refused("b\x1b[2J", False, "\x1b[31m\r\nnode b is fine" + 200 * "\u202e"),
        Refused("b", False, 5_000 * "x"),
    ],
)
async def test_act_s22_an_answerer_that_cannot_be_a_peer(
    start: Start, network: MemoryNetwork, nursery: trio.Nursery, autojump_clock: object, answer: Frame
) -> None:
    """act-S22: whoever answers is trusted as little as whoever calls, also with what an error says."""
    a = await start("a")
    strange = network.carrier("strange")
    meeting = strange.inlet(capacity=10_000, largest=10_000)
    await meeting.attach("/b")
    own = strange.inlet(capacity=10_000, largest=10_000)

    async def respond() -> None:
        (arrival,) = await meeting.receive()
        outlet = strange.outlet(arrival.handles[0])
        await hand_over(outlet, encode_batch(0, 0, [encode_frame(answer)]), (own.handle,))

    nursery.start_soon(respond)
    with pytest.raises(NotAdmitted) as refused:
        await a.rendezvous.connect("/b")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= 1_300
    assert not a.host.up


async def test_act_s22_nonsense_on_a_node_link(start: Start, autojump_clock: object) -> None:
    """act-S22: a node link on which nonsense comes ends; the other peers do not notice."""
    a, b, c = [await start(name) for name in "abc"]
    good = await a.rendezvous.connect("/b")
    bad = await c.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    assert await hand_over(bad._outward._outlet, encode_batch(0, 77, []), ()) is Status.ACCEPTED
    await wait_all_tasks_blocked()
    assert [name for name, _ in b.host.down] == ["c"]
    assert "malformed batch" in b.host.down[0][1]
    assert [name for name, _ in c.host.down] == ["b"]
    good.send(message(1))
    await wait_all_tasks_blocked()
    assert b.host.numbers() == [1]


async def test_killed_peer_is_noticed_at_once(start: Start, autojump_clock: object) -> None:
    a, b = await start("a"), await start("b")
    await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    now = trio.current_time()
    b.carrier.kill()
    await a.host.up[0].ended.wait()
    assert a.host.down == [("b", "the peer is gone")]
    assert trio.current_time() == now


async def test_act_s21_frozen_peer_is_dead_after_a_period(start: Start, autojump_clock: object) -> None:
    """act-S21: given an idle connection, when the peer freezes, then down within 1.25 periods."""
    a, b = await start("a", settings=Settings(period=8.0)), await start("b")
    await a.rendezvous.connect("/b")
    await trio.sleep(1000)
    assert not a.host.down
    b.carrier.freeze()
    frozen = trio.current_time()
    await a.host.up[0].ended.wait()
    assert 0.75 * 8 <= trio.current_time() - frozen <= 1.25 * 8


@pytest.mark.parametrize("network", [LOSSLESS], ids=["lossless"], indirect=True)
@pytest.mark.parametrize("after_tick", [0.01, 1.0, 1.99])
async def test_silent_peer_is_dead_at_the_fifth_tick(
    start: Start, autojump_clock: object, after_tick: float
) -> None:
    """docs/wire.md: a peer is dead at the fifth tick after its last batch, 1 to 1.25 periods after it."""
    a, b = await start("a", settings=Settings(period=8.0)), await start("b")
    await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    await trio.sleep(80 + after_tick)
    b.host.up[0].send(message(1))
    await wait_all_tasks_blocked()
    assert a.host.numbers() == [1]
    heard = trio.current_time()
    b.carrier.freeze()
    await a.host.up[0].ended.wait()
    assert a.host.down == [("b", "the peer was silent for too long")]
    assert trio.current_time() - heard == pytest.approx(10 - after_tick)


@pytest.mark.parametrize("network", [LOSSLESS], ids=["lossless"], indirect=True)
@pytest.mark.parametrize("silent", [0.1, 1.9, 3.9])
async def test_an_idle_peer_may_have_been_silent_for_half_a_period(
    start: Start, autojump_clock: object, silent: float
) -> None:
    """docs/wire.md: an idle side speaks twice a period, so it is dead 0.5 to 1.25 periods after it froze."""
    a, b = await start("a", settings=Settings(period=8.0)), await start("b")
    await a.rendezvous.connect("/b")
    peer = a.host.up[0]
    await trio.sleep(80)
    heard = peer.batches_in
    for _ in range(500):
        if peer.batches_in == heard:
            await trio.sleep(0.01)
    await trio.sleep(silent)
    assert peer.batches_in == heard + 1
    b.carrier.freeze()
    frozen = trio.current_time()
    await peer.ended.wait()
    elapsed = trio.current_time() - frozen
    assert 0.5 * 8 <= elapsed <= 1.25 * 8
    assert 8 - 0.02 <= elapsed + silent <= 10 + 0.02


async def test_new_incarnation_buries_the_old(start: Start, autojump_clock: object) -> None:
    """D3: everybody is told of the loss before a reconnect is accepted."""
    b = await start("b")
    first, second = (
        await start("a", listens=False, incarnation=1),
        await start("a", listens=False, incarnation=2),
    )
    await first.rendezvous.connect("/b")
    await second.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    assert [name for name, _ in b.host.down] == ["a"]
    assert b.rendezvous.peers["a"].identity.incarnation == 2
    assert first.host.down
    assert not second.host.down


async def test_who_calls_a_new_incarnation_buries_the_old(
    start: Start, network: MemoryNetwork, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """The caller may be the first to meet it, before the silence of the old one has lasted long enough."""
    a, old = await start("a"), await start("b", incarnation=1)
    await a.rendezvous.connect("/b")
    old.carrier.freeze()
    new = Station(network, "b", incarnation=2)
    await nursery.start(new.run, "/elsewhere")
    peer = await a.rendezvous.connect("/elsewhere")
    assert [name for name, _ in a.host.down] == ["b"]
    assert a.rendezvous.peers == {"b": peer}
    assert peer.identity.incarnation == 2
    peer.send(message(5))
    await wait_all_tasks_blocked()
    assert (old.host.numbers(), new.host.numbers()) == ([], [5])
    old.carrier.thaw()


async def test_another_user_cannot_take_a_name(start: Start, autojump_clock: object) -> None:
    await start("b", policy=Policy(rules=[Rule()]))
    honest = await start("a", listens=False, incarnation=1, policy=Policy(rules=[Rule()]))
    thief = await start("a", listens=False, incarnation=2, policy=Policy(rules=[Rule()]))
    thief.carrier.credentials = Credentials(pid=1, uid=4242, gid=4242)
    await honest.rendezvous.connect("/b")
    with pytest.raises(NotAdmitted, match="belongs to another user, who came first"):
        await thief.rendezvous.connect("/b")
    assert not honest.host.down


async def test_keep_reconnects_with_growing_pauses(
    start: Start, network: MemoryNetwork, nursery: trio.Nursery, autojump_clock: object
) -> None:
    a = await start("a", settings=Settings(first_retry=1.0, last_retry=8.0))
    nursery.start_soon(a.rendezvous.keep, "/b")
    await trio.sleep(100)
    assert 100 / 8 <= len(a.host.failed) <= 100 / 4 + 5
    assert a.host.news.index(True) == 0
    assert a.host.news.count(True) == 1, "the reason is told when it is new"
    a.host.news.clear()
    async with trio.open_nursery() as inner:
        b = Station(network, "b", incarnation=1)
        await inner.start(b.run, "/b")
        await trio.sleep(10)
        assert [peer.name for peer in a.host.up] == ["b"]
        assert True not in a.host.news
        inner.cancel_scope.cancel()
    await trio.sleep(100)
    assert a.host.news.count(True) == 1, "and when it comes back"
    await start("b", incarnation=2)
    await trio.sleep(10)
    assert [peer.identity.incarnation for peer in a.host.up] == [1, 2]


async def test_a_peer_that_takes_nothing_in_ends_the_node_link(start: Start, autojump_clock: object) -> None:
    rights = Rights()
    policy = Policy(rules=[Rule(rights=Rights(limits=type(rights.limits)(backlog=10_000)))])
    a, b = await start("a", policy=policy), await start("b")
    peer = await a.rendezvous.connect("/b")
    b.carrier.freeze()
    number = 0
    while not peer.ended.is_set():
        peer.send(message(number))
        number += 1
    assert "limit is 10000" in a.host.down[0][1]
    peer.send(message(number))


def unseen(process: int) -> Credentials:
    """A process of this user in a pid namespace that is not seen from here."""
    return Credentials(pid=0, uid=os.geteuid(), gid=os.getegid(), process=process)


@pytest.mark.parametrize(
    ("owner", "thief"),
    [
        (None, Credentials(pid=99, uid=99, gid=99)),
        (unseen(7), unseen(8)),
    ],
    ids=["of this zone", "of unseen zones"],
)
async def test_somebody_else_with_the_peers_door_is_ignored(
    start: Start,
    network: MemoryNetwork,
    autojump_clock: object,
    owner: Credentials | None,
    thief: Credentials,
) -> None:
    """Also when neither process has a number that the node could see: both have the number 0 then."""
    a, b = await start("a", credentials=owner), await start("b")
    peer = await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    stolen = network.carrier("thief", thief).outlet(b.host.up[0]._inward._inlet.handle)
    assert await hand_over(stolen, encode_batch(0, 0, [encode_frame(message(666))]), ()) is Status.ACCEPTED
    peer.send(message(1))
    await wait_all_tasks_blocked()
    assert b.host.numbers() == [1]
    assert "uses the inlet of node 'a'" in b.host.refused[0]


async def test_rate_limit_slows_the_peer_and_nobody_else(start: Start, autojump_clock: object) -> None:
    rights = Rights()
    limited = Rule(nodes="a", rights=Rights(limits=type(rights.limits)(rate=100.0)))
    a, c = await start("a"), await start("c")
    b = await start("b", policy=Policy(rules=[limited, Rule()]), settings=Settings(window=2000))
    flood = await a.rendezvous.connect("/b")
    calm = await c.rendezvous.connect("/b")
    for number in range(5000):
        flood.send(message(number))
    await trio.sleep(10)
    assert 500 <= len(b.host.numbers()) <= 2200
    calm.send(message(123456))
    await wait_all_tasks_blocked()
    assert b.host.numbers()[-1] == 123456


async def test_a_small_window_is_granted_anew_in_time(start: Start, autojump_clock: object) -> None:
    """A full window is granted anew as soon as it can be, and not with the next sign of life."""
    small = Settings(window=10_000, period=1000.0)
    a, b = await start("a", settings=small), await start("b", settings=small)
    peer = await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    b.carrier.delay = 1.0
    b.host.up[0].send(message(1))
    began = trio.current_time()
    for number in range(20_000):
        peer.send(message(number))
    for _ in range(100):
        await trio.sleep(1)
    assert trio.current_time() - began == pytest.approx(100)
    assert b.host.numbers() == list(range(20_000))


async def test_a_flood_is_taken_in_batch_by_batch(start: Start, autojump_clock: object) -> None:
    """However much has come from one peer, the others have a turn after every batch of it."""
    a, b, c = [await start(name) for name in "abc"]
    flood = await a.rendezvous.connect("/b")
    calm = await c.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    b.host.peer_frames = hold(b, flood, calm)  # type: ignore[method-assign]
    flood.send(message(0))
    await wait_all_tasks_blocked()
    numbers = b.host.numbers()
    assert len(numbers) == 100_002
    assert numbers.index(777_777) < 30_000


def hold(station: Station, flood: Peer, calm: Peer) -> Any:
    """What the station does with its first frame: be busy until the flood has come, and one message more."""
    take_in = station.host.peer_frames

    def wait(peer: Peer, frames: Sequence[Frame], handles: Sequence[int]) -> None:
        station.host.peer_frames = take_in  # type: ignore[method-assign]
        for number in range(1, 100_001):
            flood.send(message(number))
        calm.send(message(777_777))
        take_in(peer, frames, handles)

    return wait


async def test_messages_of_one_turn_leave_together_and_the_first_at_once(
    start: Start, autojump_clock: object
) -> None:
    a, b = await start("a"), await start("b")
    peer = await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    batches: list[int] = []
    take_in = b.host.peer_frames

    def count(peer: Peer, frames: Sequence[Frame], handles: Sequence[int]) -> None:
        batches.append(len(frames))
        take_in(peer, frames, handles)

    b.host.peer_frames = count  # type: ignore[method-assign]
    for _ in range(3):
        for number in range(10):
            peer.send(message(number))
        await wait_all_tasks_blocked()
    assert batches == [1, 9] * 3
    assert peer.queued == 0


async def test_poll_takes_in_what_is_there_in_order(start: Start, autojump_clock: object) -> None:
    """Polling and the reader take turns: nothing comes twice or out of order, and the end is noticed."""
    a, b = await start("a"), await start("b")
    peer = await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    back = b.host.up[0]
    back.poll(alone=True)
    assert b.host.numbers() == []
    for number in range(100):
        peer.send(message(number))
        if number % 7 == 0:
            back.poll(alone=True)
        if number % 13 == 0:
            await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert b.host.numbers() == list(range(100))
    peer.send(message(100))
    back.poll(alone=True)
    assert b.host.numbers()[-1] == 100
    peer.end("enough")
    back.poll(alone=True)
    assert [name for name, _ in b.host.down] == ["a"]
    back.poll(alone=True)


class Broken(Policy):
    """A policy with a mistake in it, which only some peers come upon."""

    def admit(self, peer: Identity) -> Rights:
        return {"known": Rights()}[peer.name]


async def test_a_policy_that_raises_ends_nothing_but_that_call(
    start: Start, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong while a caller is answered stays in that conversation."""
    await start("b", policy=Broken(rules=()))
    unknown, known = await start("unknown"), await start("known")
    with pytest.raises(HandshakeFailed, match="hung up"):
        await unknown.rendezvous.connect("/b")
    assert "node 'unknown'" in caplog.text
    assert "KeyError" in caplog.text
    assert (await known.rendezvous.connect("/b")).name == "b"
