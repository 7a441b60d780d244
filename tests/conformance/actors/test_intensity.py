"""Group E: how much restarting a supervisor bears, and what follows when it is too much."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import SHUTDOWN
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, clean_node, supervise

TIERS = ("sync", "async")


@pytest.mark.parametrize("tier", TIERS)
async def test_act_e1_intensity_zero(tier: str, autojump_clock: MockClock) -> None:
    """The first need to restart ends the supervisor."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("ab", tier=tier), intensity=0)
        family.take()
        async with node.mailbox() as me:
            me.monitor(supervisor)
            await family.crash("a1")
            assert (await me.receive()).reason == SHUTDOWN
        assert family.take() == ["stop b1 shutdown"]
        assert node.statistics().processes == 0


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all"])
async def test_act_e2_escalation(strategy: Any, autojump_clock: MockClock) -> None:
    """SUP-30: intensity 2: the third crash in the period ends the supervisor; siblings are stopped."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("ab"), strategy=strategy, intensity=2)
        async with node.mailbox() as me:
            me.monitor(supervisor)
            await family.crash("a1")
            await family.crash("a2")
            assert (await family.shown(supervisor))["a"] == "a3"
            family.take()
            await family.crash("a3")
            assert (await me.receive()).reason == SHUTDOWN
        assert [entry.split()[0] for entry in family.take()] == ["stop"]


async def test_act_e4_escalation_of_rest_for_one(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        await supervise(node, family.children("abc"), strategy="rest_for_one", intensity=1)
        await family.crash("b1")
        family.take()
        await family.crash("b2")
        assert family.take() == ["stop c2 shutdown", "stop a1 shutdown"]
        assert node.statistics().processes == 0


async def test_act_e5_group_restart_counts_once(autojump_clock: MockClock) -> None:
    """SUP-30: whatever the size of the group."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abcde"), strategy="one_for_all", intensity=1)
        await family.crash("a1")
        assert list((await family.shown(supervisor)).values()) == ["a2", "b2", "c2", "d2", "e2"]
        await family.crash("a2")
        assert node.statistics().processes == 0


@pytest.mark.parametrize("tier", TIERS)
async def test_act_e_retries_count(tier: str, autojump_clock: MockClock) -> None:
    """SUP-30: intensity 3 and a child that never comes back: one restart, two retries, and the fourth entry
    is the
    end.
    """
    family = Family()
    async with clean_node() as node:
        await supervise(node, [family.child("a", tier=tier)], intensity=3)
        family.outcomes["a"] = [BOOM] * 100
        await family.crash("a1")
        assert family.take() == ["start a1", "fail a2", "fail a3", "fail a4"]
        assert node.statistics().processes == 0


async def test_act_e7_restarts_wide_apart(autojump_clock: MockClock) -> None:
    """The window moves: many restarts are borne when few of them fall within one period."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")], intensity=1, period=5.0)
        for number in range(1, 30):
            await family.crash(f"a{number}")
            await trio.sleep(5.01)
        assert await family.shown(supervisor) == {"a": "a30"}


async def test_act_e_edge_of_the_window(autojump_clock: MockClock) -> None:
    """SUP-31: a restart exactly one period old still counts."""
    family = Family()
    async with clean_node() as node:
        await supervise(node, [family.child("a")], intensity=1, period=4.0)
        await family.crash("a1")
        autojump_clock.jump(4.0)
        await family.crash("a2")
        assert node.statistics().processes == 0


async def test_act_e8_nested_supervisor_gives_up(autojump_clock: MockClock) -> None:
    """Its parent restarts it, with its static children."""
    family = Family()
    async with clean_node() as node:
        inner = Child(Supervisor, family.children("bc"), id="inner", kwargs={"intensity": 0})
        outer = await supervise(node, [family.child("a"), inner, family.child("d")])
        family.take()
        await family.crash("b1")
        assert family.take() == ["stop c1 shutdown", "start b2", "start c2"]
        children = {info.id: info.ref for info in await outer.call(Supervisor.children)}
        assert children["a"] == family.refs["a1"]
        assert await family.shown(children["inner"]) == {"b": "b2", "c": "c2"}  # type: ignore[arg-type]


async def test_act_e_escalation_through_the_tree(autojump_clock: MockClock) -> None:
    """When each level gives up in turn, the root ends with shutdown, and nothing is left."""
    family = Family()
    async with clean_node() as node:
        children = [family.child("a")]
        for level in range(3):
            children = [Child(Supervisor, children, id=f"level{level}", kwargs={"intensity": 1})]
        root = await supervise(node, children, intensity=1)
        async with node.mailbox() as me:
            me.monitor(root)
            crashes = 0
            while root in [process.ref for process in node.processes.values()]:
                crashes += 1
                await family.crash(f"a{crashes}")
            assert (await me.receive()).reason == SHUTDOWN
        assert crashes == 2**4
        assert node.statistics().processes == 0


async def test_act_e9_dynamic_children_do_not_come_back(autojump_clock: MockClock) -> None:
    """A restarted supervisor has only what it was specified with."""
    family = Family()
    async with clean_node() as node:
        inner = Child(Supervisor, [family.child("b")], id="inner", kwargs={"intensity": 0})
        outer = await supervise(node, [inner])
        (info,) = await outer.call(Supervisor.children)
        ref: Any = info.ref
        await ref.call(Supervisor.start_child, family.child("x"))
        await family.crash("x1")
        (info,) = await outer.call(Supervisor.children)
        assert await family.shown(info.ref) == {"b": "b2"}  # type: ignore[arg-type]


async def test_act_e_dynamic_escalation(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w"), intensity=1)
        for _ in range(3):
            await pool.call(DynamicSupervisor.start_from_template)
        await family.crash("w1")
        await family.crash("w2")
        assert node.statistics().processes == 0


async def test_act_e_restart_storm_lets_others_run(autojump_clock: MockClock) -> None:
    """A child that fails at once, with no delay between attempts, does not hold the loop."""
    family = Family()
    async with clean_node() as node:
        await supervise(node, [family.child("a")], intensity=3000)
        family.outcomes["a"] = [BOOM] * 10_000
        passes = 0
        family.refs["a1"].exit(BOOM)
        while node.statistics().processes:
            await trio.lowlevel.checkpoint()
            passes += 1
        assert passes > 10
        await wait_all_tasks_blocked()
        assert family.incarnations["a"] == 3001
