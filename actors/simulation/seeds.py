"""`simulated`: tests of a world, one for each seed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from enfilade.actors.simulation.fault_schedule import Schedule, check_schedule
from enfilade.actors.simulation.trial import Main, Trial

__all__ = ["simulated"]


def simulated(
    *, seed: int | None = None, seeds: int | Iterable[int] | None = None, schedule: Schedule | None = None
) -> Callable[[Main], Any]:
    """Make a test of a coroutine function with an argument `world`: one for each seed.

    The test is a plain function, for pytest without any plugin; other arguments are fixtures, which must not
    be asynchronous. When it fails, the error says how to run that seed again, and with how few of the faults
    that were drawn it still fails. What `World.sometimes` looks for must be seen by one seed of the test, if
    all of them run in this process: the last one fails if none has.

    With the plugin, which pytest finds by itself, `--simulation-seeds N` adds fresh seeds, and the file
    `simulation-seeds.tsv` those that have failed before.

    Args:
        seed: the only seed.
        seeds: how many seeds, from 0, or which.
        schedule: faults in the place of those that `World.faults` is given.

    Raises:
        TypeError: not exactly one of `seed` and `seeds` is given, one of them or the schedule is none, or the
            function is not asynchronous, is a method, or has no argument `world`.
        ValueError: there are no seeds.
        ImportError: pytest is not installed.
    """
    if (seed is None) == (seeds is None):
        raise TypeError("simulated() must be given either seed=7 or seeds=50")
    if seeds is None:
        chosen = [seed]
    else:
        if not isinstance(seeds, int | Iterable):
            raise TypeError(f"expected a number of seeds, or integers, got seeds={seeds!r}")
        chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen:
        raise ValueError(f"expected at least one seed, got seeds={seeds!r}: the test would never run")
    for each in chosen:
        if not isinstance(each, int):
            raise TypeError(f"a seed is an integer, got {each!r}")
    if schedule is not None:
        check_schedule(schedule)

    def decorate(main: Main) -> Any:
        try:
            import pytest  # which only tests have
        except ImportError:
            raise ImportError("`simulated` makes tests for pytest: run `pip install pytest`") from None

        signature = inspect.signature(main)
        if not inspect.iscoroutinefunction(main):
            raise TypeError(f"expected an async function, got {main!r}")
        if "self" in signature.parameters:
            raise TypeError(f"{main.__qualname__} is a method; write it as a function of its module")
        if "world" not in signature.parameters:
            raise TypeError(f"{main.__qualname__} must have an argument `world`")
        others = [each for name, each in signature.parameters.items() if name != "world"]
        number = inspect.Parameter("simulation_seed", inspect.Parameter.KEYWORD_ONLY)
        sightings = _Sightings(frozenset(chosen))

        def run(*, simulation_seed: int, **fixtures: Any) -> None:
            world = Trial(main, simulation_seed, fixtures).run(schedule)
            sightings.add(simulation_seed, world.seen)

        functools.update_wrapper(run, main)
        del run.__wrapped__  # type: ignore[attr-defined]  # it is no coroutine function for anybody
        run.main, run.seeds = main, chosen  # type: ignore[attr-defined]
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
