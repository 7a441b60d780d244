"""`python -m tests.benchmarks.page FILE.json`: put the figures of a run into docs/benchmarks.md.

What lies between the two marks of the page is replaced; the rest is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.goals import ANCHORS, ARCHITECTURE
from tests.benchmarks.machine import in_words
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.report import OURS, Result, cost, count_text, judged
from tests.benchmarks.runner import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- The figures begin: python -m tests.benchmarks.page writes what lies between these marks. -->"
END = "<!-- The figures end. -->"
NOISY = 0.3
LIBRARIES = ("trio", "wasmtime", "msgspec", "cffi")


def results_of(document: dict[str, Any]) -> list[Result]:
    """The results that a run has written, of the benchmarks that are still in the catalogue."""
    records = {record["name"]: record for record in document["benchmarks"]}
    return [
        Result(
            benchmark,
            [Measurement.from_record(cell) for cell in records[benchmark.name]["cells"]],
            records[benchmark.name]["seconds"],
        )
        for benchmark in BENCHMARKS
        if benchmark.name in records
    ]


def block(document: dict[str, Any]) -> Iterator[str]:
    """The generated part of the page, line by line."""
    results = results_of(document)
    yield from _conditions(document["about"], results)
    yield from ("", "### Goals", "")
    yield from _goals(results, ARCHITECTURE, "goals")
    yield from ("", "### Targets of another machine", "")
    yield (
        "The targets in absolute terms follow from figures of a machine on which a checkpoint of trio takes "
        f"2.75 us; on this one it took {_checkpoint(results)}."
    )
    yield ""
    yield from _goals(results, ANCHORS, "targets")
    yield from ("", "### Every figure", "")
    yield (
        "Medians of the cost of one operation. `~` marks a spread, from the least to the greatest run, of "
        f"more than {NOISY:.0%} of the median."
    )
    for group in dict.fromkeys(result.benchmark.group for result in results):
        yield from _group(group, [result for result in results if result.benchmark.group == group])


def _conditions(about: dict[str, Any], results: Sequence[Result]) -> Iterator[str]:
    machine = about["machine"]
    versions: dict[str, set[str]] = {}
    loads = []
    for measurement in (m for result in results for m in result.measurements):
        loads += [load for run in measurement.runs for load in (run.load_before, run.load_after)]
        versions.setdefault(measurement.family, set()).add(measurement.version)
    libraries = [f"{name} {machine[name]}" for name in LIBRARIES]
    peers = [
        f"{family} {', '.join(sorted(versions[family] - {''}))}"
        for family in sorted(versions.keys() - {OURS, "C", "stream", "multiprocessing", *LIBRARIES})
    ]
    seconds = sum(result.seconds for result in results)
    yield (
        f"Runs from {about['started'][:16].replace('T', ' ')} UTC on, for {seconds / 60:.0f} minutes: "
        f"{about['runs']} of every cell, up to {about['most_runs']} where a goal stayed open."
    )
    yield ""
    yield f"* {in_words(machine)}; {', '.join(libraries)}."
    if machine["virtual"] == "yes":
        yield "  The machine is virtual: what its host does beside it is part of the noise."
    yield (
        f"* Load average before and after the runs: {min(loads):.1f} to {max(loads):.1f}, of which the "
        "benchmark itself makes 1 to 2."
    )
    yield f"* Peers: {'; '.join(peers)}."


def _goals(results: Sequence[Result], rows: Sequence[str], counted: str) -> Iterator[str]:
    goals = judged(results, rows)
    yield "| what | measured | goal | reached |"
    yield "|---|---|---|---|"
    for row, cell, limit, state in (goal.text for goal in goals):
        yield f"| {row} | {cell} | {_plain(limit)} | {state.replace('MISSED', '**missed**')} |"
    yield ""
    yield f"Of {len(goals)} {counted}: {count_text(goals)}."


def _plain(limit: str) -> str:
    return limit.replace("<= ", "\N{LESS-THAN OR EQUAL TO} ").replace(" x ", " \N{MULTIPLICATION SIGN} ")


def _checkpoint(results: Sequence[Result]) -> str:
    checkpoints = [
        cost(m.median, "seconds")
        for result in results
        if result.benchmark.name == "call"
        for m in result.measurements
        if m.family == "trio" and m.median is not None
    ]
    return checkpoints[0] if checkpoints else "an unknown time"


def _group(group: str, results: Sequence[Result]) -> Iterator[str]:
    """The tables of a group: benchmarks with nobody in common are not in one table."""
    yield from ("", f"#### {group.capitalize()}")
    table: list[Result] = []
    for result in results:
        if table and _labels(table).keys().isdisjoint(_labels([result])):
            yield from _table(table)
            table = []
        table.append(result)
    yield from _table(table)
    yield ""
    yield from (f"* `{r.benchmark.name}`: {r.benchmark.operation}." for r in results)
    reasons = [
        f"{result.benchmark.name}, {m.label}: {m.absent or f'failed: {m.failed}'}"
        for result in results
        for m in result.measurements
        if m.absent or m.failed
    ]
    if reasons:
        yield from ("", f"Without a figure: {'; '.join(reasons)}.")


def _labels(results: Sequence[Result]) -> dict[str, None]:
    """Who takes part, ours first."""
    measurements = [m for result in results for m in result.measurements]
    return {m.label: None for m in sorted(measurements, key=lambda m: m.family != OURS)}


def _table(results: Sequence[Result]) -> Iterator[str]:
    labels = _labels(results)
    yield ""
    yield f"| | {' | '.join(labels)} |"
    yield f"|---|{'---|' * len(labels)}"
    for result in results:
        by_label = {m.label: m for m in result.measurements}
        cells = [_cell(by_label.get(label), result) for label in labels]
        yield f"| {result.benchmark.name} | {' | '.join(cells)} |"


def _cell(measurement: Measurement | None, result: Result) -> str:
    if measurement is None:
        return ""
    if measurement.median is None or measurement.spread is None:
        return "absent" if measurement.absent else "failed"
    return f"{cost(measurement.median, result.benchmark.unit)}{' ~' if measurement.spread > NOISY else ''}"


def replaced(page: str, lines: Sequence[str]) -> str:
    """The page with these lines between its marks. Raises ValueError when it has not both marks, once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must have each of these lines once: {BEGIN!r}, {END!r}")
    before, rest = page.split(BEGIN)
    _old, after = rest.split(END)
    text = "\n".join(lines)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main(file: Annotated[Path, typer.Argument(help="What a run has written with --json.")]) -> None:
    """Put the figures of a run into docs/benchmarks.md."""
    document = json.loads(file.read_text())
    PAGE.write_text(replaced(PAGE.read_text(), list(block(document))))


if __name__ == "__main__":
    typer.run(main)
