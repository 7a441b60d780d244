"""Trials: one run of a test of a world, and what is said of one that fails."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from enfilade.actors.simulation.fault_schedule import Schedule
from enfilade.actors.simulation.faults.minimise import minimised
from enfilade.actors.simulation.mishaps import NoChance, split, tape_of
from enfilade.actors.simulation.run import run_simulation
from enfilade.actors.simulation.story import last_events, story
from enfilade.actors.simulation.world import World

__all__ = ["Main", "Trial"]

RUNS: Final = 60
"""Runs that are spent on making the schedule of a failure smaller."""

MORE_RUNS: Final = 120
"""Runs that are spent on leaving out what chance has decided."""

SILENCE: Final = (0.0, NoChance())
"""The entry of a schedule with which nothing else happens by chance."""

KEPT: Final = Path(".simulation")
"""The folder for tests that a failure was turned into, in the directory that the program was started in."""

DIFFERS: Final = re.compile(r"<[^<>]*:\d+>|[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")
"""The parts of an error's first line that differ between runs that fail alike: refs and numbers."""

Main = Callable[..., Awaitable[object]]


@attrs.frozen
class Trial:
    """One seed of a test.

    Attributes:
        main: the test, a coroutine function with an argument `world`.
        seed: which world.
        fixtures: its other arguments.
    """

    main: Main
    seed: int
    fixtures: dict[str, Any] = attrs.field(factory=dict)

    def run(self, schedule: Schedule | None) -> World:
        """Run it, and return its world; a failure is explained."""
        worlds: list[World] = []
        try:
            self.play(schedule, worlds)
        except Exception as error:
            if worlds:
                for note in self._notes(error, worlds[0], schedule):
                    error.add_note(note)
            raise
        return worlds[0]

    def play(self, schedule: Schedule | None, worlds: list[World]) -> None:
        """Run the world once."""

        async def main(world: World) -> None:
            worlds.append(world)
            await self.main(world=world, **self.fixtures)

        run_simulation(main, seed=self.seed, schedule=schedule)

    def _notes(self, error: Exception, world: World, given: Schedule | None) -> Iterable[str]:
        """What is said of a failure, in the order in which it is read."""
        if world.options:
            yield f"options: {world.options}"
        last, seconds = _Failure(error, world), time.process_time()
        mishaps = tape_of(world.network.tape)
        if world.drawn or mishaps:
            search = _Search(self, last)
            smallest = search.smallest(last, given or [])
            last = search.latest
            effort = f"{search.runs} runs, {time.process_time() - seconds:.0f} s"
            chance = f" and {len(mishaps)} mishaps by chance" if mishaps else ""
            if smallest is None:
                yield (
                    f"schedule: {len(world.drawn)} faults{chance}; played as a list they do not fail in this "
                    f"way, so run the seed itself again: seed={self.seed}"
                )
            elif smallest == given:
                yield f"schedule: as it was given, for it needs all of its {len(smallest)} faults ({effort})"
            else:
                source = self._source(smallest)
                needed, decided = ([e for e in part if e != SILENCE] for part in split(smallest)[::-1])
                left = f" and {len(decided)} of {len(mishaps)} mishaps by chance" if mishaps else ""
                yield (
                    f"schedule: {len(needed)} of {len(world.drawn)} faults{left} ({effort}); as a test"
                    f"{self._keep(source)}:\n{source}"
                )
        yield "story:\n" + "\n".join(story(last.world, last.error))
        yield "last events:\n  " + "\n  ".join(last_events(last.world))

    def _keep(self, source: str) -> str:
        """Write the source of a test into a file; say where it is."""
        path = KEPT / f"test_{self.main.__name__}_{self.seed}.py"
        try:
            KEPT.mkdir(exist_ok=True)
            path.write_text(source)
        except OSError as error:
            return f" (which cannot be written to {path}: {error.strerror})"
        return f" (python -m pytest {path} runs it)"

    def _source(self, schedule: Schedule) -> str:
        """The source of a test with this schedule."""
        module, name = _module_of(self.main), self.main.__name__
        decorated = getattr(sys.modules.get(self.main.__module__), name, None)
        run = f"{name}.main" if getattr(decorated, "main", None) is self.main else name
        kinds = ", ".join(sorted({type(fault).__name__ for _, fault in schedule} | {"simulated"}))
        faults = "".join(f"    ({when!r}, {fault!r}),\n" for when, fault in schedule)
        given = "".join(f", {fixture}" for fixture in self.fixtures)
        is_local = "<locals>" in self.main.__qualname__
        advice = f"# {name} is defined in a function: move it out to run this.\n" if is_local else ""
        return (
            f"{advice}from enfilade.actors.simulation import {kinds}\n"
            f"from {module} import {name}\n\n"
            f"SCHEDULE = [\n{faults}]\n\n\n"
            f"@simulated(seed={self.seed}, schedule=SCHEDULE)\n"
            f"async def test_seed_{self.seed}(world{given}):\n"
            f"    await {run}(world{given})\n"
        )


def _module_of(main: Main) -> str:
    """The name by which the module of a test can be imported; that of a program is the name of its file."""
    name = main.__module__
    path = getattr(sys.modules.get(name), "__file__", None)
    return Path(path).stem if name == "__main__" and path is not None else name


@attrs.frozen
class _Failure:
    """An error, and the world that failed with it."""

    error: Exception
    world: World


@attrs.define
class _Search:
    """Runs a trial with one schedule after another.

    Attributes:
        trial: which.
        latest: the failure that is looked for, or the last one that was like it.
        runs: how many there were.
    """

    trial: Trial
    latest: _Failure
    runs: int = 0

    def smallest(self, failure: _Failure, given: Schedule) -> Schedule | None:
        """The smallest schedule that was found to fail in the same way; None if none does.

        First faults are left out while chance goes on as the seed has it, for each one that is left out moves
        what chance does; then what chance has decided in the run that is left.

        Args:
            failure: what is looked for.
            given: the schedule with which it failed, if it was given one.
        """
        decided, _ = split(given)
        faults = [*decided, *failure.world.drawn]
        if not self.fails(faults):
            return None
        if SILENCE in faults:
            faults.remove(SILENCE)
            return self._in_silence(faults)
        faults = minimised(faults, self.fails, RUNS)
        mishaps = tape_of(self.latest.world.network.tape)
        if not mishaps or self.fails([SILENCE, *faults]):
            return faults  # which chance does nothing for
        if not self.fails([SILENCE, *mishaps, *faults]):
            return faults
        return self._in_silence([*mishaps, *faults])

    def _in_silence(self, entries: Schedule) -> Schedule:
        """Make a schedule smaller with which nothing else happens by chance."""
        smallest = minimised(entries, lambda left: self.fails([SILENCE, *left]), MORE_RUNS)
        return [SILENCE, *smallest]

    def fails(self, schedule: Schedule) -> bool:
        """Run with a schedule; tell whether it fails as before, but for numbers and refs."""
        self.runs += 1
        worlds: list[World] = []
        try:
            self.trial.play(schedule, worlds)
        except Exception as error:
            if _is_like(error, self.latest.error):
                self.latest = _Failure(error, worlds[0])
                return True
        return False


def _is_like(one: Exception, other: Exception) -> bool:
    ours, theirs = (DIFFERS.sub("", str(error).partition("\n")[0]) for error in (one, other))
    return type(one) is type(other) and ours == theirs
