"""`enfilade top` and `enfilade dump` against nodes of `enfilade zone run`."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from enfilade.actors.observing.discovery.running_nodes import running_nodes, runtime_directory
from tests.actors.cli.command import enfilade, enfilade_here
from tests.actors.cli.running import line_with, running, zone


def answered(*arguments: str) -> str:
    result = enfilade(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


def test_obs_88_top_prints_pictures_as_json(bank: Path) -> None:
    """Sorted by how busy they are; where that is not known, by nothing."""
    output = answered("top", str(bank / "bank.door"), "--times", "2", "--every", "1", "--json")
    first, second = (json.loads(line) for line in output.splitlines())
    assert first["node"]["full_name"] == second["node"]["full_name"] == "bank@east"
    for picture in (first, second):
        busy = [row["busy"] for row in picture["processes"]]
        assert (None in busy) != picture["node"]["observation"]["sampling"]
        assert None in busy or busy == sorted(busy, reverse=True)
    assert {row["name"] for row in second["processes"]} >= {"ledger", "root"}


def test_top_prints_a_table_and_filters(bank: Path) -> None:
    output = answered("top", str(bank / "bank.door"), "--match", "ledger", "-n", "5")
    lines = [line for line in output.splitlines() if line]
    assert "bank@east: processes " in lines[0]
    assert lines[-2].split()[:3] == ["SERIAL", "NAME", "LABEL"]
    assert len(lines) <= 4
    assert "Ledger" in lines[-1]


def test_what_is_no_column_is_refused(bank: Path) -> None:
    result = enfilade("top", str(bank / "bank.door"), "--sort", "nothing", "--times", "1")
    assert result.returncode == 1
    assert result.stderr.startswith("enfilade: columns and sort must be")


def test_obs_57_metrics_are_printed(bank: Path) -> None:
    pytest.importorskip("prometheus_client")
    lines = answered("metrics", str(bank / "bank.door")).splitlines()
    assert "# TYPE enfilade_process_count gauge" in lines
    assert any(line.startswith('enfilade_mailbox_longest{node="bank@east"} ') for line in lines)


def test_dump_says_who_waits_for_whom(bank: Path) -> None:
    door = str(bank / "bank.door")
    lines = answered("dump", door).splitlines()
    assert lines[0].startswith("node bank@east, process ")
    assert lines[1].startswith("1 process waits for <bank@east:")
    assert "which has been in Ledger.post (books.py:7) for ≥ " in lines[1]
    saved = bank / "bank.jsonl"
    answered("dump", door, "--save", str(saved))
    records: list[dict[str, Any]] = [json.loads(line) for line in saved.read_text().splitlines()]
    assert records[-1]["record"] == "end"
    again = answered("dump", str(saved)).splitlines()
    assert again[1].split(" for ≥ ")[0] == lines[1].split(" for ≥ ")[0]


OTHER = """
from enfilade.actors import Actor

class Ledger(Actor):
    pass
"""


def test_a_dump_is_written_as_text_or_as_lines_of_json_and_shown(bank: Path, tmp_path: Path) -> None:
    door = str(bank / "bank.door")
    file, text = tmp_path / "bank.jsonl", tmp_path / "bank.txt"
    answered("dump", door, "--to", str(file))
    shown = answered("dump", "show", str(file), "--stacks", "none")
    assert shown.startswith("node bank@east")
    assert answered("dump", str(file), "--stacks", "none") == shown
    answered("dump", door, "--text", "--to", str(text))
    assert text.read_text().splitlines()[0].startswith("node bank@east")
    several = enfilade("dump", door, door)
    assert several.returncode == 2


@pytest.mark.parametrize("given", ["0.0.0.0:9464", "example.org:80", "9464x", "70000", ":", "127.0.0.1:"])
def test_metrics_are_served_to_this_machine_alone(given: str) -> None:
    result = enfilade_here("metrics", "shop.door", "--listen", given)
    assert result.returncode == 2
    assert "expected a" in result.stderr


def test_a_trace_without_a_node_is_of_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is a door is none of its processes."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert "no node of this user" in enfilade_here("trace", "ledger").stderr
    door = tmp_path / "shop.door"
    door.touch()
    assert "expected the processes" in enfilade_here("trace", str(door)).stderr


def test_obs_75_nodes_that_run_are_found_without_their_doors(bank: Path, tmp_path: Path) -> None:
    """By name, process id or zone file, or as the only one; files of nodes that are gone are deleted."""
    (ours,) = running_nodes()
    assert stat.S_IMODE(runtime_directory().stat().st_mode) == 0o700
    with running(zone(tmp_path, OTHER, name="mill")) as process:
        (file,) = runtime_directory().glob(f"{process.pid}-*.json")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for command in (("top",), ("observe",), ("dump",)):
            result = enfilade_here(*command)
            assert result.returncode == 1
            assert f"bank@east, process {ours.pid}" in result.stderr
            assert f"mill@east, process {process.pid}" in result.stderr
        assert "mill@east: processes" in answered("top", "mill", "--times", "1")
        assert "mill@east: processes" in answered("top", str(tmp_path / "mill.toml"), "--times", "1")
        assert answered("dump", str(process.pid)).startswith(f"node mill@east, process {process.pid}")
        content = file.read_bytes()
        process.kill()
        process.wait(60)
    assert running_nodes() == [ours]
    assert not file.exists()
    file.write_bytes(content.replace(str(process.pid).encode(), str(ours.pid).encode()))
    assert running_nodes() == [ours], "the process of that id began at another time"
    assert not file.exists()
    assert "bank@east: processes" in answered("top", "--times", "1")


PROGRAM = """
import trio
from enfilade import open_node

async def main():
    async with open_node("shop") as node:
        print("opened", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_a_program_without_a_door_is_visible_if_its_environment_says_so(tmp_path: Path) -> None:
    """It can be looked at and dumped by its process id, and leaves nothing behind."""
    environment = {**os.environ, "ENFILADE_OBSERVE": "1"}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            line_with(process.stdout, "opened")
            assert answered("dump", str(process.pid)).startswith(f"node shop@local, process {process.pid}")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert not [*runtime_directory().glob(f"{process.pid}-*")]


BUSY = """
import time
from enfilade.actors import Actor

class Busy(Actor):
    def __init__(self) -> None:
        self.process.ref.cast(Busy.compute)

    def compute(self) -> None:
        print("computes", flush=True)
        while True:
            time.sleep(0.01)
"""


def held(place: Path, node: str = "") -> Path:
    """The zone file of a node whose loop a handler holds for ever."""
    return zone(place, BUSY, name="held", child="busy", actor="Busy", node=node)


def test_obs_94_a_node_whose_loop_is_held_is_dumped_by_a_signal(tmp_path: Path) -> None:
    """`dump` gets no answer, and sends SIGQUIT to the process behind the door; so it does at SIGUSR1."""
    with running(held(tmp_path), until="computes", stderr=subprocess.PIPE) as process:
        lines = answered("dump", str(tmp_path / "held.door")).splitlines()
        assert any("the loop is held by" in line and "(Busy)" in line for line in lines[:4])
        assert any("books.py" in line and "in compute" in line for line in lines)
        place = tmp_path / "held.door.dumps"
        (file,) = place.glob("*-signal.jsonl")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        records = [json.loads(line) for line in file.read_text().splitlines()]
        assert records[-1]["record"] == "end"
        process.send_signal(signal.SIGUSR1)
        line_with(process.stderr, "the loop is held by")
        assert process.poll() is None


def test_obs_96_without_dump_signals_a_signal_does_what_it_does_by_default(tmp_path: Path) -> None:
    """And `dump` sends none."""
    with running(held(tmp_path, "dump_signals = false"), until="computes") as process:
        result = enfilade("dump", "held")
        assert result.returncode == 1
        assert "does not take SIGQUIT for a dump" in result.stderr
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == -signal.SIGUSR1


def test_the_watchdog_of_a_zone_leaves_a_dump_while_the_loop_is_held(tmp_path: Path) -> None:
    """So that the last of it is there after a SIGKILL."""
    with running(held(tmp_path, "watchdog = 0.2"), until="computes", stderr=subprocess.PIPE) as process:
        line_with(process.stderr, "has held the loop for")
        place = tmp_path / "held.door.dumps"
        found: list[Path] = []
        while not found:
            found = [*place.glob("*-held.jsonl")] if place.is_dir() else []
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    lines = answered("dump", str(found[0])).splitlines()
    assert "in Busy.compute, has held the loop for" in lines[1]


FRAGILE = """
from enfilade.actors import Actor

class Fragile(Actor):
    def __init__(self) -> None:
        self.process.ref.cast(Fragile.fail)

    def fail(self) -> None:
        raise ValueError("no ledger")
"""


def test_obs_100_a_node_whose_root_gives_up_leaves_a_dump(tmp_path: Path) -> None:
    path = zone(tmp_path, FRAGILE, name="frail", child="fragile", actor="Fragile")
    with running(path) as process:
        assert process.wait(60) == 1
    (file,) = (tmp_path / "frail.door.dumps").glob("*-crash.jsonl")
    lines = answered("dump", str(file)).splitlines()
    assert lines[1].startswith("the root supervisor ended: ")
    assert any("supervisor.gave_up" in line for line in lines)
    assert any("process.crashed fragile" in line and "no ledger" in line for line in lines)


PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "my-program-hangs.md"


def plain(line: str) -> str:
    """A line of a dump without what differs in each run: numbers, moments, directories, who came first."""
    line = re.sub(r"^(    )?/.*/", "    ", line)
    line = re.sub(r"customer \d", "customer", re.sub(r"(at hand|queued), for [\d.]+ s$", "", line))
    return re.sub(r"(east:|process )\d+|\d+-\d+-\d+ \d+:\d+:\d+", r"\1", line)


def test_the_transcript_of_a_hang_is_what_dump_says(tmp_path: Path) -> None:
    """Each of its lines, in the page about programs that hang."""
    section = PAGE.read_text().partition("## A hang, found")[2].partition("\n## ")[0]
    blocks = re.findall(r"```[^\n]*\n(.*?)```", section, re.S)
    module, zone_file, transcript = blocks
    (tmp_path / "bank.py").write_text(module)
    (tmp_path / "bank.toml").write_text(zone_file)
    with running(tmp_path / "bank.toml", stderr=subprocess.DEVNULL):
        said = answered("dump", str(tmp_path / "bank.door"), "--stacks", "stuck")
    lines = [plain(line) for line in said.splitlines()]
    assert plain(transcript.splitlines()[1]) == lines[1]
    missing = [line for line in transcript.splitlines() if plain(line) not in lines]
    assert not missing, said
