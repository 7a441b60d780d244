"""`python -m tests.benchmarks`: measure, print the table and what became of the goals, write the JSON."""

from __future__ import annotations

import datetime
import fnmatch
import json
import signal
import time
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.console import Console

from tests.benchmarks import machine
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.harness import Options, measure
from tests.benchmarks.processtree import adopt_orphans
from tests.benchmarks.report import Result, document, heading, rows, summary
from tests.benchmarks.runners import all_runners
from tests.benchmarks.scratch import scratch_directory


def chosen(pattern: str | None) -> list[Benchmark]:
    """The benchmarks whose name or group matches the pattern (fnmatch); all without one."""
    wanted = pattern or "*"
    return [b for b in BENCHMARKS if fnmatch.fnmatch(b.name, wanted) or fnmatch.fnmatch(b.group, wanted)]


async def stop_at_termination(scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
    """End the run, and with it every process that it has started, when this process is to end."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _number in signals:
            scope.cancel()


def main(
    only: Annotated[str | None, typer.Option(help="Benchmarks or groups that match this pattern.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of every cell.")] = 5,
    most_runs: Annotated[int, typer.Option(help="Runs of a cell whose goal stays open, at most.")] = 15,
    quick: Annotated[
        bool, typer.Option(help="Tiny parameters: shows that all runs, measures nothing.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave out this family; repeatable.")] = None,
    interpreter: Annotated[
        list[str] | None, typer.Option(help="family=PATH: run a peer with a Python of its own; repeatable.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one run of a cell.")] = 120.0,
) -> None:
    """Measure ours and each peer's, print one table, and write one JSON document."""
    benchmarks = chosen(only)
    if not benchmarks:
        raise typer.BadParameter(
            f"no benchmark or group matches {only!r}: {', '.join(b.name for b in BENCHMARKS)}"
        )
    adopt_orphans()
    runners = all_runners(dict(text.split("=", 1) for text in interpreter or ()))
    options = Options(
        runs=runs,
        most_runs=runs if quick else max(runs, most_runs),
        quick=quick,
        timeout=timeout,
        without=frozenset(without or ()),
    )
    about = {
        "started": _now(),
        "machine": machine.describe(),
        "load": machine.load(),
        "runs": options.runs,
        "most_runs": options.most_runs,
        "quick": quick,
    }

    async def report() -> None:
        """Print and write what is known after each benchmark, for the case that the run is cut short."""
        results = []
        status = Console(stderr=True).status("")
        print(f"{machine.in_words(machine.describe())}; load {machine.load():.1f}", heading(), sep="\n\n")
        with scratch_directory() as scratch:
            async with trio.open_nursery() as nursery:
                await nursery.start(stop_at_termination, nursery.cancel_scope)
                for benchmark in benchmarks:
                    begin = time.monotonic()
                    with status:
                        cells = await measure(benchmark, runners, options, scratch, status.update)
                    results.append(Result(benchmark, cells, round(time.monotonic() - begin, 1)))
                    print("", *rows(results[-1]), sep="\n", flush=True)
                    if json_file is not None:
                        write(json_file, json.dumps(document(results, {**about, "ended": _now()}), indent=1))
                nursery.cancel_scope.cancel()
        print(*summary(results), sep="\n", flush=True)
        if len(results) < len(benchmarks):
            raise typer.Exit(1)

    trio.run(report)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def write(path: Path, text: str) -> None:
    """Put a text into a file, whose directory is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


if __name__ == "__main__":
    typer.run(main)
