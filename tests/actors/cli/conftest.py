"""The command runs in other directories than the repository, and finds the packages all the same."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def put_packages_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that are started from now on find the packages."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(autouse=True)
def packages_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    put_packages_on_the_path(monkeypatch)
