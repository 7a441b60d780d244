"""Group K: monitors. Clauses K1 to K6 of docs/semantics.md."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import NO_PROCESS, NORMAL, Down, Node, NotOwner, Process, ReceiveTimeout
from tests.conformance.actors.subjects import BOOM, TIERS, Sync, idle, obedient


@pytest.mark.parametrize("tier", TIERS)
async def test_monitor_is_one_way(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """K1: the watcher is told; the watched is not affected by the watcher's end."""
    ref = await node.spawn(tier)
    async with node.mailbox() as me:
        monitor = me.monitor(ref, tag="mine")
        await ref.stop()
        assert await me.receive(timeout=1) == Down(monitor, ref, NORMAL)
        assert monitor.tag == "mine"
        assert not monitor.active
    other = await node.spawn(tier)
    async with node.mailbox() as me:
        me.monitor(other)
    assert await other.call(tier.echo, 1) == 1
    assert not other._process.watchers  # type: ignore[attr-defined]


async def test_act_k2_monitors_stack(autojump_clock: MockClock, node: Node) -> None:
    """N monitors give N downs, each with its own monitor."""
    async with node.mailbox() as me:
        ref = await node.spawn(obedient)
        monitors = [me.monitor(ref) for _ in range(5)]
        ref.send(BOOM)
        downs = [await me.receive(match=Down, timeout=1) for _ in monitors]
        assert {down.monitor for down in downs} == set(monitors)
        assert {down.reason for down in downs} == {BOOM}
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


@pytest.mark.parametrize("target", ["dead", "nobody"])
async def test_act_k3_dead_target(autojump_clock: MockClock, node: Node, target: str) -> None:
    """K2: monitoring what does not exist is answered at once."""
    async with node.mailbox() as me:
        if target == "dead":
            ref = await node.spawn(Sync)
            await ref.stop()
            monitor = me.monitor(ref)
        else:
            monitor = me.monitor("nobody")
        down = await me.receive(match=Down, timeout=0)
        assert down.monitor is monitor
        assert down.reason == NO_PROCESS
        assert not monitor.active


async def test_monitor_by_name_follows_the_process(autojump_clock: MockClock, node: Node) -> None:
    """K3: a monitor by name watches who held the name when it was set up."""
    async with node.mailbox() as me:
        first = await node.spawn(obedient, name="it")
        monitor = me.monitor("it")
        node.unregister("it")
        second = await node.spawn(idle, name="it")
        first.send(BOOM)
        down = await me.receive(match=Down, timeout=1)
        assert (down.ref, monitor.name) == (first, "it")
        assert node.whereis("it") == second


@pytest.mark.parametrize("flush", [False, True])
async def test_act_k5_queued_down(autojump_clock: MockClock, node: Node, flush: bool) -> None:
    """A queued down stays when its monitor is taken down, unless that flushes."""
    async with node.mailbox() as me:
        ref = await node.spawn(obedient)
        monitor = me.monitor(ref)
        me.ref.send("before")
        ref.send(BOOM)
        await wait_all_tasks_blocked()
        assert me.demonitor(monitor, flush=flush) is False
        assert await me.receive(timeout=0) == "before"
        if flush:
            with pytest.raises(ReceiveTimeout):
                await me.receive(timeout=0)
        else:
            assert (await me.receive(timeout=0)).monitor is monitor


async def test_demonitor_is_idempotent(autojump_clock: MockClock, node: Node) -> None:
    """K4: no down after it; says whether the monitor was up; twice is as good as once."""
    async with node.mailbox() as me:
        ref = await node.spawn(obedient)
        monitor = me.monitor(ref)
        assert me.demonitor(monitor) is True
        assert me.demonitor(monitor) is False
        ref.send(BOOM)
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_act_k6_only_the_owner_may_demonitor(autojump_clock: MockClock, node: Node) -> None:
    """Somebody else's monitor cannot be taken down."""
    ref = await node.spawn(idle)
    async with node.mailbox() as one, node.mailbox() as other:
        monitor = one.monitor(ref)
        with pytest.raises(NotOwner):
            other.demonitor(monitor)
        assert monitor.active


async def test_monitoring_oneself(autojump_clock: MockClock, node: Node) -> None:
    """K5: legal, and never answered."""
    async with node.mailbox() as me:
        monitor = me.monitor(me.ref)
        assert me.demonitor(monitor) is False  # there was never anything to come


@pytest.mark.parametrize("by_name", [False, True])
async def test_act_k8_down_comes_last(autojump_clock: MockClock, node: Node, by_name: bool) -> None:
    """All that the target sent, by ref, name and alias, arrives in order and before the down."""

    async def target(me: Process, watcher: Any, alias: Any) -> None:
        await me.receive()
        for number in range(6):
            (watcher, node.named("watcher"), alias)[number % 3].send(number)
        raise ValueError("after the messages")

    async with node.mailbox() as me:
        node.register("watcher", me.ref)
        ref = await node.spawn(target, me.ref, me.alias(), name="target")
        me.monitor("target" if by_name else ref)
        ref.send("go")
        assert [await me.receive(timeout=1) for _ in range(6)] == list(range(6))
        assert isinstance(await me.receive(timeout=1), Down)


async def test_act_k9_tables_are_empty_in_the_end(autojump_clock: MockClock, node: Node) -> None:
    """Monitors that were made and removed leave nothing behind."""
    refs = [await node.spawn(Sync) for _ in range(50)]
    async with node.mailbox() as me:
        monitors = [me.monitor(ref) for ref in refs for _ in range(20)]
        assert node.statistics().monitors == node.statistics().watchers == 1000
        for monitor in monitors[::2]:
            me.demonitor(monitor)
        for ref in refs:
            await ref.stop()
        for _ in monitors[1::2]:
            await me.receive(match=Down, timeout=1)
        statistics = node.statistics()
        assert (statistics.monitors, statistics.watchers) == (0, 0)


async def test_names_are_free_before_the_down(autojump_clock: MockClock, node: Node) -> None:
    """K6: whoever learns of an end can take the name at once."""
    async with node.mailbox() as me:
        ref = await node.spawn(Sync, name="it")
        me.monitor(ref)
        me.exit(ref, BOOM)
        await me.receive(match=Down, timeout=1)
        assert node.whereis("it") is None
        await node.spawn(Sync, name="it")
