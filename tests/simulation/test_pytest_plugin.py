"""The plugin of pytest, in a program of its own as users start it."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import logging

from enfilade.actors.simulation import SimulationClock, World, simulate, simulated

logging.disable()


@simulated(seeds=2)
async def test_seed(world: World) -> None:
    await world.run(1)
    assert world.seed != 77, "the seed that was kept"


async def test_block(simulation_clock: SimulationClock) -> None:
    async with simulate(seed=1) as world:
        await world.run(60)
"""


def run(folder: Path, *arguments: str) -> str:
    """The output of pytest in a folder."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-o", "trio_mode=true"]
    ran = subprocess.run(
        [*command, *arguments, "test_bank.py"], cwd=folder, capture_output=True, text=True, timeout=240
    )
    return ran.stdout + ran.stderr


def test_pytest_has_a_clock_and_further_seeds(tmp_path: Path) -> None:
    (tmp_path / "test_bank.py").write_text(TESTS)
    kept = tmp_path / "simulation-seeds.tsv"
    kept.write_text("# what has failed\n\ntest_bank.py::test_seed\t77\t2026\ntest_bank.py::other\t5\n")
    said = run(tmp_path, "--simulation-seeds", "3")
    assert "5 passed" in said or "6 passed" in said  # one of the fresh ones may be one that there is
    assert "1 failed" in said
    assert "test_bank.py::test_seed[seed77] FAILED" in said
    assert "test_bank.py::test_seed[seed1] PASSED" in said
    assert "test_bank.py::test_block PASSED" in said
    assert "the seed that was kept" in said
    kept.write_text("test_bank.py::test_seed 77\n")
    assert "line 1: expected TEST, a tab and a seed, got 'test_bank.py::test_seed 77'" in run(tmp_path)


def test_pytest_loads_no_simulation_for_it() -> None:
    """All runs of pytest load the plugin, wherever enfilade is installed."""
    told = "import sys, enfilade.pytest_plugin; print([name for name in sys.modules if 'enfilade' in name])"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "['enfilade', 'enfilade.pytest_plugin']\n"
