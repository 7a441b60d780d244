"""Random scripts of state machines, on `gen_statem` and on our `Machine`: the same happens."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

import pytest

from tests.oracle.erlang import compiled, play
from tests.oracle.machine import generate
from tests.oracle.machine_ours import Ambiguous, perform
from tests.oracle.test_world import _quiet

__all__ = ["_quiet"]

UNIT = 50
"""Milliseconds that a unit of time lasts on the Erlang side, whose time is real."""

BATCH = 40


def comparable(first: int) -> dict[str, list[str]]:
    """The scripts of a batch of seeds, without those that are ambiguous."""
    found = {str(seed): generate(seed) for seed in range(first, first + BATCH)}
    for name, script in list(found.items()):
        try:
            perform(script)
        except Ambiguous:
            del found[name]
    return found


def difference(script: list[str], theirs: list[str]) -> str:
    """Show what the two sides do, unless it is the same."""
    for has_task in (False, True):
        ours = perform(script, has_task=has_task)
        if ours != theirs:
            return "\n".join(["OTP (-) and ours (+) differ:", *script, "", *ndiff(theirs, ours)])
    return ""


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(BATCH, 1000, BATCH))]
)
def test_both_machines_do_the_same(first: int, tmp_path: Path) -> None:
    """Events, states entered, postponed and inserted events, time-outs, answers and ends agree."""
    place, scripts = compiled("machine_oracle", tmp_path), comparable(first)
    assert len(scripts) > BATCH // 2
    for unit in (UNIT, 8 * UNIT):  # what this machine was late for is tried again, with time that goes slowly
        found = play("machine_oracle", place, scripts, str(unit))
        differing = {name: report for name in scripts if (report := difference(scripts[name], found[name]))}
        scripts = {name: script for name, script in scripts.items() if name in differing}
    late = [name for name in scripts if "late" in found[name]]
    assert not [report for name, report in differing.items() if name not in late]
