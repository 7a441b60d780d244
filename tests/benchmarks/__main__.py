"""``python -m tests.benchmarks``: measure, print the table, write the JSON."""

from __future__ import annotations

import datetime
import fnmatch
import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.console import Console

from tests.benchmarks import machine
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.harness import Options, measure
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.processtree import adopt_orphans
from tests.benchmarks.report import document, table
from tests.benchmarks.runner import Runner
from tests.benchmarks.runners import all_runners


def chosen(pattern: str | None) -> list[Benchmark]:
    """The benchmarks whose name or group matches the pattern (fnmatch); all without one."""
    wanted = pattern or "*"
    return [b for b in BENCHMARKS if fnmatch.fnmatch(b.name, wanted) or fnmatch.fnmatch(b.group, wanted)]


async def measure_all(
    benchmarks: Sequence[Benchmark], runners: Sequence[Runner], options: Options, console: Console
) -> list[tuple[Benchmark, list[Measurement]]]:
    """Measure the benchmarks one after the other."""
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, console.status("starting") as status:
        for benchmark in benchmarks:
            cells = await measure(benchmark, runners, options, Path(scratch), status.update)
            results.append((benchmark, cells))
    return results


def main(
    only: Annotated[str | None, typer.Option(help="Benchmarks or groups that match this pattern.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of every cell.")] = 5,
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
    console = Console()
    adopt_orphans()
    runners = all_runners(dict(text.split("=", 1) for text in interpreter or ()))
    options = Options(runs=runs, quick=quick, timeout=timeout, without=frozenset(without or ()))
    about = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "load": machine.load(),
        "runs": runs,
        "quick": quick,
    }
    results = trio.run(functools.partial(measure_all, benchmarks, runners, options, console))
    print("\n".join(table(results)))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(document(results, about), indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
