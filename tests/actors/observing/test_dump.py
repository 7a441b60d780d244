"""Dumps: who waits for whom, and a diagnosis that begins with what matters."""

from __future__ import annotations

import inspect
import json
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILLED,
    Actor,
    Child,
    Node,
    NodeConfig,
    Process,
    Ref,
    Supervisor,
    open_node,
    system,
)
from enfilade.actors.observing.dumps.dump import dump, read, text_of, written
from enfilade.actors.observing.dumps.files import DumpFiles, leaving_crash_dumps
from enfilade.actors.observing.protocol.views import DumpView
from enfilade.actors.observing.tables.diagnosis import diagnosed
from enfilade.actors.observing.tables.waits import waits_of


class Ring(Actor):
    """Calls the next of its kind."""

    def __init__(self, following: str) -> None:
        self.following = following

    async def go(self) -> None:
        await self.process.node.named(self.following).call(Ring.go)


class Ledger(Actor):
    lock: trio.Lock

    async def post(self) -> None:
        async with type(self).lock:
            """Nothing is done with it."""


class Clerk(Actor):
    """Answers later."""

    def __init__(self) -> None:
        self.owed: Any = None

    def ask(self) -> Any:
        self.owed = self.process.defer()
        return self.owed


class Careless(Actor):
    def drop(self, number: int) -> None:
        raise KeyError(number)


async def stubborn(me: Process) -> None:
    """Takes longer to end than there is time."""
    with trio.CancelScope(shield=True):
        await trio.sleep(3)


async def caller(me: Process, target: Ref[Any], method: Any) -> None:
    await target.within(1_000).call(method)


async def test_obs_92_a_circle_of_calls_comes_first(autojump_clock: MockClock) -> None:
    async with open_node("bank", config=NodeConfig(call_timeout=1_000)) as node:
        names = ["a", "b", "c"]
        refs = [await node.spawn(Ring, names[(place + 1) % 3], name=name) for place, name in enumerate(names)]
        refs[0].cast(Ring.go)
        await wait_all_tasks_blocked()
        found = waits_of(node)
        lines = diagnosed(node, found)
        for ref in refs:
            node.processes[ref.serial].interrupt(KILLED)
    a, b, c = refs
    assert lines[0] == (
        f"circle of 3 calls: {a!r} waits for go of {b!r}, {b!r} waits for go of {c!r}, "
        f"{c!r} waits for go of {a!r}"
    )
    assert [(wait.waiting, wait.holder, wait.method) for wait in found] == [
        (c.serial, a.serial, "go"),
        (a.serial, b.serial, "go"),
        (b.serial, c.serial, "go"),
    ]
    assert [wait.place for wait in found] == ["queued", "at hand", "at hand"]


async def test_obs_93_the_root_of_the_longest_chain_is_named_with_its_place(
    autojump_clock: MockClock,
) -> None:
    Ledger.lock = trio.Lock()
    async with open_node("bank") as node, Ledger.lock:
        ledger = await node.spawn(Ledger, name="ledger")
        callers = [await node.spawn(caller, ledger, Ledger.post, label=f"clerk {n}") for n in range(7)]
        await trio.sleep(12)
        lines = diagnosed(node, waits_of(node))
    source, first = inspect.getsourcelines(Ledger)
    line = first + next(number for number, text in enumerate(source) if "async with" in text)
    where = f"test_dump.py:{line}, waiting for a lock"
    place = f"which has been in Ledger.post ({where}) for ≥ 12 s: "
    assert lines[0].startswith(f"7 processes wait for {ledger!r}, {place}")
    for ref in callers:
        assert repr(ref) in lines[0]


async def test_a_deferred_reply_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        clerk = await node.spawn(Clerk, name="clerk")
        client = await node.spawn(caller, clerk, Clerk.ask)
        await wait_all_tasks_blocked()
        (wait,) = waits_of(node)
        assert (wait.waiting, wait.holder, wait.place) == (client.serial, clerk.serial, "deferred")
        assert "is idle, with 0 messages waiting" in diagnosed(node, [wait])[0]


async def test_obs_98_a_call_that_its_caller_runs_shows_as_such() -> None:
    found: list[Any] = []

    class Looking(Actor):
        def look(self) -> None:
            found.extend(waits_of(self.process.node))
            found.extend(diagnosed(self.process.node, found[:]))

    async with open_node("bank") as node:
        looking = await node.spawn(Looking)
        client = await node.spawn(caller, looking, Looking.look)
        await wait_all_tasks_blocked()
    wait, *lines = found
    assert (wait.waiting, wait.holder) == (client.serial, looking.serial)
    assert wait.place == "runs its handler itself"
    assert any(f"the loop is held by {looking!r} (" in line for line in lines)


async def test_an_idle_node_says_so() -> None:
    async with open_node("bank") as node:
        await node.spawn(Clerk)
        assert diagnosed(node, waits_of(node)) == ["nothing waits: the node is idle"]


def first_lines(node: Node) -> list[str]:
    """What a dump of the node begins with."""
    return next(record["lines"] for record in dump(node) if record["record"] == "diagnosis")


async def test_a_long_mailbox_and_crashes_stand_in_the_place_of_idleness(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        clerk = await node.spawn(Clerk, name="clerk")
        await system.suspend(clerk)
        for _ in range(99):
            clerk.send("hello")
        await wait_all_tasks_blocked()
        assert first_lines(node) == ["nothing waits: the node is idle"]
        clerk.send("hello")
        await wait_all_tasks_blocked()
        (line,) = first_lines(node)
        assert line == (
            "100 messages wait for <bank@local:1 clerk>, which (Clerk) is suspended, "
            "with 100 messages waiting"
        )
        await system.resume(clerk)
        await wait_all_tasks_blocked()
        for number in range(2):
            careless = await node.spawn(Careless, name=f"careless {number}")
            careless.cast(Careless.drop, number)
            await wait_all_tasks_blocked()
        (line,) = first_lines(node)
        assert line.startswith("2 crashes within a minute, the last of <bank@local:")
        assert " careless 1> (Careless), in Careless.drop (test_dump.py:" in line
        assert line.endswith("): KeyError: 1")
        await trio.sleep(61)
        assert first_lines(node) == ["nothing waits: the node is idle"]


async def test_remarks_come_after_what_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        clerk = await node.spawn(Clerk)
        await node.spawn(caller, clerk, Clerk.ask)
        careless = await node.spawn(Careless)
        careless.cast(Careless.drop, 5)
        await wait_all_tasks_blocked()
        first, second = first_lines(node)
        assert first.startswith("1 process waits for <bank@local:")
        assert second.startswith("1 crash within a minute of <bank@local:")


async def test_the_log_names_the_file_of_a_dump(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("bank") as node:
        DumpFiles(node, tmp_path / "dumps").write("crash", "it rained")
    (file,) = (tmp_path / "dumps").iterdir()
    assert f"bank@local has left a dump: enfilade dump show {file}" in caplog.messages


async def test_a_dump_is_complete_and_can_be_read_back(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        await node.spawn(Supervisor, [Child(Clerk, id="front", name="clerk", label="the \x1b[2J one")])
        await wait_all_tasks_blocked()
        records = list(dump(node))
    lines = b"".join(written(records)).splitlines()
    read = [json.loads(line) for line in lines]
    assert [record["record"] for record in read[:3]] == ["header", "diagnosis", "statistics"]
    assert read[-1]["record"] == "end"
    (clerk,) = [
        record for record in read if record.get("child_id") == "front" and record["record"] == "process"
    ]
    assert (clerk["name"], clerk["actor"], clerk["state"]) == ("clerk", "Clerk", "idle")
    assert any(record["record"] == "event" and record["kind"] == "child.started" for record in read)
    text = "\n".join(text_of(read))
    assert text.splitlines()[1] == "nothing waits: the node is idle"
    assert "\x1b" not in text
    row = {"id": 7, "owner_text": None, "due_in": 1.5, "kind": "other", "message": None}
    (timer,) = text_of([{"record": "row", "of": "timers", "row": row}])
    assert timer == "  timer 7 of the node, due in 1.5 s: other"


def test_a_dump_that_was_cut_is_shown_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from enfilade.actors.cli.dump import show_dump
    from enfilade.actors.cli.refusal import Refusal

    async def make() -> bytes:
        async with open_node("bank") as node:
            return b"".join(written(dump(node)))

    whole = trio.run(make)
    file = tmp_path / "bank.jsonl"
    file.write_bytes(whole)
    assert show_dump(file) == 0
    assert "the dump was cut" not in capsys.readouterr().out
    file.write_bytes(whole[:-10])
    assert show_dump(file) == 0
    assert capsys.readouterr().out.endswith("the dump was cut here\n")
    file.write_bytes(msgspec.json.encode({"record": "other"}))
    with pytest.raises(Refusal, match="is not a dump"):
        show_dump(file)


async def test_a_shutdown_that_cuts_processes_short_leaves_a_dump(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Of the moment before they are killed: so it says what they were waiting for."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_node("bank", config=NodeConfig(grace=1.0)))
        with leaving_crash_dumps(DumpFiles(node, tmp_path / "dumps")):
            await node.spawn(stubborn, name="stubborn")
            await wait_all_tasks_blocked()
            await stack.aclose()
    (file,) = (tmp_path / "dumps").glob("*-crash.jsonl")
    records, is_cut = read(file.read_bytes())
    assert not is_cut
    assert records[0]["reason"] == "the shutdown was over before 1 processes had ended; they are killed"
    (shown,) = (record for record in records if record["record"] == "process")
    assert (shown["name"], shown["state"]) == ("stubborn", "stopping")
    assert "stubborn" in [frame["function"] for frame in shown["stack"]]


async def test_a_node_that_ends_in_order_leaves_no_dump(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_node("bank"))
        with leaving_crash_dumps(DumpFiles(node, tmp_path / "dumps")):
            await node.spawn(Clerk)
            await stack.aclose()
    assert not (tmp_path / "dumps").exists()


async def test_ten_dump_files_are_kept(tmp_path: Path) -> None:
    async with open_node("bank") as node:
        files = DumpFiles(node, tmp_path)
        for _ in range(12):
            files.write("signal")
    assert len(os.listdir(tmp_path)) == 10


async def test_a_dump_for_an_observer_is_made_in_steps(autojump_clock: MockClock) -> None:
    """The loop runs on between any two processes and any two rows."""
    async with open_node("bank") as node:
        for _ in range(200):
            node.spawn_soon(Clerk)
        await wait_all_tasks_blocked()
        walker, reads = node.observation.watching.walker, 0

        def clock() -> float:
            nonlocal reads
            reads += 1
            return reads / 1_000

        walker.clock = clock
        async with node.watch(DumpView(), interval=60) as states:
            records = []
            async for state in states:
                records += state.fields["records"]
                if state.fields["is_last"]:
                    break
        kinds = {record["record"] for record in dump(node)}
        assert {record["record"] for record in records} == kinds
        assert len([record for record in records if record["record"] == "process"]) >= 200
        assert reads > 600  # twice for each process, and for each record


async def test_the_stacks_of_a_text_can_be_chosen(autojump_clock: MockClock) -> None:
    async def stuck(me: Process) -> None:
        await trio.sleep_forever()

    async def waiting(me: Process) -> None:
        await me.receive()

    async with open_node("bank") as node:
        await node.spawn(stuck)
        await node.spawn(waiting)
        await wait_all_tasks_blocked()
        records = list(dump(node))
    texts = {stacks: "\n".join(text_of(records, stacks)) for stacks in ("all", "stuck", "none")}  # type: ignore[arg-type]
    assert "<locals>.stuck\n" in texts["all"]
    assert "<locals>.waiting\n" in texts["all"]
    assert "<locals>.stuck\n" in texts["stuck"]
    assert "in Process.receive" not in texts["stuck"]
    assert not [line for line in texts["none"].splitlines() if line.startswith("    ")]
    assert all("nothing waits" in text for text in texts.values())
