"""The report: one table for people, one JSON document for programs.

A cost is that of one operation. A ratio is ours to the peer's, so that below 1 we are faster or smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from tests.benchmarks.benchmark import Benchmark, Goal, Unit
from tests.benchmarks.measurement import Measurement

OURS = "enfilade"


@attrs.frozen
class Verdict:
    """A goal, and the figure that was reached: a ratio, or a cost when the goal is not against anyone."""

    goal: Goal
    reached: float | None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None when there is no figure to compare with."""
        return None if self.reached is None else self.reached <= self.goal.limit


def verdict(goal: Goal, measurements: Sequence[Measurement]) -> Verdict:
    """How far one of our cells came with its goal; a peer counts with its best variant."""
    ours = [m.median for m in measurements if f"{m.family}/{m.variant}" == goal.who and m.median is not None]
    if not ours:
        return Verdict(goal, None)
    if goal.against is None:
        return Verdict(goal, ours[0])
    peers = [
        m.median
        for m in measurements
        if m.median is not None and goal.against in (m.family, f"{m.family}/{m.variant}")
    ]
    return Verdict(goal, ours[0] / min(peers) if peers else None)


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
    return f"<= {cost(goal.limit, unit)}" if goal.against is None else f"<= {goal.limit:g} x {goal.against}"


def _ratios(measurement: Measurement, measurements: Sequence[Measurement]) -> str:
    """Our cells' costs as multiples of this peer's."""
    if measurement.family == OURS or not measurement.median:
        return ""
    ours = [m for m in measurements if m.family == OURS and m.median is not None]
    return "  ".join(f"{m.variant} {ratio((m.median or 0) / measurement.median)}".strip() for m in ours)


def _goal_line(goal: Goal, unit: Unit, measurements: Sequence[Measurement]) -> str:
    result = verdict(goal, measurements)
    if result.reached is None:
        return f"{goal_text(goal, unit)}: no figure"
    reached = cost(result.reached, unit) if goal.against is None else ratio(result.reached)
    return f"{goal_text(goal, unit)}: {'met' if result.met else 'MISSED'}, {reached}"


def _row(
    measurement: Measurement, benchmark: Benchmark, measurements: Sequence[Measurement]
) -> Iterator[str]:
    median, spread = measurement.median, measurement.spread
    if median is None or spread is None:
        reason = f"absent: {measurement.absent}" if measurement.absent else f"failed: {measurement.failed}"
        yield f"  {measurement.label:22}{'-':>10}{'-':>10}{'-':>8}  {reason}"
        return
    who = f"{measurement.family}/{measurement.variant}"
    goals = [_goal_line(goal, benchmark.unit, measurements) for goal in benchmark.goals if goal.who == who]
    first, *more = goals or [""]
    least = cost(min(measurement.costs), benchmark.unit)
    figures = f"{cost(median, benchmark.unit):>10}{least:>10}{spread:>8.0%}"
    yield f"  {measurement.label:22}{figures}  {_ratios(measurement, measurements):32}{first}".rstrip()
    yield from (f"{'':86}{goal}" for goal in more)


def heading() -> str:
    """The line above the table."""
    return f"{'':24}{'median':>10}{'least':>10}{'spread':>8}  {'ours / this':32}goal"


def rows(benchmark: Benchmark, measurements: Sequence[Measurement]) -> Iterator[str]:
    """The lines of one benchmark: our cells, then every peer with our ratio to it."""
    yield f"{benchmark.name}: {benchmark.operation}"
    for measurement in measurements:
        yield from _row(measurement, benchmark, measurements)


def document(
    results: Sequence[tuple[Benchmark, Sequence[Measurement]]], about: dict[str, Any]
) -> dict[str, Any]:
    """The whole run as JSON values: what it was made on, each cell with its costs, each goal."""
    return {
        "about": about,
        "benchmarks": [
            {
                "name": benchmark.name,
                "group": benchmark.group,
                "operation": benchmark.operation,
                "unit": benchmark.unit,
                "cells": [measurement.record() for measurement in measurements],
                "goals": [
                    {
                        "who": goal.who,
                        "goal": goal_text(goal, benchmark.unit),
                        "reached": verdict(goal, measurements).reached,
                        "met": verdict(goal, measurements).met,
                    }
                    for goal in benchmark.goals
                ],
            }
            for benchmark, measurements in results
        ],
    }
