"""Group A: the start of a supervisor, and what is rolled back when it fails."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import SHUTDOWN, Actor, Crashed, Ignore, ProcessDied, Shutdown, StartError
from enfilade.actors.supervision.child_spec import (
    BadCombination,
    Child,
    DuplicateChild,
    InvalidChild,
    InvalidFlag,
)
from enfilade.actors.supervision.children import ChildCounts
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.refusals import FailedToStart, StartFailed
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, Member, clean_node, supervise

TIERS = ("sync", "async")


@pytest.mark.parametrize("tier", TIERS)
async def test_act_a1_children_start_in_order(tier: str, autojump_clock: MockClock) -> None:
    """SUP-1: left to right, each acknowledged before the next, and the spawn returns after the last."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc", tier=tier))
        assert family.take() == ["start a1", "start b1", "start c1"]
        assert list(await family.shown(supervisor)) == ["a", "b", "c"]


async def test_act_a_start_is_synchronous_for_the_whole_subtree(autojump_clock: MockClock) -> None:
    """SUP-1: the spawn returns when the last grandchild has started."""
    family = Family()
    async with clean_node() as node:
        inner = Child(Supervisor, family.children("bc", tier="async"), id="inner")
        await supervise(node, [family.child("a"), inner, family.child("d")])
        assert family.take() == ["start a1", "start b1", "start c1", "start d1"]


@pytest.mark.parametrize("tier", TIERS)
async def test_act_a4_temporary_child_that_declines(tier: str, autojump_clock: MockClock) -> None:
    """SUP-2: a child that declines keeps its specification, unless it is temporary."""
    family = Family()
    family.outcomes["b"] = family.outcomes["c"] = ["ignore", "ignore"]
    children = [
        family.child("a"),
        family.child("b", tier=tier, restart="temporary"),
        family.child("c", tier=tier),
    ]
    async with clean_node() as node:
        supervisor = await supervise(node, children)
        assert await family.shown(supervisor) == {"a": "a1", "c": None}


async def test_act_a5_start_child_of_a_temporary_child_that_declines(autojump_clock: MockClock) -> None:
    family = Family()
    family.outcomes["t"] = ["ignore"]
    async with clean_node() as node:
        supervisor = await supervise(node, [])
        spec = family.child("t", restart="temporary")
        assert await supervisor.call(Supervisor.start_child, spec) is None
        assert await family.shown(supervisor) == {}


async def test_act_a6_dynamic_child_that_declines(autojump_clock: MockClock) -> None:
    family = Family()
    family.outcomes["t"] = ["ignore"]
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("t", restart="temporary"))
        assert await pool.call(DynamicSupervisor.start_from_template) is None
        assert await pool.call(Supervisor.count_children) == ChildCounts(1, 0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "flags", "error"),
    [
        (({"a": 1},), {}, InvalidChild),
        ((5,), {}, InvalidChild),
        (([5],), {}, InvalidChild),
        (([],), {"strategy": "one_for_some"}, InvalidFlag),
        (([],), {"intensity": -1}, InvalidFlag),
        (([],), {"period": 0}, InvalidFlag),
        (([],), {"auto_shutdown": True}, InvalidFlag),
    ],
)
async def test_act_a7_wrong_shapes(
    arguments: tuple[Any, ...], flags: dict[str, Any], error: type, autojump_clock: MockClock
) -> None:
    """The start fails with the error that names what was wrong, and the supervisor is gone."""
    async with clean_node() as node:
        with pytest.raises(StartError) as caught:
            await node.spawn(Supervisor, *arguments, **flags)
        reason = caught.value.reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, error)
        assert node.statistics().processes == 0


async def test_a_taken_name_is_named_with_its_holder(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """N3: the supervisor's reason and its log say which name, and who has it."""
    async with clean_node() as node:
        holder = await node.spawn(Plain, name="desk")
        with pytest.raises(StartError) as caught:
            await node.spawn(Supervisor, [Child(Plain, id="second", name="desk")])
        said = f"'desk' is already started: {holder}"
        assert said in str(caught.value)
        await wait_all_tasks_blocked()  # the log is written by a task of its own
        assert f"start_error: child 'second': {said}" in caplog.text
        await holder.stop()


class Plain(Actor):
    """Does nothing."""


class Crashing(Supervisor):
    def __init__(self) -> None:
        raise RuntimeError("no children today")


class Declining(Supervisor):
    def __init__(self) -> None:
        raise Ignore


async def test_act_a8_initialisation_that_crashes(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        with pytest.raises(StartError, match="no children today"):
            await node.spawn(Crashing)
        assert node.statistics().processes == 0


async def test_act_a_initialisation_that_declines(autojump_clock: MockClock) -> None:
    """A supervisor that has nothing to do is no failure, and its own supervisor keeps the specification."""
    family = Family()
    async with clean_node() as node:
        with pytest.raises(Ignore):
            await node.spawn(Declining)
        supervisor = await supervise(node, [Child(Declining), family.child("a")])
        assert await family.shown(supervisor) == {"Declining": None, "a": "a1"}


@pytest.mark.parametrize("tier", TIERS)
async def test_act_a_failed_start_is_rolled_back(tier: str, autojump_clock: MockClock) -> None:
    """SUP-3: what had started is stopped in reverse order; the reason says which child failed, and why."""
    family = Family()
    family.outcomes["c"] = [BOOM]
    async with clean_node() as node:
        with pytest.raises(StartError) as caught:
            await supervise(node, family.children("abcd", tier=tier))
        assert caught.value.reason == Shutdown(FailedToStart("c", BOOM))
        assert family.take() == ["start a1", "start b1", "fail c1", "stop b1 shutdown", "stop a1 shutdown"]
        assert node.statistics().processes == 0


async def test_act_a_failed_start_is_rolled_back_of_a_subtree(autojump_clock: MockClock) -> None:
    family = Family()
    family.outcomes["c"] = [BOOM]
    async with clean_node() as node:
        inner = Child(Supervisor, family.children("bc"), id="inner")
        with pytest.raises(StartError) as caught:
            await supervise(node, [family.child("a"), inner])
        assert caught.value.reason == Shutdown(FailedToStart("inner", Shutdown(FailedToStart("c", BOOM))))
        assert family.take() == ["start a1", "start b1", "fail c1", "stop b1 shutdown", "stop a1 shutdown"]


@pytest.mark.parametrize("tier", TIERS)
async def test_act_a11_restart_child_that_fails(tier: str, autojump_clock: MockClock) -> None:
    """The error is returned, the specification kept, and the child stays down."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", tier=tier)])
        await supervisor.call(Supervisor.terminate_child, "a")
        family.outcomes["a"] = [BOOM]
        with pytest.raises(StartFailed) as caught:
            await supervisor.call(Supervisor.restart_child, "a")
        assert (caught.value.id, caught.value.reason) == ("a", BOOM)
        assert await family.shown(supervisor) == {"a": None}
        assert await supervisor.call(Supervisor.restart_child, "a") == family.refs["a3"]


async def test_act_a13_defaults(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await node.spawn(Supervisor, [family.child("a"), Child(Supervisor, id="s")])
        spec = await supervisor.call(Supervisor.get_childspec, "a")
        assert (spec.restart, spec.shutdown, spec.type, spec.significant) == (
            "permanent",
            5.0,
            "worker",
            False,
        )
        spec = await supervisor.call(Supervisor.get_childspec, "s")
        assert (spec.restart, spec.shutdown, spec.type) == ("permanent", float("inf"), "supervisor")


async def test_act_a14_faulty_specs(autojump_clock: MockClock) -> None:
    """SUP-4: each fault makes its own error, at the specification itself, or at the start for those that
    concern
    several.
    """
    family = Family()
    for field, value in {"restart": "x", "shutdown": -1, "type": "x", "significant": 1, "id": [1]}.items():
        with pytest.raises(InvalidChild) as caught:
            Child(Member, **{field: value})
        assert caught.value.field == field
    async with clean_node() as node:
        significant = family.child("a", restart="transient", significant=True)
        for children, error in (
            ([family.child("a"), family.child("a")], DuplicateChild),
            ([significant], BadCombination),
        ):
            with pytest.raises(StartError) as failed:
                await supervise(node, children)
            assert isinstance(failed.value.reason, Crashed)
            assert isinstance(failed.value.reason.error, error)


async def test_act_a_parent_that_stops_during_a_hanging_start(autojump_clock: MockClock) -> None:
    """SUP-5: a supervisor that waits for a start hears its parent, and stops what it had started."""
    family = Family()
    family.outcomes["c"] = ["hang"]
    async with clean_node() as node:
        outer = await supervise(node, [family.child("a")])
        inner = Child(Supervisor, [family.child("b"), family.child("c", "plain", tier="async")], id="inner")

        async def ask() -> None:
            with pytest.raises(ProcessDied):
                await outer.call(Supervisor.start_child, inner)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert family.take() == ["start a1", "start b1", "hang c1"]
            before = trio.current_time()
            await outer.stop(SHUTDOWN)
        assert trio.current_time() == before
        assert family.take() == ["stop b1 shutdown", "stop a1 shutdown"]
