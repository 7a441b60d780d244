"""Sockets and pipes from C, by the door library's latency program, which measures them beside the door."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

from tests.benchmarks.kernel import kernel

LIBRARY = Path(__file__).resolve().parents[3] / "transport" / "doors" / "c"


@functools.cache
def _program() -> str:
    """The program, compiled outside of the source tree, once a run."""
    build = os.path.join(os.environ["BENCH_SCRATCH"], "doors")
    program = f"{build}/bench/latency"
    command = ["make", "-s", "-C", str(LIBRARY), f"BUILD={build}", program]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return program


def latency(place: str, mechanism: str, size: int, calls: int) -> float:
    """Seconds for a round trip, by the row of the program's table for that mechanism in that place."""
    table = subprocess.run([_program(), str(calls)], check=True, capture_output=True, text=True).stdout
    for row in table.splitlines():
        fields = row.split()
        if fields[:3] == [place, str(size), mechanism]:
            return float(fields[3]) * 1e-6
    raise LookupError(f"the latency program has no row for {mechanism} of {size} bytes, placed {place!r}")


@kernel("door-in-c")
def on_one_cpu(variant: str, calls: int, size: int) -> float:
    return latency("same", variant, size, calls)


@kernel("door-in-c-apart")
def on_two_cpus(variant: str, calls: int, size: int) -> float:
    return latency("apart", variant, size, calls)
