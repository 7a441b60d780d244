"""Each kernel of ours runs once, with tiny parameters, and yields a positive figure; speed is not asserted.

All kernels of ours run in one process, and those of a peer in one of its own, which takes a fraction of the
time that the harness's process for each cell takes. The harness itself is tested with few cells; `make soak`
runs the peers' kernels, too, and every benchmark through the harness.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
import trio

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.c_runner import CRunner
from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.erlang_runner import ErlangRunner
from tests.benchmarks.goals import ANCHORS, ARCHITECTURE, PING_PONG, Goal, State, verdict
from tests.benchmarks.harness import Options, measure
from tests.benchmarks.measurement import Measurement, Run
from tests.benchmarks.processtree import MEMBERSHIP, adopt_orphans, process_tree
from tests.benchmarks.python_runner import PythonRunner
from tests.benchmarks.report import Result, cost, document, rows, summary
from tests.benchmarks.runner import ROOT, Runner
from tests.benchmarks.runners import all_runners, runners_for
from tests.benchmarks.scratch import VARIABLE
from tests.benchmarks.worker import MARK


def _marks(runner: Runner) -> list[pytest.MarkDecorator]:
    """A rehearsal of a peer is for the soak; that of a mesh has servers with ports of their own."""
    if runner.family != "enfilade":
        return [pytest.mark.soak]
    return [pytest.mark.real] if runner.variant == "mesh" else []


RUNNERS = all_runners({})
OURS = [
    runner
    for runner in RUNNERS
    if isinstance(runner, PythonRunner)
    and runner.family == "enfilade"
    and runner.variant not in ("1 cpu", "mesh")
]
REHEARSED = [
    pytest.param(
        runner,
        id=f"{runner.family} {runner.variant}".strip(),
        marks=_marks(runner),
    )
    for runner in RUNNERS
    if not isinstance(runner, CRunner) and runner.variant != "1 cpu" and runner not in OURS
]


@pytest.fixture(autouse=True)
def orphans() -> Iterator[None]:
    """The harness reaps what its cells leave; the tests after these must not be given any orphans."""
    adopt_orphans()
    yield
    adopt_orphans(False)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all, so that what is compiled is compiled once."""
    return tmp_path_factory.mktemp("benchmarks")


def _in_work_of(runner: Runner) -> list[Benchmark]:
    """The benchmarks that name the runner, each kernel once."""
    named = [b for b in BENCHMARKS if any(runner in runners_for(entry, RUNNERS) for entry in b.entries)]
    return list({b.kernel: b for b in reversed(named)}.values())


@pytest.mark.parametrize("runner", REHEARSED)
async def test_kernels_run(runner: PythonRunner | ErlangRunner, scratch: Path) -> None:
    """Ours must run; a peer must run or be absent with a reason."""
    absent = runner.absence()
    if absent is not None:
        assert runner.family != "enfilade", absent
        pytest.skip(absent)
    benchmarks = _in_work_of(runner)
    if isinstance(runner, ErlangRunner):
        command = runner.rehearsal(benchmarks, scratch)
    else:
        command = runner.rehearsal(benchmarks)
    await _rehearse(runner, command, [b.kernel for b in benchmarks], scratch)


async def test_our_kernels_run(scratch: Path) -> None:
    """All those that need no servers, one after the other in one process."""
    cells: list[list[object]] = []
    for runner in OURS:
        assert runner.absence() is None
        cells += runner.cells(_in_work_of(runner))
    assert len(cells) > 50
    command = OURS[0].rehearsal_of_cells(cells)
    await _rehearse(OURS[0], command, [str(kernel) for _, kernel, *_ in cells], scratch)


async def _rehearse(
    runner: PythonRunner | ErlangRunner, command: list[str], kernels: list[str], scratch: Path
) -> None:
    directory = mkdtemp(dir=scratch)
    environment = {**os.environ, **runner.environment(), VARIABLE: str(scratch), MEMBERSHIP: directory}
    errors = scratch / "stderr"
    text = b""
    async with process_tree(command, environment=environment, directory=ROOT, errors=errors) as process:
        assert process.stdout is not None
        with trio.move_on_after(240):
            while chunk := await process.stdout.receive_some():
                text += chunk
    answers = [json.loads(line.removeprefix(MARK)) for line in text.decode().splitlines() if MARK in line]
    assert [answer["kernel"] for answer in answers] == kernels, _tail(errors)
    # The resident set can stay as it is for the few processes of a rehearsal.
    measured = [a for a in answers if "absent" not in a and not a["kernel"].endswith("memory")]
    assert all(answer["value"] > 0 for answer in measured), answers


def _tail(errors: Path) -> str:
    return errors.read_text(errors="replace")[-2000:]


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
async def test_harness_measures_runners_of_each_kind(scratch: Path, cold: bool) -> None:
    """The harness asks each cell as often as it is told, ours and the peers'."""
    benchmark = Benchmark(
        name=f"ping-pong-{cold}",
        group="messages",
        operation="something that runners of several kinds can do",
        parameters={"rounds": 10},
        quick={"rounds": 10},
        entries=(Entry("enfilade/sync"), Entry("pykka"), Entry("erlang/1 cpu")),
        cold=cold,
        kernel="ping-pong",
    )
    measurements = await measure(benchmark, RUNNERS, Options(runs=2, quick=True, timeout=60), scratch)
    for measurement in measurements:
        assert measurement.failed is None, f"{measurement.label}: {measurement.failed}"
        assert measurement.absent is not None or len(measurement.costs) == 2
    result = Result(benchmark, measurements)
    json.dumps(document([result], {}))
    assert len(list(rows(result))) > len(measurements)


@pytest.mark.soak
@pytest.mark.parametrize("benchmark_", BENCHMARKS, ids=lambda b: b.name)
async def test_benchmark_runs(benchmark_: Benchmark, scratch: Path) -> None:
    """Every cell runs through the harness, in a process tree of its own."""
    measurements = await measure(benchmark_, RUNNERS, Options(runs=1, quick=True, timeout=60), scratch)
    for measurement in measurements:
        assert measurement.failed is None, f"{measurement.label}: {measurement.failed}"


def test_catalogue_names_only_runners_and_cells_that_exist() -> None:
    assert len({b.name for b in BENCHMARKS}) == len(BENCHMARKS)
    for each in BENCHMARKS:
        for entry in each.entries:
            assert runners_for(entry, RUNNERS)
            assert set(entry.parameters) <= set(each.parameters), f"{each.name}: {entry.who}"
        for goal in each.goals:
            assert goal.who in {entry.who for entry in each.entries}, f"{each.name}: {goal.who}"


def _measured(family: str, variant: str, *costs: float) -> Measurement:
    return Measurement("b", family, variant, "1", {}, None, [Run(cost) for cost in costs])


def _benchmark(*goals: Goal) -> Benchmark:
    entries = (Entry("enfilade/sync"), Entry("erlang"))
    return Benchmark("b", "messages", "nothing", {}, {}, entries, goals)


def test_a_goal_is_against_the_best_variant_of_a_peer() -> None:
    goal = Goal(PING_PONG, "enfilade/sync", 1.0, against="erlang")
    measurements = [
        _measured("enfilade", "sync", 3.0, 2.0, 9.0),
        _measured("erlang", "1 cpu", 2.0),
        _measured("erlang", "2 cpus", 4.0),
    ]
    assert verdict(goal, measurements).reached == pytest.approx(1.5)
    assert verdict(goal, measurements).state is State.MISSED
    assert verdict(goal, measurements).is_close, "the least of ours is as good as Erlang"
    assert verdict(goal, measurements[:1]).state is State.UNKNOWN


def test_the_summary_counts_goals_and_names_those_that_were_not_met() -> None:
    met = Goal(PING_PONG, "enfilade/sync", 2.0, against="erlang")
    missed = Goal(ARCHITECTURE[-1], "enfilade/sync", 1.0)
    unknown = Goal(ANCHORS[0], "enfilade/async", 1.0)
    result = Result(
        _benchmark(met, missed, unknown),
        [_measured("enfilade", "sync", 3.0), _measured("erlang", "1 cpu", 2.0)],
    )
    lines = list(summary([result]))
    assert "goals: 1 met, 1 missed" in lines
    assert "  not met: b, sync 3 s (<= 1 s)" in lines
    assert "targets: 0 met, 0 missed, 1 no figure" in lines
    assert "  not met: b, async - (<= 1 s)" in lines


def test_every_row_of_the_goals_is_measured() -> None:
    rows_held = {goal.row for each in BENCHMARKS for goal in each.goals}
    assert rows_held == {*ARCHITECTURE, *ANCHORS}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5e-6, "seconds", "1.5 us"),
        (1234e-9, "seconds", "1.23 us"),
        (2.0, "seconds", "2 s"),
        (1536, "bytes", "1.5 KiB"),
    ],
)
def test_costs_are_written_with_three_digits(value: float, unit: str, text: str) -> None:
    assert cost(value, "bytes" if unit == "bytes" else "seconds") == text


def test_a_cell_that_failed_in_one_run_has_no_figure() -> None:
    failed = Measurement("b", "enfilade", "sync", "1", {}, None, [Run(1.0), Run(2.0)], failed="no answer")
    assert failed.median is None
    assert failed.spread is None
    assert [run["cost"] for run in failed.record()["runs"]] == [1.0, 2.0]


def test_a_measurement_survives_its_record() -> None:
    measurement = _measured("enfilade", "sync", 1.0, 3.0, 2.0)
    assert Measurement.from_record(json.loads(json.dumps(measurement.record()))) == measurement


async def test_an_absent_peer_is_said_to_be_absent(scratch: Path) -> None:
    benchmark = Benchmark(
        name="node-call",
        group="nodes",
        operation="nothing",
        parameters={"calls": 1},
        quick={"calls": 1},
        entries=(Entry("tractor"),),
    )
    runners = all_runners({"tractor": "/no/such/python"})
    (measurement,) = await measure(benchmark, runners, Options(runs=1, quick=True), scratch)
    assert measurement.absent is not None
    assert "/no/such/python" in measurement.absent
    assert any("absent: " in line for line in rows(Result(benchmark, [measurement])))
