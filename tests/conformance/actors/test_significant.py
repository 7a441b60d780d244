"""Group H: significant children, whose end can be their supervisor's."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from enfilade.actors import NORMAL, SHUTDOWN, Crashed, Reason, Ref, StartError
from enfilade.actors.supervision.child_spec import BadCombination, Child
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, clean_node, supervise

MODES = ("any_significant", "all_significant")


def alive(node: Any, ref: Ref[Any]) -> bool:
    return any(process.ref == ref for process in node.processes.values())


async def test_act_h1_significant_under_never(autojump_clock: MockClock) -> None:
    """SUP-62: refused."""
    family = Family()
    async with clean_node() as node:
        for restart in ("transient", "temporary"):
            child = family.child("a", restart=restart, significant=True)
            with pytest.raises(StartError) as caught:
                await supervise(node, [child])
            assert isinstance(caught.value.reason, Crashed)
            assert isinstance(caught.value.reason.error, BadCombination)
    with pytest.raises(BadCombination):
        family.child("a", restart="permanent", significant=True)


@pytest.mark.parametrize(
    ("restart", "reason", "ends"),
    [
        ("transient", NORMAL, True),
        ("transient", SHUTDOWN, True),
        ("transient", BOOM, False),
        ("temporary", NORMAL, True),
        ("temporary", BOOM, True),
    ],
)
async def test_act_h2_any_significant(
    restart: Any, reason: Reason, ends: bool, autojump_clock: MockClock
) -> None:
    """SUP-60: a transient one that ends normally, or a temporary one that ends; a transient that crashes
    restarts.
    """
    family = Family()
    async with clean_node() as node:
        significant = family.child("s", restart=restart, significant=True)
        children = [family.child("a"), significant, family.child("c")]
        supervisor = await supervise(node, children, auto_shutdown="any_significant")
        async with node.mailbox() as me:
            me.monitor(supervisor)
            family.take()
            await family.crash("s1", reason)
            assert alive(node, supervisor) is not ends
            if ends:
                assert (await me.receive()).reason == SHUTDOWN
                assert family.take() == ["stop c1 shutdown", "stop a1 shutdown"]
            else:
                assert family.take() == ["start s2"]


@pytest.mark.parametrize("tier", ["sync", "async"])
async def test_act_h5_all_significant(tier: str, autojump_clock: MockClock) -> None:
    """SUP-60: the end of the last one ends the supervisor."""
    family = Family()
    async with clean_node() as node:
        options: dict[str, Any] = {"tier": tier, "restart": "transient", "significant": True}
        children = [family.child("a"), family.child("s", **options), family.child("t", **options)]
        supervisor = await supervise(node, children, auto_shutdown="all_significant")
        await family.crash("s1", NORMAL)
        assert alive(node, supervisor)
        await family.crash("t1", NORMAL)
        assert not alive(node, supervisor)


@pytest.mark.parametrize("mode", MODES)
async def test_act_h_insignificant_children_do_not_matter(mode: Any, autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        significant = family.child("s", restart="transient", significant=True)
        children = [family.child("a", restart="temporary"), significant]
        supervisor = await supervise(node, children, auto_shutdown=mode)
        await family.crash("a1", NORMAL)
        assert alive(node, supervisor)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_act_h7_bystanders(mode: Any, restart: Any, autojump_clock: MockClock) -> None:
    """SUP-61: a significant child that its supervisor stops ends nothing: by request, or with a group."""
    family = Family()
    significant = family.child("s", restart=restart, significant=True)
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a"), significant], auto_shutdown=mode)
        await supervisor.call(Supervisor.terminate_child, "s")
        assert alive(node, supervisor)
        grouped = await supervise(
            node, [family.child("b"), significant], strategy="one_for_all", auto_shutdown=mode
        )
        await family.crash("b1")
        assert alive(node, grouped)
        shown = await family.shown(grouped)
        assert shown == ({"b": "b2"} if restart == "temporary" else {"b": "b2", "s": "s3"})


@pytest.mark.parametrize("mode", MODES)
async def test_act_h8_dynamic(mode: Any, autojump_clock: MockClock) -> None:
    """all_significant: the last dynamic child takes its supervisor along; any_significant: the first."""
    family = Family()
    async with clean_node() as node:
        template = family.child("w", restart="transient", significant=True)
        pool = await node.spawn(DynamicSupervisor, template, auto_shutdown=mode)
        for _ in range(2):
            await pool.call(DynamicSupervisor.start_from_template)
        await family.crash("w1", NORMAL)
        assert alive(node, pool) is (mode == "all_significant")
        if mode == "all_significant":
            await family.crash("w2", NORMAL)
            assert not alive(node, pool)


async def test_act_h9_escalation(autojump_clock: MockClock) -> None:
    """A significant supervisor that shuts itself down takes its parent along."""
    family = Family()
    async with clean_node() as node:
        worker = family.child("w", restart="transient", significant=True)
        inner = Child(
            Supervisor,
            [worker],
            id="inner",
            restart="transient",
            significant=True,
            kwargs={"auto_shutdown": "any_significant"},
        )
        outer = await supervise(node, [family.child("a"), inner], auto_shutdown="any_significant")
        family.take()
        await family.crash("w1", NORMAL)
        assert not alive(node, outer)
        assert family.take() == ["stop a1 shutdown"]
        assert node.statistics().processes == 0


@pytest.mark.parametrize(("before", "after"), [MODES, MODES[::-1]])
async def test_act_h10_change_of_mode(before: Any, after: Any, autojump_clock: MockClock) -> None:
    """After an upgrade the new mode applies."""
    family = Family()
    async with clean_node() as node:
        children = [family.child(letter, restart="temporary", significant=True) for letter in "st"]
        supervisor = await supervise(node, children, auto_shutdown=before)
        await supervisor.call(Supervisor.change, children, auto_shutdown=after)
        await family.crash("s1", NORMAL)
        assert alive(node, supervisor) is (after == "all_significant")
