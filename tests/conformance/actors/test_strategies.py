"""Group D: which siblings a restart takes along, in which order, and what happens when it fails."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Mailbox, NoProcess, ProcessDied, Restarting, system
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.children import ChildCounts
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.refusals import AlreadyPresent, ChildRestarting
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, Member, clean_node, supervise

TIERS = ("sync", "async")
SLOWLY = Backoff(first=10, factor=1, maximum=10, jitter=0)


@pytest.mark.parametrize("tier", TIERS)
async def test_act_d_one_for_one(tier: str, autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc", tier=tier))
        family.take()
        await family.crash("b1")
        assert family.take() == ["start b2"]
        assert await family.shown(supervisor) == {"a": "a1", "b": "b2", "c": "c1"}


@pytest.mark.parametrize("tier", TIERS)
async def test_act_d2_one_for_all(tier: str, autojump_clock: MockClock) -> None:
    """SUP-12: b crashes: c and a are stopped, in reverse order; a, b and c are started."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc", tier=tier), strategy="one_for_all")
        family.take()
        await family.crash("b1")
        assert family.take() == ["stop c1 shutdown", "stop a1 shutdown", "start a2", "start b2", "start c2"]
        assert await family.shown(supervisor) == {"a": "a2", "b": "b2", "c": "c2"}


@pytest.mark.parametrize("tier", TIERS)
async def test_act_d3_rest_for_one_ends(tier: str, autojump_clock: MockClock) -> None:
    """The last crashes: only it restarts. The first crashes: all are stopped and started."""
    family = Family()
    async with clean_node() as node:
        await supervise(node, family.children("abcd", tier=tier), strategy="rest_for_one")
        family.take()
        await family.crash("d1")
        assert family.take() == ["start d2"]
        await family.crash("a1")
        stops = ["stop d2 shutdown", "stop c1 shutdown", "stop b1 shutdown"]
        assert family.take() == [*stops, "start a2", "start b2", "start c2", "start d3"]


async def test_act_d4_one_for_all_revives_the_terminated(autojump_clock: MockClock) -> None:
    """SUP-13: stopped by request, it is started with the group."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc"), strategy="one_for_all")
        await supervisor.call(Supervisor.terminate_child, "c")
        await family.crash("a1")
        assert await family.shown(supervisor) == {"a": "a2", "b": "b2", "c": "c2"}


@pytest.mark.parametrize("tier", TIERS)
async def test_act_d5_rest_for_one(tier: str, autojump_clock: MockClock) -> None:
    """SUP-12: b crashes: d and c are stopped; b, c and d are started; a keeps its process."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abcd", tier=tier), strategy="rest_for_one")
        family.take()
        await family.crash("b1")
        assert family.take() == ["stop d1 shutdown", "stop c1 shutdown", "start b2", "start c2", "start d2"]
        assert await family.shown(supervisor) == {"a": "a1", "b": "b2", "c": "c2", "d": "d2"}


async def test_act_d_rest_for_one_revives_later_ones_only(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc"), strategy="rest_for_one")
        await supervisor.call(Supervisor.terminate_child, "a")
        await supervisor.call(Supervisor.terminate_child, "c")
        await family.crash("b1")
        assert await family.shown(supervisor) == {"a": None, "b": "b2", "c": "c2"}


@pytest.mark.parametrize("tier", TIERS)
async def test_act_d8_later_sibling_fails_to_start(tier: str, autojump_clock: MockClock) -> None:
    """SUP-20, SUP-21: rest_for_one: the retry begins at the sibling that failed; those before it keep their
    processes.
    """
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abcd", tier=tier), strategy="rest_for_one")
        family.outcomes["c"] = [BOOM]
        family.take()
        await family.crash("b1")
        starts = ["start b2", "fail c2", "start c3", "start d2"]
        assert family.take() == ["stop d1 shutdown", "stop c1 shutdown", *starts]
        assert await family.shown(supervisor) == {"a": "a1", "b": "b2", "c": "c3", "d": "d2"}


@pytest.mark.parametrize("tier", TIERS)
async def test_act_d_one_for_all_sibling_fails_to_start(tier: str, autojump_clock: MockClock) -> None:
    """SUP-21: one_for_all: the retry stops what had started, and starts all."""
    family = Family()
    async with clean_node() as node:
        await supervise(node, family.children("abc", tier=tier), strategy="one_for_all")
        family.outcomes["b"] = [BOOM]
        family.take()
        await family.crash("c1")
        stops = ["stop b1 shutdown", "stop a1 shutdown", "start a2", "fail b2", "stop a2 shutdown"]
        assert family.take() == [*stops, "start a3", "start b3", "start c2"]


@pytest.mark.parametrize("tier", TIERS)
async def test_act_d9_requests_during_a_restart_loop(tier: str, autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", tier=tier, backoff=SLOWLY)])
        family.outcomes["a"] = [BOOM] * 100
        await family.crash("a1")
        assert await family.shown(supervisor) == {"a": "restarting"}
        with pytest.raises(AlreadyPresent):
            await supervisor.call(Supervisor.start_child, family.child("a"))
        for request in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildRestarting):
                await supervisor.call(request, "a")
        assert await supervisor.call(Supervisor.count_children) == ChildCounts(1, 0, 0, 1)


async def test_act_d9_requests_interleave_with_attempts(autojump_clock: MockClock) -> None:
    """SUP-20: without back-off too: each attempt is a message of its own, so a request that is queued comes
    between
    two.
    """
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")], intensity=10**6)
        family.outcomes["a"] = [BOOM] * 10**6
        family.refs["a1"].cast(Member.end, BOOM)
        while await supervisor.call(Supervisor.count_children) != ChildCounts(1, 0, 0, 1):
            pass
        assert await family.shown(supervisor) == {"a": "restarting"}
        await supervisor.call(Supervisor.terminate_child, "a")
        assert await family.shown(supervisor) == {"a": None}
        attempts = family.incarnations["a"]
        await wait_all_tasks_blocked()
        assert family.incarnations["a"] == attempts


async def test_act_d10_terminate_in_a_restart_loop(autojump_clock: MockClock) -> None:
    """The pending attempt becomes void."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", backoff=SLOWLY)])
        family.outcomes["a"] = [BOOM]
        await family.crash("a1")
        await supervisor.call(Supervisor.terminate_child, "a")
        autojump_clock.jump(100)
        await wait_all_tasks_blocked()
        assert await family.shown(supervisor) == {"a": None}
        assert family.incarnations["a"] == 1


async def test_act_d_terminate_in_a_rest_for_one_retry(autojump_clock: MockClock) -> None:
    """SUP-22: OTP's quirk: the later siblings stay down."""
    family = Family()
    async with clean_node() as node:
        children = [family.child("a"), family.child("b", backoff=SLOWLY), family.child("c")]
        supervisor = await supervise(node, children, strategy="rest_for_one")
        family.outcomes["b"] = [BOOM]
        await family.crash("b1")
        autojump_clock.jump(10)
        await wait_all_tasks_blocked()
        assert await family.shown(supervisor) == {"a": "a1", "b": "restarting", "c": None}
        await supervisor.call(Supervisor.terminate_child, "b")
        autojump_clock.jump(100)
        await wait_all_tasks_blocked()
        assert await family.shown(supervisor) == {"a": "a1", "b": None, "c": None}


async def test_act_d12_terminate_in_a_dynamic_restart_loop(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w", backoff=SLOWLY))
        await pool.call(DynamicSupervisor.start_from_template)
        await family.crash("w1")
        assert await pool.call(Supervisor.count_children) == ChildCounts(1, 0, 0, 1)
        await pool.call(DynamicSupervisor.terminate_child, family.refs["w1"])
        assert await pool.call(Supervisor.count_children) == ChildCounts(1, 0, 0, 0)
        autojump_clock.jump(100)
        await wait_all_tasks_blocked()
        assert family.incarnations["w"] == 1


async def test_act_d13_counts_of_restarting_children(autojump_clock: MockClock) -> None:
    """Active excludes them, workers includes them."""
    family = Family()
    async with clean_node() as node:
        children = [family.child("a"), family.child("b", backoff=SLOWLY), family.child("c", backoff=SLOWLY)]
        supervisor = await supervise(node, children)
        await family.crash("b1")
        await family.crash("c1")
        assert await supervisor.call(Supervisor.count_children) == ChildCounts(3, 1, 0, 3)


async def test_act_d_calls_to_a_restarting_child(autojump_clock: MockClock) -> None:
    """SUP-24: they say that it is being restarted, by ref and by name; once it is given up there is no
    process.
    """
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", name="anna", backoff=SLOWLY)])
        anna: Any = node.named("anna")
        a1 = family.refs["a1"]
        await family.crash("a1")
        for ref in (anna, a1):
            with pytest.raises(Restarting):
                await ref.call(Member.arguments)
        autojump_clock.jump(10)
        await wait_all_tasks_blocked()
        assert await anna.call(Member.arguments) == ()
        with pytest.raises(NoProcess):
            await a1.call(Member.arguments)
        await family.crash("a2")
        await supervisor.call(Supervisor.terminate_child, "a")
        for ref in (anna, family.refs["a2"]):
            with pytest.raises(NoProcess):
                await ref.call(Member.arguments)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_act_d_calls_while_the_group_is_stopped(strategy: Any, autojump_clock: MockClock) -> None:
    """SUP-24: the child that ended and the siblings that are down already are restarting, while others of
    the group are still being stopped.
    """
    family = Family()
    async with clean_node() as node:
        children = [
            family.child("a", name="a"),
            family.child("b", "slow", tier="async"),
            family.child("c", name="c"),
            family.child("x", name="x", restart="temporary"),
        ]
        supervisor = await supervise(node, children, strategy=strategy)
        await family.crash("a1")
        for gone in (family.refs["a1"], node.named("a"), family.refs["c1"], node.named("c")):
            with pytest.raises(Restarting):
                await gone.call(Member.arguments)
        with pytest.raises(NoProcess):
            await family.refs["x1"].call(Member.arguments)
        await trio.sleep(2)
        for name in "ac":
            assert await node.named(name).call(Member.arguments) == ()
            with pytest.raises(NoProcess):
                await family.refs[f"{name}1"].call(Member.arguments)
        assert await family.shown(supervisor) == {"a": "a2", "b": "b2", "c": "c2"}


async def test_act_d_calls_while_the_group_waits(autojump_clock: MockClock) -> None:
    """SUP-24, SUP-25: siblings that are down until the next attempt are restarting, and keep messages."""
    family = Family()
    async with clean_node() as node, node.mailbox() as me:
        children = [
            family.child("a", backoff=Backoff(first=10, factor=1, maximum=10, jitter=0)),
            family.child("b", "plain", name="b", mailbox=Mailbox(inherit=True)),
        ]
        await supervise(node, children, strategy="one_for_all", intensity=9)
        await system.suspend(family.refs["b1"])
        request = me.request(family.refs["b1"], Member.arguments)
        family.outcomes["a"] = [BOOM]
        await family.crash("a1")
        await trio.sleep(15)
        for gone in (family.refs["b1"], node.named("b")):
            with pytest.raises(Restarting):
                await gone.call(Member.arguments)
        assert not request.check()
        await trio.sleep(10)
        assert await request.receive() == ()


async def test_act_d_supervisor_killed_while_a_child_restarts(autojump_clock: MockClock) -> None:
    """SUP-24, SUP-25: nobody is going to start it again, and whoever waits is told."""
    family = Family()
    async with clean_node() as node, node.mailbox() as me:
        child = family.child(
            "a",
            "plain",
            name="a",
            mailbox=Mailbox(inherit=True),
            backoff=Backoff(first=100, maximum=100, jitter=0),
        )
        supervisor = await supervise(node, [child])
        await system.suspend(family.refs["a1"])
        request = me.request(family.refs["a1"], Member.arguments)
        family.refs["a1"].exit(BOOM)
        await wait_all_tasks_blocked()
        with pytest.raises(Restarting):
            await node.named("a").call(Member.arguments)
        supervisor.exit(KILL)
        with pytest.raises(ProcessDied):
            await request.wait(1)
        for gone in (family.refs["a1"], node.named("a")):
            with pytest.raises(NoProcess):
                await gone.call(Member.arguments)


async def test_act_d_name_is_free_for_the_next_incarnation(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        await supervise(node, [family.child("a", name="anna")])
        for number in range(1, 5):
            assert node.whereis("anna") == family.refs[f"a{number}"]
            await family.crash(f"a{number}")


async def test_act_d_exit_of_a_stranger(autojump_clock: MockClock) -> None:
    """A linked process that is no child means nothing to a supervisor."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")], strategy="one_for_all")

        class Stranger(Actor):
            def __init__(self) -> None:
                self.process.link(supervisor)

        stranger = await node.spawn(Stranger)
        stranger.exit(BOOM)
        await wait_all_tasks_blocked()
        assert await family.shown(supervisor) == {"a": "a1"}
