"""What a runner is: one way to run cells, which says how they are started, and why they cannot be."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tests.benchmarks.benchmark import Benchmark

ROOT = Path(__file__).resolve().parents[2]


class PreparationFailed(Exception):
    """What a family needs before its first cell could not be made; the text says what failed."""


class Runner(Protocol):
    """One way to run cells: a family (`erlang`), in one of its variants (`1 cpu`), on so many CPUs."""

    family: str
    variant: str
    cpus: int

    def absence(self) -> str | None:
        """Why no cell of this runner can run here, or None."""

    def version(self) -> str:
        """The version of what is measured, for the report."""

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        """The command that serves the cell by the worker's protocol.

        Raises PreparationFailed.
        """

    def environment(self) -> dict[str, str]:
        """What the command's environment has besides ours."""


def missing(*programs: str) -> str | None:
    """Which of the programs are not on the path, in words; None when all are."""
    absent = [program for program in programs if shutil.which(program) is None]
    return f"no {' and no '.join(absent)} on the path" if absent else None


def complete(command: list[str]) -> str:
    """Run a command to its end and return its standard output. Raises PreparationFailed with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PreparationFailed(f"{command[0]}: {done.stdout}{done.stderr}".strip())
    return done.stdout
