"""Programs that start programs: run in a process group of their own, which ends with them."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["Left", "run_in_group"]

GRACE_SECONDS = 10.0


class Left(AssertionError):
    """A program has ended well, and has left others behind."""


def run_in_group(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float,
    together: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """Run a program, and whatever it starts.

    However this ends, nothing of that is left: not when the program fails, or takes longer than `seconds`,
    or the test is interrupted.

    Args:
        command: the program and its arguments.
        cwd: where it runs.
        env: its environment.
        seconds: how long it may take.
        together: whether what it says of errors is put where it happens, into the output.

    Raises:
        Left: it ended with status 0, and what it had started has not ended within 10 s.
        TimeoutExpired: it took longer.
    """
    # Files, because a pipe does not end before the last that was started has.
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if together else errors,
            start_new_session=True,
        ) as process,
    ):
        try:
            process.wait(seconds)
            said, complained = _text(output), _text(errors)
            if process.returncode == 0:
                _check_alone(process.pid, said)
        finally:
            if process.returncode is None or _members(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _check_alone(group: int, output: str) -> None:
    end = time.monotonic() + GRACE_SECONDS
    while left := _members(group):
        if time.monotonic() > end:
            raise Left(f"processes {left} have been left behind by what printed:\n{output}")
        time.sleep(0.01)


def _members(group: int) -> list[int]:
    """The living processes of a group; one that has ended and waits for its parent is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found
