"""The registry: handles, holds, relations."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from enfilade.hostcalls.abi.errors import (
    AlreadyExists,
    InvalidArgument,
    LimitReached,
    NotFound,
    RegistryError,
)
from enfilade.hostcalls.resources.message import Held, Message, message_of
from enfilade.hostcalls.resources.registry import HandleTable, Kind, Registry, Resource
from enfilade.hostcalls.resources.slots import Slots
from tests.hostcalls.hostile_messages import (
    HostileByteArray,
    HostileBytes,
    HostileMessage,
    HostileTag,
    NoClass,
)


def test_handles_are_reused_last_freed_first() -> None:
    """Handles count from 0; a freed one is the next."""
    table: HandleTable[str] = HandleTable()
    assert [table.insert(word) for word in "abc"] == [0, 1, 2]
    assert (table.remove(0), table.remove(1)) == ("a", "b")
    assert [table.insert(word) for word in "xyz"] == [1, 0, 3]
    for handle in (-1, 4, 1 << 70):
        with pytest.raises(NotFound):
            table.get(handle)
    assert dict(table.items()) == {0: "y", 1: "x", 2: "c", 3: "z"}
    assert len(table) == 4


def test_a_reservation_is_filled_once() -> None:
    """A reservation is filled once; discarding is always allowed."""
    registry = Registry()
    entry = registry.reserve(Kind.PROCESS)
    registry.initialise(entry.id, "process")
    for identity in (entry.id, 99):
        with pytest.raises(RegistryError):
            registry.initialise(identity, "again")
    registry.discard(entry.id)
    registry.discard(entry.id)
    with pytest.raises(NotFound):
        registry.get(entry.id, Kind.PROCESS)


def test_a_resource_is_found_by_id_and_kind() -> None:
    """A resource is found by its id and its kind."""
    registry = Registry()
    resource = registry.add(Kind.CHANNEL, "channel")
    assert registry.get(resource.id, Kind.CHANNEL) is resource
    with pytest.raises(InvalidArgument):
        registry.get(resource.id, Kind.READER)


def test_release_is_called_once() -> None:
    """However a resource goes, it is released once."""
    registry, released = Registry(), []
    resource = registry.add(Kind.OTHER, "x", release=lambda: released.append("x"))
    registry.hold(resource)
    registry.remove(resource)
    registry.remove(resource)
    registry.unhold(resource)
    assert released == ["x"]


def test_relations_go_with_the_resource() -> None:
    """Shared handle, singleton id and log relation are erased with what they lead to."""
    registry = Registry()
    process, channel = registry.add(Kind.PROCESS, "p"), registry.add(Kind.CHANNEL, "c", owner=1)
    handle = registry.share(channel)
    registry.register_singleton(b"n", channel)
    registry.register_log_channel(process, channel)
    with pytest.raises(AlreadyExists):
        registry.register_singleton(b"m", channel)
    registry.remove(channel)
    for look in (
        lambda: registry.shared(handle),
        lambda: registry.singleton(b"n"),
        lambda: registry.log_channel(process.id),
    ):
        with pytest.raises(NotFound):
            look()


def test_log_channel_is_kept_until_its_process_is_forgotten() -> None:
    """The log relation holds the channel, also when its owner has ended; replacing it lets the old one go."""
    registry = Registry()
    process = registry.add(Kind.PROCESS, "p")
    first, second = [registry.add(Kind.CHANNEL, name, owner=process.id) for name in ("1", "2")]
    registry.register_log_channel(process, first)
    registry.owner_ended(process.id)
    assert first.alive
    assert not second.alive
    third = registry.add(Kind.CHANNEL, "3")
    registry.register_log_channel(process, third)
    assert not first.alive
    registry.register_log_channel(process, third)
    assert third.holds == 1
    registry.remove(process)
    assert not third.alive


def test_what_an_ended_process_owned_goes_in_any_order() -> None:
    """A reader that goes with its process takes along the channel that only it has held, also when that
    belongs to the same process and comes later.
    """
    registry = Registry()
    channel = registry.add(Kind.CHANNEL, "channel", owner=1)
    registry.hold(channel)
    reader = registry.add(Kind.READER, "reader", owner=1, release=lambda: registry.unhold(channel))
    registry.share(reader)
    registry.own(channel, None)
    registry.own(channel, 1)  # sent away, and back
    registry.owner_ended(1)
    assert not reader.alive
    assert not channel.alive
    assert len(registry) == 0


def test_messages_hold_what_they_carry() -> None:
    """A resource on its way lives as long as its message."""
    registry = Registry()
    resource = registry.add(Kind.OTHER, "thing", owner=5)
    message = Message(b"", resources=(Held(registry, resource),))
    registry.owner_ended(5)
    assert message.resources[0].payload == "thing"
    held = message.resources[0]
    held.release()
    held.release()
    assert not resource.alive
    with pytest.raises(ValueError, match="sent away"):
        _ = held.resource
    other = registry.add(Kind.OTHER, "other")
    dropped = Message(b"", resources=(Held(registry, other),))
    assert other.alive
    del dropped
    assert not other.alive


def test_message_of() -> None:
    """Bytes of every kind are messages; nothing else is."""
    assert message_of(b"x") == message_of(bytearray(b"x")) == message_of(memoryview(b"x")) == b"x"
    assert message_of("x") is None


def test_message_of_hostile_objects() -> None:
    """U2: whatever methods an object has, none is called, and what comes out is of Python's own types."""
    hostile = [HostileBytes(b"x"), HostileByteArray(b"x"), HostileMessage(b"x", 0)]
    hostile += [Message(HostileBytes(b"x")), Message(b"x", HostileTag(0)), Message(b"x", False)]
    for value in hostile:
        message = message_of(value)
        if type(message) is Message:
            assert (type(message.data), type(message.tag)) == (bytes, int)
            message = message.data if message == Message(b"x") else None
        assert type(message) is bytes
        assert message == b"x"
    released = memoryview(b"x")
    released.release()
    nothing = [NoClass(), released, object.__new__(Message), object.__new__(HostileMessage)]
    nothing += [Message("x"), Message(b"", -1), Message(b"", 1 << 64), Message(b"", 0, (NoClass(),))]  # type: ignore[arg-type]
    for value in nothing:
        assert message_of(value) is None


class RegistryMachine(RuleBasedStateMachine):
    """A resource lives exactly as long as somebody can reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.slots = {process: Slots(self.registry, 6) for process in (1, 2)}
        self.resources: list[Resource] = []

    @rule(process=st.sampled_from((1, 2)))
    def create(self, process: int) -> None:
        if process not in self.slots or len(self.slots[process]) == 6:
            return
        resource = self.registry.add(Kind.OTHER, object(), owner=process)
        self.slots[process].insert(resource)
        self.resources.append(resource)

    @precondition(lambda self: self.resources)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        resource = data.draw(st.sampled_from(self.resources))
        if resource.alive:
            assert self.registry.shared(self.registry.share(resource)) is resource

    @precondition(lambda self: self.resources)
    @rule(data=st.data(), process=st.sampled_from((1, 2)))
    def attach(self, data: st.DataObject, process: int) -> None:
        resource = data.draw(st.sampled_from(self.resources))
        if resource.shared is not None and process in self.slots:
            slots = self.slots[process]
            has = any(entry is resource for _, entry in slots)
            if len(slots) == 6 and not has and all(entry.alive for _, entry in slots):
                with pytest.raises(LimitReached):
                    slots.insert(resource)
            else:
                assert slots.get(slots.insert(resource)) is resource
                assert len(slots) <= 6

    @rule(process=st.sampled_from((1, 2)), slot=st.integers(0, 6))
    def detach(self, process: int, slot: int) -> None:
        if process in self.slots:
            try:
                self.slots[process].free(slot)
            except NotFound:
                return

    @rule(process=st.sampled_from((1, 2)))
    def end(self, process: int) -> None:
        if process in self.slots:
            self.slots.pop(process).clear()
            self.registry.owner_ended(process)
            if not self.slots:
                assert len(self.registry) == 0
                self.slots = {3 - process: Slots(self.registry, 6)}

    @invariant()
    def reachable_means_alive(self) -> None:
        for resource in self.resources:
            held = sum(entry is resource for slots in self.slots.values() for _, entry in slots)
            reachable = held > 0 or (resource.shared is not None and resource.owner is not None)
            assert resource.alive == reachable or (resource.alive and held == resource.holds > 0)
        self.resources = [resource for resource in self.resources if resource.alive]
        assert len(self.registry) == len(self.resources)


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=60, stateful_step_count=30)
