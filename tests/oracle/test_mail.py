"""Random scripts about mailboxes, on Erlang/OTP and on our runtime: the same is taken, in the same order."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

import pytest

from tests.oracle.erlang import compiled, play
from tests.oracle.mail import generate, normalized
from tests.oracle.mail_ours import perform
from tests.oracle.test_world import _quiet

__all__ = ["_quiet"]

UNIT = 20
"""Milliseconds that a unit of time lasts on the Erlang side, whose time is real."""

BATCH = 100


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(BATCH, 2000, BATCH))]
)
def test_both_take_the_same(first: int, tmp_path: Path) -> None:
    """Selective receive, aliases, requests, monitors, links, groups and names agree after every command.

    What this machine was late for is tried again, with time that goes slowly.
    """
    place = compiled("mail_oracle", tmp_path)
    scripts = {str(seed): generate(seed) for seed in range(first, first + BATCH)}
    for unit in (UNIT, 10 * UNIT):
        theirs = {
            name: normalized(lines) for name, lines in play("mail_oracle", place, scripts, str(unit)).items()
        }
        ours = {name: normalized(perform(script)) for name, script in scripts.items()}
        scripts = {name: script for name, script in scripts.items() if ours[name] != theirs[name]}
    late = [name for name in scripts if any(line.startswith("late") for line in theirs[name])]
    for name in scripts.keys() - late:
        seen = "\n".join(ndiff(theirs[name], ours[name]))
        pytest.fail(f"OTP (-) and ours (+) differ about script {name}:\n{seen}")
