"""Every benchmark runs once, with tiny parameters, and yields positive figures; speed is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.benchmark import Benchmark, Entry, Goal
from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.harness import Options, measure
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.processtree import adopt_orphans
from tests.benchmarks.report import cost, document, table, verdict
from tests.benchmarks.runners import all_runners, runners_for

RUNNERS = all_runners({})


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all benchmarks, so that what they compile is compiled once."""
    adopt_orphans()
    return tmp_path_factory.mktemp("benchmarks")


@pytest.mark.parametrize("benchmark_", BENCHMARKS, ids=lambda b: b.name)
async def test_benchmark_runs(benchmark_: Benchmark, scratch: Path) -> None:
    """Ours must run; a peer must run or be absent with a reason."""
    measurements = await measure(benchmark_, RUNNERS, Options(runs=1, quick=True, timeout=30), scratch)
    assert len(measurements) >= len(benchmark_.entries)
    for measurement in measurements:
        assert measurement.failed is None, f"{measurement.label}: {measurement.failed}"
        if measurement.absent is None:
            assert [value > 0 for value in measurement.costs] == [True], measurement.label
        else:
            assert measurement.family != "enfilade" or measurement.cpus is None, measurement.absent
    json.dumps(document([(benchmark_, measurements)], {}))
    assert len(list(table([(benchmark_, measurements)]))) > len(measurements)


def test_catalogue_names_only_runners_and_cells_that_exist() -> None:
    assert len({b.name for b in BENCHMARKS}) == len(BENCHMARKS)
    for each in BENCHMARKS:
        for entry in each.entries:
            assert runners_for(entry, RUNNERS)
            assert set(entry.parameters) <= set(each.parameters), f"{each.name}: {entry.who}"
        for goal in each.goals:
            assert goal.who in {entry.who for entry in each.entries}, f"{each.name}: {goal.who}"


def _measured(family: str, variant: str, *costs: float) -> Measurement:
    return Measurement("b", family, variant, "1", {}, None, list(costs))


def test_a_goal_is_against_the_best_variant_of_a_peer() -> None:
    goal = Goal("enfilade/sync", 1.0, against="erlang")
    measurements = [
        _measured("enfilade", "sync", 3.0, 2.0, 9.0),
        _measured("erlang", "1 cpu", 2.0),
        _measured("erlang", "2 cpus", 4.0),
    ]
    assert verdict(goal, measurements).reached == pytest.approx(1.5)
    assert verdict(goal, measurements).met is False
    assert verdict(goal, measurements[:1]).met is None


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
    assert any("absent: " in line for line in table([(benchmark, [measurement])]))
