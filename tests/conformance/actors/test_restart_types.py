"""Group C: which ends of a child lead to its restart, and what is kept of it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, KILLED, NORMAL, SHUTDOWN, Actor, Custom, Reason, Shutdown
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, clean_node, supervise

TIERS = ("sync", "async")


async def one_end(tier: str, restart: Any, reason: Reason) -> tuple[list[str], dict[object, object]]:
    """What follows when a child of that restart type ends with `reason`: the journal, and the children."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", tier=tier, restart=restart)])
        await family.crash("a1", reason)
        return family.take(), await family.shown(supervisor)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x"), BOOM, KILLED], ids=str)
async def test_act_c_permanent(tier: str, reason: Reason, autojump_clock: MockClock) -> None:
    """C1, C4, C7: a permanent child is restarted after every end, as a new process."""
    assert await one_end(tier, "permanent", reason) == (["start a1", "start a2"], {"a": "a2"})


@pytest.mark.parametrize("reason", [SHUTDOWN, Shutdown("term")], ids=str)
async def test_act_c4_permanent_shutdown(reason: Reason, autojump_clock: MockClock) -> None:
    """SUP-10: restarted."""
    assert await one_end("sync", "permanent", reason) == (["start a1", "start a2"], {"a": "a2"})


@pytest.mark.parametrize("reason", [SHUTDOWN, Shutdown("term"), NORMAL], ids=str)
@pytest.mark.parametrize("tier", TIERS)
async def test_act_c5_transient_shutdown(tier: str, reason: Reason, autojump_clock: MockClock) -> None:
    """SUP-10, SUP-11: not restarted, and the specification stays."""
    assert await one_end(tier, "transient", reason) == (["start a1"], {"a": None})


@pytest.mark.parametrize("tier", TIERS)
async def test_act_c_transient_abnormal(tier: str, autojump_clock: MockClock) -> None:
    assert await one_end(tier, "transient", BOOM) == (["start a1", "start a2"], {"a": "a2"})


@pytest.mark.parametrize("tier", TIERS)
async def test_act_c3_temporary_normal(tier: str, autojump_clock: MockClock) -> None:
    """SUP-11: not restarted, and the specification is gone."""
    assert await one_end(tier, "temporary", NORMAL) == (["start a1"], {})


@pytest.mark.parametrize("reason", [SHUTDOWN, Shutdown("term")], ids=str)
async def test_act_c6_temporary_shutdown(reason: Reason, autojump_clock: MockClock) -> None:
    assert await one_end("sync", "temporary", reason) == (["start a1"], {})


async def test_act_c_temporary_abnormal(autojump_clock: MockClock) -> None:
    assert await one_end("sync", "temporary", BOOM) == (["start a1"], {})


@pytest.mark.parametrize("tier", TIERS)
async def test_act_c7_permanent_abnormal(tier: str, autojump_clock: MockClock) -> None:
    """A crash by exception, and a kill, lead to a new process."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", tier=tier)])
        await family.crash("a1", Custom(1))
        family.refs["a2"].exit(KILL)
        await wait_all_tasks_blocked()
        assert await family.shown(supervisor) == {"a": "a3"}
        assert len({family.refs[name] for name in ("a1", "a2", "a3")}) == 3


async def test_act_c_function_that_returns(autojump_clock: MockClock) -> None:
    """A function process that returns has ended normally."""
    runs = []

    async def once(me: Any) -> None:
        runs.append(me.ref)

    async with clean_node() as node:
        children = [Child(once, id="p"), Child(once, id="t", restart="transient")]
        await supervise(node, children, intensity=3)
        await wait_all_tasks_blocked()
        assert len(runs) == 1 + 1 + 3


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_act_c10_temporary_bystander(strategy: Any, autojump_clock: MockClock) -> None:
    """SUP-13: a temporary sibling that is stopped with the group is removed, and the supervisor lives."""
    family = Family()
    async with clean_node() as node:
        children = [family.child("a"), family.child("t", restart="temporary"), family.child("c")]
        supervisor = await supervise(node, children, strategy=strategy)
        await family.crash("a1")
        assert await family.shown(supervisor) == {"a": "a2", "c": "c2"}
        assert "stop t1 shutdown" in family.take()


class Big:
    """An argument that takes much memory."""


class Taker(Actor):
    def __init__(self, big: Big) -> None:
        """Take it and keep nothing."""


@pytest.mark.parametrize("dynamic", [False, True])
async def test_act_c11_arguments_of_temporary_children_are_dropped(
    dynamic: bool, autojump_clock: MockClock
) -> None:
    """SUP-55: once they run."""
    async with clean_node() as node:
        supervisor = await node.spawn(DynamicSupervisor if dynamic else Supervisor)
        arguments = []
        for number in range(20):
            big = Big()
            arguments.append(weakref.ref(big))
            await supervisor.call(Supervisor.start_child, Child(Taker, big, id=number, restart="temporary"))
            del big
        await supervisor.call(Supervisor.count_children)  # what was handled last is held until then
        gc.collect()
        assert [argument() for argument in arguments] == [None] * 20
        if not dynamic:
            assert (await supervisor.call(Supervisor.get_childspec, 3)).args == ()


async def test_act_c12_temporary_child_terminated_by_request(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("t", restart="temporary"), family.child("a")])
        await supervisor.call(Supervisor.terminate_child, "t")
        assert await family.shown(supervisor) == {"a": "a1"}
