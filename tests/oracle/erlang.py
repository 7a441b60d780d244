"""Runs our Erlang programs, which do what a script says and print what happened."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["compiled", "histories", "play"]

HERE = Path(__file__).parent


def compiled(module: str, place: Path) -> Path:
    """Compile a program of this folder to `place`; the test is skipped where there is no Erlang."""
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        pytest.skip("Erlang/OTP is not installed: there is no oracle to compare with")
    subprocess.run(["erlc", "-o", str(place), str(HERE / f"{module}.erl")], check=True, timeout=120)
    return place


def play(module: str, place: Path, scripts: Mapping[str, list[str]], *arguments: str) -> dict[str, list[str]]:
    """Have a compiled program carry out `scripts`; return what it printed for each, by name."""
    lines = [line for name, commands in scripts.items() for line in (f"scenario {name}", *commands)]
    (place / "script").write_text("\n".join(lines) + "\n")
    given = ", ".join(f'"{argument}"' for argument in (str(place / "script"), *arguments))
    # One scheduler: with two, of which the machine may run but one, quiet rounds would prove nothing.
    command = ["erl", "+S", "1:1", "-noshell", "-noinput", "-pa", str(place)]
    command += ["-eval", f"{module}:main([{given}])"]
    run = subprocess.run(command, cwd=place, check=True, timeout=250, capture_output=True, text=True)
    return histories(run.stdout)


def histories(output: str) -> dict[str, list[str]]:
    """What was printed, by scenario."""
    by_name: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output.splitlines():
        if line.startswith("scenario "):
            lines = by_name[line.removeprefix("scenario ")] = []
        else:
            lines.append(line)
    return by_name
