"""Scripted scenarios on OTP's supervisor and on ours: the same answers, in the same order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.oracle.ours import perform
from tests.oracle.scenario import SCENARIOS, histories, script

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def otp(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What OTP prints for all scenarios, by name."""
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        pytest.skip("Erlang/OTP is not installed: there is no oracle to compare with")
    place = tmp_path_factory.mktemp("oracle")
    source = HERE / "supervisor_oracle.erl"
    subprocess.run(["erlc", "-o", str(place), str(source)], check=True, timeout=120)
    (place / "script").write_text(script())
    program = f'supervisor_oracle:main(["{place / "script"}"])'
    # One scheduler: with two, of which the machine may run but one, quiet rounds would prove nothing.
    command = ["erl", "+S", "1:1", "-noshell", "-noinput", "-pa", str(place), "-eval", program]
    run = subprocess.run(command, cwd=place, check=True, timeout=120, capture_output=True, text=True)
    return histories(run.stdout)


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_supervisors_do_the_same(name: str, otp: dict[str, list[str]]) -> None:
    """Starts, stops, ends, answers and children agree after every command."""
    assert perform(SCENARIOS[name]) == otp[name]
