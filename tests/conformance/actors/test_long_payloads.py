"""Long payloads between nodes: they hold up nobody, overtake nobody and are overtaken by nobody."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import (
    NORMAL,
    Actor,
    CallTimeout,
    Down,
    Exited,
    NotConnected,
    Process,
    Ref,
    Refused,
    open_node,
)
from enfilade.actors.peers import long_payloads
from enfilade.actors.testing import VirtualClock
from enfilade.transport import Policy, memory_file, wire
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.payload import late
from enfilade.transport.resuming_link import TICK
from tests.conformance.actors.abroad import (
    Abroad,
    autojump_clock,
    back_end,
    mesh_server,
    node,
    passed,
    settled,
)
from tests.descriptors import open_descriptors

__all__ = ["autojump_clock", "back_end", "mesh_server", "node"]

SIZE = 4 * memory_file.LONG
LONG = b"x" * SIZE
LONGER = 8 * LONG
"""So long that some calls over a real server are sooner."""


def brief(message: Any) -> Any:
    """A message as it is compared: long ones by what they are."""
    return "long" if isinstance(message, bytes) and message in (LONG, LONGER) else message


class Clerk(Actor):
    """Notes what comes, and gives what is asked for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(brief(message))

    def note(self, value: Any) -> Any:
        self.on_message(value)
        return brief(value)

    def give(self, before: Ref[Any]) -> bytes:
        before.send("before the reply")
        return LONG

    def give_then(self, after: Ref[Any]) -> bytes:
        self.process.continue_with(after.send, "after the reply")
        return LONG

    def history(self) -> list[Any]:
        return self.seen


def files() -> int:
    """How many memory files are open."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += "memfd:payload" in os.readlink(f"/proc/self/fd/{descriptor}")
    return found


def are_closed_soon() -> bool:
    """Whether no memory file is open, now or soon: long ones are closed in threads."""
    for _ in range(1000):
        if not files():
            return True
        time.sleep(0.01)
    return False


async def all_closed() -> bool:
    """Whether no memory file is open after a tick, which is when a node link that makes up for losses closes
    those that the peer has taken in.
    """
    await trio.sleep(2 * TICK)
    return are_closed_soon()


def books(node: Abroad) -> list[Any]:
    """Everything of a long payload that is under way."""
    found: list[Any] = []
    for one, other in ((node.home, node.far), (node.far, node.home)):
        remote: Any = one.distribution._current[other.full_name]  # type: ignore[attr-defined]
        arrivals = remote._arrivals
        found += [*remote._departures._waiting, *arrivals.queues, *arrivals._late, *arrivals._numbers]
        found += [size for size in (arrivals._size, remote._departures.size) if size]
    return found


async def test_small_ones_pass(autojump_clock: VirtualClock, node: Abroad) -> None:
    """D1: what others send, and what is sent to others, is not held up by a long payload."""
    sink, other = await node.spawn(Clerk), await node.spawn(Clerk)
    sink.cast(Clerk.note, LONGER)
    for number in range(3):
        assert await other.call(Clerk.note, number) == number
        assert not process(node, sink).seen
    await settled()
    assert process(node, sink).seen == ["long"]
    assert not books(node)


def process(node: Abroad, ref: Ref[Any]) -> Any:
    """The actor behind a ref to the far node."""
    return node.far.processes[ref.serial].actor


async def test_order_of_a_pair(autojump_clock: VirtualClock, node: Abroad) -> None:
    """O1, D1: by whatever it is addressed, a process gets everything in the order in which it was sent."""
    ref = await node.spawn(Clerk, name="clerk")
    alias = passed(node.far.processes[ref.serial].alias(), node.far, node.home)
    name = node.home.remote("clerk", node.far.full_name)
    ways: list[Callable[[Any], None]] = [
        ref.send,
        alias.send,
        name.send,
        lambda value: ref.cast(Clerk.note, value),
        lambda value: name.cast(Clerk.note, value),
    ]
    sent: list[Any] = []
    for number in range(40):
        value: Any = LONG if number % 7 == 3 else number
        ways[number % len(ways)](value)
        sent.append(brief(value))
    await name.send_wait("waited")
    assert await ref.call(Clerk.history) == [*sent, "waited"]
    await settled()
    assert not books(node)


async def test_last_words(autojump_clock: VirtualClock, node: Abroad) -> None:
    """O2: what a process sent before it ended arrives before the news of its end."""

    async def speak(me: Process) -> None:
        target = await me.receive()
        for word in ("first", LONG, "last"):
            target.send(word)

    async with node.mailbox() as me:
        me.trap_exits = True
        ref = await node.spawn(speak)
        me.link(ref)
        monitor = me.monitor(ref)
        ref.send(me.ref)
        assert [brief(await me.receive(timeout=9)) for _ in range(3)] == ["first", "long", "last"]
        ends = [await me.receive(timeout=9) for _ in range(2)]
        assert {type(end) for end in ends} == {Exited, Down}
        assert all(end.reason == NORMAL for end in ends)
        assert not monitor.active


@pytest.mark.parametrize(("method", "expected"), [(Clerk.give, "before the reply")])
async def test_long_reply_in_its_place(
    autojump_clock: VirtualClock, node: Abroad, method: Any, expected: str
) -> None:
    """O1: what the callee sent before its reply is there before it."""
    ref = await node.spawn(Clerk)
    async with node.mailbox() as me:
        assert await ref.call(method, me.ref) == LONG
        assert await me.receive(timeout=0) == expected


async def test_message_after_a_long_reply(autojump_clock: VirtualClock, node: Abroad) -> None:
    """O1: what the callee sent after its reply does not overtake it."""
    ref = await node.spawn(Clerk)
    async with node.mailbox() as me:
        request = me.request(ref, Clerk.give_then, me.ref)
        assert await me.receive(timeout=9) == "after the reply"
        assert request.check()
        assert await request.receive() == LONG


async def test_caller_gives_up_a_long_call(autojump_clock: VirtualClock, node: Abroad) -> None:
    """C3: a call that is given up on its way leaves nothing behind."""
    ref = await node.spawn(Clerk)
    with pytest.raises(CallTimeout):
        await ref.within(0).call(Clerk.note, LONG)
    await settled()
    assert await ref.call(Clerk.note, "next") == "next"
    assert not books(node)
    assert await all_closed()


def about_descriptors(back_end: str) -> None:
    """Skip a case of memory files over a mesh, where long payloads travel in pieces."""
    if back_end.startswith("nats://"):
        pytest.skip("it is about descriptors, which do not travel over a mesh")


@pytest.mark.parametrize("turns", [0, 1, 3, 8, 12, 20, 30])
async def test_loss_on_the_way(autojump_clock: VirtualClock, node: Abroad, back_end: str, turns: int) -> None:
    """D3: a node link that is lost while a payload is copied, at either end, leaves nothing open."""
    about_descriptors(back_end)
    ref = await node.spawn(Clerk)

    async def call() -> None:
        with suppress(NotConnected):  # or it was quicker
            await ref.call(Clerk.note, LONG)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        node.home.distribution.disconnect(node.far.full_name)
    await settled()
    assert not books(node)
    assert await all_closed()


async def test_goodbye_comes_last(autojump_clock: VirtualClock) -> None:
    """D1: what was sent before a node closes arrives, however long it is."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*")
    async with open_node("far", listen="/far", carrier=network.carrier("far"), policy=policy) as far:
        clerk = await far.spawn(Clerk, name="clerk")
        async with open_node("home", carrier=network.carrier("home")) as home:
            await home.connect("/far")
            home.remote("clerk", "far@local").send(LONG)
        assert await clerk.call(Clerk.history) == ["long"]


async def test_no_room_to_copy_to(
    autojump_clock: VirtualClock, node: Abroad, back_end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D9: a payload that cannot be copied fails its call, or is a message dropped; others go on."""
    about_descriptors(back_end)
    if back_end == "resuming":
        pytest.skip("nothing is copied before it leaves where descriptors do not travel")
    ref = await node.spawn(Clerk)

    def full(self: Any) -> Any:
        raise OSError("no room")
        yield

    monkeypatch.setattr(memory_file.Unwritten, "fill", full)
    with pytest.raises(Exception, match="unknown code"):
        await ref.call(Clerk.note, LONG)
    ref.send(LONG)
    ref.send("behind")
    assert await ref.call(Clerk.history) == ["behind"]
    assert not books(node)
    assert await all_closed()


async def test_start_with_a_long_argument(autojump_clock: VirtualClock, node: Abroad) -> None:
    """S3: a process on another node is started with a long argument as with any."""

    class Heir(Clerk):
        def __init__(self, value: Any) -> None:
            super().__init__()
            self.note(value)

    node.far.distribution.entries["it"] = Heir  # type: ignore[index]
    ref = await node.home.spawn_on(node.far.full_name, "it", LONG)
    assert await ref.call(Clerk.history) == ["long"]
    with trio.move_on_after(0):
        await node.home.spawn_on(node.far.full_name, "it", LONG)
    await settled()
    assert len(node.far.processes) == 1
    assert not books(node)


async def test_senders_that_wait(autojump_clock: VirtualClock, node: Abroad) -> None:
    """M6: who is willing to wait does not pile long payloads up."""
    ref = await node.spawn(Clerk)
    departures: Any = node.home.distribution._current[node.far.full_name]._departures  # type: ignore[attr-defined]
    most = 0
    for _ in range(12):
        await ref.send_wait(LONG)
        most = max(most, len(departures._waiting))
    assert most <= 5
    assert await ref.call(Clerk.history) == ["long"] * 12


def _peer(node: Abroad) -> Any:
    return node.far.distribution.rendezvous.peers[node.home.full_name]


@pytest.mark.parametrize("how", ["twice", "too_much", "unknown", "never"])
async def test_promises_that_are_not_kept(
    autojump_clock: VirtualClock, node: Abroad, back_end: str, how: str
) -> None:
    """D9: a peer that promises payloads and does not keep its word costs itself, and others nothing."""
    about_descriptors(back_end)
    ref, other = await node.spawn(Clerk), await node.spawn(Clerk)
    take = node.far.distribution.host.peer_frames
    remote: Any = node.home.distribution._current[node.far.full_name]  # type: ignore[attr-defined]
    small = remote._codec.encode("small")[0]
    peer = _peer(node)
    promise = wire.Send(ref.serial, late(2**40))
    if how == "twice":
        with pytest.raises(wire.MalformedBatch, match="to follow already"):
            take(peer, [promise, promise], ())
    elif how == "too_much":
        behind = [promise, *[wire.Send(ref.serial, small)] * 1000]
        limits = attrs.evolve(peer.rights.limits, backlog=50_000)
        peer.rights = attrs.evolve(peer.rights, limits=limits)
        with pytest.raises(wire.MalformedBatch, match="too much waits"):
            take(peer, behind, ())
    elif how == "unknown":
        file = os.open("/dev/null", os.O_RDONLY)
        take(peer, [wire.Payload(2**40, small, 1)], [file])
        open_descriptors()  # which waits until it is closed
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)
        assert await ref.call(Clerk.note, 1) == 1
    else:
        take(peer, [promise, wire.Send(ref.serial, small)], ())
        assert await other.call(Clerk.note, 1) == 1
        with pytest.raises(CallTimeout):
            await ref.within(1).call(Clerk.note, 1)
        take(peer, [wire.Payload(2**40, small)], ())
        assert await ref.call(Clerk.history) == ["small", "small", 1]
    if how in ("twice", "too_much"):
        peer.end("as the peer object does")
    await settled()
    assert not books(node)


async def test_more_than_is_allowed(autojump_clock: VirtualClock) -> None:
    """D9: a payload beyond the limit of the peer is not read at all."""
    from enfilade.transport import Limits

    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", limits=Limits(payload=SIZE // 2))
    async with (
        open_node("far", listen="/far", carrier=network.carrier("far"), policy=policy) as far,
        open_node("home", carrier=network.carrier("home")) as home,
    ):
        await far.spawn(Clerk, name="clerk")
        await home.connect("/far")
        clerk: Ref[Clerk] = home.remote("clerk", "far@local")
        with pytest.raises(Exception, match="bytes here"):
            await clerk.call(Clerk.note, LONG)
        assert await clerk.call(Clerk.note, LONG[: SIZE // 2 - 100]) == LONG[: SIZE // 2 - 100]


async def test_nothing_is_read_for_who_may_not_ask(
    autojump_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: what a peer may not address, start or answer costs no reading, however long its payload is."""
    network = MemoryNetwork()
    read: list[int] = []
    original = long_payloads.read_in_fragments

    def counted(memory: int, size: int) -> Any:
        read.append(size)
        return original(memory, size)

    monkeypatch.setattr(long_payloads, "read_in_fragments", counted)
    async with (
        open_node(
            "far", listen="/far", carrier=network.carrier("far"), policy=Policy.same_user(exports="clerk")
        ) as far,
        open_node("home", carrier=network.carrier("home")) as home,
    ):
        for name in ("clerk", "secret"):
            await far.spawn(Clerk, name=name)
        await home.connect("/far")
        clerk: Ref[Clerk] = home.remote("clerk", "far@local")
        secret: Ref[Clerk] = home.remote("secret", "far@local")
        secret.send(LONG)
        with pytest.raises(Refused):
            await secret.call(Clerk.note, LONG)
        with pytest.raises(Refused):
            await home.spawn_on("far@local", "nothing", LONG)
        assert not read
        assert await clerk.call(Clerk.note, LONG) == "long"
        assert read == [SIZE]
    assert await all_closed()
