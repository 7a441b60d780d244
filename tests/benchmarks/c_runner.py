"""Round trips in C: the program `c/round_trips.c`, linked with our door library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.runner import ROOT, complete, missing

SOURCE = Path(__file__).with_name("c") / "round_trips.c"
LIBRARY = ROOT / "transport" / "doors" / "c"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{LIBRARY / 'include'}")


@attrs.define
class CRunner:
    """Runs one mechanism of the program, which is compiled once a run into the scratch directory."""

    family: str
    variant: str
    mechanism: str
    cpus: int = attrs.field(default=2, init=False)

    def absence(self) -> str | None:
        return missing("make", "cc")

    def version(self) -> str:
        return "of this tree"

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        program = _compiled(scratch)
        arguments = [str(parameters[name]) for name in ("calls", "size", "clients")]
        return [str(program), self.mechanism, *arguments]

    def environment(self) -> dict[str, str]:
        return {}


def _compiled(scratch: Path) -> Path:
    program = scratch / "round_trips"
    if not program.exists():
        build = scratch / "doors"
        archive = build / "libdoor.a"
        complete(["make", "-s", "-C", str(LIBRARY), f"BUILD={build}", str(archive)])
        complete(["cc", *FLAGS, str(SOURCE), str(archive), "-o", str(program)])
    return program
