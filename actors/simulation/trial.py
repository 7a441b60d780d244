"""Trials: one run of a test of a world, and what is said of one that fails."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import attrs

from enfilade.actors.simulation.faults.minimise import minimised
from enfilade.actors.simulation.schedule import Schedule
from enfilade.actors.simulation.simulate import run_simulation
from enfilade.actors.simulation.world import World

__all__ = ["Main", "Trial"]

RUNS: Final = 60
"""Runs that are spent on making the schedule of a failure smaller."""

LAST: Final = 12
"""Events of the log that are shown of a failure."""

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
        module, name = self.main.__module__, self.main.__name__
        decorated = getattr(sys.modules.get(module), name, None)
        run = f"{name}.main" if getattr(decorated, "main", None) is self.main else name
        kinds = ", ".join(sorted({type(fault).__name__ for _, fault in schedule} | {"simulated"}))
        faults = "".join(f"    ({when!r}, {fault!r}),\n" for when, fault in schedule)
        given = "".join(f", {fixture}" for fixture in self.fixtures)
        return (
            f"from enfilade.actors.simulation import {kinds}\n"
            f"from {module} import {name}\n\n"
            f"SCHEDULE = [\n{faults}]\n\n\n"
            f"@simulated(seed={self.seed}, schedule=SCHEDULE)\n"
            f"async def test_seed_{self.seed}(world{given}):\n"
            f"    await {run}(world{given})\n"
        )
