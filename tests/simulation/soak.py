"""Play scenes by fresh seeds for hours: `python -m tests.simulation.soak --hours 8`.

One process for each processor plays one seed after the other. The seeds follow from the commit and a counter,
so that every commit sees others, and a soak that was interrupted goes on where it was. What fails is made
smaller at once and written to `.simulation/` as a test that runs. A table at the end says how much there was.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import logging
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from enfilade.actors.simulation.trial import Trial
from tests.simulation.scenes import SCENES

__all__ = ["Played", "play"]

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / ".simulation"

A_CHILD = 50
"""Seeds that a process plays before another takes its place: each crash in a world leaks a node."""


@attrs.frozen
class Played:
    """What came of one seed.

    Attributes:
        scene: its name.
        seed: the seed.
        seconds: virtual seconds that have passed.
        struck: the faults that have struck, by kind.
        failure: what went wrong, with its explanation; empty if nothing did.
    """

    scene: str
    seed: int
    seconds: float
    struck: dict[str, int]
    failure: str = ""


def play(scene: str, seed: int) -> Played:
    """Play one seed of a scene; explain a failure."""
    try:
        world = Trial(SCENES[scene], seed).run(None)
    except Exception as error:
        notes = "\n".join(error.__notes__)
        return Played(scene, seed, 0.0, {}, f"{type(error).__name__}: {error}\n{notes}")
    return Played(scene, seed, world.now(), world.struck)


def plan(first: int, base: int) -> Iterator[tuple[int, str, int]]:
    """The numbers from `first` on, each with a scene and a seed."""
    names = sorted(name for name in SCENES if name != "quiet")
    for number in itertools.count(first):
        yield number, names[number % len(names)], base + number // len(names)


def main(hours: float) -> int:
    """Play until the time is over; return the exit status."""
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    FOUND.mkdir(exist_ok=True)
    progress = FOUND / f"progress-{commit[:12]}"
    first = int(progress.read_text()) if progress.exists() else 0
    print(
        f"commit {commit[:12]}, from number {first}, for {hours:g} h; failures go to {FOUND.name}/",
        flush=True,
    )
    end = time.monotonic() + hours * 3600
    done: list[Played] = []
    processes = len(os.sched_getaffinity(0))
    with concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), logging.disable, max_tasks_per_child=A_CHILD
    ) as pool:
        numbers = plan(first, int(commit[:8], 16))
        under_way: dict[concurrent.futures.Future[Played], int] = {}
        while under_way or time.monotonic() < end:
            while len(under_way) < 2 * processes and time.monotonic() < end:
                number, scene, seed = next(numbers)
                under_way[pool.submit(play, scene, seed)] = number
            ready, _ = concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in ready:
                del under_way[future]
                played = future.result()
                done.append(played)
                if played.failure:
                    _keep(played)
            progress.write_text(str(min(under_way.values(), default=first + len(done))))
    return _report(done)


def _keep(played: Played) -> None:
    """Write down a failure: the explanation as a comment, and the test."""
    print(f"{played.scene} {played.seed}: {played.failure.splitlines()[0]}", flush=True)
    lines = played.failure.splitlines()
    begin = next((place for place, line in enumerate(lines) if line.startswith("from ")), len(lines))
    end = next((place for place, line in enumerate(lines) if line.startswith("story:")), len(lines))
    comment = "".join(f"# {line}\n" for line in (*lines[:begin], *lines[end:]))
    test = "\n".join(lines[begin:end])
    (FOUND / f"test_{played.scene}_{played.seed}.py").write_text(f"{comment}\n{test}\n")


def _report(done: list[Played]) -> int:
    failed = [played for played in done if played.failure]
    scenes = Counter(played.scene for played in done)
    struck: Counter[str] = Counter()
    for played in done:
        struck.update(played.struck)
    hours = sum(played.seconds for played in done) / 3600
    print(f"{len(done)} seeds, {hours:.1f} virtual hours, {len(failed)} failures")
    for table in (scenes, struck):
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(table.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--hours", type=float, default=1.0, help="how long to play")
    sys.exit(main(parser.parse_args().hours))
