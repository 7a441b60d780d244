"""The same seed gives the same run: in one process and in others, for every hash seed of Python."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio._core import _run as trio_run

from enfilade.actors import open_node
from enfilade.actors.node.runtime import REAL, NodeRuntime
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.simulation import World
from enfilade.actors.simulation import world as world_module
from enfilade.actors.simulation.log import first_difference
from enfilade.actors.simulation.machine import substitutes
from tests.simulation.run import line, played

ROOT = Path(__file__).resolve().parents[2]

GOLDEN = Path(__file__).with_name("golden.tsv")
"""A digest of the code; then digests by scene, seed and version of trio. `golden.py` writes it."""

RUNS = [("emigrants", 7), ("handshakes", 7), ("keyed actors", 2), ("messages", 1), ("quiet", 1)]


def fingerprint() -> str:
    """A digest of all that can change what a run does, except for Python and trio."""
    digest = hashlib.sha256()
    for folder in ("actors", "transport", "tests/simulation"):
        for path in sorted(ROOT.joinpath(folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def in_a_process(hash_seed: str, core: str) -> list[str]:
    """The lines of all runs, from a process of its own, which uses that core."""
    wanted = [str(part) for run in RUNS for part in run]
    command = [sys.executable, "-m", "tests.simulation.run", *wanted]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["ENFILADE_CORE"] = core
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=240)
    return ran.stdout.splitlines()


def test_sim_1_the_log_level_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """So a seed that has failed fails again while somebody reads the log of it."""
    silent = line("messages", 1)
    caplog.set_level("DEBUG")
    assert line("messages", 1) == silent
    assert any("crashed" in record.getMessage() for record in caplog.records)


@pytest.fixture(scope="module")
def lines_here() -> list[str]:
    """The lines of all runs in this process."""
    return [line(*run) for run in RUNS]


def test_sim_1_one_seed_is_one_run_in_every_process(lines_here: list[str]) -> None:
    """Twice in this process, and in another with another hash seed, and with the core in Python."""
    assert [line(*run) for run in RUNS] == lines_here
    assert in_a_process("777", "python") == lines_here


@pytest.mark.real
def test_sim_5_a_busy_machine_changes_nothing() -> None:
    """Two busy loops for each processor run beside it."""
    alone = line("messages", 1)
    count = 2 * len(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        assert line("messages", 1) == alone
    finally:
        for each in busy:
            each.kill()
            each.wait()


def test_sim_3_digests_are_those_that_are_kept(lines_here: list[str]) -> None:
    """So every version of Python that runs this is compared with all others."""
    code, *rows = GOLDEN.read_text().splitlines()
    if code != fingerprint():
        pytest.skip("the code has changed since: python -m tests.simulation.golden keeps its digests")
    kept = [row for row in rows if row.split("\t")[2] == trio.__version__]
    if not kept:
        pytest.skip(f"no digests are kept for trio {trio.__version__}: runs are compared with each other")
    assert lines_here == kept


def test_sim_7_other_seeds_are_other_runs() -> None:
    first, second = played("messages", 1), played("messages", 2)
    difference = first_difference(first.log, second.log)
    assert difference is not None
    assert first.digest != second.digest


def test_the_first_difference_is_found() -> None:
    """Also when it lies before the lines that are kept."""
    from enfilade.actors.simulation.log import KEPT, Log

    one, other, short = Log(), Log(), Log()
    for number in range(KEPT + 3000):
        one.write(1.0, number, "event")
        other.write(1.0, number, "other" if number == 1500 else "event")
    for number in range(5):
        short.write(1.0, number, "event")
    assert first_difference(one, one) is None
    found = first_difference(one, other)
    assert found is not None
    assert found[0] == 2000
    late = Log()
    for number in range(7):
        late.write(1.0, number, "other" if number == 5 else "event")
    assert first_difference(short, late) == (6, "", "1.0 5 other")


# Each substitute is needed: without it two runs part. So the comparison can fail.


def without_order(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def real(_: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(substitutes, "ordered", real)
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", False)


def without_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_runtimes(monkeypatch, entropy=os.urandom)


def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.urandom
    replace_in_runtimes(monkeypatch, random=lambda: int.from_bytes(real(6), "big") / 2**48)


def replace_in_runtimes(monkeypatch: pytest.MonkeyPatch, **real: Any) -> None:
    monkeypatch.setattr(world_module, "NodeRuntime", lambda **simulated: NodeRuntime(**{**simulated, **real}))


@pytest.mark.parametrize(
    "spoil", [without_order, without_entropy, without_chance], ids=lambda fn: fn.__name__
)
def test_sim_6_each_substitute_is_needed(spoil: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch)
    first = played("emigrants", 0).digest  # in which nodes are lost, and called again
    assert any(played("emigrants", 0).digest != first for _ in range(10))


def test_sim_9_a_fault_that_never_strikes_changes_nothing() -> None:
    """Streams of chance do not move each other."""
    from enfilade.actors.simulation import Crash, run_simulation
    from tests.simulation.scenes import messages

    def digest(spare: bool) -> str:
        found: list[str] = []

        async def main(world: World) -> None:
            if spare:
                world.random("spare").random()
                world.at(1e6, Crash("east"))
            await messages(world)
            found.append(world.digest)

        run_simulation(main, seed=3)
        return found[0]

    assert digest(spare=False) == digest(spare=True)


def test_sim_19_an_idle_hour_costs_seconds() -> None:
    """No assertion about speed but that it is not real time."""
    from enfilade.actors.simulation import run_simulation
    from tests.simulation.scenes import opened

    async def main(world: World) -> float:
        await opened(world, "east", "west", "south")
        await world.run(600)
        return world.now()

    began = time.monotonic()
    assert run_simulation(main, seed=1) >= 600.0
    assert time.monotonic() - began < 600.0


def test_sim_79_the_machine_itself_costs_nothing() -> None:
    """Without a world a node reads the machine's own clock, and no hot path asks what its ground is."""

    async def main() -> None:
        async with open_node("plain") as node:
            assert node.dispatcher._clock is time.perf_counter
            assert node.runtime is REAL
            assert REAL.entropy is os.urandom
            assert REAL.unix_time is time.time

    trio.run(main)
    for function in (LocalRef.send, LocalRef.cast, LocalRef.call, Dispatcher.run_group, Dispatcher._slice):
        code = getattr(function, "__code__", None)  # none, if it is compiled
        assert code is None or not {"runtime", "is_deterministic", "LIFE"} & set(code.co_names)
