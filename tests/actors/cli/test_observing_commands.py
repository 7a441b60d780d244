"""`enfilade top` and `enfilade dump` against a node of `enfilade zone run`."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.actors.cli.command import enfilade
from tests.actors.cli.conftest import put_packages_on_the_path

ZONE = """
[node]
name = "bank"
zone = "east"
door = "bank.door"

[[child]]
id = "ledger"
actor = "books:Ledger"
name = "ledger"

[[child]]
id = "clerk"
actor = "books:clerk"
"""

BOOKS = """
import trio
from enfilade.actors import Actor, Process

class Ledger(Actor):
    async def post(self) -> None:
        await trio.sleep_forever()

async def clerk(me: Process) -> None:
    await me.node.named("ledger").within(1000.0).call(Ledger.post)
"""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a zone that runs."""
    place = tmp_path_factory.mktemp("bank")
    (place / "books.py").write_text(BOOKS)
    (place / "bank.toml").write_text(ZONE)
    with pytest.MonkeyPatch.context() as patch:
        put_packages_on_the_path(patch)
        command = [sys.executable, "-m", "enfilade", "zone", "run", "bank.toml"]
        with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert "runs at" in process.stdout.readline()
                yield place
            finally:
                process.terminate()
                process.wait(60)


def answered(*arguments: str) -> str:
    result = enfilade(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


def test_top_prints_pictures_as_json(bank: Path) -> None:
    """Sorted by queued messages, the largest first."""
    output = answered("top", str(bank / "bank.door"), "--times", "2", "--every", "0.2", "--json")
    first, second = (json.loads(line) for line in output.splitlines())
    assert first["node"]["full_name"] == second["node"]["full_name"] == "bank@east"
    queued = [row["queued"] for row in first["processes"]]
    assert queued == sorted(queued, reverse=True)
    assert {row["name"] for row in second["processes"]} >= {"ledger", "root"}


def test_top_prints_a_table_and_filters(bank: Path) -> None:
    output = answered("top", str(bank / "bank.door"), "--times", "1", "--match", "ledger")
    lines = [line for line in output.splitlines() if line]
    assert "bank@east: processes " in lines[0]
    assert lines[1].split()[:3] == ["SERIAL", "NAME", "LABEL"]
    assert len(lines) == 3
    assert "Ledger" in lines[2]


def test_what_is_no_column_is_refused(bank: Path) -> None:
    result = enfilade("top", str(bank / "bank.door"), "--sort", "nothing", "--times", "1")
    assert result.returncode == 1
    assert result.stderr.startswith("enfilade: columns and sort must be")


def test_dump_says_who_waits_for_whom(bank: Path) -> None:
    door = str(bank / "bank.door")
    lines = answered("dump", door).splitlines()
    assert lines[0].startswith("node bank@east, process ")
    assert lines[1].startswith("1 process waits for <bank@east:")
    assert "which is in Ledger.post (books.py:7" in lines[1]
    saved = bank / "bank.jsonl"
    answered("dump", door, "--save", str(saved))
    records: list[dict[str, Any]] = [json.loads(line) for line in saved.read_text().splitlines()]
    assert records[-1]["record"] == "end"
    again = answered("dump", str(saved)).splitlines()
    assert again[1] == lines[1]


HELD = """
[node]
name = "held"
zone = "east"

[[child]]
id = "busy"
actor = "books:Busy"
"""

BUSY = """
from enfilade.actors import Actor

class Busy(Actor):
    def __init__(self) -> None:
        self.process.ref.cast(Busy.compute)

    def compute(self) -> None:
        print("computes", flush=True)
        while True:
            pass
"""


def test_obs_96_a_signal_dumps_a_node_whose_loop_is_held(tmp_path: Path) -> None:
    """Text on standard error at SIGUSR1, a file for the owner alone at SIGQUIT; the node goes on."""
    (tmp_path / "books.py").write_text(BUSY)
    (tmp_path / "held.toml").write_text(HELD)
    command = [sys.executable, "-m", "enfilade", "zone", "run", "held.toml"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            while "computes" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGUSR1)
            seen: list[str] = []
            while not seen or "the loop is held by" not in seen[-1]:
                seen.append(process.stderr.readline())
                assert seen[-1], "".join(seen)
            assert any("in compute" in line for line in seen), "".join(seen)
            assert "(Busy)" in seen[-1]
            process.send_signal(signal.SIGQUIT)
            place = tmp_path / "held.dumps"
            files: list[Path] = []
            deadline = time.monotonic() + 60
            while not files and time.monotonic() < deadline:
                time.sleep(0.05)  # nothing tells that the file is there
                files = list(place.glob("*.jsonl")) if place.is_dir() else []
            (file,) = files
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            records = [json.loads(line) for line in file.read_text().splitlines()]
            assert records[-1]["record"] == "end"
            assert any("the loop is held by" in line for line in records[1]["lines"])
            assert process.poll() is None
        finally:
            process.kill()


def test_obs_96_without_dump_signals_a_signal_does_what_it_does_by_default(tmp_path: Path) -> None:
    (tmp_path / "books.py").write_text(BUSY)
    (tmp_path / "held.toml").write_text(HELD.replace('zone = "east"', 'zone = "east"\ndump_signals = false'))
    command = [sys.executable, "-m", "enfilade", "zone", "run", "held.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while "computes" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGUSR1)
            assert process.wait(60) == -signal.SIGUSR1
        finally:
            process.kill()
