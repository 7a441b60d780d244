"""Slots: what a guest that frees nothing can go on taking, and what its old numbers lead to."""

from __future__ import annotations

import random

import pytest

from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoFrame, IoRead, IoWrite
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.errors import LimitReached, NotFound
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.registry import Kind, Registry
from enfilade.hostcalls.resources.slots import Slots
from tests.hostcalls.desk import INVALID, NOT_FOUND, Desk, fails

CHANNEL = ChannelCreate(64, ChannelBackpressure.PARK)
LIMIT = 16


class Peer:
    """A process of a desk, which makes hostcalls."""

    def __init__(self, desk: Desk, resources: int = LIMIT) -> None:
        self.desk = desk
        self.caller: Caller = desk.caller(resources=resources)

    def create(self) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_CREATE, CHANNEL))

    def share(self, slot: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_SHARE, slot))

    def attach(self, handle: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_ATTACH, handle))

    def detach(self, slot: int) -> None:
        self.desk.call(self.caller, c.CHANNEL_DETACH, slot)

    def reader(self, channel: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_STRONG_READER_CREATE, channel))

    def writer(self, channel: int) -> int:
        return int(self.desk.call(self.caller, c.CHANNEL_STRONG_WRITER_CREATE, channel))

    def write(self, writer: int, payload: bytes = b"frame") -> None:
        self.desk.call(self.caller, c.CHANNEL_STRONG_WRITE, IoWrite(writer, payload)).result()

    def read(self, reader: int) -> bytes:
        frame: IoFrame = self.desk.call(self.caller, c.CHANNEL_STRONG_READ, IoRead(reader, 99)).result()
        return frame.payload

    def end(self) -> None:
        self.caller.end()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def serve(desk: Desk, server: Peer) -> tuple[int, int]:
    """One client comes, is answered, and goes; the slots that the server took and does not free."""
    client = Peer(desk)
    channel = client.create()
    reader = client.reader(channel)
    attached = server.attach(client.share(channel))
    writer = server.writer(attached)
    server.write(writer)
    assert client.read(reader) == b"frame"
    client.end()
    return attached, writer


def test_a_server_that_frees_nothing_serves_client_after_client(desk: Desk) -> None:
    """Slots of channels whose client has ended make room, with everything behind them."""
    server = Peer(desk)
    own = server.create()
    for _ in range(50 * LIMIT):
        serve(desk, server)
    assert len(server.caller.slots) <= LIMIT
    assert len(desk.kernel.registry) < 3 * LIMIT + 50 * LIMIT  # the entries of the processes are the desk's
    assert len(desk.kernel.registry.of_kind(Kind.CHANNEL)) <= LIMIT
    assert server.share(own) == server.share(own)


def test_numbers_that_the_guest_has_not_freed_are_never_given_again(desk: Desk) -> None:
    """A guest that remembers a slot that was taken away finds nothing under it, for good."""
    server = Peer(desk)
    given: list[int] = []
    for _ in range(20 * LIMIT):
        given += serve(desk, server)
    assert len(set(given)) == len(given)
    assert given == sorted(given)
    gone = [slot for slot in given if slot not in dict(server.caller.slots)]
    assert len(gone) >= len(given) - LIMIT
    for slot in gone:
        assert fails(lambda slot=slot: server.share(slot)) == NOT_FOUND
        assert fails(lambda slot=slot: server.detach(slot)) == NOT_FOUND


def test_freed_numbers_are_still_reused_last_freed_first(desk: Desk) -> None:
    """What the guest frees itself is given again, also after slots were taken away."""
    server = Peer(desk)
    kept = server.create()
    for _ in range(2 * LIMIT):
        serve(desk, server)
    server.detach(kept)
    assert server.create() == kept


def test_the_youngest_are_spared(desk: Desk) -> None:
    """A server that has not yet answered a client that has just ended still has the slots."""
    server = Peer(desk)
    for _ in range(10 * LIMIT):
        attached, writer = serve(desk, server)
        server.write(writer)  # late: the client has ended
        assert server.share(attached) >= 0


def test_what_a_dead_client_has_written_is_kept_until_it_is_read(desk: Desk) -> None:
    """Unread frames keep their reader, however full the table is."""
    server = Peer(desk)
    client = Peer(desk)
    channel = client.create()
    writer = client.writer(channel)
    reader = server.reader(server.attach(client.share(channel)))
    client.write(writer, b"last words")
    client.end()
    for _ in range(3 * LIMIT):
        serve(desk, server)
    assert server.read(reader) == b"last words"
    for _ in range(3 * LIMIT):
        serve(desk, server)
    assert fails(lambda: server.read(reader)) == NOT_FOUND


def test_frames_wait_for_a_reader_that_is_not_made_yet(desk: Desk) -> None:
    """A channel that was attached for what is in it, such as a log, is not taken away before that is read."""
    server, client = Peer(desk), Peer(desk)
    channel = client.create()
    client.write(client.writer(channel), b"log")
    attached = server.attach(client.share(channel))
    client.end()
    for _ in range(3 * LIMIT):
        serve(desk, server)
    assert server.read(server.reader(attached)) == b"log"


def test_what_others_hold_is_kept(desk: Desk) -> None:
    """A channel between two processes outlives its creator, whatever room they need."""
    maker, server, other = Peer(desk), Peer(desk), Peer(desk)
    handle = maker.share(maker.create())
    here, there = server.attach(handle), other.attach(handle)
    writer = server.writer(here)
    reader = other.reader(there)
    maker.end()
    for _ in range(3 * LIMIT):
        serve(desk, server)
    server.write(writer, b"still here")
    assert other.read(reader) == b"still here"


def test_a_channel_with_a_name_is_kept(desk: Desk) -> None:
    """Guests that are not there yet can find a singleton."""
    maker, server = Peer(desk), Peer(desk)
    handle = maker.share(maker.create())
    attached = server.attach(handle)
    desk.kernel.registry.register_singleton(b"n" * 16, desk.kernel.registry.shared(handle))
    maker.end()
    for _ in range(3 * LIMIT):
        serve(desk, server)
    assert server.share(attached) >= 0


def test_channels_of_the_host_are_kept_until_they_are_closed(desk: Desk) -> None:
    """No process that has ended is behind a channel of the embedder's; a closed one is of no use."""
    server = Peer(desk, resources=4)
    registry = desk.kernel.registry
    channels = [Channel(64) for _ in range(4)]
    slots = [server.caller.slots.insert(registry.add(Kind.CHANNEL, channel)) for channel in channels]
    assert fails(server.create) == INVALID
    channels[1].close()
    assert server.create() == 4
    assert fails(lambda: server.share(slots[1])) == NOT_FOUND


def test_spent_resources_make_room(desk: Desk) -> None:
    """What says of itself that nothing will come of it is taken away, and only then."""
    server = Peer(desk, resources=4)
    spent: set[int] = set()
    for number in range(4):
        resource = desk.kernel.registry.add(Kind.OTHER, number)
        resource.spent = lambda number=number: number in spent
        server.caller.slots.insert(resource)
    assert fails(server.create) == INVALID
    spent.add(2)
    assert server.create() == 4


def test_a_deleted_channel_costs_no_slot(desk: Desk) -> None:
    """Channels that others delete, and readers and writers of them, make room."""
    server, client = Peer(desk), Peer(desk)
    for _ in range(5 * LIMIT):
        channel = client.create()
        attached = server.attach(client.share(channel))
        server.reader(attached)
        desk.call(client.caller, c.CHANNEL_DELETE, channel)
    assert len(server.caller.slots) <= LIMIT


def test_attaching_again_and_again_takes_one_slot_more_at_most(desk: Desk) -> None:
    """At the limit, a further slot for a resource is a use of one that the guest has; each is freed apart."""
    guest = Peer(desk)
    handle = guest.share(guest.create())
    slots = [guest.attach(handle) for _ in range(1000)]
    assert slots[: LIMIT - 1] == list(range(1, LIMIT))
    assert set(slots[LIMIT - 1 :]) == {LIMIT - 1}
    assert len(guest.caller.slots) == LIMIT
    for slot in slots:
        guest.detach(slot)
    assert len(guest.caller.slots) == 1
    assert fails(lambda: guest.detach(LIMIT - 1)) == NOT_FOUND


def test_a_slot_with_two_uses_can_be_sent_once_for_each(desk: Desk) -> None:
    """Taking a use away leaves the other, and the resource is held by both."""
    registry = desk.kernel.registry
    guest = Peer(desk, resources=1)
    slot = guest.create()
    resource = guest.caller.slots.get(slot)
    assert guest.caller.slots.insert(resource) == slot
    assert guest.caller.slots.take(slot) is resource
    assert resource.holds == 2
    registry.unhold(resource)
    assert guest.caller.slots.take(slot) is resource
    with pytest.raises(NotFound):
        guest.caller.slots.get(slot)
    registry.unhold(resource)
    assert not resource.alive


def test_writer_after_writer_for_one_channel(desk: Desk) -> None:
    """At the limit, a writer that rests serves for a further one of its kind and channel."""
    server, client = Peer(desk), Peer(desk)
    channel = client.create()
    reader = client.reader(channel)
    attached = server.attach(client.share(channel))
    for number in range(5 * LIMIT):
        writer = server.writer(attached)
        server.write(writer, b"%d" % number)
        assert client.read(reader) == b"%d" % number
    assert len(server.caller.slots) == LIMIT
    kinds = (c.CHANNEL_WEAK_WRITER_CREATE, c.CHANNEL_STRONG_READER_CREATE)
    for hostcall in kinds:
        assert fails(lambda hostcall=hostcall: desk.call(server.caller, hostcall, attached)) == INVALID


def test_a_busy_writer_serves_for_no_other(desk: Desk) -> None:
    """A writer whose frame waits is not given out a second time."""
    server, client = Peer(desk, resources=2), Peer(desk)
    channel = client.create()
    client.reader(channel)
    attached = server.attach(client.share(channel))
    writer = server.writer(attached)
    server.write(writer, bytes(64))
    waiting = desk.call(server.caller, c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"x"))
    assert not waiting.done
    assert fails(lambda: server.writer(attached)) == INVALID


def test_the_refusal_names_the_limit(desk: Desk) -> None:
    """The guest reads "invalid argument"; the host learns which limit, its number, and how to raise it."""
    guest = Peer(desk, resources=3)
    for _ in range(3):
        guest.create()
    with pytest.raises(LimitReached) as caught:
        guest.create()
    assert caught.value.text == INVALID
    assert "resources=3" in caught.value.why
    assert "--limit resources=" in caught.value.why


def test_marks(desk: Desk) -> None:
    """What was given since the mark is freed; what was freed since is neither given back nor given out again,
    so that an old number never leads to something else.
    """
    peer = Peer(desk)
    slots = peer.caller.slots
    kept, freed, unused = (peer.create() for _ in range(3))
    slots.share(kept)
    peer.detach(unused)
    here = slots.get(kept)
    mark = slots.mark()
    peer.detach(freed)
    assert peer.create() == freed  # another channel under the number that the guest knows
    assert peer.create() == unused
    slots.share(kept)
    slots.restore(mark)
    assert dict(slots) == {kept: here}
    assert fails(lambda: slots.get(freed)) == NOT_FOUND
    assert [peer.create(), peer.create()] == [unused, unused + 1]
    slots.free(kept)
    assert slots.get(kept) is here
    slots.free(kept)
    assert fails(lambda: slots.get(kept)) == NOT_FOUND


@pytest.mark.parametrize("seed", range(20))
def test_an_actor_is_found_in_its_oldest_slot_whatever_has_happened(seed: int) -> None:
    """The index says what a walk through the table says, after slots were freed, taken or restored."""
    chance = random.Random(seed)
    registry = Registry()
    slots = Slots(registry, LIMIT)
    actors = [f"actor {number}" for number in range(5)]
    mark = slots.mark()
    for _ in range(300):
        present = [slot for slot, _ in slots]
        step = chance.randrange(12)
        if step < 6 and (len(slots) < LIMIT or slots.make_room()):
            kind = chance.choice([Kind.ACTOR, Kind.ACTOR, Kind.OTHER])
            slots.insert(registry.add(kind, chance.choice(actors)))
        elif step == 6 and present:
            slots.free(chance.choice(present))
        elif step == 7 and present and slots.content(taken := chance.choice(present)).alive:  # type: ignore[union-attr]
            registry.unhold(slots.take(taken))
        elif step == 8 and present:
            registry.remove(slots.content(chance.choice(present)))  # type: ignore[arg-type]
        elif step == 9:
            mark = slots.mark()
        elif step == 10:
            slots.restore(mark)
        elif step == 11 and chance.random() < 0.1:
            slots.clear()
            mark = slots.mark()
        for actor in actors:
            walked = slots.find(Kind.ACTOR, lambda resource, actor=actor: bool(resource.payload == actor))  # type: ignore[misc]
            assert slots.actor(actor) == walked
