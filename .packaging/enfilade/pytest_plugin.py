"""A plugin of pytest: a clock for tests of worlds, and further seeds for the tests that `simulated` makes.

pytest finds it where enfilade is installed. Without it, `simulated` works with its own seeds.

It stands beside the packages, because every run of pytest loads it, also one in which nothing is simulated:
only the clock imports the simulation.
"""

from __future__ import annotations

import random
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from enfilade.actors.simulation.machine.clock import SimulationClock

__all__ = ["simulation_clock"]

ARGUMENT = "simulation_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """See pytest."""
    parser.getgroup("enfilade").addoption(
        "--simulation-seeds",
        type=int,
        default=0,
        metavar="N",
        help="play N fresh seeds of each simulated test, too; a failure names its seed",
    )
    parser.addini(
        "simulation_seeds",
        "a file of seeds that simulated tests play beside their own: FILE.py::TEST, a tab, a seed, and a tab "
        "before anything else in a line",
        default="simulation-seeds.tsv",
    )


@pytest.fixture
def simulation_clock() -> SimulationClock:
    """The clock of a test with pytest-trio that opens a world by `simulate`."""
    from enfilade.actors.simulation.machine.clock import SimulationClock

    return SimulationClock()


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give simulated tests their further seeds."""
    chosen: list[int] | None = getattr(metafunc.function, "seeds", None)
    if ARGUMENT not in metafunc.fixturenames or chosen is None:
        return
    name, config = metafunc.definition.nodeid, metafunc.config
    seeds = dict.fromkeys([*chosen, *_kept(config, name), *_fresh(config, name)])
    marks = metafunc.definition.own_markers
    for place, mark in enumerate(marks):
        if mark.name == "parametrize" and mark.args[0] == ARGUMENT:
            more = pytest.mark.parametrize(ARGUMENT, list(seeds), ids=[f"seed{seed}" for seed in seeds])
            marks[place] = more.mark


def _kept(config: pytest.Config, name: str) -> list[int]:
    """The seeds of a test in the file of seeds."""
    path = Path(config.rootpath, config.getini("simulation_seeds"))
    seeds = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
        test, _, rest = line.partition("\t")
        seed = rest.partition("\t")[0]
        if line.strip() and not line.startswith("#"):
            if not seed.strip().isdigit():
                raise pytest.UsageError(
                    f"{path}, line {number}: expected TEST, a tab and a seed, got {line!r}"
                )
            if test == name:
                seeds.append(int(seed))
    return seeds


def _fresh(config: pytest.Config, name: str) -> list[int]:
    """Seeds that no run has had before; all processes of pytest-xdist have the same."""
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    run = worker.get("testrunuid") or secrets.token_hex()
    draws = random.Random(f"{run} {name}")
    return [draws.getrandbits(40) for _ in range(config.getoption("--simulation-seeds"))]
