"""`simulated`: tests of a world, one for each seed; and what is said of one that failed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import attrs
import pytest

from enfilade.actors.simulation.minimise import minimised
from enfilade.actors.simulation.schedule import Schedule
from enfilade.actors.simulation.simulate import run_simulation
from enfilade.actors.simulation.world import World

__all__ = ["simulated"]

RUNS: Final = 60
"""Runs that are spent on making the schedule of a failure smaller."""

LAST: Final = 12
"""Events of the log that are shown of a failure."""

Main = Callable[..., Awaitable[object]]


def simulated(
    *, seed: int | None = None, seeds: int | Iterable[int] | None = None, schedule: Schedule | None = None
) -> Callable[[Main], Any]:
    """Make a test of a coroutine function with an argument `world`: one for each seed.

    The test is a plain function, for pytest without any plugin; other arguments are fixtures, which must not
    be asynchronous. When it fails, the error says how to run that seed again, and with how few of the faults
    that were drawn it still fails. What `World.sometimes` looks for must be seen by one seed of the test, if
    all of them run in this process: the last one fails if none has.

    Args:
        seed: the only seed.
        seeds: how many seeds, from 0, or which.
        schedule: faults in the place of those that `World.faults` is given.

    Raises:
        TypeError: not exactly one of `seed` and `seeds` is given, or the function has no argument `world`.
    """
    if (seed is None) == (seeds is None):
        raise TypeError("simulated() must be given either seed=7 or seeds=50")
    if seeds is None:
        chosen = [seed]
    else:
        chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)

    def decorate(main: Main) -> Any:
        signature = inspect.signature(main)
        if "world" not in signature.parameters:
            raise TypeError(f"{main.__qualname__} must have an argument `world`")
        others = [each for name, each in signature.parameters.items() if name != "world"]
        number = inspect.Parameter("simulation_seed", inspect.Parameter.KEYWORD_ONLY)
        sightings = _Sightings(frozenset(chosen))

        def run(*, simulation_seed: int, **fixtures: Any) -> None:
            world = _Trial(main, simulation_seed, fixtures).run(schedule)
            sightings.add(simulation_seed, world.seen)

        functools.update_wrapper(run, main)
        del run.__wrapped__  # type: ignore[attr-defined]  # it is no coroutine function for anybody
        run.main = main  # type: ignore[attr-defined]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[
                *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in others),
                number,
            ],
            return_annotation=None,
        )
        return pytest.mark.parametrize("simulation_seed", chosen, ids=[f"seed{each}" for each in chosen])(run)

    return decorate


@attrs.define
class _Sightings:
    """What the seeds of a test have seen of the properties of `World.sometimes`."""

    seeds: frozenset[int | None]
    played: set[int] = attrs.field(factory=set)
    seen: dict[str, bool] = attrs.field(factory=dict)

    def add(self, seed: int, seen: dict[str, bool]) -> None:
        """Note what a seed has seen.

        Raises:
            AssertionError: all seeds have been played, and none of them has seen something.
        """
        self.played.add(seed)
        for name, was_seen in seen.items():
            self.seen[name] = self.seen.get(name, False) or was_seen
        unseen = [name for name, was_seen in self.seen.items() if not was_seen]
        if unseen and self.played >= self.seeds:
            raise AssertionError(
                f"{unseen[0]!r} held in none of {len(self.seeds)} seeds: the test never gets to the point"
            )


@attrs.frozen
class _Trial:
    """One seed of a test."""

    main: Main
    seed: int
    fixtures: dict[str, Any]

    def run(self, schedule: Schedule | None) -> World:
        """Run it, and return its world; a failure is explained."""
        worlds: list[World] = []
        try:
            self.play(schedule, worlds)
        except Exception as error:
            if worlds and not isinstance(error, pytest.skip.Exception):
                for note in self._notes(error, worlds[0]):
                    error.add_note(note)
            raise
        return worlds[0]

    def play(self, schedule: Schedule | None, worlds: list[World]) -> None:
        """Run the world once."""

        async def main(world: World) -> None:
            worlds.append(world)
            world.prescribed = schedule
            await self.main(world=world, **self.fixtures)

        run_simulation(main, seed=self.seed)

    def _notes(self, error: Exception, world: World) -> Iterable[str]:
        if world.options:
            yield f"options: {world.options}"
        if world.drawn:
            smallest = minimised(list(world.drawn), lambda tried: self._fails(tried, error), RUNS)
            shown = f"{len(smallest)} of {len(world.drawn)} faults"
            yield f"schedule: {shown}; as a test:\n{self._source(smallest)}"
        yield "last events:\n  " + "\n  ".join(world.log.tail(LAST))

    def _fails(self, schedule: Schedule, error: Exception) -> bool:
        """Run with another schedule; tell whether it fails with an error of the same kind."""
        try:
            self.play(schedule, [])
        except Exception as other:
            return type(other) is type(error)
        return False

    def _source(self, schedule: Schedule) -> str:
        """The source of a test with this schedule."""
        name = self.main.__name__
        kinds = ", ".join(sorted({type(fault).__name__ for _, fault in schedule} | {"simulated"}))
        faults = "".join(f"    ({when!r}, {fault!r}),\n" for when, fault in schedule)
        given = "".join(f", {fixture}" for fixture in self.fixtures)
        return (
            f"from enfilade.actors.simulation import {kinds}\n"
            f"from {self.main.__module__} import {name}\n\n"
            f"SCHEDULE = [\n{faults}]\n\n\n"
            f"@simulated(seed={self.seed}, schedule=SCHEDULE)\n"
            f"async def test_seed_{self.seed}(world{given}):\n"
            f"    await {name}.main(world{given})\n"
        )
