"""Supervision: restarts and shutdowns, reports off on both sides."""

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import ANCHOR_RESTART, ANCHOR_TASK_RESTART, RESTART, Goal

_OURS = (Entry("enfilade/sync"), Entry("enfilade/function"))

SUPERVISION: tuple[Benchmark, ...] = (
    Benchmark(
        name="supervised-restart",
        group="supervision",
        operation="kill of a child until it runs again",
        parameters={"supervisors": 5, "restarts": 300},
        quick={"supervisors": 2, "restarts": 5},
        entries=(*_OURS, Entry("erlang")),
        goals=(
            Goal(RESTART, "enfilade/sync", 2.0, against="erlang"),
            Goal(ANCHOR_RESTART, "enfilade/sync", 10e-6),
            Goal(ANCHOR_TASK_RESTART, "enfilade/function", 50e-6),
        ),
    ),
    Benchmark(
        name="restart-storm",
        group="supervision",
        operation="restart of one of 1,000 children killed together",
        parameters={"children": 1_000},
        quick={"children": 10},
        entries=(*_OURS, Entry("erlang")),
    ),
    Benchmark(
        name="start-children",
        group="supervision",
        operation="start of a child under a dynamic supervisor",
        parameters={"children": 10_000},
        quick={"children": 10},
        entries=(*_OURS, Entry("erlang")),
    ),
    Benchmark(
        name="stop-children",
        group="supervision",
        operation="stop of one of 10,000 children of a dynamic supervisor",
        parameters={"children": 10_000},
        quick={"children": 10},
        entries=(*_OURS, Entry("erlang")),
    ),
)
