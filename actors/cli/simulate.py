"""Tests of simulated worlds, run by their seeds outside of pytest, and looked into."""

from __future__ import annotations

import code
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import typer

from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.world_doctor import examine as doctor
from enfilade.actors.simulation import World, run_simulation
from enfilade.actors.simulation.log import difference
from enfilade.actors.simulation.trial import Main, Trial

__all__ = ["compare_logs", "examine", "look_into", "play"]

SHOWN = 40
"""Events that are shown of a world that was stopped."""


class _Reached(Exception):
    """The time has come at which the user wants to look."""


def play(test: str, first: int, count: int) -> int:
    """Run seeds until one fails, and explain that one; return the exit status."""
    main = _find(test)
    for seed in range(first, first + count):
        try:
            Trial(main, seed).run(None)
        except Exception as error:
            typer.echo(f"seed {seed}: {type(error).__name__}: {error}")
            for note in error.__notes__:
                typer.echo(note)
            return 1
    shown = f"seed {first}" if count == 1 else f"seeds {first} to {first + count - 1}"
    typer.echo(f"{shown}: no failure")
    return 0


def look_into(
    test: str, seed: int, *, until: float | None, log: Path | None, compare: Path | None, shell: bool
) -> int:
    """Run one seed; show where it is at a time, keep its log, compare it with another; return the status."""
    main = _find(test)
    before = None if compare is None else _read(compare)
    world, failure = _run(main, seed, until, shell=shell)
    lines = world.log.lines()
    if log is not None:
        _write(log, lines)
    differs = before is not None and _tell_difference(before, lines, f"seed {seed}")
    if failure:
        typer.echo(f"seed {seed}: {failure}")
    return 1 if failure or differs else 0


def compare_logs(one: Path, other: Path) -> int:
    """Compare two logs that were kept; return the status."""
    return int(_tell_difference(_read(one), _read(other), f"{one} and {other}"))


def _tell_difference(then: list[str], now: list[str], what: str) -> bool:
    """Say in which event two logs differ first, with the one before it; tell whether they do."""
    found = difference(then, now)
    if found is None:
        typer.echo(f"{what}: the same {len(now)} events")
        return False
    number, one, other = found
    if number > 1:
        typer.echo(f"event {number - 1} is the last one that is the same:\n        {then[number - 2]}")
    typer.echo(f"event {number} differs:\n  then  {one}\n  now   {other}")
    return True


def examine(test: str, seed: int) -> int:
    """Say whether a test is the same in every run, and what keeps it from that; return the status."""
    main = _find(test)
    return doctor(test, seed, lambda: _run(main, seed, None, shell=False)[0], sys.modules[main.__module__])


def _run(main: Main, seed: int, until: float | None, *, shell: bool) -> tuple[World, str]:
    """Run a seed once, until a time; return its world, and what it failed with."""
    worlds: list[World] = []
    failure = ""

    async def run(world: World) -> None:
        worlds.append(world)
        world.log.keep_all()
        if until is not None:
            world.call_at(until, lambda: _stop(world, shell=shell))
        await main(world=world)

    try:
        run_simulation(run, seed=seed)
    except _Reached:
        pass
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    return worlds[0], failure


def _stop(world: World, *, shell: bool) -> None:
    """Show where everything is, let the user look around if wanted, and end the world."""
    typer.echo(f"at {world.now():g} s, after {world.log.count} events and {world.steps} steps")
    for host in world.hosts.values():
        life = host.life
        if life is None or life.is_over:
            state = "crashed"
        elif life.is_frozen:
            state = "frozen"
        else:
            peers = host.node.peers if host.latest is not None else ()
            state = f"life {life.number}, connected with {', '.join(peers) or 'nobody'}"
        typer.echo(f"  {host.full_name}: {state}")
    for line in world.log.tail(SHOWN):
        typer.echo(f"  {line}")
    if shell:
        names = {name: host for name, host in world.hosts.items() if name.isidentifier()}
        shown = ", ".join(["world", *names])
        code.interact(
            f"{shown}: look at them; the world ends with this", local={**names, "world": world}, exitmsg=""
        )
    world.fail(_Reached())


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"the log {path} cannot be read: {error}") from None


def _write(path: Path, lines: list[str]) -> None:
    try:
        path.write_text("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise Refusal(f"the log {path} cannot be written: {error}") from None


def _find(test: str) -> Main:
    """The coroutine function that a text names; the function below `simulated` if that was used.

    Raises:
        Refusal: there is none.
    """
    place, _, name = test.partition("::")
    if not name:
        raise Refusal(f"expected a test as FILE.py::NAME or package.module::NAME, got {test!r}")
    found: Any = getattr(_module(place), name, None)
    main: Any = getattr(found, "main", found)
    if not inspect.iscoroutinefunction(main):
        raise Refusal(f"{place} has no async function {name!r}")
    parameters = list(inspect.signature(main).parameters)
    if "world" not in parameters:
        raise Refusal(f"expected a test with an argument `world`, got {name}({', '.join(parameters)})")
    if len(parameters) > 1:
        others = ", ".join(each for each in parameters if each != "world")
        raise Refusal(f"{name} needs the fixtures {others}: run it with pytest")
    return main  # type: ignore[no-any-return]


def _module(place: str) -> Any:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise Refusal(f"there is no file {place}")
        sys.path.insert(0, str(path.resolve().parent))
        place = path.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise Refusal(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
