"""Supervisors as actors: subclasses, casts, crashes of their own code, the control lane."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    SHUTDOWN,
    Backoff,
    Child,
    ChildNotFound,
    Crashed,
    NoProcess,
    PartitionSupervisor,
    ProcessDied,
    Reason,
    Ref,
    StartError,
    Supervisor,
)
from enfilade.actors.system import get_state, resume, suspend
from tests.conformance.actors.family import BOOM, Family, Member, clean_node, supervise


class Bank(Supervisor):
    """A supervisor with something of its own."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.opened = 0
        super().__init__(family.children("ab"), intensity=5)

    def on_start(self) -> None:
        self.family.journal.append("on_start")

    def open(self) -> int:
        self.opened += 1
        return self.opened

    def break_in(self) -> None:
        raise ValueError("alarm")

    def on_stop(self, reason: Reason) -> None:
        self.family.journal.append(f"on_stop {reason}")


async def test_methods_of_a_subclass(autojump_clock: MockClock) -> None:
    """SUP-7: it is an actor: its methods are called, `on_start` runs before the children, `on_stop` after
    them.
    """
    family = Family()
    async with clean_node() as node:
        bank: Ref[Bank] = await node.spawn(Bank, family)
        assert await bank.call(Bank.open) == 1
        assert await bank.call(Bank.open) == 2
        await bank.stop(SHUTDOWN)
    stops = ["stop b1 shutdown", "stop a1 shutdown", "on_stop shutdown"]
    assert family.take() == ["on_start", "start a1", "start b1", *stops]


async def test_crash_of_a_subclass(autojump_clock: MockClock) -> None:
    """SUP-7: its tree is stopped in order; its own reason is the crash, and the caller is told."""
    family = Family()
    async with clean_node() as node:
        bank: Ref[Bank] = await node.spawn(Bank, family)
        family.take()
        async with node.mailbox() as me:
            me.monitor(bank)
            with pytest.raises(ProcessDied) as died:
                await bank.call(Bank.break_in)
            assert isinstance(died.value.__cause__, ValueError)
            down = await me.receive()
        assert isinstance(down.reason, Crashed)
        assert family.take() == ["stop b1 shutdown", "stop a1 shutdown", f"on_stop {down.reason}"]
        assert node.statistics().processes == 0


async def test_async_methods_are_refused(autojump_clock: MockClock) -> None:
    """SUP-7: a supervisor has no task."""

    class Waiting(Supervisor):
        async def wait(self) -> None:
            await trio.sleep(1)

    async with clean_node() as node:
        with pytest.raises(StartError, match="has async methods"):
            await node.spawn(Waiting)


async def test_a_cast_request_is_carried_out(autojump_clock: MockClock) -> None:
    """A request whose outcome nobody wants, good or bad."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [])
        supervisor.cast(Supervisor.start_child, family.child("a"))
        supervisor.cast(Supervisor.terminate_child, "nobody")
        supervisor.cast(Supervisor.get_childspec, "nobody")
        assert await family.shown(supervisor) == {"a": "a1"}


async def test_system_messages(autojump_clock: MockClock) -> None:
    """A suspended supervisor does nothing for its children, and catches up when it is resumed."""
    family = Family()
    async with clean_node() as node:
        bank: Ref[Bank] = await node.spawn(Bank, family)
        assert (await get_state(bank))["opened"] == 0
        await suspend(bank)
        await family.crash("a1")
        assert family.incarnations["a"] == 1
        await resume(bank)
        assert await family.shown(bank) == {"a": "a2", "b": "b1"}


async def test_requests_keep_their_order(autojump_clock: MockClock) -> None:
    """What was asked during a slow start is served afterwards, in the order of asking."""
    family = Family()
    async with clean_node() as node, node.mailbox() as me:
        supervisor = await supervise(node, [family.child("z", "slow", tier="async")])
        requests: list[Any] = [
            me.request(supervisor, Supervisor.terminate_child, "z"),
            me.request(supervisor, Supervisor.start_child, family.child("a")),
            me.request(supervisor, Supervisor.terminate_child, "a"),
            me.request(supervisor, Supervisor.delete_child, "a"),
            me.request(supervisor, Supervisor.delete_child, "a"),
        ]
        for request in requests[:-1]:
            await request.receive()
        with pytest.raises(ChildNotFound):
            await requests[-1].receive()
        assert await family.shown(supervisor) == {"z": None}


async def test_resize_around_a_restart(autojump_clock: MockClock) -> None:
    """The steps of a request of several wait while the supervisor restarts something."""
    family = Family()

    class Shard(Member):
        def __init__(self, index: int) -> None:
            super().__init__(family, "abcd"[index], "good")

    async with clean_node() as node, node.mailbox() as me:
        shards = await node.spawn(PartitionSupervisor, Child(Shard), partitions=4, with_index=True)
        resize = me.request(shards, PartitionSupervisor.resize, 1)
        family.refs["b1"].cast(Member.end, BOOM)
        await resize.receive()
        assert await shards.call(PartitionSupervisor.partitions) == 1
        counts = await shards.call(Supervisor.count_children)
        assert (counts.specs, counts.active) == (4, 1)


async def test_request_in_progress_when_the_supervisor_goes(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node, node.mailbox() as me:
        supervisor = await supervise(node, [family.child("a", "slow", tier="async")])
        request = me.request(supervisor, Supervisor.terminate_child, "a")
        await wait_all_tasks_blocked()
        await supervisor.stop(SHUTDOWN)
        with pytest.raises(ProcessDied) as died:
            await request.receive()
        assert died.value.reason == SHUTDOWN


async def test_kill_in_the_middle_of_a_stop(autojump_clock: MockClock) -> None:
    """A supervisor that is killed while it stops its children leaves none of them."""
    family = Family()
    async with clean_node() as node, node.mailbox() as me:
        supervisor = await supervise(node, [family.child("a"), family.child("b", "slow", tier="async")])
        me.monitor(supervisor)
        me.request(supervisor, Supervisor.terminate_child, "b")
        await wait_all_tasks_blocked()
        me.exit(supervisor, KILL)
        assert (await me.receive()).reason == KILLED
        assert [process.ref for process in node.processes.values()] == [me.ref]


async def test_backoff_does_not_outlive_the_child(autojump_clock: MockClock) -> None:
    """A child deleted during its back-off and added anew is not restarted by the old timer."""
    family = Family()
    async with clean_node() as node:
        slowly = Backoff(first=10, factor=1, maximum=10, jitter=0)
        supervisor = await supervise(node, [family.child("a", backoff=slowly)])
        await family.crash("a1")
        await supervisor.call(Supervisor.terminate_child, "a")
        await supervisor.call(Supervisor.delete_child, "a")
        await supervisor.call(Supervisor.start_child, family.child("a"))
        await trio.sleep(20)
        assert await family.shown(supervisor) == {"a": "a2"}


async def test_end_of_a_named_supervisor(autojump_clock: MockClock) -> None:
    """Its name is free once its tree is gone."""
    family = Family()
    async with clean_node() as node:
        supervisor = await node.spawn(Supervisor, family.children("ab"), name="bank")
        assert node.whereis("bank") == supervisor
        await supervisor.stop(SHUTDOWN)
        assert node.whereis("bank") is None
        named: Any = node.named("bank")
        with pytest.raises(NoProcess):
            await named.call(Supervisor.children)
        await node.spawn(Supervisor, family.children("ab"), name="bank")
