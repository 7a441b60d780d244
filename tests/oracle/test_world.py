"""Random scripts of processes and supervisors, on Erlang/OTP and on our runtime: the same happens.

A script that fails is shrunk, and printed with what both sides have seen.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator
from difflib import ndiff
from pathlib import Path

import pytest

from tests.oracle.erlang import compiled, play
from tests.oracle.world import WARM_UP, generate, normalized, shrunk
from tests.oracle.world_ours import perform

UNIT = 20
"""Milliseconds that a unit of time lasts on the Erlang side, whose time is real."""

BATCH = 50


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of processes end on purpose: their reports are not made."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Erlang side is compiled."""
    return compiled("world_oracle", tmp_path_factory.mktemp("world"))


def theirs(place: Path, scripts: list[list[str]], unit: int = UNIT) -> list[list[str]]:
    """What OTP does; with longer units for scripts that this machine was late for."""
    named = {"warm_up": WARM_UP} | {str(number): script for number, script in enumerate(scripts)}
    found = play("world_oracle", place, named, str(unit))
    late = [number for number in range(len(scripts)) if "late" in found[str(number)]]
    if late:
        again = theirs(place, [scripts[number] for number in late], 4 * unit)
        found |= {str(number): lines for number, lines in zip(late, again, strict=True)}
    return [normalized(found[str(number)]) for number in range(len(scripts))]


def ours(script: list[str], has_task: bool) -> list[str]:
    """What we do."""
    return normalized(perform(script, has_task=has_task))


def compare(place: Path, scripts: Iterable[list[str]], has_task: bool) -> None:
    """Play scripts to both sides.

    Raises:
        AssertionError: they differ; the shortest script found is shown.
    """

    def fails(attempts: list[list[str]]) -> list[bool]:
        return [
            expected != ours(script, has_task)
            for script, expected in zip(attempts, theirs(place, attempts), strict=True)
        ]

    attempts = list(scripts)
    for script, failed in zip(attempts, fails(attempts), strict=True):
        if failed:
            script = shrunk(script, fails)
            (expected,) = theirs(place, [script])
            seen = "\n".join(ndiff(expected, ours(script, has_task)))
            raise AssertionError(f"OTP (-) and ours (+) differ about this script:\n{seen}")


@pytest.mark.parametrize("has_task", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(BATCH, 300, BATCH))]
)
def test_both_do_the_same(first: int, has_task: bool, place: Path) -> None:
    """Messages, exits, answers, starts and ends agree after every command."""
    compare(place, map(generate, range(first, first + BATCH)), has_task)


@pytest.mark.soak
@pytest.mark.parametrize("has_task", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("batch", range(20))
def test_fresh_scripts(batch: int, has_task: bool, place: Path) -> None:
    """The same with scripts that nobody has seen."""
    compare(place, (generate(secrets.randbits(40)) for _ in range(10 * BATCH)), has_task)
