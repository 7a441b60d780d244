"""Kernels written in Python: ours in `subjects/<group>.py`, a peer's in `peers/<file>.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.runner import ROOT, missing

_PROBE = """
import importlib, importlib.metadata, platform, sys
module, distribution = sys.argv[1:]
python = "Python " + platform.python_version()
try:
    importlib.import_module(module)
except Exception as problem:
    print("absent", f"{python}: {problem}".splitlines()[0])
else:
    try:
        print("present", importlib.metadata.version(distribution) if distribution else python)
    except importlib.metadata.PackageNotFoundError:
        print("present", "of this tree")
"""


@attrs.define
class PythonRunner:
    """Runs kernels of one module, with the `interpreter`, if that can import what it `requires`.

    `module` is the kernels' module, with the benchmark's group in the place of `{group}`;
    `distribution` is where the version is read, and empty for what belongs to Python; `programs` must
    be on the path.
    """

    family: str
    variant: str
    cpus: int
    module: str
    requires: str
    distribution: str
    programs: tuple[str, ...] = ()
    interpreter: str = sys.executable
    _probed: tuple[str, str] | None = attrs.field(default=None, init=False)

    def _probe(self) -> tuple[str, str]:
        if self._probed is None:
            command = [self.interpreter, "-c", _PROBE, self.requires, self.distribution]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
            except OSError as problem:
                self._probed = ("absent", str(problem))
            else:
                state, _, detail = done.stdout.strip().rpartition("\n")[2].partition(" ")
                self._probed = (
                    state or "absent",
                    detail or f"{self.interpreter} ended with {done.returncode}",
                )
        return self._probed

    def absence(self) -> str | None:
        state, detail = self._probe()
        return missing(*self.programs) or (detail if state == "absent" else None)

    def version(self) -> str:
        return self._probe()[1]

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        arguments = [self.module_for(benchmark), benchmark.kernel, self.variant, json.dumps(dict(parameters))]
        return [self.interpreter, "-m", "tests.benchmarks.worker", *arguments]

    def rehearsal(self, benchmarks: Sequence[Benchmark]) -> list[str]:
        """The command that runs the kernels of these benchmarks once each, with tiny parameters."""
        return self.rehearsal_of_cells(self.cells(benchmarks))

    def cells(self, benchmarks: Sequence[Benchmark]) -> list[list[object]]:
        """What a rehearsal runs of these benchmarks."""
        return [[self.module_for(b), b.kernel, self.variant, dict(b.quick)] for b in benchmarks]

    def rehearsal_of_cells(self, cells: Sequence[list[object]]) -> list[str]:
        """The command that runs those cells in one process, also of other variants with this interpreter."""
        return [self.interpreter, "-m", "tests.benchmarks.rehearsal", json.dumps(cells)]

    def module_for(self, benchmark: Benchmark) -> str:
        """The module that has the kernel of `benchmark`."""
        return self.module.format(group=benchmark.group)

    def environment(self) -> dict[str, str]:
        return {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
