"""The report: one table for people, one JSON document for programs.

A cost is that of one operation. A ratio is ours to the peer's, so that below 1 we are faster or smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from tests.benchmarks.benchmark import Benchmark, Unit
from tests.benchmarks.goals import ANCHORS, ARCHITECTURE, Goal, State, Verdict, verdict
from tests.benchmarks.measurement import Measurement

OURS = "enfilade"


@attrs.frozen
class Result:
    """One benchmark, its measurements, and how long it took in seconds."""

    benchmark: Benchmark
    measurements: list[Measurement]
    seconds: float = 0.0

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each goal of the benchmark."""
        return [verdict(goal, self.measurements) for goal in self.benchmark.goals]


def cost(value: float, unit: Unit) -> str:
    """A cost with three digits and a unit that suits it."""
    steps: list[tuple[float, str]]
    if unit == "bytes":
        steps = [(1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB")]
    else:
        steps = [(1e-9, "ns"), (1e-6, "us"), (1e-3, "ms"), (1, "s")]
    scale, name = next(((s, n) for s, n in reversed(steps) if abs(value) >= s), steps[0])
    return f"{value / scale:.3g} {name}" if value < scale * 1000 else f"{value / scale:.0f} {name}"


def ratio(value: float) -> str:
    """A ratio with a sensible number of digits."""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def goal_text(goal: Goal, unit: Unit) -> str:
    """The goal in words."""
    return f"<= {cost(goal.limit, unit)}" if goal.against is None else f"<= {goal.limit:.3g} x {goal.against}"


def reached_text(result: Verdict, unit: Unit) -> str:
    """The figure that was reached, in words."""
    if result.reached is None:
        return "-"
    return cost(result.reached, unit) if result.goal.against is None else ratio(result.reached)


def verdict_text(result: Verdict, unit: Unit) -> str:
    """What became of a goal, in words."""
    if result.state is State.UNKNOWN:
        return str(result.state.value)
    state = result.state.value if result.state is State.MET else result.state.value.upper()
    doubt = ", the least costs say otherwise" if result.is_close else ""
    return f"{state}, {reached_text(result, unit)}{doubt}"


def _ratios(measurement: Measurement, measurements: Sequence[Measurement]) -> str:
    """Our cells' costs as multiples of this peer's."""
    if measurement.family == OURS or not measurement.median:
        return ""
    ours = [m for m in measurements if m.family == OURS and m.median is not None]
    return "  ".join(f"{m.variant} {ratio((m.median or 0) / measurement.median)}".strip() for m in ours)


def _row(measurement: Measurement, result: Result) -> Iterator[str]:
    unit = result.benchmark.unit
    median, least, spread = measurement.median, measurement.least, measurement.spread
    if median is None or least is None or spread is None:
        reason = f"absent: {measurement.absent}" if measurement.absent else f"failed: {measurement.failed}"
        yield f"  {measurement.label:22}{'-':>10}{'-':>10}{'-':>8}  {reason}"
        return
    verdicts = [v for v in result.verdicts if v.goal.who == measurement.who]
    goals = [f"{goal_text(v.goal, unit)}: {verdict_text(v, unit)}" for v in verdicts]
    first, *more = goals or [""]
    figures = f"{cost(median, unit):>10}{cost(least, unit):>10}{spread:>8.0%}"
    yield f"  {measurement.label:22}{figures}  {_ratios(measurement, result.measurements):32}{first}".rstrip()
    yield from (f"{'':86}{goal}" for goal in more)


def heading() -> str:
    """The line above the table."""
    return f"{'':24}{'median':>10}{'least':>10}{'spread':>8}  {'ours / this':32}goal"


def rows(result: Result) -> Iterator[str]:
    """The lines of one benchmark: our cells, then every peer with our ratio to it."""
    yield f"{result.benchmark.name}: {result.benchmark.operation}"
    for measurement in result.measurements:
        yield from _row(measurement, result)


@attrs.frozen
class Judged:
    """A goal that was measured: where, and what came of it."""

    benchmark: Benchmark
    verdict: Verdict

    @property
    def text(self) -> tuple[str, str, str, str]:
        """Row, benchmark and cell, goal, what became of it."""
        goal, unit = self.verdict.goal, self.benchmark.unit
        cell = f"{self.benchmark.name}, {goal.who.partition('/')[2]}"
        return goal.row, cell, goal_text(goal, unit), verdict_text(self.verdict, unit)


def judged(results: Sequence[Result], rows: Sequence[str]) -> list[Judged]:
    """The goals of these rows, in their order."""
    every = [Judged(result.benchmark, v) for result in results for v in result.verdicts]
    return [each for row in rows for each in every if each.verdict.goal.row == row]


def count_text(goals: Sequence[Judged]) -> str:
    """How many goals were met, missed, and left without a figure."""
    counts = {state: sum(each.verdict.state is state for each in goals) for state in State}
    return ", ".join(f"{n} {state.value}" for state, n in counts.items() if n or state is not State.UNKNOWN)


def not_met(goals: Sequence[Judged]) -> Iterator[str]:
    """For each goal that was not met, what was measured and what it should have been."""
    for each in goals:
        if each.verdict.state is not State.MET:
            _row, cell, limit, _state = each.text
            yield f"{cell} {reached_text(each.verdict, each.benchmark.unit)} ({limit})"


def summary(results: Sequence[Result]) -> Iterator[str]:
    """The lines below the table: every goal and what became of it, then how many were met."""
    for title, names, counted in (
        ("goals of docs/benchmarks.md", ARCHITECTURE, "goals"),
        ("targets of docs/benchmarks.md, set for another machine", ANCHORS, "targets"),
    ):
        goals = judged(results, names)
        if goals:
            yield ""
            yield title
            for row, cell, limit, state in (each.text for each in goals):
                yield f"  {row:42}{cell:30}{limit:28}{state}"
            yield f"{counted}: {count_text(goals)}"
            yield from (f"  not met: {line}" for line in not_met(goals))


def document(results: Sequence[Result], about: dict[str, Any]) -> dict[str, Any]:
    """The whole run as JSON values: what it was made on, each cell with its runs, each goal."""
    return {
        "about": about,
        "benchmarks": [
            {
                "name": result.benchmark.name,
                "group": result.benchmark.group,
                "operation": result.benchmark.operation,
                "unit": result.benchmark.unit,
                "seconds": result.seconds,
                "cells": [measurement.record() for measurement in result.measurements],
                "goals": [
                    {
                        **attrs.asdict(each.goal),
                        "goal": goal_text(each.goal, result.benchmark.unit),
                        "reached": each.reached,
                        "reached_by_least": each.least,
                        "state": each.state.value,
                    }
                    for each in result.verdicts
                ],
            }
            for result in results
        ],
        "summary": {
            counted: {
                "text": count_text(judged(results, rows)),
                "not_met": list(not_met(judged(results, rows))),
            }
            for counted, rows in (("goals", ARCHITECTURE), ("targets", ANCHORS))
        },
    }
