"""What a page is told of a node, with which rights, and at what cost to the node. In virtual time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio

pytest.importorskip("wsproto")

from trio.testing import MockClock

from enfilade.actors import Node, system
from tests.actors.cli.observe.shop import EVERYTHING, Door, Till, hall
from tests.actors.cli.observe.web import Hall, Link, Served, serving, watches


async def linked(served: Served) -> Link:
    """A page that sees the node."""
    link = await served.link()
    await link.order("watch", watch=99, view={"show": "head"})
    await link.until(lambda state: state["nodes"][0]["is_up"])
    await link.order("close", watch=99)
    return link


async def shown(link: Link, view: dict[str, Any], test: Callable[[dict[str, Any]], Any]) -> Any:
    """The state of a view as soon as it passes a test."""
    await link.order("watch", watch=1, view=view)
    state = (await link.until(test))["state"]
    await link.order("close", watch=1)
    return state


async def refused(link: Link, view: dict[str, Any]) -> str:
    """Why a view is not shown."""
    await link.order("watch", watch=1, view=view)
    with trio.fail_after(60):
        while True:
            update = await link.take()
            await link.ack(update)
            if update.get("refused"):
                await link.order("close", watch=1)
                return str(update["refused"])


async def test_each_view_tells_of_the_node(autojump_clock: MockClock) -> None:
    here = Hall()
    async with serving(here.connect) as served:
        link = await linked(served)
        here.till(1).cast(Till.pay, -1)
        overview = await shown(link, {"show": "overview"}, lambda state: state["crashes"])
        assert overview["crashes"][0]["who"] == "Till 'till 00001'"
        assert {plot["name"] for plot in overview["plots"]} >= {"processes", "queued"}
        timeline = await shown(link, {"show": "timeline"}, lambda state: state["rows"])
        assert [row["restarts"] for row in timeline["rows"]] == [1]
        assert timeline["rows"][0]["marks"][0]["text"].startswith("till 1 restarted, 1 of 2")
        assert timeline["events"][0]["kind"] == "child.restarted"
        number = overview["crashes"][0]["event"]
        event = await shown(link, {"show": "event", "event": number}, lambda state: state["facts"])
        assert "Till.pay" in [fact["text"].strip() for fact in event["facts"]]
        tree = await shown(link, {"show": "tree", "open": [here.node.root.serial]}, lambda state: True)
        assert [(branch["id"], branch["depth"]) for branch in tree["branches"]] == [("root", 0), ("floor", 1)]
        assert tree["branches"][1]["restarts"] == 1
        nodes = await shown(link, {"show": "nodes"}, lambda state: True)
        assert [zone["zone"] for zone in nodes["zones"]] == ["east", "local"]
        names = await shown(link, {"show": "table", "of": "names"}, lambda state: True)
        assert ["till 00000", str(here.till(0).serial), "Till"] in [row["cells"] for row in names["rows"]]
        process = await shown(link, {"show": "process", "process": "till 00002"}, lambda state: True)
        assert process["title"] == f"Till <shop@east:{here.till(2).serial} till 00002>"
        assert process["target"]["child_id"] == "till 2"


async def test_a_table_is_cut_and_sorted_in_the_node(autojump_clock: MockClock) -> None:
    async def many(node: Node) -> None:
        for number in range(300):
            await node.spawn(Till, name=f"till {number:05}")

    async with serving(Hall(setup=many).connect) as served:
        link = await linked(served)
        view: dict[str, Any] = {"show": "table", "sort": "name", "descending": False, "match": "actor = Till"}
        await link.order("watch", watch=1, view={**view, "first": 100, "count": 10}, interval=60.0)
        state = (await link.until(lambda state: True))["state"]
        assert [row["cells"][1] for row in state["rows"]] == [f"till {n:05}" for n in range(100, 110)]
        assert (state["first"], state["matched"], state["sort"]) == (100, 300, "name")
        began = trio.current_time()
        narrowed = {**view, "match": "till 00007", "columns": ["queued", "name"]}
        await link.order("change", watch=1, view=narrowed)
        state = (await link.until(lambda state: state["matched"] == 1))["state"]
        assert [row["cells"] for row in state["rows"]] == [["0", "till 00007"]]
        assert trio.current_time() - began < 30
        await link.order("close", watch=1)
        assert "compared with a number" in await refused(link, {**view, "match": "queued > many"})
        assert "of must be one of" in await refused(link, {"show": "table", "of": "secrets"})


async def test_one_update_is_outstanding_and_the_next_has_the_newest_state(autojump_clock: MockClock) -> None:
    here = Hall()
    async with serving(here.connect) as served:
        link = await linked(served)
        await link.order("watch", watch=1, view={"show": "table", "match": "till 00000"}, interval=0.1)
        first = await link.take()
        while first["state"] is None:
            await link.ack(first)
            first = await link.take()
        ref = here.till(0)
        await system.suspend(ref)
        for _ in range(50):
            ref.cast(Till.wait)
            await trio.sleep(0.2)
        with trio.move_on_after(30) as scope:
            await link.take()
        assert scope.cancelled_caught  # nothing, though the row has changed fifty times
        await link.ack(first)
        with trio.fail_after(2):
            second = await link.take()
        assert second["number"] == first["number"] + 1
        columns = [column["name"] for column in second["state"]["columns"]]
        assert second["state"]["rows"][0]["cells"][columns.index("queued")] == "50"


async def test_a_page_that_leaves_leaves_nothing_at_the_node(autojump_clock: MockClock) -> None:
    here = Hall()
    async with serving(here.connect) as served:
        first, second = await linked(served), await linked(served)
        for link in (first, second):
            await link.order("watch", watch=1, view={"show": "overview"})
            await link.order("watch", watch=2, view={"show": "table"})
            await link.until(lambda state: "rows" in state)
        alone = watches(here.node)
        assert alone == 6 + 2  # what is known of a node is shared
        await first.close()
        await trio.sleep(2)
        assert watches(here.node) == 7
        await second.order("close", watch=1)
        await second.order("close", watch=2)
        await trio.sleep(2)
        assert watches(here.node) == 0
        assert not here.node.observation.counts.is_on


async def test_rights_are_those_that_are_allowed(autojump_clock: MockClock) -> None:
    here = Hall()
    async with serving(here.connect, allowed=("observe",), withheld="use --allow") as served:
        link = await linked(served)
        assert await refused(link, {"show": "log"}) == "LogView needs the right to inspect"
        assert (
            await refused(link, {"show": "trace", "processes": ["*"]}) == "TraceView needs the right to trace"
        )
        here.till(1).cast(Till.pay, -1)
        overview = await shown(link, {"show": "overview"}, lambda state: state["crashes"])
        assert "expected coins" not in str(overview)
        target = {"shown": "till 0", "serial": here.till(0).serial, "life": here.life}
        await link.order("act", act=7, key="K", is_confirmed=True, **target)
        answer = await link.take()
        while "act" not in answer:
            answer = await link.take()
        assert answer == {"act": 7, "problem": "use --allow"}


async def test_an_action_is_asked_for_first(autojump_clock: MockClock) -> None:
    here = Hall(EVERYTHING)
    async with serving(here.connect) as served:
        link = await linked(served)

        async def act(key: str, target: dict[str, Any], **more: Any) -> dict[str, Any]:
            await link.order("act", act=1, key=key, **target, **more)
            while True:
                answer = await link.take()
                if "act" in answer:
                    return answer

        serial = here.till(0).serial
        state = await shown(link, {"show": "table", "match": "till 00000"}, lambda state: state["rows"])
        target = state["rows"][0]["target"]
        asked = await act("K", target)
        assert asked["question"] == {
            "title": f"kill Till 'till 00000' ({serial})?",
            "lines": ["node shop@east"],
            "typed": None,
        }
        assert here.till(0).serial == serial
        done = await act("K", target, is_confirmed=True)
        assert done["done"] == f"kill Till 'till 00000' ({serial}): done"
        await trio.sleep(1)
        assert here.till(0).serial != serial
        assert "there is no process" in (await act("K", target, is_confirmed=True))["problem"]
        tree = await shown(link, {"show": "tree", "open": [here.node.root.serial]}, lambda state: True)
        floor = tree["branches"][1]["target"]
        asked = await act("T", floor)
        assert asked["question"]["typed"] == "floor"
        assert asked["question"]["lines"][1] == "3 processes below it end with it"
        assert "done" in await act("T", floor, is_confirmed=True)
        assert here.till(2) is None


async def test_a_message_of_an_action_is_json(autojump_clock: MockClock) -> None:
    here = Hall(EVERYTHING)
    async with serving(here.connect) as served:
        link = await linked(served)

        async def act(given: str, *, is_confirmed: bool = False) -> dict[str, Any]:
            serial = here.till(0).serial
            order = {"key": "M", "shown": "till 0", "serial": serial, "life": here.life, "given": given}
            await link.order("act", act=7, is_confirmed=is_confirmed, **order)
            while "act" not in (answer := await link.take()):
                pass
            return answer

        assert "expected a message as JSON" in (await act("{"))["problem"]
        assert (await act('"hello"'))["question"]["lines"][-1] == 'message "hello"'
        async with here.node.counting() as counts:
            assert (await act('"hello"', is_confirmed=True))["done"] == "send a message to till 0: done"
            assert counts.handled(here.till(0)) == 1


async def test_the_log_is_shown_to_those_who_may_inspect(autojump_clock: MockClock) -> None:
    async with serving(Hall().connect) as served:
        link = await linked(served)
        await link.order("watch", watch=1, view={"show": "log", "level": "WARNING", "prefix": "books"})
        await trio.sleep(2)
        logging.getLogger("books.ledger").warning("till \x1b[2J\u202e%s", "empty")
        logging.getLogger("other").warning("something")
        state = (await link.until(lambda state: state["lines"]))["state"]
        assert [(line["logger"], line["message"]) for line in state["lines"]] == [
            ("books.ledger", r"till \x1b[2J\u202eempty")
        ]


async def test_a_trace_is_a_chart_that_grows_and_ends(autojump_clock: MockClock) -> None:
    here = Hall()
    async with serving(here.connect) as served:
        link = await linked(served)
        view = {"show": "trace", "processes": ["till 00000"], "count": 2}
        await link.order("watch", watch=1, view=view, interval=0.1)
        await trio.sleep(1)
        here.till(0).cast(Till.wait)
        state = (await link.until(lambda state: state["events"]))["state"]
        assert state["participants"] == ["outside", "till 00000"]
        assert (state["events"][0]["text"], state["ended"]) == ("wait", None)
        here.till(0).cast(Till.wait)
        state = (await link.until(lambda state: state["ended"]))["state"]
        assert state["ended"] == "count"
        assert len(state["events"]) == 2


async def test_the_contents_of_messages_are_shown_and_hidden_again(autojump_clock: MockClock) -> None:
    """By the right to trace; without it the reason is said, and the rest is shown as before."""
    here = Hall()
    async with serving(here.connect) as served:
        link = await linked(served)
        till = here.till(1)
        await system.suspend(till)
        till.cast(Till.pay, 4711)
        wish = {"show": "process", "process": till.serial}
        await link.order("watch", watch=1, view=wish)
        await link.until(lambda state: "pay(…)" in str(state))
        await link.order("change", watch=1, view={**wish, "contents": True})
        await link.until(lambda state: "('pay', (4711,), {})" in str(state))
        await link.order("change", watch=1, view=wish)
        await link.until(lambda state: "pay(…)" in str(state) and "4711" not in str(state))
        await link.order("close", watch=1)
        await link.close()
        await trio.sleep(2)
        assert watches(here.node) == 0


async def test_contents_are_refused_to_a_page_that_may_not_trace(autojump_clock: MockClock) -> None:
    here = Hall()
    async with serving(here.connect, allowed=("observe", "inspect")) as served:
        link = await linked(served)
        view = {"show": "process", "process": "till 00001", "contents": True}
        assert await refused(link, view) == "the contents of messages need the right to trace"
        state = await shown(link, view, lambda state: state["state"])
        assert state["name"] == "till 00001"


async def test_a_node_that_is_gone_stays_as_it_was_seen_last(autojump_clock: MockClock) -> None:
    here = Hall()
    async with serving(here.connect) as served:
        link = await linked(served)
        await link.order("watch", watch=1, view={"show": "head"})
        await link.until(lambda state: state["nodes"][0]["facts"])
        first = here.node
        first.distribution.disconnect("eye@local")
        state = (await link.until(lambda state: not state["nodes"][0]["is_up"]))["state"]
        (node,) = state["nodes"]
        assert node["trouble"]
        assert node["facts"]
        assert node["why_no_action"] == "the node is not connected"
        await link.until(lambda state: state["nodes"][0]["is_up"])
        assert here.node is not first


async def test_all_nodes_are_seen_together(autojump_clock: MockClock) -> None:
    first, second = Hall(), Hall()
    async with serving(first.connect, second.connect) as served:
        link = await linked(served)
        await link.order("watch", watch=1, view={"show": "all"})
        await link.until(lambda state: len(state["events"]) > 10)
        second.till(1).cast(Till.pay, -1)
        state = (await link.until(lambda state: state["nodes"][1]["crashes"]))["state"]
        assert state["nodes"][0]["crashes"] == []
        newest = state["events"][0]
        assert (newest["node"], newest["kind"]) == (1, "child.restarted")
        await link.order("watch", watch=2, node=1, view={"show": "event", "event": newest["event"]})
        shown = await link.until(lambda state: "facts" in state)
        assert shown["state"]["title"] == newest["text"]


async def test_an_action_on_a_process_of_a_former_start_is_not_done(autojump_clock: MockClock) -> None:
    """A node that is started again gives its serials to others, and the page is told of the start."""
    door = Door(hall, hall)
    table = {"show": "table", "of": "processes", "match": "actor = Till"}
    async with serving(door.connect) as served:
        link = await linked(served)
        await link.order("watch", watch=1, view=table)
        state = (await link.until(lambda state: state["rows"]))["state"]
        target, life = state["rows"][0]["target"], state["life"]
        assert target["life"] == life
        door.lose()
        await trio.sleep(3)
        door.is_open = True
        await link.until(lambda state: state["life"] != life)
        for is_confirmed in (False, True):
            await link.order("act", act=7, key="K", node=0, is_confirmed=is_confirmed, **target)
            answer = await answered(link, 7)
            assert answer["problem"] == "shop@east has been started again since: choose the process anew"
        assert door.node.processes[target["serial"]].ended is None


async def answered(link: Link, number: int) -> dict[str, Any]:
    """The answer to an action; updates meanwhile are acknowledged."""
    while True:
        message = await link.take()
        if message.get("act") == number:
            return message
        await link.ack(message)
