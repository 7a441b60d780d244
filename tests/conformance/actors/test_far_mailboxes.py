"""Full mailboxes on another node: who waits for room waits, and who is refused hears of it."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    NO_CONNECTION,
    Actor,
    CallTimeout,
    Crashed,
    DeadLetter,
    Mailbox,
    MailboxFull,
    NoProcess,
    NotConnected,
    Process,
    Ref,
    Refused,
)
from enfilade.actors.messages.signals import FILL, ROOM, Cast
from enfilade.actors.peers.rooms import KEPT
from enfilade.actors.processes.mailbox import Overflow
from enfilade.actors.testing import VirtualClock
from enfilade.transport import wire
from tests.conformance.actors.abroad import (
    Abroad,
    autojump_clock,
    back_end,
    mesh_server,
    node,
    passed,
    settled,
)

__all__ = ["autojump_clock", "back_end", "mesh_server", "node"]

CAPACITY = 3


class Desk(Actor):
    """Works on nothing until it is told to."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.open = trio.Event()

    async def note(self, value: Any) -> Any:
        self.seen.append(value)
        await self.open.wait()
        return value

    async def on_message(self, message: Any) -> None:
        await self.note(message)

    def on_start(self) -> None:
        desks.append(self)


desks: list[Desk] = []


async def full(node: Abroad, overflow: Overflow) -> tuple[Process, dict[str, Ref[Desk]]]:
    """A process of the far node whose mailbox is full, and what it can be called by at home."""
    desks.clear()
    home = await node.spawn(Desk, name="desk", mailbox=Mailbox(CAPACITY, overflow))
    process = node.far.processes[home.serial]
    local = process.ref
    alias = process.alias()
    local.send("at hand")
    await settled()
    for number in range(CAPACITY):
        local.send(number)
    refs = {"ref": home, "name": node.home.remote("desk", node.far.full_name)}
    return process, {**refs, "alias": passed(alias, node.far, node.home)}


ADDRESSED = pytest.mark.parametrize("addressed", ["ref", "name", "alias"])


@ADDRESSED
@pytest.mark.parametrize("overflow", ["block", "fail", "drop_newest", "dead_letter", "crash"])
async def test_send_wait_waits(
    autojump_clock: VirtualClock, node: Abroad, overflow: Overflow, addressed: str
) -> None:
    """D7, M6: under every policy the sender waits, the order stays, and the bound is kept."""
    process, refs = await full(node, overflow)
    most = 0
    sent = []

    async def send_all() -> None:
        for number in range(10):
            await refs[addressed].send_wait(f"far {number}")
            sent.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all)
        await settled()
        assert not sent
        desks[0].open.set()
        while len(sent) < 10:
            most = max(most, len(process.queue))
            await trio.lowlevel.checkpoint()
    await settled()
    assert desks[0].seen == ["at hand", 0, 1, 2, *(f"far {number}" for number in range(10))]
    assert most <= CAPACITY == process.limit
    assert not node.far.dead_letters.count
    assert not node.home.dead_letters.count


@pytest.mark.parametrize("overflow", ["block", "fail", "drop_oldest", "lag"])
async def test_many_senders_near_and_far(
    autojump_clock: VirtualClock, node: Abroad, overflow: Overflow
) -> None:
    """M6: no sender takes the place that another was given, and none is left waiting."""
    process, refs = await full(node, overflow)
    near = process.ref
    desks[0].open.set()

    async def send(ref: Ref[Any], name: str) -> None:
        for number in range(5):
            await ref.send_wait((name, number))
            assert len(process.queue) <= CAPACITY

    async with trio.open_nursery() as nursery:
        for sender in range(6):
            nursery.start_soon(send, near if sender % 2 else refs["ref"], f"sender {sender}")
    await settled()
    seen = [message for message in desks[0].seen if isinstance(message, tuple)]
    for sender in range(6):
        assert [n for name, n in seen if name == f"sender {sender}"] == list(range(5))
    assert process.limit == CAPACITY


@pytest.mark.parametrize("stage", ["waiting", "asked"])
async def test_cancelled_send_wait_has_sent_nothing(
    autojump_clock: VirtualClock, node: Abroad, stage: str
) -> None:
    """M6: it leaves neither a message nor a place that is kept for one."""
    process, refs = await full(node, "block")
    if stage == "asked":
        desks[0].open.set()
        await settled()
        process.limit -= CAPACITY  # all places are kept for others
    with trio.move_on_after(1) as scope:
        await refs["ref"].send_wait("never")
    assert scope.cancelled_caught
    if stage == "asked":
        process.limit += CAPACITY
    desks[0].open.set()
    await settled()
    assert "never" not in desks[0].seen
    assert process.limit == CAPACITY
    assert not _rooms(node)
    await refs["ref"].send_wait("later")
    await settled()
    assert desks[0].seen[-1] == "later"


async def test_waiting_senders_get_the_place_of_one_that_gave_up(
    autojump_clock: VirtualClock, node: Abroad
) -> None:
    """M6: a place that is kept, and not filled, goes to who waits here; also to an idle process."""
    process, _ = await full(node, "block")
    desks[0].open.set()
    await settled()
    frames = [wire.Call(2**40 + number, "desk", ROOM, _encoded(node, [[], {}])) for number in range(CAPACITY)]
    node.far.distribution.host.peer_frames(_peer(node), frames, ())
    assert process.limit == 0
    frames = [wire.Call(2**40, "desk", ROOM, _encoded(node, [[], {}]))]  # a number that was used already
    node.far.distribution.host.peer_frames(_peer(node), frames, ())
    assert process.limit == 0
    with pytest.raises(MailboxFull):
        process.ref.send("refused")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.ref.send_wait, "patient")
        await settled()
        assert "patient" not in desks[0].seen
        node.far.distribution.host.peer_frames(_peer(node), [wire.Cancel(2**40 + 1)], ())
        await settled()
        assert "patient" in desks[0].seen
    await trio.sleep(KEPT + 1)
    assert process.limit == CAPACITY
    late = [wire.Cast("desk", FILL, _encoded(node, [[2**40 + 2, "late"], {}]))]
    node.far.distribution.host.peer_frames(_peer(node), late, ())
    await settled()
    assert desks[0].seen[-1] == "late"
    assert process.limit == CAPACITY


async def test_loss_while_waiting(autojump_clock: VirtualClock, node: Abroad) -> None:
    """D7: the message of a sender that waited is a dead letter of its own node; no place is kept for it."""
    process, refs = await full(node, "block")
    node.home.distribution._current[node.far.full_name].address = ""  # type: ignore[attr-defined]
    async with node.home.mailbox() as me:
        node.home.dead_letters.subscribe(me.ref)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refs["ref"].send_wait, "lost")
            await settled()
            node.home.distribution.disconnect(node.far.full_name)
        letter = await me.receive(DeadLetter, timeout=1)
        assert (letter.message, letter.ref, letter.reason) == ("lost", refs["ref"], NO_CONNECTION)
        node.home.dead_letters.unsubscribe(me.ref)
    desks[0].open.set()
    await settled()
    assert desks[0].seen == ["at hand", 0, 1, 2]
    assert process.limit == CAPACITY
    assert not _rooms(node)


async def test_end_while_waiting(autojump_clock: VirtualClock, node: Abroad) -> None:
    """M9: the message becomes a dead letter there, as one to a process that has ended does."""
    process, refs = await full(node, "block")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refs["ref"].send_wait, "late")
        await settled()
        before = node.far.dead_letters.count
        process.ref.exit(KILL)
    await settled()
    assert node.far.dead_letters.count == before + CAPACITY + 1
    await refs["ref"].send_wait("too late")
    await settled()
    assert node.far.dead_letters.count == before + CAPACITY + 2
    with pytest.raises(NoProcess):
        await refs["name"].send_wait("nobody")


async def test_send_wait_to_what_is_not_exported(autojump_clock: VirtualClock, node: Abroad) -> None:
    """D2: who waits is told that it may not address the process."""
    ref = node.home.remote("desk", node.far.full_name)
    unknown = type(await node.spawn(Desk))(node.home, ref._carrier, 2**40)
    with pytest.raises(Refused):
        await unknown.send_wait("never")


SENT: dict[str, tuple[Callable[[Ref[Any]], None], Any]] = {
    "send": (lambda ref: ref.send("x"), "x"),
    "cast": (lambda ref: ref.cast(Desk.note, value="x"), Cast("note", (), {"value": "x"})),
    "long": (lambda ref: ref.send(b"x" * 100_000), b"x" * 100_000),
}


@ADDRESSED
@pytest.mark.parametrize("overflow", ["block", "fail"])
@pytest.mark.parametrize("sent", SENT)
async def test_refused_message_comes_back(
    autojump_clock: VirtualClock, node: Abroad, overflow: Overflow, addressed: str, sent: str
) -> None:
    """D7, M7: it is a dead letter of the sender's node, with the reason, and counted there."""
    _, refs = await full(node, overflow)
    send, message = SENT[sent]
    async with node.home.mailbox() as me:
        node.home.dead_letters.subscribe(me.ref)
        before = trio.current_time()
        send(refs[addressed])
        letter = await me.receive(DeadLetter, timeout=1)
        assert trio.current_time() == before
        node.home.dead_letters.unsubscribe(me.ref)
    assert letter.message == message
    assert isinstance(letter.reason, Crashed)
    error = letter.reason.error
    assert isinstance(error, MailboxFull)
    assert (error.ref, error.capacity) == (letter.ref, CAPACITY)
    assert letter.ref == refs[addressed]
    assert (node.home.dead_letters.count, node.far.dead_letters.count, node.far.dropped) == (1, 0, 0)
    desks[0].open.set()
    refs[addressed].send("next")  # an alias is not used up by what was refused
    await settled()
    assert desks[0].seen[:4] == ["at hand", 0, 1, 2]


@pytest.mark.parametrize(
    ("overflow", "dropped", "letters"), [("drop_newest", 1, 0), ("drop_oldest", 1, 0), ("dead_letter", 0, 1)]
)
async def test_dropped_messages_are_counted(
    autojump_clock: VirtualClock, node: Abroad, overflow: Overflow, dropped: int, letters: int
) -> None:
    """M7: what the receiver's policy drops is counted where it was dropped."""
    _, refs = await full(node, overflow)
    refs["ref"].send("x")
    await settled()
    assert (node.far.dropped, node.far.dead_letters.count, node.home.dead_letters.count) == (
        dropped,
        letters,
        0,
    )


async def test_call_waits_for_room(autojump_clock: VirtualClock, node: Abroad) -> None:
    """M8: under "block" a call waits for room, within its time limit; given up, it is never handled."""
    process, refs = await full(node, "block")
    with pytest.raises(CallTimeout):
        await refs["ref"].within(1).call(Desk.note, "never")
    assert len(process.queue) == CAPACITY
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await refs["ref"].call(Desk.note, "answered"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await settled()
        assert not answers
        desks[0].open.set()
    assert answers == ["answered"]
    assert desks[0].seen == ["at hand", 0, 1, 2, "answered"]
    assert not _rooms(node)


@pytest.mark.parametrize("end", ["kill", "loss"])
async def test_call_that_waits_hears_of_the_end(autojump_clock: VirtualClock, node: Abroad, end: str) -> None:
    """C2, M8: a call fails as early as possible, also while it waits for room."""
    process, refs = await full(node, "block")

    async def call() -> None:
        with pytest.raises(NoProcess if end == "kill" else NotConnected):
            await refs["ref"].call(Desk.note, "never")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await settled()
        if end == "kill":
            process.ref.exit(KILL)
        else:
            node.home.distribution.disconnect(node.far.full_name)
    await settled()
    assert not _rooms(node)


def _peer(node: Abroad) -> Any:
    return node.far.distribution.rendezvous.peers[node.home.full_name]


def _rooms(node: Abroad) -> Any:
    """What home waits for in mailboxes of the far node."""
    remote: Any = node.far.distribution._current[node.home.full_name]  # type: ignore[attr-defined]
    return remote._rooms


def _encoded(node: Abroad, value: Any) -> Any:
    remote: Any = node.home.distribution._current[node.far.full_name]  # type: ignore[attr-defined]
    return remote._codec.encode(value)[0]


@pytest.mark.parametrize("overflow", ["drop_oldest", "lag"])
async def test_kept_places_under_a_policy_that_drops(
    autojump_clock: VirtualClock, node: Abroad, overflow: Overflow
) -> None:
    """M7: what drops the oldest drops nothing while there is room, and never fails for want of an oldest."""
    process, _ = await full(node, overflow)
    desks[0].open.set()
    await settled()
    numbers = range(2**41, 2**41 + CAPACITY)
    asking = [wire.Call(number, "desk", ROOM, _encoded(node, [[], {}])) for number in numbers]
    filling = [wire.Cast("desk", FILL, _encoded(node, [[number, number], {}])) for number in numbers]
    node.far.distribution.host.peer_frames(_peer(node), asking, ())
    assert process.limit == 0
    for number in range(CAPACITY):
        process.ref.send(f"near {number}")
    assert node.far.dropped == 0
    node.far.distribution.host.peer_frames(_peer(node), filling, ())
    await settled()
    assert node.far.dropped
    assert desks[0].seen[-1] == numbers[-1]
    assert process.limit == CAPACITY
