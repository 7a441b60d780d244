"""Runs the `enfilade` command as a user does: another process, no terminal, a time limit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

SECONDS = 240


def enfilade(
    *arguments: str, cwd: Path | None = None, seconds: float = SECONDS
) -> "subprocess.CompletedProcess[str]":
    """Run the command; when its time is over, it ends together with everything that it started."""
    command = [sys.executable, "-m", "enfilade", *arguments]
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
