"""Dumps that are opened off-line: every view, by the same client as of a node that runs."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Refused, Supervisor, open_node, system
from enfilade.actors.cli.observe.command import exhibited
from enfilade.actors.observing.dumps.dump import dump, read, written
from enfilade.actors.observing.protocol.views import (
    EventView,
    LogView,
    NodeView,
    ProcessView,
    ReplicaView,
    StateView,
    TableView,
    TraceView,
    TreeView,
    View,
)
from enfilade.actors.observing.watches.client import Client, State


class Till(Actor):
    def pay(self, coins: int) -> None:
        if coins < 0:
            raise ValueError(f"expected coins, got {coins}")


@attrs.frozen
class Dumped:
    """A node that was dumped, and how some of its views were then."""

    records: list[dict[str, Any]]
    tree: list[dict[str, Any]]


@pytest.fixture(scope="module")
def dumped() -> Dumped:
    """A node with a floor of three tills: one has crashed, one is suspended and has messages waiting."""

    async def make() -> Dumped:
        async with open_node("shop", zone="east") as node:
            tills = [Child(Till, id=f"till {number}", name=f"till {number}") for number in range(3)]
            floor = Child(Supervisor, tills, id="floor", name="floor", intensity=9)
            node.root = await node.spawn(Supervisor, [floor], name="root")
            node.observation.log_lines.begin()
            logging.getLogger("enfilade.test").warning("the till is empty")
            node.named("till 0").cast(Till.pay, -1)
            await wait_all_tasks_blocked()
            await system.suspend(node.named("till 1"))
            for _ in range(5):
                node.named("till 1").cast(Till.pay, 1)
            content = b"".join(written(dump(node)))
            node.observation.log_lines.end()
            async with exhibited(read(content)[0]) as (eye, peer):
                opened = (node.root.serial, node.named("floor").serial)
                state = await first(Client(eye, peer), TreeView(open=opened))
            await system.resume(node.named("till 1"))
            return Dumped(read(content)[0], state.fields["branches"])

    return trio.run(make)


async def first(client: Client, view: View) -> State:
    with trio.fail_after(60):
        async with client.watch(view) as states:
            return await anext(states)


async def test_obs_77_a_dump_answers_the_views_of_a_node(dumped: Dumped, autojump_clock: MockClock) -> None:
    """Numbers, tables with order and filter, tree, details, events, log; what needs a node is refused."""
    async with exhibited(dumped.records) as (eye, peer):
        client = Client(eye, peer, "inspect")
        assert peer == "shop@east"
        assert await Client(eye, peer).rights() == ["observe", "inspect"]
        numbers = (await first(client, NodeView())).fields
        assert (numbers["full_name"], numbers["queued"], numbers["crashes"]) == ("shop@east", 5, 1)
        assert numbers["dumped"]["cause"] == "asked"
        table = await first(client, TableView(columns=("name", "queued"), sort="queued", match="till"))
        assert (table.fields["matched"], table.rows[0]["name"], table.rows[0]["queued"]) == (3, "till 1", 5)
        names = await first(client, TableView(of="names", sort="name", descending=False))
        assert [row["name"] for row in names.rows] == ["floor", "root", "till 0", "till 1", "till 2"]
        detail = (await first(client, ProcessView("till 1"))).fields
        methods = [message["method"] for message in detail["messages"]]
        assert (detail["state"], methods) == ("suspended", ["pay"] * 5)
        assert (await first(client, ProcessView(4_711))).fields["state"] == "unknown"
        assert "no states" in (await first(client, StateView("till 1"))).fields["problem"]
        events = await first(client, EventView(("child.restarted", "process.crashed")))
        assert [event["kind"] for event in events.events] == ["process.crashed", "child.restarted"]
        log = await first(client, LogView("WARNING", "enfilade.test"))
        assert [line["message"] for line in log.fields["lines"]] == ["the till is empty"]
        for view in (ReplicaView(), TraceView(("till 1",))):
            with pytest.raises(Refused, match="needs"):
                await first(client, view)


def test_obs_77_the_tree_of_a_dump_is_that_of_the_node(dumped: Dumped) -> None:
    shown = [(each["id"], each["depth"], each["process_state"], each["queued"]) for each in dumped.tree]
    assert shown == [
        ("root", 0, "idle", 0),
        ("floor", 1, "idle", 0),
        ("till 0", 2, "idle", 0),
        ("till 1", 2, "suspended", 5),
        ("till 2", 2, "idle", 0),
    ]
    assert [each.get("restarts") for each in dumped.tree] == [None, 0, 1, 0, 0]


async def test_a_closed_branch_of_a_dump_has_the_sums(dumped: Dumped, autojump_clock: MockClock) -> None:
    async with exhibited(dumped.records) as (eye, peer):
        state = await first(Client(eye, peer), TreeView())
        (root,) = state.fields["branches"]
        assert root["below"] == {"processes": 4, "restarts": 1, "queued": 5}
        children = await first(Client(eye, peer), TableView(of="children"))
        assert [row["id"] for row in children.rows] == ["floor"]


async def test_the_second_update_of_a_dump_is_empty(dumped: Dumped, autojump_clock: MockClock) -> None:
    async with (
        exhibited(dumped.records) as (eye, peer),
        Client(eye, peer).watch(TableView(sort="queued")) as states,
    ):
        assert (await anext(states)).update.full
        second = await anext(states)
        assert not second.update.full
        assert not second.update.data["rows"]
