"""The harness: runs in turn, cells that fail, hang or cannot run, and what killed runs leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import PING_PONG, Goal
from tests.benchmarks.harness import Options, measure
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.processtree import adopt_orphans
from tests.benchmarks.scratch import VARIABLE, scratch_directory

SCRIPT = """
import json, subprocess, sys, time
for answer in json.loads(sys.argv[1]):
    if answer == "daemon":
        daemon = subprocess.Popen(["setsid", "sleep", "1000"], stdout=subprocess.DEVNULL)
        answer = {"value": daemon.pid}
    if answer == "hang":
        time.sleep(1000)
    if answer == "end":
        sys.exit("it broke")
    print("@bench " + json.dumps(answer), flush=True)
    sys.stdin.readline()
"""


@attrs.define
class Scripted:
    """A runner whose cell gives these answers, one after the other."""

    answers: list[object]
    family: str = "enfilade"
    variant: str = "sync"
    cpus: int = 1

    def absence(self) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        return [sys.executable, "-c", SCRIPT, json.dumps(self.answers)]

    def environment(self) -> dict[str, str]:
        return {}


def costs(*values: float) -> list[object]:
    return [{"ready": True}, *({"value": value} for value in values)]


def benchmark(*goals: Goal) -> Benchmark:
    return Benchmark("scripted", "messages", "nothing", {}, {}, (Entry("enfilade/sync"),), goals)


def content(directory: Path) -> set[Path]:
    return set(directory.iterdir())


async def measured(answers: list[object], options: Options, tmp_path: Path, *goals: Goal) -> Measurement:
    (measurement,) = await measure(benchmark(*goals), [Scripted(answers)], options, tmp_path)
    assert content(tmp_path) == set(), "the cell's temporary files are gone"
    return measurement


@pytest.fixture(autouse=True)
def orphans() -> Iterator[None]:
    """The harness reaps what its cells leave; the tests after these must not be given any orphans."""
    adopt_orphans()
    yield
    adopt_orphans(False)


async def test_a_goal_that_stays_open_is_measured_again(tmp_path: Path) -> None:
    """Median 3 misses and least 1 meets a goal of 2; a fourth run brings the median to 2."""
    options = Options(runs=3, most_runs=10)
    goal = Goal(PING_PONG, "enfilade/sync", 2.0)
    assert (await measured(costs(3, 3, 1, 1, 9), options, tmp_path, goal)).costs == [3, 3, 1, 1]
    assert (await measured(costs(3, 3, 3, 1), options, tmp_path, goal)).costs == [3, 3, 3]
    assert (await measured(costs(3, 1, 3, 1), options, tmp_path)).costs == [3, 1, 3]


async def test_the_runs_of_a_goal_that_stays_open_are_bounded(tmp_path: Path) -> None:
    measurement = await measured(
        costs(1, 3, 3, 3, 3, 3, 3),
        Options(runs=3, most_runs=5),
        tmp_path,
        Goal(PING_PONG, "enfilade/sync", 2.0),
    )
    assert len(measurement.costs) == 5


async def test_a_run_tells_the_load_of_the_machine(tmp_path: Path) -> None:
    (run,) = (await measured(costs(1), Options(runs=1), tmp_path)).runs
    assert run.load_before >= 0
    assert run.load_after >= 0


async def test_a_cell_that_hangs_has_failed(tmp_path: Path) -> None:
    hung = await measured([{"ready": True}, "hang"], Options(runs=2, timeout=0.5), tmp_path)
    assert hung.failed == "no answer in 0.5 s"
    assert hung.median is None


async def test_what_a_cell_leaves_running_ends_with_it(tmp_path: Path) -> None:
    """Also a daemon in a session of its own whose parent has ended."""
    measurement = await measured([{"ready": True}, "daemon", "end"], Options(runs=2), tmp_path)
    assert measurement.failed == "it broke"
    pid = int(measurement.runs[0].cost)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cell_that_ends_has_failed_with_its_last_words(tmp_path: Path) -> None:
    ended = await measured([{"ready": True}, "end"], Options(runs=2), tmp_path)
    assert ended.failed == "it broke"


async def test_a_cell_that_cannot_run_here_is_absent(tmp_path: Path) -> None:
    absent = await measured([{"absent": "no such device"}], Options(runs=2), tmp_path)
    assert (absent.absent, absent.failed, absent.costs) == ("no such device", None, [])


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory, and a process that it had started; one of a run that goes on is left alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_directory() as going_on:
        killed = tmp_path / "enfilade-bench-killed"
        killed.mkdir()
        os.utime(killed, (0, 0))
        os.utime(going_on, (0, 0))
        left = subprocess.Popen([sys.executable, "-c", SCRIPT, '["hang"]'], env={VARIABLE: str(killed)})
        with scratch_directory() as own:
            assert left.wait(timeout=30) == -signal.SIGKILL
            assert content(tmp_path) == {going_on, own}
    assert content(tmp_path) == set()
