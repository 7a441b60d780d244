"""Counts of messages: exact while somebody looks, and gone without a trace afterwards."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Node, Supervisor, open_node, system
from enfilade.actors.observing.protocol.views import NodeView, TableView
from enfilade.actors.observing.watches.client import Client
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule


class Quick(Actor):
    def ask(self) -> int:
        return 1

    def tell(self) -> None:
        """Do nothing."""

    def on_message(self, message: Any) -> None:
        """Take anything."""

    def burn(self) -> None:
        raise ValueError("fire")


class Slow(Actor):
    async def ask(self) -> int:
        return 1

    async def tell(self) -> None:
        """Do nothing."""

    async def on_message(self, message: Any) -> None:
        """Take anything."""


def hot() -> tuple[Any, ...]:
    """The functions that every message goes through."""
    return (
        Dispatcher.__dict__["run_group"],
        DispatchedBody.__dict__["hand_off"],
        LocalRef.__dict__["send"],
        LocalRef.__dict__["cast"],
        LocalRef.__dict__["call"],
    )


PLAIN = hot()


async def talk(node: Node, ref: Any, kind: type[Any], count: int) -> None:
    """So many sends, casts and calls, half of which are queued behind others, and half handed off."""
    for number in range(count):
        ref.send(number)
        ref.cast(kind.tell)
        if number % 2:
            await wait_all_tasks_blocked()
        await ref.call(kind.ask)


async def test_obs_31_every_message_is_counted_once(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        quick, slow = await node.spawn(Quick), await node.spawn(Slow)
        async with node.counting() as counts:
            for ref, kind in ((quick, Quick), (slow, Slow)):
                await talk(node, ref, kind, 60)
                await wait_all_tasks_blocked()
                assert counts.handled(ref) == 180
            await trio.sleep(2.5)
            assert [counts.handled(ref) for ref in (quick, slow)] == [180, 180]
            assert counts.total == 360
            await system.trace(quick)
            quick.cast(Quick.tell)
            await wait_all_tasks_blocked()
            assert counts.handled(quick) == 181
            quick.cast(Quick.burn)
            await wait_all_tasks_blocked()
            assert counts.handled(quick) is None
            assert counts.total == 362


async def test_obs_29_nothing_is_in_place_where_nobody_watches(autojump_clock: MockClock) -> None:
    """Neither while a node is open and its events are listened to, nor afterwards."""
    async with open_node("bank") as node, node.events("child.*"):
        quick = await node.spawn(Quick)
        await talk(node, quick, Quick, 10)
        assert hot() == PLAIN
        assert node.dispatcher.counted is None
    assert hot() == PLAIN


async def test_obs_30_nothing_is_left_of_counting(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(observe=True))])
    assert hot() == PLAIN
    async with (
        open_node("bank", listen="/bank", policy=policy, carrier=network.carrier("bank")) as bank,
        open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye,
        bank.events("observation.*") as events,
    ):
        await eye.connect("/bank")
        view = TableView(columns=("rate",))
        async with Client(eye, "bank@local").watch(view) as states:
            await anext(states)
            assert bank.dispatcher.counted is not None
            assert hot()[1] is not PLAIN[1]
        await trio.sleep(2)
        assert bank.dispatcher.counted is None
        assert all(now is before for now, before in zip(hot(), PLAIN, strict=True))
        async with Client(eye, "bank@local").watch(TableView(columns=("name",))) as states:
            await anext(states)
            assert bank.dispatcher.counted is None
        await trio.sleep(2)
        seen = [(event.observers, event.is_counting) for event in [await anext(events) for _ in range(6)]]
        assert seen == [(1, False), (1, True), (0, True), (0, False), (1, False), (0, False)]


async def test_obs_39_an_idle_row_has_no_rate_and_is_not_sent_again(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(observe=True))])
    async with (
        open_node("bank", listen="/bank", policy=policy, carrier=network.carrier("bank")) as bank,
        open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye,
    ):
        await eye.connect("/bank")
        busy = await bank.spawn(Quick, name="busy")
        view = TableView(columns=("name", "handled", "rate"), sort="rate", match="actor = Quick")
        async with Client(eye, "bank@local").watch(view) as states:
            await anext(states)
            for _ in range(10):
                busy.cast(Quick.tell)
            rates = []
            for _ in range(10):
                state = await anext(states)
                rates.append((state.rows[0]["handled"], state.rows[0]["rate"]))
                last = state.update.data["rows"]
        assert max(rates) == (10, 10.0)
        assert rates[-1] == (10, 0.0)
        assert last == []


async def test_obs_24_what_watches_need_ends_with_their_observer(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(observe=True))])
    async with open_node("bank", listen="/bank", policy=policy, carrier=network.carrier("bank")) as bank:
        await bank.spawn(Supervisor, [Child(Quick, id="quick")])
        await wait_all_tasks_blocked()
        before = bank.statistics()
        async with open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye:
            await eye.connect("/bank")
            async with Client(eye, "bank@local").watch(NodeView()) as states:
                await anext(states)
                assert bank.dispatcher.counted is not None
                eye.distribution.disconnect("bank@local")  # as if its OS process had gone
                await trio.sleep(2)
                assert bank.dispatcher.counted is None
                assert bank.statistics() == before
                assert hot() == PLAIN


async def test_a_node_that_stops_ends_counting_for_those_who_could_not() -> None:
    """A look whose owner was killed has not said that it ends; whoever ends it later changes nothing."""
    before = hot()
    async with open_node("second") as other, other.counting():
        async with open_node("first") as node:
            counts = node.observation.counts
            counts.begin()
            counts.begin()
        assert not counts.is_on
        assert hot() != before  # the other one counts
        counts.end()
        assert hot() != before
    assert hot() == before
