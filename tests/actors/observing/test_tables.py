"""The tables of a node, its vital signs, its log and states, as an observer on another node sees them."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Guest, Node, Pool, Process, Refused, Supervisor, Worker, open_node
from enfilade.actors.messages.reasons import KILL
from enfilade.actors.node.statistics import NodeStatistics
from enfilade.actors.observing.protocol.columns import COLUMNS_OF, KEYS
from enfilade.actors.observing.protocol.views import (
    DumpView,
    LogView,
    NodeView,
    ReplicaView,
    StateView,
    TableView,
    View,
)
from enfilade.actors.observing.watches.client import Client, State
from enfilade.actors.observing.watches.control import Control
from enfilade.actors.processes.local_ref import process_of
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import CONTROL, Policy, Rights, Rule
from tests.actors.counting_guests import GRANTS, exporter
from tests.actors.observing.pair import observed

RIGHTS = ["observe", "inspect", "trace", "control"]


class Till(Actor):
    def __init__(self) -> None:
        self.pin = "sesame"

    def format_status(self) -> str:
        return "open"


class Clerk(Worker):
    async def work(self, job: Any) -> None:
        await trio.sleep_forever()


EVERYTHING = Rights(observe=True, inspect=True, trace=True, control=True)


async def seen(eye: Node, view: View, right: str = "observe", count: int = 1) -> State:
    """The state of a view after so many updates."""
    async with Client(eye, "bank@local", right).watch(view) as states:
        for _ in range(count):
            with trio.fail_after(300):
                state = await anext(states)
        return state


async def rows_of(eye: Node, of: str, **options: Any) -> list[dict[str, Any]]:
    state = await seen(eye, TableView(of, **options))
    for row in state.rows:
        assert set(row) == set(COLUMNS_OF[of])
    assert [row[KEYS[of]] for row in state.rows] == state.fields["order"]
    return state.rows


async def test_obs_1_rights_are_those_of_the_peer(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (_bank, eye):
        for right in RIGHTS[:3]:
            assert (await Client(eye, "bank@local", right).hello()).rights == RIGHTS
        control: Any = eye.remote(CONTROL, "bank@local")
        assert [entry.name for entry in await control.call(Control.processes) if entry.name == CONTROL]


async def test_names_links_and_groups(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        one = await bank.spawn(Till, name="one")

        async def other(me: Process) -> None:
            me.link(one)
            bank.groups.scope("shops").join("open", me.ref)
            await me.receive()

        two = await bank.spawn(other, name="two")
        await wait_all_tasks_blocked()
        names = {row["name"]: row["serial"] for row in await rows_of(eye, "names")}
        assert (names["one"], names["two"]) == (one.serial, two.serial)
        (link,) = [row for row in await rows_of(eye, "links") if row["a"] == one.serial]
        assert (link["b"], link["node"], link["id"]) == (two.serial, None, f"{one.serial}-{two.serial}")
        (group,) = await rows_of(eye, "groups")
        assert group == {
            "id": "shops/open",
            "scope": "shops",
            "name": "open",
            "members": 1,
            "local_members": 1,
        }


async def test_timers_show_their_owners_and_messages(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):

        async def waiting(me: Process) -> None:
            me.send_after(1_000.0, me.ref, 5)
            await me.receive()

        ref = await bank.spawn(waiting)
        await wait_all_tasks_blocked()
        (timer,) = [row for row in await rows_of(eye, "timers") if row["owner"] == ref.serial]
        assert (timer["kind"], timer["message"]) == ("message", "int")
        assert 990 < timer["due_in"] <= 1_000


async def test_pools_show_their_workers_and_jobs(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        pool = await bank.spawn(Pool, Clerk, size=2, queue_limit=3, name="clerks")
        for job in range(7):
            pool.cast(Pool.submit, job)
        await wait_all_tasks_blocked()
        (row,) = await rows_of(eye, "pools")
        assert (row["name"], row["size"], row["busy"], row["waiting"]) == ("clerks", 2, 2, 3)
        assert (row["limit"], row["discarded"], row["routing"]) == (3, 2, "any")


async def test_obs_37_guests_show_their_hostcalls_by_name(autojump_clock: MockClock) -> None:
    """500 requests, each of which it receives and replies to; it waits for the next one."""
    async with observed(EVERYTHING) as (bank, eye):
        guest = await bank.spawn(Guest(exporter(b""), capabilities=GRANTS), name="till")
        view = TableView("guests", sort="hostcalls", match="name = till")
        async with Client(eye, "bank@local").watch(view) as states:
            (before,) = (await anext(states)).rows
            calls = before["hostcalls"]  # it may have begun to wait since the count began
            for _ in range(500):
                assert await guest.call(Guest.request, b"next") == b"old"
            (row,) = (await anext(states)).rows
        assert row["hostcalls_by_name"] == {
            "enfilade::actor::receive": calls + 500,
            "enfilade::actor::reply": 500,
        }
        assert row["hostcalls"] == calls + 1_000
        process = process_of(guest)
        assert process is not None
        assert row["memory"] == process.body.execution.instance.memory_size
        assert row["memory_limit"] >= row["memory"] > 0
        assert 0 < before["cpu"] < row["cpu"]
        assert row["state"] == "waiting for enfilade::actor::receive"
        await trio.sleep(1)
        (later,) = await rows_of(eye, "guests")
        assert later["hostcalls"] == 0  # counted anew, from when somebody looks


async def test_peers_show_traffic_and_rights(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        state = await seen(eye, TableView("peers"), count=8)
        (row,) = state.rows
        assert (row["name"], row["state"], row["rights"]) == ("eye@local", "up", RIGHTS)
        assert row["bytes_in"] > 0
        assert row["frames_out"] > 0
        assert row["round_trip"] is not None
        assert row["pending"]["calls"] == 0
        bank.distribution.keep_connected("/nowhere")
        await trio.sleep(0.1)
        found = {row["name"]: row for row in await rows_of(eye, "peers")}
        lost = found["/nowhere"]
        assert lost["state"] == "connecting"
        assert lost["attempts"] >= 1
        assert lost["reason"]
        assert lost["next_attempt"] > 0


async def test_the_rates_of_a_link_are_its_own(autojump_clock: MockClock) -> None:
    """In the view of the node, too, where all its links are together."""
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(observe=True, exports="*"))])
    async with AsyncExitStack() as stack:
        nodes = {}
        for name in ("bank", "eye", "mill"):
            carrier = network.carrier(name)
            opened = open_node(name, listen=f"/{name}", policy=policy, carrier=carrier)
            nodes[name] = await stack.enter_async_context(opened)
        for name in ("eye", "mill"):
            await nodes[name].connect("/bank")
        await nodes["bank"].spawn(Till, name="till")
        states = await stack.enter_async_context(Client(nodes["eye"], "bank@local").watch(NodeView()))
        for _ in range(20):  # a second each
            for _ in range(50):
                nodes["mill"].remote("till", "bank@local").send("a message")
            state = await anext(states)
        links = {link["name"]: link for link in state.fields["links"]}
    assert 40 <= links["mill@local"]["frames_in"] <= 60
    assert links["eye@local"]["frames_in"] < 5


async def test_children_of_a_supervisor_are_cut_and_sorted(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        top = await bank.spawn(Supervisor, [Child(Till, id=f"till {number}") for number in range(9)])
        options = {"supervisor": top.serial, "sort": "child_id", "first": 1, "count": 2}
        rows = await rows_of(eye, "children", **options)
        assert [row["id"] for row in rows] == ["till 7", "till 6"]
        assert rows[0]["state"] == "running"
        assert rows[0]["process_state"] == "idle"
        assert await rows_of(eye, "children", supervisor=rows[0]["serial"]) == []


async def test_the_view_of_the_node_has_its_statistics_and_rates(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye), Client(eye, "bank@local").watch(NodeView()) as states:
        first = await anext(states)
        for _ in range(10):
            await bank.spawn(Till)
        second = await anext(states)
        assert {field.name for field in attrs.fields(NodeStatistics)} <= set(first.fields)
        assert first.fields["rates"]["spawned"] is None
        assert second.fields["rates"]["spawned"] == pytest.approx(10, rel=0.1)
        assert second.fields["rates"]["ended"] == 0
        assert second.fields["memory"]["rss"] > 10**6
        assert set(second.fields["loop"]) == {"busy", "longest_step", "lag"}
        assert second.fields["observation"]["observers"] == 1
        assert second.fields["links"][0]["name"] == "eye@local"
        third = await anext(states)
        assert third.fields["rates"]["spawned"] == 0
    assert not bank.hooks.process_started


async def test_lines_of_the_log_are_seen_while_somebody_looks(autojump_clock: MockClock) -> None:
    log = logging.getLogger("enfilade.tests.observed")
    async with observed(EVERYTHING) as (bank, eye):
        before = list(logging.root.handlers)
        view = LogView("WARNING", "enfilade.tests")
        async with Client(eye, "bank@local", "inspect").watch(view) as states:
            assert (await anext(states)).fields["lines"] == []
            log.warning("the till is %s", "empty")
            log.error("of another node", extra={"node": "elsewhere@local"})
            log.info("too quiet")
            (line,) = (await anext(states)).fields["lines"]
            assert (line["message"], line["level"]) == ("the till is empty", "WARNING")
            assert (await anext(states)).fields["lines"] == []
        await wait_all_tasks_blocked()
        assert logging.root.handlers == before
        with pytest.raises(Refused, match="needs the right to inspect"):
            await seen(eye, view)
        assert bank.observation.crash_count == 0


async def test_states_are_seen_through_format_status(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await bank.spawn(Till, name="till")
        state = await seen(eye, StateView("till"), "inspect")
        assert state.fields == {"serial": till.serial, "state": "'open'", "problem": None}
        nobody = await seen(eye, StateView(10**6), "inspect")
        assert nobody.fields["problem"] == "there is no such process"


async def test_a_dump_comes_in_pieces(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        for _ in range(1_200):
            await bank.spawn(Till)
        records: list[dict[str, Any]] = []
        sizes = []
        async with Client(eye, "bank@local", "inspect").watch(DumpView(), interval=60) as states:
            async for state in states:
                records += state.fields["records"]
                sizes.append(len(state.fields["records"]))
                if state.fields["is_last"]:
                    break
        assert max(sizes) <= 500
        assert (records[0]["record"], records[-1]["record"]) == ("header", "end")
        assert len([record for record in records if record["record"] == "process"]) == len(bank.processes)


async def test_obs_17_a_replica_is_exact_at_its_end(autojump_clock: MockClock) -> None:
    """Processes start, end and are renamed while the walk is under way."""
    async with observed(EVERYTHING) as (bank, eye):
        tills = [await bank.spawn(Till) for _ in range(4_000)]
        copy: dict[int, dict[str, Any]] = {}
        pieces = []
        async with Client(eye, "bank@local").watch(ReplicaView(), interval=60) as states:
            async for state in states:
                fields = state.fields
                pieces.append(fields["piece"])
                rows = fields.get("rows", [])
                serials = [row["serial"] for row in rows]
                assert serials == sorted(serials)
                assert len(rows) <= 512
                assert len(fields.get("changed", [])) + len(fields.get("left", [])) <= 512
                for row in (*rows, *fields.get("changed", [])):
                    copy[row["serial"]] = row
                for serial in fields.get("left", []):
                    copy.pop(serial, None)
                if fields["piece"] == "end":
                    break
                number = len(pieces)
                for ref in tills[number::40][:100]:
                    bank.exit(ref, KILL)
                    bank.spawn_soon(Till, name=f"new {number} {ref.serial}")
                    if bank.processes.get(ref.serial + 7) is not None:
                        bank.register(f"named {number} {ref.serial}", bank.processes[ref.serial + 7].ref)
                await wait_all_tasks_blocked()
            truth = {serial: process.name for serial, process in bank.processes.items()}
        assert (pieces[0], pieces[-1]) == ("begin", "end")
        assert {serial: row["name"] for serial, row in copy.items()} == truth
