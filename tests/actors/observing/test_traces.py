"""Traces of processes, their recordings, and the charts that are drawn of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from typer.testing import CliRunner

from enfilade.actors import Actor, Child, Node, Process, Refused, Supervisor
from enfilade.actors.cli.app import app
from enfilade.actors.cli.recordings import Writer, read_recording, redact, write_records
from enfilade.actors.observing.protocol.views import TraceView
from enfilade.actors.observing.watches.client import Client
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.transport.policy import Rights
from tests.actors.observing.pair import observed

GOLDEN = Path(__file__).parent / "charts"


class Till(Actor):
    def pay(self, pin: str) -> None:
        """Take money."""

    def balance(self) -> int:
        return 7

    def burn(self) -> None:
        raise ValueError("fire")


class Shy(Actor):
    @classmethod
    def format_message(cls, message: Any) -> Any:
        return "masked"

    def pay(self, pin: str) -> None:
        """Take money."""


TRACE = Rights(trace=True)


async def traced(eye: Node, view: TraceView, during: Any) -> tuple[list[dict[str, Any]], str | None]:
    """The entries of a trace, to its end, or of a few updates; `during` is awaited once it is on."""
    entries: list[dict[str, Any]] = []
    async with Client(eye, "bank@local", "trace").watch(view) as states:
        await anext(states)
        await during()
        for _ in range(5):
            with trio.fail_after(300):
                fields = (await anext(states)).fields
            entries += fields["entries"]
            if fields["ended"] is not None:
                return entries, fields["ended"]
    return entries, None


async def test_obs_89_a_trace_ends_with_its_count(autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye):
        till = await bank.spawn(Till, name="till")

        async def calls() -> None:
            for _ in range(100):
                await till.call(Till.balance)

        entries, ended = await traced(eye, TraceView(("till",), count=5), calls)
        process = bank.processes[till.serial]
        assert process.extras_or_none is not None
        assert process.extras_or_none.observers == []
    assert ended == "count"
    assert [entry["what"] for entry in entries] == ["got", "done"] * 5
    assert {(entry["kind"], entry["method"], entry["contents"]) for entry in entries} == {
        ("call", "balance", None)
    }
    done = [entry for entry in entries if entry["what"] == "done"]
    assert {entry["outcome"] for entry in done} == {"replied"}
    assert all(entry["seconds"] >= 0 for entry in done)


async def test_obs_7_contents_are_masked_by_the_class(autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye):
        shy, till = await bank.spawn(Shy), await bank.spawn(Till)

        async def pay() -> None:
            shy.cast(Shy.pay, "4711")
            till.cast(Till.pay, "0815")

        view = TraceView((shy.serial, "actor:Till"), contents=True)
        entries, _ = await traced(eye, view, pay)
        seen = {entry["process"]: entry["contents"] for entry in entries}
        assert seen == {shy.serial: "'masked'", till.serial: "('pay', ('0815',), {})"}
        assert "4711" not in repr(entries)


async def test_sends_are_seen_while_a_trace_asks(autojump_clock: MockClock) -> None:
    plain = LocalRef.send, LocalRef.cast, LocalRef.call
    async with observed(TRACE) as (bank, eye):
        till = await bank.spawn(Till)

        async def clerk(me: Process) -> None:
            await me.receive()
            till.cast(Till.pay, "x")
            till.send(5)
            await till.call(Till.balance)
            await me.receive()

        ref = await bank.spawn(clerk, name="clerk")
        await wait_all_tasks_blocked()

        async def begin() -> None:
            ref.send("go")
            await wait_all_tasks_blocked()

        entries, ended = await traced(eye, TraceView(("clerk",), sends=True, seconds=2.0), begin)
        sent = [(entry["kind"], entry["method"]) for entry in entries if entry["what"] == "sent"]
        assert sent == [("cast", "pay"), ("message", None), ("call", "balance")]
        assert {entry["receiver"] for entry in entries if entry["what"] == "sent"} == {till.serial}
        assert ended == "time"
        await trio.sleep(3)
        assert plain == (LocalRef.send, LocalRef.cast, LocalRef.call)


async def test_a_trace_ends_above_its_rate_and_with_its_processes(autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye):
        till = await bank.spawn(Till)

        async def flood() -> None:
            for _ in range(50):
                till.cast(Till.pay, "x")
            await wait_all_tasks_blocked()

        entries, ended = await traced(eye, TraceView((till.serial,), rate=10, count=1_000), flood)
        assert (len(entries), ended) == (10, "rate")

        async def burn() -> None:
            till.cast(Till.burn)
            await wait_all_tasks_blocked()

        entries, ended = await traced(eye, TraceView((till.serial,)), burn)
        assert [entry["what"] for entry in entries] == ["got", "crashed", "ended"]
        assert ended == "processes"


async def test_a_trace_needs_its_right() -> None:
    async with observed(Rights(observe=True, inspect=True)) as (_bank, eye):
        for right in ("observe", "inspect"):
            with pytest.raises(Refused, match="needs the right to trace"):
                async with Client(eye, "bank@local", right).watch(TraceView(("till",))):
                    pass


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """The recording of a call, a cast, a crash and a restart, with contents."""
    writer = Writer("bank@local", {}, contents=True)
    for entry in trio.run(_recorded, clock=MockClock(autojump_threshold=0)):
        writer.add(entry)
    writer.end("time")
    path = tmp_path / "till.enftrace"
    write_records(writer.records, path)
    return path


async def _recorded() -> list[dict[str, Any]]:
    async with observed(TRACE) as (bank, eye):
        await bank.spawn(Supervisor, [Child(Till, id="till", name="till")])

        async def happen() -> None:
            async def clerk(me: Process) -> None:
                await bank.named("till").call(Till.balance)
                bank.named("till").cast(Till.pay, "4711")

            await bank.spawn(clerk)
            await wait_all_tasks_blocked()
            bank.named("till").cast(Till.burn)
            await wait_all_tasks_blocked()
            await bank.named("till").call(Till.balance)

        entries, _ = await traced(eye, TraceView(("till",), contents=True, seconds=2.0), happen)
    return entries


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("form", ["mermaid", "svg"])
def test_obs_101_the_chart_of_a_recording_is_the_same_every_time(recording: Path, form: str) -> None:
    first = printed("chart", str(recording), "--format", form)
    assert printed("chart", str(recording), "--format", form) == first
    assert first == (GOLDEN / f"till.{form}").read_text()


def test_obs_103_a_recording_that_was_cut_is_shown_as_far_as_it_goes(recording: Path) -> None:
    data = recording.read_bytes()
    recording.write_bytes(data[: len(data) // 2])
    played = printed("trace", "play", str(recording))
    assert "got call balance" in played
    assert "the recording was cut here" in played
    assert "cut here" in printed("chart", str(recording))


def test_obs_104_contents_are_not_kept_without_leave_and_can_be_taken_out(recording: Path) -> None:
    whole = read_recording(recording)
    assert "4711" in recording.read_text()
    writer = Writer("bank@local", {}, contents=False)
    for record in whole.records:
        if record["record"] == "entry":
            writer.add({"name": "till", "actor": "Till", "text": "<till>", "time": 0.0, **record})
    assert "4711" not in json.dumps(writer.records)
    assert redact(recording) > 0
    assert "4711" not in recording.read_text()
    assert len(read_recording(recording).records) == len(whole.records)


def test_a_deflated_recording_is_read_too(recording: Path) -> None:
    whole = read_recording(recording)
    deflated = recording.with_suffix(".enftrace.gz")
    write_records([whole.header, *whole.records], deflated)
    assert read_recording(deflated) == whole
    deflated.write_bytes(deflated.read_bytes()[:-20])
    assert read_recording(deflated).is_cut
