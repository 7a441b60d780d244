"""Records name the process they are about; as JSON they are one object a line, whatever they hold."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Child,
    Custom,
    DynamicSupervisor,
    Process,
    Supervisor,
    open_node,
)
from enfilade.actors.logs import Context, JsonFormatter

SECONDS = 240


class Till(Actor):
    def touch(self) -> None:
        raise ValueError("broken")

    def on_stop(self, reason: object) -> None:
        """Nothing is left to do."""


class Slow(Actor):
    """Says something in its handlers."""

    def speak(self) -> None:
        logging.getLogger("shop").warning("said in a handler")

    def relay(self, other: Any) -> None:
        other.cast(Slow.speak)


class SlowAsync(Slow):
    async def speak_later(self) -> None:
        await trio.lowlevel.checkpoint()
        logging.getLogger("shop").warning("said in a task")


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


async def test_a_crash_names_class_child_label_and_supervisor(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node("shop", zone="east") as node:
        top = await node.spawn(Supervisor, [Child(Till, id="front", name="till", label="cash")], name="top")
        till = node.whereis("till")
        assert till is not None
        till.cast(Till.touch)
        await wait_all_tasks_blocked()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    who = (
        f"<shop@east:{till.serial} till> (Till, label 'cash', child 'front' of <shop@east:{top.serial} top>)"
    )
    assert record.getMessage().startswith(f"{who} ended: ")
    shown = line_of(record)
    assert {key: shown.get(key) for key in ("node", "zone", "process", "process_name", "label", "actor")} == {
        "node": "shop@east",
        "zone": "east",
        "process": till.serial,
        "process_name": "till",
        "label": "cash",
        "actor": "Till",
    }
    assert shown["supervisor"] == f"<shop@east:{top.serial} top>"
    assert shown["child"] == "front"
    assert shown["event"] == "process.crashed"
    assert "broken" in shown["reason"]
    assert shown["exception"]["type"] == "ValueError"
    assert shown["exception"]["frames"][-1]["function"] == "Till.touch"
    assert "extra" not in shown


async def test_a_planned_stop_is_no_warning(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Brutal kill is a way to stop a child; a kill by others, and of a child that would not stop, is not."""
    caplog.set_level(logging.INFO, "enfilade")
    async with open_node("shop") as node:
        brutal = Child(Till, id="front", name="till", shutdown="brutal_kill")
        top = await node.spawn(Supervisor, [brutal], intensity=3)
        await top.call(Supervisor.terminate_child, "front")
        await wait_all_tasks_blocked()
        assert [(record.levelno, "killed" in record.getMessage()) for record in caplog.records] == [
            (logging.INFO, True)
        ]
        caplog.clear()
        await top.call(Supervisor.restart_child, "front")
        node.named("till").exit(KILL)
        await wait_all_tasks_blocked()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_a_dead_letter_names_the_class_that_is_gone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "enfilade")

    async def function(me: Process) -> None:
        """Do nothing."""

    async with open_node("shop") as node:
        pool = await node.spawn(DynamicSupervisor)
        till = await pool.call(DynamicSupervisor.start_child, Child(Till, id="a", restart="temporary"))
        plain = await node.spawn(function)
        till.exit(Custom("over"))
        await wait_all_tasks_blocked()
        caplog.clear()
        till.send("hello")
        plain.send("hello")
        await wait_all_tasks_blocked()
    first, second = caplog.records[:2]
    assert first.getMessage() == (
        f"dead letter for <shop@local:{till.serial}> (Till, child of <shop@local:{pool.serial}>) "
        "(over): 'hello'"
    )
    assert line_of(first)["event"] == "message.dead"
    assert f"({function.__qualname__})" in second.getMessage()


@pytest.mark.parametrize("target", [Slow, SlowAsync])
async def test_the_context_names_the_process_whose_code_logs(
    target: type[Slow], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(Context())
    try:
        async with open_node("shop") as node:
            one = await node.spawn(target, name="one")
            two = await node.spawn(target, name="two")
            await one.call(Slow.speak)
            await one.call(Slow.relay, two)
            await wait_all_tasks_blocked()
            if target is SlowAsync:
                await two.call(SlowAsync.speak_later)
            logging.getLogger("shop").warning("said outside")
    finally:
        caplog.handler.filters.clear()
    named = [line_of(record).get("process_name") for record in caplog.records]
    assert named == (["one", "two", "two", None] if target is SlowAsync else ["one", "two", None])
    assert line_of(caplog.records[0])["actor"] == target.__name__


class Hostile:
    def __repr__(self) -> str:
        raise ValueError("no repr")

    __str__ = __repr__


@pytest.mark.parametrize(
    ("text", "values", "extra"),
    [
        ("%s and %d", ("one",), {}),
        ("%s", (Hostile(),), {}),
        ("fine", (), {"object": Hostile()}),
        ("fine", (), {"nested": {1: {2: {3: {4: {5: Hostile()}}}}}}),
        ("fine", (), {"number": 10**400, "float": float("nan")}),
        ("half \ud800 a pair", (), {"also": "\udfff"}),
        ("two\nlines\x1b[2J", (), {}),
    ],
    ids=["too few values", "no str", "no repr", "nested", "numbers", "surrogates", "control characters"],
)
def test_every_record_becomes_one_object(
    text: str, values: tuple[object, ...], extra: dict[str, object]
) -> None:
    record = logging.getLogger("shop").makeRecord(
        "shop", logging.ERROR, "file", 1, text, values, None, "function", extra
    )
    shown = line_of(record)
    assert shown["level"] == "ERROR"
    assert shown["logger"] == "shop"
    assert ("could not be formatted" in shown["message"]) == (text.startswith("%s"))
    assert set(shown.get("extra", {})) == set(extra)


def test_a_circle_is_cut() -> None:
    circle: list[Any] = []
    circle.append(circle)
    record = logging.getLogger("shop").makeRecord(
        "shop", logging.INFO, "file", 1, "fine", (), None, "function", {"circle": circle}
    )
    assert line_of(record)["message"] == "fine"


def test_a_guests_record_has_its_parts_under_guest() -> None:
    extra = {"guest": "filter", "guest_target": "a::b", "guest_spans": "s", "guest_fields": "k=v"}
    record = logging.getLogger("enfilade.guest").makeRecord(
        "enfilade.guest", logging.INFO, "file", 1, "fine", (), None, "function", extra
    )
    assert line_of(record)["guest"] == {"label": "filter", "target": "a::b", "spans": "s", "fields": "k=v"}


ZONE = """
[node]
name = "bank"
zone = "east"

[log]
level = "ERROR"
levels = { "shop" = "INFO" }

[[child]]
id = "front"
actor = "books:top"
"""

BOOKS = """
import logging
from enfilade.actors import Actor, Child, Process, Supervisor

class Till(Actor):
    def __init__(self) -> None:
        logging.getLogger("shop").info("a till opens")
        self.process.ref.send("break")

    def on_message(self, message: object) -> None:
        raise ValueError("broken")

async def top(me: Process) -> None:
    await me.spawn(Till, name="front-till", label="till")
    await me.receive()
"""


def test_obs_66_zone_run_logs_json(tmp_path: Path) -> None:
    (tmp_path / "books.py").write_text(BOOKS)
    (tmp_path / "bank.toml").write_text(ZONE)
    command = [sys.executable, "-m", "enfilade", "zone", "run", "bank.toml", "--log-format", "json"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            first, second = (json.loads(process.stderr.readline()) for _ in range(2))
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    assert (first["message"], first["process_name"]) == ("a till opens", "front-till")
    assert second["node"] == "bank@east"
    assert second["zone"] == "east"
    assert second["process"] == first["process"]
    assert second["process_name"] == "front-till"
    assert second["label"] == "till"
    assert second["event"] == "process.crashed"
    assert "broken" in second["reason"]
    assert second["exception"]["type"] == "ValueError"
    assert second["exception"]["frames"][-1]["function"] == "Till.on_message"


PROGRAM = """
import signal, sys, trio
from enfilade.actors import Actor, Process, open_node

class Till(Actor):
    def on_stop(self, reason: object) -> None:
        print("stopped in order", flush=True)

async def main() -> None:
    async with open_node("shop") as node:
        await node.spawn(Till)
        # One that traps exits has its `on_stop` run.
        for process in list(node.processes.values()):
            process.trap_exits = True
        print("runs", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["SIGTERM", "SIGHUP"],
)
def test_a_program_ends_in_order_by_a_signal_it_does_not_handle(number: signal.Signals, status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            process.send_signal(number)
            assert process.stdout.read() == "stopped in order\n"
            assert process.wait(SECONDS) == status
        finally:
            process.kill()
