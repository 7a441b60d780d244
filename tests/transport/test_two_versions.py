"""Whole nodes of two releases, over one door and in one mesh.

`ENFILADE_OTHER_PYTHON` is the Python of a tree of another release, with what that needs installed. Without it
both nodes are of this one, and do a few of the deeds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.transport.versions import DEEDS, MESH_ONLY, ZONE

OTHER = os.environ.get("ENFILADE_OTHER_PYTHON")
PROGRAM = Path(__file__).with_name("versions.py")

pytestmark = pytest.mark.real


@contextmanager
def served(python: str, door: str, environment: dict[str, str]) -> Iterator[None]:
    """A node in a process of its own, for the length of a block."""
    with subprocess.Popen(
        [python, str(PROGRAM), "serve", "server", door],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
    assert process.returncode == 0


def done(serving: str, driving: str, over: str, tmp_path: Path, *wanted: str) -> list[str]:
    """What the one that drives says of its deeds."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    environment.pop("PYTHONPATH", None)
    door = str(tmp_path / "door") if over == "door" else "-"
    with served(serving, door, environment):
        run = subprocess.run(
            [driving, str(PROGRAM), "drive", "client", f"server@{ZONE}", door, *wanted],
            env=environment,
            capture_output=True,
            text=True,
            timeout=1_200,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_two_nodes_of_this_release(tmp_path: Path) -> None:
    """So that the program stays true where there is no other release."""
    wanted = "calls", "callbacks", "signals"
    assert done(sys.executable, sys.executable, "door", tmp_path, *wanted) == [
        f"done {each}" for each in wanted
    ]


@pytest.mark.soak
@pytest.mark.skipif(OTHER is None, reason="ENFILADE_OTHER_PYTHON names no Python of another release")
@pytest.mark.parametrize("over", ["door", "mesh"])
@pytest.mark.parametrize("who", ["the other one serves", "the other one drives"])
def test_two_releases(who: str, over: str, tmp_path: Path) -> None:
    """Calls, large payloads, callbacks, signals, children, names, keyed actors and observation, both ways."""
    assert OTHER is not None
    pair = (OTHER, sys.executable) if who == "the other one serves" else (sys.executable, OTHER)
    expected = [f"done {each}" for each in DEEDS if over == "mesh" or each not in MESH_ONLY]
    assert done(*pair, over, tmp_path) == expected
