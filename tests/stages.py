"""The test suite in the stages of CI: `python -m tests.stages [argument of pytest ...]`.

1. Tests without time, or in virtual time, by two processes. Nothing is repeated: a failure is a fault.
2. Tests marked `real`, about real time, real processes or the kernel, six at a time, because most of them
   wait for most of their time.
3. What failed in the second stage once more, each test alone in a process of its own. It is *flaky* when it
   passes now.

Each stage runs in workers of pytest-xdist, also where one at a time is enough: a crash or a time-out ends the
worker and fails the test that it ran, and another worker runs the rest.

Bytecode is written beside the sources, also where the environment says not to: the hundreds of Python
processes that tests start would compile everything anew.

`-n` among the arguments is the number of workers of both large stages.

At the end come the slowest tests, the slowest files, and the time of each stage, by the clock and of the
processors.
"""

import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import pytest

MOST_REPEATED = 5
"""A stage with more failures than this is broken, and repeating them would say nothing new."""

# Neighbours run in one process, which has what their file set up. (With `loadfile`, a test that crashes its
# worker is run again and again.)
NEIGHBOURS = ("--dist", "worksteal", "-p", "tests.real_files")
VIRTUAL = ("-m", "not real and not soak", *NEIGHBOURS)
REAL = ("-m", "real and not soak", *NEIGHBOURS, "--max-worker-restart", str(MOST_REPEATED))
ALONE = ("-n", "1", "--max-worker-restart", "0")

LISTED = 20
"""Slow tests, and slow files, to list."""


@attrs.define
class Tally:
    """What became of each test of a stage: a plugin of pytest in the process that controls the workers.

    Attributes:
        outcomes: of every test, by its id; ``not run`` until there is a report.
        broken: files and folders that could not be collected.
        seconds: of every test, with what it sets up and tears down.
        status: of the pytest run.
        clock: seconds that the run took.
        processors: seconds that the processors worked for it.
        real_files: files with tests marked `real` that were left to another stage; None if no worker told.
    """

    outcomes: dict[str, str] = attrs.field(factory=dict)
    broken: set[str] = attrs.field(factory=set)
    seconds: Counter[str] = attrs.field(factory=Counter)
    status: int = pytest.ExitCode.OK
    clock: float = 0.0
    processors: float = 0.0
    real_files: list[str] | None = None

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        for test in ids:
            self.outcomes.setdefault(test, "not run")

    def pytest_testnodedown(self, node: Any) -> None:
        told = getattr(node, "workeroutput", {})  # one that has crashed has none
        self.real_files = told.get("real_files", self.real_files)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.add(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        decides = report.when == "call" or not report.passed
        if decides and self.outcomes.get(report.nodeid) != "failed":
            self.outcomes[report.nodeid] = report.outcome

    @property
    def failed(self) -> list[str]:
        """The tests that failed."""
        return [test for test, outcome in self.outcomes.items() if outcome == "failed"]

    @property
    def ended(self) -> bool:
        """It ran to its end, and failed at most for tests that it names."""
        whole = not self.broken and "not run" not in self.outcomes.values()
        return whole and self.status in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}


def run(*arguments: str) -> Tally:
    """Run pytest once."""
    tally = Tally()
    began, worked = time.monotonic(), processor_time()
    tally.status = int(pytest.main([*arguments], plugins=[tally]))
    tally.clock, tally.processors = time.monotonic() - began, processor_time() - worked
    return tally


def processor_time() -> float:
    """Seconds that this process has worked, and every process below it that has been waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def repeat(failed: Iterable[str]) -> list[str]:
    """Run each test alone. Returns: those that passed."""
    return [test for test in failed if run(test, *ALONE).outcomes.get(test) == "passed"]


def announce(stage: str) -> None:
    """Print a stage's title."""
    print(f"\n===== {stage}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run one stage after the other. Returns: the exit status."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    announce("stage 1: tests without real time")
    virtual = run("-n", "2", *arguments, *VIRTUAL)
    stages = [virtual]
    flaky: list[str] = []
    if virtual.ended:
        announce("stage 2: tests about real time, processes or the kernel")
        files = virtual.real_files
        narrowed = () if files is None else ("--real-files", os.pathsep.join(files))
        real = run("-n", "6", *arguments, *REAL, *narrowed)
        stages.append(real)
        if real.ended and 0 < len(real.failed) <= MOST_REPEATED:
            announce("stage 3: what failed in stage 2, once more")
            flaky = repeat(real.failed)
            real.outcomes |= dict.fromkeys(flaky, "passed")
    show_seconds(stages)
    return conclude(stages, flaky)


def show_seconds(stages: Sequence[Tally]) -> None:
    """Print where the time has gone."""
    tests: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for stage in stages:
        tests += stage.seconds
    for test, seconds in tests.items():
        files[test.partition("::")[0]] += seconds
    for title, slow in (("slowest tests", tests), ("slowest files", files)):
        announce(title)
        for name, seconds in slow.most_common(LISTED):
            print(f"{seconds:7.1f} s  {name}")
    announce("time")
    for number, stage in enumerate(stages, 1):
        print(f"stage {number}: {stage.clock:.0f} s; the processors worked {stage.processors:.0f} s")


def conclude(stages: Sequence[Tally], flaky: Sequence[str]) -> int:
    """Print the result of all stages. Returns: the exit status."""
    outcomes: dict[str, Any] = {}
    for stage in stages:
        outcomes |= dict.fromkeys(stage.broken, "failed") | stage.outcomes
    count = Counter(outcomes.values())
    announce("result")
    for test in flaky:
        print(f"flaky: {test}")
    for number, stage in enumerate(stages, 1):
        for test in [*sorted(stage.broken), *stage.failed]:
            print(f"failed: {test}")
        if not stage.ended:
            print(f"stage {number} has not run to its end (exit status {stage.status})")
    if count["not run"]:
        print(f"{count['not run']} tests have not run; they count as failed")
    failures = count["failed"] + count["not run"]
    print(f"{count['passed']} passed, {failures} failed, {count['skipped']} skipped", flush=True)
    return int(failures > 0 or not all(stage.ended for stage in stages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
