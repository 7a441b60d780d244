"""Check that a test of a world is the same in every run: what it has and tries of the real machine."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import typer

from enfilade.actors.simulation import World
from enfilade.actors.simulation.log import difference
from enfilade.actors.simulation.machine.library import functions

__all__ = ["examine"]

INSTALLED: Final = {"site-packages", "dist-packages"}
"""Folders of code that is not the user's own."""

HASH_SEEDS: Final = ("1", "2")
"""The hash seeds of Python that runs in processes of their own are tried with: one of them is another one."""


def examine(test: str, seed: int, play: Callable[[], World], module: ModuleType) -> int:
    """Say what makes runs of a test differ, and return the exit status.

    Args:
        test: as the user has named it.
        seed: the one to try.
        play: runs it once.
        module: that the test is in.
    """
    first = play()
    faults = list(_borrowed(first, _root_of(module)))
    for fault in faults:
        typer.echo(fault)
    lines = first.log.lines()
    tries = [("again in this process", play().log.lines())]
    tries += [(f"with the hash seed {number}", _elsewhere(test, seed, number)) for number in HASH_SEEDS]
    for how, others in tries:
        found = difference(lines, others)
        if found is None:
            typer.echo(f"seed {seed}, {how}: the same {len(lines)} events")
        else:
            number, one, other = found
            typer.echo(f"seed {seed}, {how}: event {number} differs\n  first  {one}\n  now    {other}")
            faults.append(how)
    return 1 if faults else 0


def _root_of(module: ModuleType) -> Path:
    """The folder that a module's program lies in: that of its outermost package."""
    folder = Path(module.__file__ or "").resolve().parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _borrowed(world: World, root: Path) -> Iterator[str]:
    """What modules below a folder have imported by name, and so have of the machine, not of the world."""
    replaced = [(getattr(owner, name), f"{_name(owner)}.{name}") for owner, name, _ in functions(world)]
    real = {function: shown for function, shown in replaced if callable(function)}
    for module in list(sys.modules.values()):
        if not _is_own(module, root):
            continue
        for name, value in list(vars(module).items()):
            if _is_known(value, real):
                machines = real[value]
                yield f"{module.__name__}: `{name}` is the machine's {machines}: call {machines}() instead"
            for function in _functions_of(value, module):
                for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
                    if _is_known(default, real):
                        where = f"{module.__name__}.{function.__qualname__}"
                        yield f"{where}: an argument is the machine's {real[default]} if it is not given"


def _is_known(value: object, real: dict[Any, str]) -> bool:
    try:
        return value in real
    except TypeError:  # not hashable
        return False


def _functions_of(value: object, module: ModuleType) -> Iterator[FunctionType]:
    """The functions that a module defines under one of its names: that one, or the methods of a class."""
    if getattr(value, "__module__", None) != module.__name__:
        return
    if isinstance(value, FunctionType):
        yield value
    elif inspect.isclass(value):
        yield from (each for each in vars(value).values() if isinstance(each, FunctionType))


def _is_own(module: ModuleType, root: Path) -> bool:
    """Tell whether a module is of the user's program, and not of something that was installed."""
    path = Path(getattr(module, "__file__", None) or "")
    is_enfilade = module.__name__.partition(".")[0] == "enfilade"
    return not is_enfilade and path.is_relative_to(root) and not INSTALLED & set(path.parts)


def _name(owner: object) -> str:
    return getattr(owner, "__name__", str(owner))


def _elsewhere(test: str, seed: int, hash_seed: str) -> list[str]:
    """The log of a run in another process."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [sys.executable, "-m", "enfilade", "simulate", test, "--seed", str(seed), "--log", str(log)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return log.read_text().splitlines() if log.exists() else [ran.stderr.strip() or ran.stdout.strip()]
