"""Recordings of several nodes, in one order and in one chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from typer.testing import CliRunner

from enfilade.actors import Actor, Node, Process
from enfilade.actors.cli.app import app
from enfilade.actors.cli.charts import chart_of, mermaid_of, svg_of
from enfilade.actors.cli.merging import merged
from enfilade.actors.cli.recordings import Recording, Writer, read_recording, write_records
from enfilade.actors.observing.protocol.views import TraceView
from enfilade.actors.observing.telemetry.contexts import use
from enfilade.actors.observing.watches.client import Client
from enfilade.transport.policy import Rights
from tests.actors.observing.pair import observed

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVERYTHING = Rights(observe=True, inspect=True, trace=True, control=True, exports="*", trace_context=True)


class Till(Actor):
    def pay(self) -> None:
        """Take money."""


def recording(node: str, at: float, *entries: dict[str, Any]) -> Recording:
    """A recording with one process, 7, whose name is that of the node."""
    who = {
        "record": "process",
        "serial": 7,
        "name": node.partition("@")[0],
        "actor": None,
        "text": f"<{node}:7>",
    }
    lines = [
        {"record": "entry", "number": number, "process": 7, "ns": round(seconds * 1e9), **entry}
        for number, (seconds, entry) in enumerate((each.pop("at"), each) for each in entries)
    ]
    header = {"record": "header", "format": 1, "node": node, "spec": {}, "started_at": at}
    return Recording(header, [who, *lines, {"record": "end", "why": "count"}], is_cut=False)


def entry(at: float, what: str, **given: Any) -> dict[str, Any]:
    return {"at": at, "what": what, "kind": "cast", "method": "pay", **given}


def whats(recordings: list[Recording]) -> list[tuple[str, str]]:
    steps = merged(recordings).steps
    return [(step.node, step.record["what"]) for step in steps if step.record["record"] == "entry"]


def test_without_contexts_the_clocks_order_the_entries_and_the_chart_says_so() -> None:
    a = recording("a@x", 100.0, entry(0.0, "got"), entry(2.0, "got"))
    b = recording("b@x", 101.0, entry(0.0, "done"))
    assert whats([a, b]) == [("a@x", "got"), ("b@x", "done"), ("a@x", "got")]
    assert merged([a, b]).by_clock == ["b@x"]
    assert "≈ the order between a@x, b@x is that of their clocks" in svg_of(chart_of([a, b]))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_message_is_sent_before_it_is_got_whatever_the_clocks_say(order: tuple[int, int]) -> None:
    sent = entry(0.0, "sent", receiver="<b@x:7 b>", context=PARENT)
    got = entry(0.0, "got", sender="<a@x:7>", context=PARENT)
    both = recording("a@x", 105.0, sent), recording("b@x", 100.0, got)
    given = [both[number] for number in order]
    assert whats(given) == [("a@x", "sent"), ("b@x", "got")]
    assert merged(given).by_clock == []
    chart = chart_of(given)
    (arrow,) = chart.events
    assert (arrow.source, arrow.target) == ("a", "b")  # type: ignore[union-attr]
    assert chart.participants == {"a": "a@x", "b": "b@x"}
    text = mermaid_of(chart)
    assert text.count("    box ") == 2
    assert 'class="node"' in svg_of(chart)


def test_what_a_traced_process_sends_to_another_one_is_one_arrow() -> None:
    whole = recording("a@x", 1.0, entry(0.0, "sent", receiver=8), entry(1.0, "sent", receiver=9))
    other = {"record": "process", "serial": 8, "name": "till", "actor": "Till", "text": "<a@x:8 till>"}
    got = {
        "record": "entry",
        "number": 9,
        "process": 8,
        "ns": 10**9,
        "what": "got",
        "kind": "cast",
        "method": "pay",
    }
    whole = attrs.evolve(whole, records=[*whole.records[:-1], other, got, whole.records[-1]])
    arrows = [(event.source, event.target) for event in chart_of(whole).events]  # type: ignore[union-attr]
    assert arrows == [("a", "#9"), ("a", "till")]


def test_seconds_choose_a_part_of_a_chart() -> None:
    whole = recording("a@x", 1.0, *(entry(float(second), "got") for second in range(10)))
    assert len(chart_of(whole, start=2.0, end=4.5).events) == 3


def test_the_command_line_merges_and_steps(tmp_path: Path) -> None:
    files = []
    for name, at in (("a@x", 100.0), ("b@x", 100.5)):
        made = recording(name, at, entry(0.0, "got"), entry(1.0, "got"))
        file = tmp_path / f"{name}.enftrace"
        write_records([made.header, *made.records], file)
        files.append(str(file))
    shown = CliRunner().invoke(app, ["trace", "play", *files, "--step"], input="\n\n\n\n")
    assert shown.exit_code == 0
    lines = [line.split()[:2] for line in shown.output.splitlines() if " got " in line]
    assert lines == [
        ["0.000000", "<a@x:7>"],
        ["0.500000", "<b@x:7>"],
        ["1.000000", "<a@x:7>"],
        ["1.500000", "<b@x:7>"],
    ]
    stopped = CliRunner().invoke(app, ["trace", "play", *files, "--step"], input="\n")
    assert stopped.output.count(" got ") == 2
    drawn = CliRunner().invoke(app, ["chart", *files, "--from", "0.4", "--to", "1.2"])
    assert drawn.exit_code == 0
    assert drawn.output.count("-)") == 2


async def follow(eye: Node, view: TraceView, during: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    async with Client(eye, "bank@local", "trace").watch(view) as states:
        await anext(states)
        await during()
        for _ in range(2):
            with trio.fail_after(300):
                entries += (await anext(states)).fields["entries"]
    return entries


async def test_a_trace_follows_what_is_sent_and_shows_contexts(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await bank.spawn(Till, name="till")

        async def relay(me: Process) -> None:
            await me.receive()
            till.cast(Till.pay)
            await me.receive()

        first = await bank.spawn(relay)

        async def during() -> None:
            with use(PARENT):
                first.send("go on")

        for follows in (True, False):
            view = TraceView((first.serial,), sends=True, follow=follows)
            entries = await follow(eye, view, during)
            if follows:
                sent = next(each for each in entries if each["what"] == "sent")
                assert (sent["receiver"], sent["method"]) == (till.serial, "pay")
                got = [
                    (each["process"], each["context"] and each["context"][3:35])
                    for each in entries
                    if each["what"] == "got"
                ]
                assert got == [(first.serial, PARENT[3:35]), (till.serial, PARENT[3:35])]
            else:
                assert {each["process"] for each in entries} == {first.serial}


async def test_what_is_sent_to_another_node_is_seen(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        await bank.spawn(Till, name="till")
        await eye.spawn(Till, name="far")
        await wait_all_tasks_blocked()
        far = bank.remote("far", "eye@local")

        async def relay(me: Process) -> None:
            await me.receive()
            far.cast(Till.pay)
            await me.receive()

        first = await bank.spawn(relay)

        async def during() -> None:
            first.send("go on")

        entries = await follow(eye, TraceView((first.serial,), sends=True), during)
        sent = [each for each in entries if each["what"] == "sent"]
        assert [(each["kind"], each["method"]) for each in sent] == [("cast", "pay")]
        assert "eye@local" in sent[0]["receiver"]


def test_the_clock_of_a_recording_is_that_of_the_node(tmp_path: Path) -> None:
    writer = Writer("a@x", {}, contents=False)
    one = {
        "number": 1,
        "time": 50.0,
        "process": 7,
        "text": "<a@x:7>",
        "name": None,
        "actor": None,
        "what": "got",
    }
    writer.add({**one, "kind": "cast"})
    writer.heard(60.0)
    written = writer.records[0]["started_at"]
    writer.heard(59.0)  # it was late
    assert writer.records[0]["started_at"] == written
    writer.end("count")
    write_records(writer.records, tmp_path / "a.enftrace")
    assert read_recording(tmp_path / "a.enftrace").header["started_at"] == written
