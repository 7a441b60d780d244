"""Kernels written in Erlang, compiled once a run into the scratch directory."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.runner import complete, missing
from tests.ports import free_port

SOURCES = Path(__file__).with_name("erlang")


@attrs.define
class ErlangRunner:
    """Runs kernels of Erlang with as many schedulers as CPUs."""

    variant: str
    cpus: int
    family: str = attrs.field(default="erlang", init=False)

    def absence(self) -> str | None:
        return missing("erl", "erlc")

    def version(self) -> str:
        return _version()

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        settings = [f"{name}={value}" for name, value in parameters.items()]
        machine = self._machine(scratch, named=benchmark.group == "nodes")
        return [*machine, "-s", "bench", "main", "-extra", benchmark.kernel, *settings]

    def rehearsal(self, benchmarks: Sequence[Benchmark], scratch: Path) -> list[str]:
        """The command that runs the kernels of these benchmarks once each, with tiny parameters."""
        cells: list[str] = []
        for benchmark in benchmarks:
            cells += [",", benchmark.kernel, *(f"{name}={value}" for name, value in benchmark.quick.items())]
        return [*self._machine(scratch, named=True), "-s", "bench", "rehearse", "-extra", *cells[1:]]

    def _machine(self, scratch: Path, *, named: bool) -> list[str]:
        schedulers = ["+S", f"{self.cpus}:{self.cpus}", "+P", "1000000"]
        name = ["-sname", f"bench{free_port()}"] if named else []
        return ["erl", *schedulers, "-noshell", *name, "-pa", str(_compiled(scratch))]

    def environment(self) -> dict[str, str]:
        # A port mapper of our own: it belongs to the cell's process tree and ends with it.
        return {"ERL_EPMD_PORT": str(free_port()), "ERL_CRASH_DUMP_SECONDS": "0"}


@functools.cache
def _version() -> str:
    release, flavor = "erlang:system_info(otp_release)", "erlang:system_info(emu_flavor)"
    expression = f'io:format("OTP ~s, ~p", [{release}, {flavor}]), halt().'
    return complete(["erl", "-noshell", "-eval", expression])


def _compiled(scratch: Path) -> Path:
    beams = scratch / "erlang"
    if not beams.exists():
        beams.mkdir()
        complete(["erlc", "-o", str(beams), *(str(path) for path in sorted(SOURCES.glob("*.erl")))])
    return beams
