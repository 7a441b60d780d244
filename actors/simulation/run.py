"""The ways into a world: a block, and a program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import trio

from enfilade.actors.messages.blocks import async_block
from enfilade.actors.simulation.checkers.following import calls_followed
from enfilade.actors.simulation.fault_schedule import Schedule, check_schedule
from enfilade.actors.simulation.machine.clock import SimulationClock
from enfilade.actors.simulation.machine.custody import Warden
from enfilade.actors.simulation.machine.substitutes import check_alone, put_back, replaced
from enfilade.actors.simulation.world import World

__all__ = ["run_simulation", "simulate"]

T = TypeVar("T")


@async_block
async def simulate(*, seed: int, schedule: Schedule | None = None) -> AsyncIterator[World]:
    """Simulate a world for the length of a block, in a run whose clock is a `SimulationClock`.

    At the end of the block all lives are crashed; `World.close_nodes` ends them in order. Entering is a
    checkpoint; when the block is cancelled, the lives are crashed in the same way.

    Args:
        seed: which world: the same seed gives the same run.
        schedule: faults in the place of those that `World.faults` is given.

    Raises:
        TypeError: the seed is no integer, or the schedule no list of times with faults.
        RuntimeError: the run has another clock, or another world runs in this process.
        Stuck: nothing in the world could ever run again, or its time stood still.
        Nondeterministic: code of a host asked for something real.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, SimulationClock):
        raise RuntimeError(  # noqa: TRY004 (it is about where this is called)
            f"a world needs a run with a SimulationClock, got a {type(clock).__name__}: use the fixture "
            "`simulation_clock` in tests with pytest-trio, or run_simulation(main, seed=...)"
        )
    if not isinstance(seed, int):
        raise TypeError(f"a seed is an integer, got {seed!r}")
    world = World(seed, clock)
    if schedule is not None:
        check_schedule(schedule)
        world.prescribe(schedule)
    warden = Warden()
    with replaced(world), calls_followed(world.history.calls, world.now):
        trio.lowlevel.add_instrument(warden)
        try:
            begun, over = trio.Event(), trio.Event()
            clock.begin(world.stuck, world.fail)
            trio.lowlevel.spawn_system_task(world.hold_lives, begun, over)
            await begun.wait()
            try:
                with world.scope:
                    yield world
                world.examine()
            finally:
                world.end()
                with trio.CancelScope(shield=True):
                    await over.wait()
                clock.end()
            world.raise_trouble()
        except BaseException as error:
            error.add_note(f"in the world of seed {seed}, event {world.log.count}, at {world.now():g} s")
            raise
        finally:
            trio.lowlevel.remove_instrument(warden)


def run_simulation(
    main: Callable[..., Awaitable[T]], *args: Any, seed: int, schedule: Schedule | None = None
) -> T:
    """Run `main(world, *args)` in a simulated world, as `trio.run` runs a program.

    Args:
        main: a coroutine function; its first argument is the `World`.
        args: further arguments.
        seed: which world: the same seed gives the same run.
        schedule: faults in the place of those that `World.faults` is given.

    Returns:
        What `main` returns; it raises what `main` raises, and what fails the world (see `simulate`).

    Raises:
        RuntimeError: another world runs in this process, or trio runs in this thread.
    """
    check_alone()

    async def run() -> T:
        async with simulate(seed=seed, schedule=schedule) as world:
            return await main(world, *args)

    try:
        return trio.run(run, clock=SimulationClock())
    finally:
        put_back()  # which has something to do after an internal error of trio alone
