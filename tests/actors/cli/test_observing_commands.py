"""`enfilade top` and `enfilade dump` against a node of `enfilade zone run`."""

from __future__ import annotations

import json
import subprocess
import sys
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
