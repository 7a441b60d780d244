"""Programs in Rust, built from crates that are on this machine already."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD_SECONDS = 3600


def build(source: Path, directory: Path, config: pytest.Config, *arguments: str) -> Path:
    """Build the crate below `source`, a copy of it in `directory`; where Cargo puts what it makes.

    The first time takes long. Skips the test where there is no Cargo, or a crate is missing.
    """
    if not shutil.which("cargo"):
        pytest.skip("needs cargo")
    assert config.cache is not None
    target = config.cache.mkdir(source.name)
    shutil.copytree(source, directory / source.name)
    built = subprocess.run(
        ["cargo", "build", "--offline", *arguments],
        cwd=directory / source.name,
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if built.returncode:
        pytest.skip(f"{source.name} needs its crates: {built.stderr.strip().splitlines()[-1]}")
    return target
