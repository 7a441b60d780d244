"""The project's C programs: how tests build and run them."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TIMEOUT = 900  # seconds for one build, and for one program: ten times what a quiet machine needs
patient = pytest.mark.timeout(2 * TIMEOUT + 60)
"""For a test that makes one build and runs one program."""

VALGRIND = (
    "valgrind",
    "-q",
    "--error-exitcode=99",
    "--max-stackframe=20000000",
    "--fair-sched=yes",  # or a thread that never sleeps keeps the others from running
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
)

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or shutil.which("make") is None, reason="there is no C compiler"
)
needs_valgrind = pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")


def make(source: Path, build: Path, *arguments: str, patience: float = TIMEOUT) -> str:
    """Run `make` on the rules of `source`, into ``build``, of which a later build keeps what has not changed.

    Args:
        source, build: the directories.
        arguments: targets and variables.
        patience: seconds that it may take.

    Returns: what it printed. A compiler without sanitizers, or without libFuzzer, skips the test.
    """
    build.mkdir(parents=True, exist_ok=True)
    with (build / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "-s", "-j2", "-C", source, f"BUILD={build}", *arguments],
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
    if " has no libFuzzer" in made.stderr:
        pytest.skip(made.stderr.splitlines()[0])
    if "cannot find -lasan" in made.stderr or "cannot find -lubsan" in made.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


def run(*command: str | Path, **environment: str) -> str:
    """Run a program, which must end with status 0. Returns: all that it printed."""
    done = subprocess.run(
        command,
        env=os.environ
        | {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_cases(*command: str | Path, **environment: str) -> None:
    """Run a program that was written with the doors' test harness; none of its cases may fail."""
    said = run(*command, **environment)
    assert re.search(r"[1-9]\d* run, 0 failed", said), said
    assert "ERROR" not in said, said
