"""The harness: runs the cells of a benchmark beside each other, one at a time, in turn.

Each cell is one tree of OS processes that warms up and then waits. A run asks every cell of the benchmark
once, so that a disturbance of the machine falls on ours and on the peers alike; the order turns round with
every run. Only one cell works at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import attrs
import trio

from tests.benchmarks.benchmark import Benchmark, Entry
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.processtree import pinned, process_tree
from tests.benchmarks.runner import ROOT, PreparationFailed, Runner
from tests.benchmarks.runners import runners_for
from tests.benchmarks.worker import COLD, MARK


class CellFailed(Exception):
    """A cell ended, or gave no answer in time."""


@attrs.frozen
class Options:
    """How to measure: runs of every cell, tiny parameters or full ones, seconds to wait for one run, the
    families left out, the CPUs to use."""

    runs: int = 5
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
    costs: list[float] = attrs.Factory(list)
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
            costs=self.costs,
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
        """The next answer of the worker. Raises CellFailed."""
        try:
            with trio.fail_after(timeout):
                while True:
                    line = await self._line()
                    if line.startswith(MARK):
                        return dict(json.loads(line.removeprefix(MARK)))
        except trio.TooSlowError:
            raise CellFailed(f"no answer in {timeout:.0f} s") from None

    async def run(self, timeout: float) -> float:
        """The cost of one run. Raises CellFailed."""
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(b"run\n")
        except trio.BrokenResourceError:
            raise CellFailed(self._last_error()) from None
        return float(str((await self.answer(timeout))["value"]))

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
async def _worker(cell: Cell, benchmark: Benchmark, scratch: Path, errors: Path) -> AsyncIterator[Worker]:
    environment = {**os.environ, **cell.runner.environment()}
    environment["BENCH_SCRATCH"] = str(scratch)
    if benchmark.cold:
        environment[COLD] = "1"
    command = pinned(cell.runner.command(benchmark, cell.parameters, scratch), cell.cpus)
    stream = errors.open("wb")
    async with process_tree(command, environment=environment, directory=ROOT, errors=stream) as process:
        stream.close()
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
    """Measure every cell of a benchmark, ``options.runs`` times in turn.

    Returns one measurement a cell, in the order of the entries; a cell that cannot run or fails says why.
    ``progress`` is told what is being done. Cancellation ends every process that was started.
    """
    cells = cells_of(benchmark, runners, options)
    present = [cell for cell in cells if cell.absent is None]
    async with contextlib.AsyncExitStack() as stack:
        workers: dict[int, Worker] = {}

        async def take(cell: Cell, run: int) -> None:
            progress(f"{benchmark.name}: {cell.runner.family} {cell.runner.variant}, run {run + 1}")
            number = cells.index(cell)
            errors = scratch / f"{benchmark.name}-{number}.stderr"
            try:
                if benchmark.cold:
                    async with _worker(cell, benchmark, scratch, errors) as worker:
                        await worker.answer(options.timeout)
                        cell.costs.append(await worker.run(options.timeout))
                    return
                if number not in workers:
                    workers[number] = await stack.enter_async_context(
                        _worker(cell, benchmark, scratch, errors)
                    )
                    await workers[number].answer(options.timeout)
                cell.costs.append(await workers[number].run(options.timeout))
            except (CellFailed, PreparationFailed) as problem:
                cell.failed = str(problem)

        for run in range(options.runs):
            for cell in present if run % 2 == 0 else reversed(present):
                if cell.failed is None:
                    await take(cell, run)
    return [cell.measurement(benchmark) for cell in cells]
