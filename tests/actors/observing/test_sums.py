"""The sums over all processes: exact where there are few, and never waited for where there are very many."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import Actor, Node, open_node, system
from enfilade.actors.observing.protocol.views import NodeView
from enfilade.actors.observing.tables import sums as sums_module
from enfilade.actors.observing.tables.sums import Sums
from enfilade.actors.observing.tables.walker import CREDIT, STEP, Walker


class Till(Actor):
    def wait(self) -> None:
        """Do nothing."""


async def tills(node: Node, count: int) -> None:
    """Tills with one message in the mailbox of each."""
    for _ in range(count):
        till = await node.spawn(Till)
        await system.suspend(till)
        till.cast(Till.wait)


async def test_each_update_has_them_as_they_are(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node, node.watch(NodeView()) as states:
        assert (await anext(states)).fields["queued"] == 0
        await tills(node, 5)
        assert (await anext(states)).fields["queued"] == 5


async def test_of_very_many_a_round_goes_on_at_each_question(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums_module, "LEAST", 10)
    monkeypatch.setattr(sums_module, "SHARE", 0.0)
    async with open_node("bank") as node:
        walker, sums = Walker(node), Sums(node)
        await tills(node, 25)
        first = await sums.told(walker, 0.5, 1.0)
        assert first["queued"] == 25
        await tills(node, 1)
        queued = [(await sums.told(walker, 0.5, 1.0))["queued"] for _ in range(3)]
        assert queued == [25, 25, 26]


async def test_nobody_waits_for_a_long_walk_of_others(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        walker, sums = Walker(node), Sums(node)
        await sums.told(walker, 0.5, 1.0)
        await tills(node, 3)
        async with walker.turn:
            with trio.fail_after(1):
                assert (await sums.told(walker, 0.5, 1.0))["queued"] == 0
        assert (await sums.told(walker, 0.5, 1.0))["queued"] == 3


async def test_walks_side_by_side_share_one_budget(autojump_clock: MockClock) -> None:
    """Each of two works for ten steps; together they rest for all but those that the time before pays for."""
    async with open_node("bank") as node:
        walker = Walker(node)
        now = 0.0
        walker.clock = lambda: now

        async def walk() -> None:
            left = 10

            def step() -> bool:
                nonlocal now, left
                now += 0.001
                left -= 1
                return left > 0

            await walker.work(step, 0.05)

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(walk)
            nursery.start_soon(walk)
        assert trio.current_time() - began == pytest.approx((20 - CREDIT) * STEP / 0.05, rel=0.02)
