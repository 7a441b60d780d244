"""Runs the `enfilade` command as a user does: another process, no terminal, a time limit."""

import subprocess
import sys
from pathlib import Path

SECONDS = 120


def enfilade(
    *arguments: str, cwd: Path | None = None, seconds: float = SECONDS
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "actors.cli", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
