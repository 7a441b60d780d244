"""What `make` installs for an extra, beside the project that is installed already."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def printed(extra: str) -> list[str]:
    program = [sys.executable, str(ROOT / ".packaging" / "extra.py"), extra]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_its_requirements(extra: str) -> None:
    """Those of the extras that it names are among them, and not the project, which would be compiled."""
    own, others = [], []
    for requirement in EXTRAS[extra]:
        if requirement.startswith("enfilade["):
            own += requirement.removeprefix("enfilade[").removesuffix("]").split(",")
        else:
            others.append(requirement)
    assert extra != "test" or "net" in own
    assert printed(extra) == [inner for name in own for inner in EXTRAS[name]] + others


def test_an_unknown_extra_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        printed("tets")
