"""The page: figures of a run between the marks, and only there."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.benchmarks import machine
from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.measurement import Measurement, Run
from tests.benchmarks.page import BEGIN, END, PAGE, block, replaced, results_of
from tests.benchmarks.report import Result, document


def a_run() -> dict[str, Any]:
    """What a run writes in which every cell took 1 s but the last one of each benchmark, which is absent."""
    results = []
    for benchmark in BENCHMARKS:
        cells = [
            Measurement(benchmark.name, entry.family, entry.variant, "1", {}, None, [Run(1.0), Run(2.0)])
            for entry in benchmark.entries
        ]
        results.append(Result(benchmark, cells, 60.0))
    absent = Measurement("call", "trio", "", "", {}, None, absent="no such thing")
    results = [
        Result(r.benchmark, [*r.measurements[:-1], absent], 60.0) if r.benchmark.name == "call" else r
        for r in results
    ]
    about = {
        "started": "2026-11-22T00:00:00+00:00",
        "machine": machine.describe(),
        "runs": 5,
        "most_runs": 15,
    }
    return document(results, about)


def test_every_benchmark_and_every_goal_has_a_line() -> None:
    lines = list(block(a_run()))
    for benchmark in BENCHMARKS:
        assert any(line.startswith(f"| {benchmark.name} |") for line in lines)
        assert any(line.startswith(f"* `{benchmark.name}`: ") for line in lines)
    assert sum("**missed**" in line for line in lines) > 10, "a second for everything"
    assert any("call, trio: no such thing" in line for line in lines)


def test_tables_have_as_many_cells_in_each_line() -> None:
    lines = list(block(a_run()))
    for above, below in itertools.pairwise(lines):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|"), below


def test_results_survive_the_document() -> None:
    written = a_run()
    assert document(results_of(written), written["about"]) == written


def test_only_what_lies_between_the_marks_is_replaced() -> None:
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb\n", ["new"]) == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"
    assert replaced(PAGE.read_text(), ["new"]).count("new") >= 1
    with pytest.raises(ValueError, match="each of these lines once"):
        replaced(f"a\n{END}\n", ["new"])
