"""The drivers of channels, singletons, sessions and time, and what becomes of a dead guest's resources."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.hostcalls.abi import (
    ChannelBackpressure,
    ChannelCreate,
    DependencyId,
    IoRead,
    IoWrite,
    SessionCreate,
    SessionEntitlement,
    SessionRemove,
    SessionResource,
    SingletonLookup,
    SingletonRegister,
    TimeSleep,
)
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import InvalidArgument
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.drivers.session import Scope, Session
from enfilade.hostcalls.resources.registry import Kind
from tests.hostcalls.desk import DENIED, INVALID, NOT_FOUND, Desk, fails

PARK = ChannelCreate(64, ChannelBackpressure.PARK)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def caller(desk: Desk) -> Caller:
    return desk.caller()


# Channels.


def test_wrong_kinds_of_slot(desk: Desk, caller: Caller) -> None:
    """Every channel hostcall refuses a slot of another kind, and an empty one, and harms neither."""
    channel = desk.call(caller, c.CHANNEL_CREATE, PARK)
    strong_reader = desk.call(caller, c.CHANNEL_STRONG_READER_CREATE, channel)
    weak_reader = desk.call(caller, c.CHANNEL_WEAK_READER_CREATE, channel)
    strong_writer = desk.call(caller, c.CHANNEL_STRONG_WRITER_CREATE, channel)
    weak_writer = desk.call(caller, c.CHANNEL_WEAK_WRITER_CREATE, channel)
    for hostcall in (
        c.CHANNEL_DELETE,
        c.CHANNEL_DRAIN,
        c.CHANNEL_STRONG_READER_CREATE,
        c.CHANNEL_WEAK_WRITER_CREATE,
    ):
        assert fails(lambda call=hostcall: desk.call(caller, call, strong_reader)) == INVALID
        assert fails(lambda call=hostcall: desk.call(caller, call, 77)) == NOT_FOUND
    for slot in (channel, weak_reader, strong_writer):
        assert fails(lambda at=slot: desk.call(caller, c.CHANNEL_STRONG_READ, IoRead(at, 9))) == INVALID
    assert fails(lambda: desk.call(caller, c.CHANNEL_WEAK_READ, IoRead(strong_reader, 9))) == INVALID
    for slot in (channel, weak_writer, strong_reader):
        assert fails(lambda at=slot: desk.call(caller, c.CHANNEL_STRONG_WRITE, IoWrite(at, b"x"))) == INVALID
    assert fails(lambda: desk.call(caller, c.CHANNEL_WRITER_DOWNGRADE, weak_writer)) == INVALID
    assert desk.call(caller, c.CHANNEL_WEAK_WRITE, IoWrite(weak_writer, b"fine")).result() == 4
    assert desk.call(caller, c.CHANNEL_WEAK_READ, IoRead(weak_reader, 9)).result().payload == b"fine"


def test_downgraded_writer(desk: Desk, caller: Caller) -> None:
    """A downgraded writer is weak from then on, and keeps its number."""
    channel = desk.call(caller, c.CHANNEL_CREATE, PARK)
    writer = desk.call(caller, c.CHANNEL_STRONG_WRITER_CREATE, channel)
    reader = desk.call(caller, c.CHANNEL_STRONG_READER_CREATE, channel)
    weak = desk.call(caller, c.CHANNEL_WRITER_DOWNGRADE, writer)
    assert desk.call(caller, c.CHANNEL_WEAK_WRITE, IoWrite(weak, b"x")).result() == 1
    assert desk.call(caller, c.CHANNEL_STRONG_READ, IoRead(reader, 9)).result().writer_id == 1
    assert fails(lambda: desk.call(caller, c.CHANNEL_STRONG_WRITE, IoWrite(weak, b"x"))) == INVALID


def test_limits_of_channels(desk: Desk) -> None:
    """Slots and bytes of channel are bounded for each process; what is freed can be used again."""
    caller = desk.caller(resources=2, channel_bytes=8192)
    big = ChannelCreate(5000, ChannelBackpressure.PARK)
    first = desk.call(caller, c.CHANNEL_CREATE, big)
    assert fails(lambda: desk.call(caller, c.CHANNEL_CREATE, big)) == INVALID
    desk.call(caller, c.CHANNEL_DELETE, first)
    first = desk.call(caller, c.CHANNEL_CREATE, big)
    desk.call(caller, c.CHANNEL_STRONG_WRITER_CREATE, first)
    for hostcall in (c.CHANNEL_STRONG_READER_CREATE, c.CHANNEL_WEAK_WRITER_CREATE):
        assert fails(lambda call=hostcall: desk.call(caller, call, first)) == INVALID
    assert len(desk.kernel.registry) == 3
    assert (
        fails(lambda: desk.call(caller, c.CHANNEL_CREATE, ChannelCreate((1 << 32) - 1, big.backpressure)))
        == INVALID
    )


def test_what_has_no_slot_counts_too(desk: Desk) -> None:
    """A guest that shares what it makes and lets go of the slots comes to its limit all the same, whatever
    the kind; nothing is left behind by what was refused.
    """

    def make(caller: Caller, hostcall: Hostcall[Any, Any], value: object) -> None:
        slot = desk.call(caller, hostcall, value)
        desk.call(caller, c.CHANNEL_SHARE, slot)
        desk.call(caller, c.CHANNEL_DETACH, slot)

    for hostcall, value in (
        (c.CHANNEL_CREATE, PARK),
        (c.CHANNEL_STRONG_READER_CREATE, 0),
        (c.CHANNEL_WEAK_WRITER_CREATE, 0),
        (c.SESSION_CREATE, SessionCreate(1, KEY)),
    ):
        caller = desk.caller(resources=50)
        channel = desk.call(caller, c.CHANNEL_CREATE, PARK)
        session = session_of(desk, caller, session_lifecycle=Scope.ANY)
        assert (channel, session) == (0, 1)
        before = len(desk.kernel.registry)
        for _ in range(49):
            make(caller, hostcall, value)
        with pytest.raises(InvalidArgument):
            make(caller, hostcall, value)
        assert len(desk.kernel.registry) == before + 49
        payload = caller.get(channel, Kind.CHANNEL).payload
        assert len(payload._writers) + len(payload._strong) <= 49
        caller.end()


def test_detached_readers_are_gone(desk: Desk, caller: Caller) -> None:
    """A reader that nobody can reach any more holds nobody back."""
    channel = desk.call(caller, c.CHANNEL_CREATE, ChannelCreate(4, ChannelBackpressure.PARK))
    reader = desk.call(caller, c.CHANNEL_STRONG_READER_CREATE, channel)
    writer = desk.call(caller, c.CHANNEL_STRONG_WRITER_CREATE, channel)
    desk.call(caller, c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"full")).result()
    waiting = desk.call(caller, c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"more"))
    assert not waiting.done
    desk.call(caller, c.CHANNEL_DETACH, reader)
    assert waiting.result() == 4


def test_channel_outlives_its_slot_while_it_is_used(desk: Desk, caller: Caller) -> None:
    """Readers and writers hold their channel; a shared handle does while its owner lives."""
    channel = desk.call(caller, c.CHANNEL_CREATE, PARK)
    reader = desk.call(caller, c.CHANNEL_STRONG_READER_CREATE, channel)
    writer = desk.call(caller, c.CHANNEL_STRONG_WRITER_CREATE, channel)
    desk.call(caller, c.CHANNEL_DETACH, channel)
    desk.call(caller, c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"x")).result()
    assert desk.call(caller, c.CHANNEL_STRONG_READ, IoRead(reader, 9)).result().payload == b"x"
    shared = desk.call(caller, c.CHANNEL_CREATE, PARK)
    handle = desk.call(caller, c.CHANNEL_SHARE, shared)
    desk.call(caller, c.CHANNEL_DETACH, shared)
    assert desk.call(caller, c.CHANNEL_ATTACH, handle) == shared


def test_dead_guest_leaves_nothing(desk: Desk, caller: Caller) -> None:
    """Its readers hold back no writer, its channels are gone unless somebody else has attached them."""
    other = desk.caller()
    private = desk.call(caller, c.CHANNEL_CREATE, PARK)
    public = desk.call(caller, c.CHANNEL_CREATE, ChannelCreate(4, ChannelBackpressure.PARK))
    desk.call(caller, c.CHANNEL_STRONG_READER_CREATE, public)
    handle = desk.call(caller, c.CHANNEL_SHARE, public)
    unused = desk.call(caller, c.CHANNEL_SHARE, private)
    attached = desk.call(other, c.CHANNEL_ATTACH, handle)
    writer = desk.call(other, c.CHANNEL_STRONG_WRITER_CREATE, attached)
    desk.call(other, c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"full")).result()
    waiting = desk.call(other, c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"more"))
    caller.end()
    assert waiting.result() == 4
    assert fails(lambda: desk.call(other, c.CHANNEL_ATTACH, unused)) == NOT_FOUND
    assert caller.budget.channel_bytes == 4096  # what the smallest counts for
    other.end()
    assert caller.budget.channel_bytes == 0
    assert len(desk.kernel.registry) == 2  # the two processes' own entries


def test_dead_guest_gets_nothing(desk: Desk, caller: Caller) -> None:
    """What comes for a guest after its end is released at once, and not kept for ever."""
    caller.end()
    released: list[str] = []
    with pytest.raises(InvalidArgument):
        caller.add(Kind.OTHER, "late", lambda: released.append("late"))
    assert released == ["late"]
    assert len(desk.kernel.registry) == 1


# Singletons.

NAME = DependencyId(bytes(range(16)))


def test_a_singleton_is_registered_once(desk: Desk, caller: Caller) -> None:
    """Registered once by id and once by resource, found by everybody, gone with the resource."""
    other = desk.caller()
    slot = desk.call(caller, c.CHANNEL_CREATE, PARK)
    handle = desk.call(caller, c.CHANNEL_SHARE, slot)
    assert fails(lambda: desk.call(other, c.SINGLETON_LOOKUP, SingletonLookup(NAME))) == NOT_FOUND
    assert fails(lambda: desk.call(caller, c.SINGLETON_REGISTER, SingletonRegister(NAME, 99))) == NOT_FOUND
    desk.call(caller, c.SINGLETON_REGISTER, SingletonRegister(NAME, handle))
    assert desk.call(other, c.SINGLETON_LOOKUP, SingletonLookup(NAME)) == handle
    taken = "Stable identifier already exists"
    second = desk.call(caller, c.CHANNEL_SHARE, desk.call(caller, c.CHANNEL_CREATE, PARK))
    assert fails(lambda: desk.call(caller, c.SINGLETON_REGISTER, SingletonRegister(NAME, second))) == taken
    elsewhere = DependencyId(bytes(16))
    assert (
        fails(lambda: desk.call(caller, c.SINGLETON_REGISTER, SingletonRegister(elsewhere, handle))) == taken
    )
    desk.call(caller, c.CHANNEL_DELETE, slot)
    assert fails(lambda: desk.call(other, c.SINGLETON_LOOKUP, SingletonLookup(NAME))) == NOT_FOUND
    desk.call(caller, c.SINGLETON_REGISTER, SingletonRegister(NAME, second))


# Time.


def test_time_is_counted_from_the_first_call(desk: Desk, caller: Caller) -> None:
    """The monotonic clock starts at the first call; both count milliseconds."""
    first = desk.call(caller, c.TIME_NOW)
    assert (first.unix_ms, first.monotonic_ms) == (1_700_000_100_000, 0)
    desk.clock.advance(1.5)
    second = desk.call(desk.caller(), c.TIME_NOW)
    assert (second.unix_ms, second.monotonic_ms) == (1_700_000_101_500, 1500)


def test_a_sleep_ends_when_its_time_is_over(desk: Desk, caller: Caller) -> None:
    """A sleep is over when its time is; one that is dropped leaves no timer."""
    future = desk.call(caller, c.TIME_SLEEP, TimeSleep(20))
    desk.clock.advance(0.019)
    assert not future.done
    desk.clock.advance(0.001)
    assert future.result() is None
    dropped = desk.call(caller, c.TIME_SLEEP, TimeSleep((1 << 64) - 1))
    assert desk.clock.waiting == 1
    dropped.cancel()
    assert desk.clock.waiting == 0


# Sessions.

KEY = bytes(range(32))
READER = Capability.CHANNEL_READER


def session_of(desk: Desk, caller: Caller, **scopes: set[int] | Scope) -> int:
    """Put a session into the caller's slots, as a host does."""
    session = Session(scopes={Capability[name.upper()]: scope for name, scope in scopes.items()})
    return caller.slots.insert(desk.kernel.registry.add(Kind.SESSION, session))


def test_without_a_session_there_is_none(desk: Desk, caller: Caller) -> None:
    """No guest has a session unless its host gives it one."""
    for hostcall, value in (
        (c.SESSION_CREATE, SessionCreate(0, KEY)),
        (c.SESSION_REMOVE, SessionRemove(0, 1)),
        (c.SESSION_ADD_ENTITLEMENT, SessionEntitlement(0, 1, READER)),
        (c.SESSION_RM_ENTITLEMENT, SessionEntitlement(0, 1, READER)),
        (c.SESSION_ADD_RESOURCE, SessionResource(0, 1, READER, 5)),
        (c.SESSION_RM_RESOURCE, SessionResource(0, 1, READER, 5)),
    ):
        assert fails(lambda call=hostcall, what=value: desk.call(caller, call, what)) == NOT_FOUND


@pytest.mark.parametrize("scope", [Scope.ANY, set()])
def test_session_tree(desk: Desk, caller: Caller, scope: set[int] | Scope) -> None:
    """A parent may manage the children that it makes, and give them what it has itself."""
    root = session_of(desk, caller, session_lifecycle=scope, channel_reader={5, 6})
    child = desk.call(caller, c.SESSION_CREATE, SessionCreate(root, KEY))
    assert caller.get(child, Kind.SESSION).payload.public_key == KEY

    def add(resource: int) -> int:
        return int(desk.call(caller, c.SESSION_ADD_RESOURCE, SessionResource(root, child, READER, resource)))

    def rm(resource: int) -> int:
        return int(desk.call(caller, c.SESSION_RM_RESOURCE, SessionResource(root, child, READER, resource)))

    assert add(5) == 0  # no entitlement yet
    desk.call(caller, c.SESSION_ADD_ENTITLEMENT, SessionEntitlement(root, child, READER))
    assert [add(5), add(5), add(6)] == [1, 0, 1]
    assert "beyond its own" in fails(lambda: add(7))
    assert [rm(7), rm(5), rm(6)] == [0, 1, 1]
    assert add(5) == 0  # an emptied scope is none
    beyond = SessionEntitlement(root, child, Capability.TIME_READ)
    assert "beyond its own" in fails(lambda: desk.call(caller, c.SESSION_ADD_ENTITLEMENT, beyond))
    assert "not authorised" in fails(lambda: desk.call(caller, c.SESSION_RM_ENTITLEMENT, beyond))
    desk.call(caller, c.SESSION_RM_ENTITLEMENT, SessionEntitlement(root, child, READER))
    desk.call(caller, c.SESSION_REMOVE, SessionRemove(root, child))
    assert fails(lambda: add(5)) == NOT_FOUND


def test_session_denials(desk: Desk, caller: Caller) -> None:
    """Without the right to manage sessions, or a particular one, there is no managing."""
    powerless = session_of(desk, caller, channel_reader=Scope.ANY)
    assert fails(lambda: desk.call(caller, c.SESSION_CREATE, SessionCreate(powerless, KEY))) == DENIED
    root = session_of(desk, caller, session_lifecycle=Scope.ANY)
    assert fails(lambda: desk.call(caller, c.SESSION_REMOVE, SessionRemove(powerless, root))) == DENIED
    assert fails(lambda: desk.call(caller, c.SESSION_REMOVE, SessionRemove(root, root))) == DENIED
    any_scope = session_of(desk, caller, channel_reader=Scope.ANY)
    revoke = SessionResource(root, any_scope, READER, 1)
    assert "'Any' scope" in fails(lambda: desk.call(caller, c.SESSION_RM_RESOURCE, revoke))


# Denied and absent hostcalls.


def test_abi_5_every_hostcall_is_denied_without_its_capability(desk: Desk) -> None:
    """A dispatch that slips past the engine's stubs still refuses."""
    from enfilade.hostcalls.abi.catalogue import CATALOGUE

    table, imports = desk.kernel._table(frozenset())
    assert all(entry.denied for entry in imports)
    for operation in table.operations:
        with pytest.raises(Exception, match=DENIED):
            operation.contract.run(desk.caller(), None)
    assert len(table) == len(CATALOGUE) == 41 + 18
