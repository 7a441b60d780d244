"""The harness: runs the cells of a benchmark beside each other, one at a time, in turn.

Each cell is one tree of OS processes that warms up and then waits. A run asks every cell of the benchmark
once, so that a disturbance of the machine falls on ours and on the peers alike; the order turns round with
every run. Only one cell works at a time.

When the runs leave a goal open, because the medians say one thing and the least costs another, the cells that
it speaks of are asked again, until both agree or a bound is reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import attrs
import trio

from tests.benchmarks import machine
from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.goals import verdict
from tests.benchmarks.measurement import Measurement, Run
from tests.benchmarks.processtree import MEMBERSHIP, pinned, process_tree
from tests.benchmarks.runner import ROOT, PreparationFailed, Runner
from tests.benchmarks.runners import runners_for
from tests.benchmarks.scratch import VARIABLE
from tests.benchmarks.worker import COLD, MARK


class CellFailed(Exception):
    """A cell ended, or gave no answer in time."""


class CellAbsent(Exception):
    """A cell cannot run on this machine; the text says why."""


@attrs.frozen
class Options:
    """How to measure: runs of every cell, the most runs of one whose goal stays open, tiny parameters or full
    ones, seconds to wait for one run, the families left out, the CPUs to use."""

    runs: int = 5
    most_runs: int = 15
    quick: bool = False
    timeout: float = 120.0
    without: frozenset[str] = frozenset()
    cpus: tuple[int, ...] = attrs.field(factory=lambda: tuple(sorted(os.sched_getaffinity(0))))


@attrs.define(eq=False)
class Cell:
    """One entry of a benchmark, run by one runner."""

    runner: Runner
    parameters: dict[str, int]
    cpus: list[int] | None
    runs: list[Run] = attrs.Factory(list)
    absent: str | None = None
    failed: str | None = None

    def measurement(self, benchmark: Benchmark) -> Measurement:
        return Measurement(
            benchmark=benchmark.name,
            family=self.runner.family,
            variant=self.runner.variant,
            version="" if self.absent else self.runner.version(),
            parameters=self.parameters,
            cpus=self.cpus,
            runs=self.runs,
            absent=self.absent,
            failed=self.failed,
        )


@attrs.define
class Worker:
    """The harness's end of a cell's process: asks for a run, reads the cost."""

    process: trio.Process
    errors: Path
    _buffer: bytes = b""

    async def answer(self, timeout: float) -> dict[str, object]:
        """The next answer of the worker. Raises CellFailed, CellAbsent."""
        try:
            with trio.fail_after(timeout):
                line = await self._line()
                while not line.startswith(MARK):
                    line = await self._line()
        except trio.TooSlowError:
            raise CellFailed(f"no answer in {timeout:g} s") from None
        answer = dict(json.loads(line.removeprefix(MARK)))
        if "absent" in answer:
            raise CellAbsent(answer["absent"])
        return answer

    async def run(self, timeout: float) -> Run:
        """One run. Raises CellFailed, CellAbsent."""
        assert self.process.stdin is not None
        before = machine.load()
        try:
            await self.process.stdin.send_all(b"run\n")
        except trio.BrokenResourceError:
            raise CellFailed(self._last_error()) from None
        cost = float(str((await self.answer(timeout))["value"]))
        return Run(cost, before, machine.load())

    async def _line(self) -> str:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            chunk = await self.process.stdout.receive_some()
            if not chunk:
                raise CellFailed(self._last_error())
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def _last_error(self) -> str:
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the process ended without a word"


@contextlib.asynccontextmanager
async def _worker(cell: Cell, benchmark: Benchmark, scratch: Path) -> AsyncIterator[Worker]:
    """The cell's process, ready to run; its temporary files go when it goes."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="", ignore_cleanup_errors=True) as directory:
        environment = {**os.environ, **cell.runner.environment()}
        environment |= {VARIABLE: str(scratch), MEMBERSHIP: directory, "TMPDIR": directory}
        if benchmark.cold:
            environment[COLD] = "1"
        command = pinned(cell.runner.command(benchmark, cell.parameters, scratch), cell.cpus)
        errors = Path(directory, "stderr")
        async with process_tree(command, environment=environment, directory=ROOT, errors=errors) as process:
            yield Worker(process, errors)


def cells_of(benchmark: Benchmark, runners: Sequence[Runner], options: Options) -> list[Cell]:
    """The cells of a benchmark: every runner of every entry, with its parameters and CPUs."""
    return [
        _cell(benchmark, entry, runner, options)
        for entry in benchmark.entries
        for runner in runners_for(entry, runners)
        if runner.family not in options.without
    ]


def _cell(benchmark: Benchmark, entry: Entry, runner: Runner, options: Options) -> Cell:
    count = benchmark.cpus or runner.cpus
    cpus = list(options.cpus[-count:]) if count <= len(options.cpus) else None
    absent = runner.absence()
    if absent is None and cpus is None:
        absent = f"needs {count} CPUs, there are {len(options.cpus)}"
    return Cell(runner, benchmark.parameters_for(entry, quick=options.quick), cpus, absent=absent)


async def measure(
    benchmark: Benchmark,
    runners: Sequence[Runner],
    options: Options,
    scratch: Path,
    progress: Callable[[str], None] = lambda _text: None,
) -> list[Measurement]:
    """Measure every cell of a benchmark, `options.runs` times in turn.

    Returns one measurement a cell, in the order of the entries; a cell that cannot run or fails says why.
    `progress` is told what is being done. Cancellation ends every process that was started.
    """
    cells = cells_of(benchmark, runners, options)
    async with contextlib.AsyncExitStack() as stack:
        workers: dict[int, Worker] = {}

        async def ask(cell: Cell) -> Run:
            if benchmark.cold:
                async with _worker(cell, benchmark, scratch) as worker:
                    await worker.answer(options.timeout)
                    return await worker.run(options.timeout)
            if id(cell) not in workers:
                worker = await stack.enter_async_context(_worker(cell, benchmark, scratch))
                await worker.answer(options.timeout)
                workers[id(cell)] = worker
            return await workers[id(cell)].run(options.timeout)

        async def take_turns(run: int, cells: Sequence[Cell]) -> None:
            for cell in cells if run % 2 == 0 else reversed(cells):
                if cell.absent is None and cell.failed is None:
                    progress(f"{benchmark.name}: {cell.runner.family} {cell.runner.variant}, run {run + 1}")
                    try:
                        cell.runs.append(await ask(cell))
                    except CellAbsent as reason:
                        cell.absent = str(reason)
                    except (CellFailed, PreparationFailed) as problem:
                        cell.failed = str(problem)

        for run in range(options.runs):
            await take_turns(run, cells)
        for run in range(options.runs, options.most_runs):
            open_ones = _in_open_goals(benchmark, cells)
            if not open_ones:
                break
            await take_turns(run, open_ones)
    return [cell.measurement(benchmark) for cell in cells]


def _in_open_goals(benchmark: Benchmark, cells: Sequence[Cell]) -> list[Cell]:
    """The cells of goals of which the medians say another thing than the least costs."""
    measurements = [cell.measurement(benchmark) for cell in cells]
    close = [goal for goal in benchmark.goals if verdict(goal, measurements).is_close]
    names = {goal.who for goal in close} | {goal.against for goal in close}
    return [
        cell
        for cell, measurement in zip(cells, measurements, strict=True)
        if not names.isdisjoint({measurement.who, measurement.family})
    ]
