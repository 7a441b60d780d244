"""The places of the runtime where listeners are called, and what is true there."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    Child,
    DynamicSupervisor,
    Process,
    ProcessDied,
    Reason,
    Ref,
    StartError,
    Supervisor,
    open_node,
)
from enfilade.actors.messages.hooks import PLACES, Hooks, Listener
from enfilade.actors.node.node import Node


class Till(Actor):
    """Breaks when it is touched."""

    def touch(self) -> None:
        raise ValueError("broken")


class Broken(Actor):
    def __init__(self) -> None:
        raise ValueError("broken")


class Ears(Listener):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def process_started(self, process: Process) -> None:
        self.heard.append(("started", process.serial, process.target))

    def process_crashing(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        self.heard.append(("crashing", process.serial, process.body.actor is not None, repr(error)))

    def process_ended(self, process: Process, reason: Reason) -> None:
        assert process.serial not in process.node.processes
        self.heard.append(("ended", process.serial))

    def name_registered(self, process: Process, name: str) -> None:
        assert process.node.whereis(name) == process.ref
        self.heard.append(("registered", process.serial, name))

    def name_released(self, process: Process, name: str) -> None:
        assert process.node.whereis(name) is None
        self.heard.append(("released", process.serial, name))


class Family(Listener):
    """Notes what it is told of children."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def child_started(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], restart_number: int
    ) -> None:
        self.heard.append(("started", child_id, restart_number))

    def child_restarted(
        self,
        supervisor: Process,
        child_id: Hashable,
        old: Ref[Any],
        ref: Ref[Any],
        reason: Reason,
        in_period: int,
    ) -> None:
        assert old != ref
        assert supervisor.node.processes[ref.serial].name == "till"
        self.heard.append(("restarted", child_id, in_period))

    def child_terminated(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], reason: Reason, will_restart: bool
    ) -> None:
        self.heard.append(("terminated", child_id, will_restart))

    def child_start_failed(
        self, supervisor: Process, child_id: Hashable, reason: Reason, attempt: int, next_in: float | None
    ) -> None:
        self.heard.append(("start failed", child_id, attempt, next_in))

    def child_removed(self, supervisor: Process, child_id: Hashable) -> None:
        self.heard.append(("removed", child_id))

    def supervisor_gave_up(
        self, supervisor: Process, child_id: Hashable, reason: Reason, restarts: int, period: float
    ) -> None:
        self.heard.append(("gave up", child_id, restarts, period))


def test_a_listener_is_called_where_it_overrides_a_method_and_nowhere_else() -> None:
    hooks, listener = Hooks(), Ears()
    hooks.add(listener)
    hooks.add(Listener())
    heard = {place for place in PLACES if getattr(hooks, place)}
    assert heard == {
        "process_started",
        "process_crashing",
        "process_ended",
        "name_registered",
        "name_released",
    }
    hooks.remove(listener)
    assert not any(getattr(hooks, place) for place in PLACES)
    hooks.remove(listener)


async def test_the_life_of_a_process_is_heard_in_order() -> None:
    async with open_node("test") as node:
        ears = Ears()
        node.hooks.add(ears)
        till = await node.spawn(Till, name="till")
        with pytest.raises(ProcessDied):
            await till.call(Till.touch)
        with pytest.raises(StartError):
            await node.spawn(Broken)
        async with node.mailbox() as me:
            plain = me.ref.serial
        node.hooks.remove(ears)
        await node.spawn(Till)
    one, two = till.serial, till.serial + 1
    assert ears.heard == [
        ("registered", one, "till"),
        ("started", one, Till),
        ("crashing", one, True, "ValueError('broken')"),
        ("released", one, "till"),
        ("ended", one),
        ("started", two, Broken),
        ("crashing", two, False, "None"),
        ("ended", two),
        ("started", plain, None),
        ("ended", plain),
    ]


@pytest.mark.parametrize("soon", [False, True], ids=["spawn", "spawn_soon"])
async def test_every_process_that_started_ends(soon: bool) -> None:
    """What is refused before it begins is neither."""

    async def function(me: Process) -> None:
        await me.receive()

    async with open_node("test") as node:
        ears = Ears()
        node.hooks.add(ears)
        await node.spawn(Till, name="taken")
        with pytest.raises(StartError):
            await node.spawn(Till, name="taken")
        for target in (Till, function):
            if soon:
                node.spawn_soon(target)
            else:
                await node.spawn(target)
    started = [entry[1] for entry in ears.heard if entry[0] == "started"]
    ended = [entry[1] for entry in ears.heard if entry[0] == "ended"]
    assert len(started) == 3
    assert sorted(started) == sorted(ended)


async def test_the_target_outlives_the_process_as_a_class_or_a_name() -> None:
    """It is for the log; a function may hold much."""

    async def function(me: Process) -> None:
        """Do nothing."""

    async with open_node("test") as node:
        ended: list[Any] = []

        class Last(Listener):
            def process_ended(self, process: Process, reason: Reason) -> None:
                ended.append(process.target)

        node.hooks.add(Last())
        await node.spawn(Till)
        await node.spawn(function)
        await wait_all_tasks_blocked()
    assert ended == [function.__qualname__, Till]


async def test_children_are_heard_of(autojump_clock: MockClock) -> None:
    async with open_node("test") as node:
        family = Family()
        node.hooks.add(family)
        top = await node.spawn(
            Supervisor, [Child(Till, id="a", name="till")], intensity=1, period=5.0, strategy="rest_for_one"
        )
        node.named("till").cast(Till.touch)
        await wait_all_tasks_blocked()
        await top.call(Supervisor.start_child, Child(Till, id="b", restart="temporary"))
        await top.call(Supervisor.terminate_child, "b")
        await top.call(Supervisor.start_child, Child(Till, id="c"))
        await top.call(Supervisor.terminate_child, "c")
        await top.call(Supervisor.restart_child, "c")
        await top.call(Supervisor.terminate_child, "c")
        await top.call(Supervisor.delete_child, "c")
        node.named("till").cast(Till.touch)
        await wait_all_tasks_blocked()
    assert family.heard == [
        ("started", "a", 0),
        ("terminated", "a", True),
        ("restarted", "a", 1),
        ("started", "b", 0),
        ("terminated", "b", False),
        ("removed", "b"),
        ("started", "c", 0),
        ("terminated", "c", False),
        ("started", "c", 0),
        ("terminated", "c", False),
        ("removed", "c"),
        ("terminated", "a", True),
        ("gave up", "a", 2, 5.0),
    ]


async def test_a_start_that_fails_tells_when_the_next_one_follows(autojump_clock: MockClock) -> None:
    async with open_node("test") as node:
        family = Family()
        node.hooks.add(family)
        top = await node.spawn(DynamicSupervisor)
        with pytest.raises(Exception, match="broken"):
            await top.call(DynamicSupervisor.start_child, Child(Broken, id="a"))
        assert ("start failed", None, 1, None) in family.heard


async def test_a_listener_that_raises_disturbs_neither_the_step_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Rude(Listener):
        def process_started(self, process: Process) -> None:
            raise ValueError("rude")

    async with open_node("test") as node:
        ears = Ears()
        node.hooks.add(Rude())
        node.hooks.add(ears)
        till = await node.spawn(Till)
        assert ("started", till.serial, Till) in ears.heard
    assert "rude" in caplog.text


async def test_the_end_of_the_node_is_heard_before_and_after_its_processes() -> None:
    heard: list[str] = []

    class Last(Listener):
        def process_ended(self, process: Process, reason: Reason) -> None:
            heard.append("process")

        def node_stopping(self, fatal: BaseException | None) -> None:
            heard.append("stopping")

        def node_stopped(self) -> None:
            heard.append("stopped")

    async def run(node: Node) -> None:
        node.hooks.add(Last())
        await node.spawn(Till)

    async with open_node("test") as node:
        await run(node)
    assert heard == ["stopping", "process", "stopped"]
