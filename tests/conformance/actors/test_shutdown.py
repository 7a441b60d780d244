"""Group F: how children are stopped: order, patience, force, and what they may answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    ChildCounts,
    ChildRunning,
    Custom,
    NoProcess,
    ProcessDied,
    Reason,
    Ref,
)
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, Member, clean_node, ended, supervise

TIERS = ("sync", "async")


@pytest.mark.parametrize("tier", TIERS)
async def test_act_f_reverse_order(tier: str, autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc", tier=tier))
        family.take()
        await supervisor.stop(SHUTDOWN)
        assert family.take() == ["stop c1 shutdown", "stop b1 shutdown", "stop a1 shutdown"]


async def test_act_f_stopping_is_sequential(autojump_clock: MockClock) -> None:
    """SUP-40: each child has its own time, and the next is told when the one before is gone."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child(letter, "slow", tier="async") for letter in "abc"])
        before = trio.current_time()
        await supervisor.stop(SHUTDOWN)
        assert trio.current_time() - before == pytest.approx(3)


async def test_act_f_time_is_up(autojump_clock: MockClock) -> None:
    """SUP-40: a child that does not stop in its time is killed, and the shutdown goes on."""
    family = Family()
    async with clean_node() as node:
        stubborn = family.child("b", "stubborn", tier="async", shutdown=2.0)
        supervisor = await supervise(node, [family.child("a"), stubborn])
        family.take()
        before = trio.current_time()
        async with node.mailbox() as me:
            me.monitor(family.refs["b1"])
            await supervisor.stop(SHUTDOWN)
            assert (await me.receive()).reason == KILLED
        assert trio.current_time() - before == pytest.approx(2)
        assert family.take() == ["stop b1 shutdown", "stop a1 shutdown"]


async def test_act_f3_time_is_up_for_dynamic_children(autojump_clock: MockClock) -> None:
    """SUP-73: all are told at once and share one timer."""
    family = Family()
    async with clean_node() as node:
        spec = family.child("w", "stubborn", tier="async", shutdown=2.0)
        pool = await node.spawn(DynamicSupervisor, spec)
        for _ in range(5):
            await pool.call(DynamicSupervisor.start_from_template)
        family.take()
        before = trio.current_time()
        await pool.stop(SHUTDOWN)
        assert trio.current_time() - before == pytest.approx(2)
        assert sorted(family.take()) == [f"stop w{number} shutdown" for number in range(1, 6)]
        assert node.statistics().processes == 0


@pytest.mark.parametrize("tier", TIERS)
async def test_act_f4_brutal_kill(tier: str, autojump_clock: MockClock) -> None:
    """SUP-40: the reason is killed, and the child had no say."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", tier=tier, shutdown="brutal_kill")])
        family.take()
        async with node.mailbox() as me:
            me.monitor(family.refs["a1"])
            await supervisor.call(Supervisor.terminate_child, "a")
            assert (await me.receive()).reason == KILLED
        assert family.take() == []


async def test_act_f_infinite_patience(autojump_clock: MockClock) -> None:
    """SUP-40: no kill, however long it takes."""
    family = Family()
    async with clean_node(grace=10_000) as node:

        class Thorough(Actor):
            def __init__(self) -> None:
                self.process.trap_exits = True

            async def on_stop(self, reason: Reason) -> None:
                await trio.sleep(3600)

        supervisor = await supervise(node, [family.child("a"), Child(Thorough, shutdown=math.inf)])
        before = trio.current_time()
        await supervisor.stop(SHUTDOWN)
        assert trio.current_time() - before == pytest.approx(3600)


@pytest.mark.parametrize("tier", TIERS)
async def test_act_f_child_that_does_not_trap(tier: str, autojump_clock: MockClock) -> None:
    """It dies at once, of shutdown, and its own code does not hear of it."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", "plain", tier=tier)])
        family.take()
        async with node.mailbox() as me:
            me.monitor(family.refs["a1"])
            await supervisor.call(Supervisor.terminate_child, "a")
            assert (await me.receive()).reason == SHUTDOWN
        assert family.take() == []


@pytest.mark.parametrize("dynamic", [False, True])
async def test_act_f6_children_that_end_meanwhile(dynamic: bool, autojump_clock: MockClock) -> None:
    """SUP-41: a child that ends by itself meanwhile keeps its own reason; the supervisor says shutdown."""
    family = Family()
    async with clean_node() as node:
        children = [family.child("a"), family.child("b"), family.child("c", "slow", tier="async")]
        supervisor: Ref[Any]
        if dynamic:
            supervisor = await node.spawn(DynamicSupervisor)
            for child in children:
                await supervisor.call(Supervisor.start_child, child)
        else:
            supervisor = await supervise(node, children)
        async with trio.open_nursery() as nursery, node.mailbox() as me:
            me.monitor(family.refs["b1"])
            me.monitor(supervisor)
            nursery.start_soon(supervisor.stop, SHUTDOWN)
            family.refs["b1"].cast(Member.end, Custom("own"))
            down = [await me.receive(), await me.receive()]
        assert {entry.ref: entry.reason for entry in down}[supervisor] == SHUTDOWN
        if not dynamic:
            assert {entry.ref: entry.reason for entry in down}[family.refs["b1"]] == Custom("own")


async def test_act_f7_dynamic_children_with_other_reasons(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w", "odd"))
        for _ in range(3):
            await pool.call(DynamicSupervisor.start_from_template)
        await pool.stop(SHUTDOWN)
        assert node.statistics().processes == 0


async def test_act_f_odd_answer_to_a_stop(autojump_clock: MockClock) -> None:
    """SUP-42: it is reported, and the shutdown goes on."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a"), family.child("b", "odd"), family.child("c")])
        family.take()
        await supervisor.stop(SHUTDOWN)
        assert family.take() == ["stop c1 shutdown", "stop b1 shutdown", "stop a1 shutdown"]


@pytest.mark.parametrize("tier", TIERS)
async def test_act_f8_child_that_unlinked_itself(tier: str, autojump_clock: MockClock) -> None:
    """SUP-41: the supervisor waits on a monitor, so it does not hang."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", tier=tier)])
        await family.refs["a1"].call(Member.unlink_from, supervisor)
        before = trio.current_time()
        await supervisor.call(Supervisor.terminate_child, "a")
        assert trio.current_time() == before
        assert await family.shown(supervisor) == {"a": None}


async def test_act_f8_child_that_unlinked_itself_and_died(autojump_clock: MockClock) -> None:
    """SUP-17: nobody told the supervisor, which has it as running; terminating it works all the same."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a"), family.child("b")])
        await family.refs["a1"].call(Member.unlink_from, supervisor)
        await family.crash("a1")
        assert await family.shown(supervisor) == {"a": "a1", "b": "b1"}
        assert await supervisor.call(Supervisor.count_children) == ChildCounts(2, 1, 0, 2)
        with pytest.raises(NoProcess):
            await family.refs["a1"].call(Member.unlink_from, supervisor)
        for request in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildRunning):
                await supervisor.call(request, "a")
        await supervisor.call(Supervisor.terminate_child, "a")
        assert await family.shown(supervisor) == {"a": None, "b": "b1"}


async def test_its_group_brings_back_who_unlinked_itself(autojump_clock: MockClock) -> None:
    """SUP-17: a restart of the group starts a child again that unlinked itself and died."""
    family = Family()
    async with clean_node() as node:
        children = [family.child("a"), family.child("b")]
        supervisor = await supervise(node, children, strategy="one_for_all")
        await family.refs["a1"].call(Member.unlink_from, supervisor)
        await family.crash("a1")
        await family.crash("b1")
        assert await family.shown(supervisor) == {"a": "a2", "b": "b2"}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_act_f10_thousands_of_children(dynamic: bool, autojump_clock: MockClock) -> None:
    """They all start and stop, whatever their number."""
    family = Family()
    async with clean_node() as node:
        supervisor: Ref[Any]
        if dynamic:
            supervisor = await node.spawn(DynamicSupervisor)
            for number in range(3000):
                await supervisor.call(Supervisor.start_child, family.child(str(number)))
        else:
            supervisor = await supervise(node, [family.child(str(number)) for number in range(3000)])
        assert node.statistics().processes == 3001
        await supervisor.stop(SHUTDOWN)
        assert node.statistics().processes == 0
        assert len(family.journal) == 6000


async def test_act_f11_exit_of_somebody_else(autojump_clock: MockClock) -> None:
    """SUP-15: it is ignored."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")])
        async with node.mailbox() as me:
            me.exit(supervisor, BOOM)
            me.exit(supervisor, SHUTDOWN)
            await wait_all_tasks_blocked()
        assert await family.shown(supervisor) == {"a": "a1"}


async def test_act_f12_parent_that_exits_normally(autojump_clock: MockClock) -> None:
    """SUP-44: children are stopped, and the supervisor exits normally."""
    family = Family()
    supervisors: list[Ref[Any]] = []

    async def parent(me: Any) -> None:
        supervisors.append(await me.spawn(Supervisor, family.children("ab"), link=True))
        await me.receive()

    async with clean_node() as node:
        ref = await node.spawn(parent)
        await wait_all_tasks_blocked()
        async with node.mailbox() as me:
            me.monitor(supervisors[0])
            ref.send("go")
            assert (await me.receive()).reason == NORMAL
        assert family.take() == ["start a1", "start b1", "stop b1 shutdown", "stop a1 shutdown"]


@pytest.mark.parametrize("tier", TIERS)
async def test_act_f13_killed_supervisor(tier: str, autojump_clock: MockClock) -> None:
    """SUP-45: children that trap see the reason killed from their parent, and stop."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("ab", tier=tier))
        family.take()
        async with node.mailbox() as me:
            me.monitor(supervisor)
            me.exit(supervisor, KILL)
            assert (await me.receive()).reason == KILLED
            assert sorted(family.take()) == ["stop a1 killed", "stop b1 killed"]
            assert node.statistics().processes == 1


async def test_act_f_node_exit_stops_the_tree_in_order(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        inner = Child(Supervisor, family.children("bc"), id="inner")
        await supervise(node, [family.child("a"), inner, family.child("d")])
        family.take()
    stops = ["stop d1 shutdown", "stop c1 shutdown", "stop b1 shutdown", "stop a1 shutdown"]
    assert family.take() == stops


async def test_act_f_unkillable_child_is_left_behind(autojump_clock: MockClock) -> None:
    """SUP-43: a child that shields itself from a kill is reported and counted; the supervisor goes on without
    it.
    """
    family = Family()
    release = trio.Event()

    async def shielded(me: Any) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    async with clean_node(kill_grace=3.0) as node:
        spec = Child(shielded, id="s", shutdown=1.0)
        supervisor = await supervise(node, [family.child("a"), spec, family.child("b")])
        await wait_all_tasks_blocked()
        family.take()
        before = trio.current_time()
        await supervisor.stop(SHUTDOWN)
        assert trio.current_time() - before == pytest.approx(1 + 3)
        assert node.statistics().unkillable == 1
        assert family.take() == ["stop b1 shutdown", "stop a1 shutdown"]
        release.set()


async def test_act_f_requests_to_a_stopping_supervisor_fail(autojump_clock: MockClock) -> None:
    """SUP-46: a child that asks its stopping supervisor is told at once, and nothing deadlocks."""
    outcomes: list[BaseException] = []

    class Asking(Actor):
        def __init__(self) -> None:
            self.process.trap_exits = True

        async def on_stop(self, reason: Reason) -> None:
            parent: Any = self.process.parent
            try:
                await parent.call(Supervisor.children)
            except ProcessDied as error:
                outcomes.append(error)

    async with clean_node() as node:
        supervisor = await supervise(node, [Child(Asking)])
        before = trio.current_time()
        await supervisor.stop(SHUTDOWN)
        assert trio.current_time() == before
        assert [type(outcome) for outcome in outcomes] == [ProcessDied]


async def test_act_f_end_of_a_supervisor_is_known(autojump_clock: MockClock) -> None:
    """Its monitors are told once nothing of its tree is left."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc", tier="async"))
        supervisor.exit(SHUTDOWN)
        assert await ended(node, supervisor) == SHUTDOWN
        assert node.statistics().processes == 0
