"""Scripted scenarios on OTP's supervisor and on ours: the same answers, in the same order."""

from __future__ import annotations

import pytest

from tests.oracle.erlang import compiled, play
from tests.oracle.ours import perform
from tests.oracle.scenario import SCENARIOS


@pytest.fixture(scope="module")
def otp(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What OTP prints for all scenarios, by name."""
    place = compiled("supervisor_oracle", tmp_path_factory.mktemp("oracle"))
    return play("supervisor_oracle", place, SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_supervisors_do_the_same(name: str, otp: dict[str, list[str]]) -> None:
    """Starts, stops, ends, answers and children agree after every command."""
    assert perform(SCENARIOS[name]) == otp[name]
