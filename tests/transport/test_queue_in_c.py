"""The C tests of the inbound queue and the sender: with the sanitizers, and under valgrind."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

C = Path(__file__).resolve().parents[2] / "transport/queue"
PROGRAMS = sorted(path.stem for path in C.glob("test/test_*.c"))
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "DOOR_TEST_EMULATED_LIMITS": "1"}

LEAKS = ("--leak-check=full", "--errors-for-leak-kinds=definite")

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("cc") is None or shutil.which("make") is None, reason="no C compiler"),
]


def build(target: str, directory: Path) -> Path:
    """Compile what has changed since the last time."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "-C", C, f"BUILD={directory}", target],
            capture_output=True,
            text=True,
            timeout=380,
            check=False,
        )
    if "cannot find -lasan" in made.stderr or "cannot find -lubsan" in made.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert made.returncode == 0, made.stdout + made.stderr
    return directory


def run(*command: str | Path) -> None:
    done = subprocess.run(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d* run, 0 failed", done.stdout), done.stdout
    assert "ERROR" not in done.stdout, done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_with_sanitizers(program: str) -> None:
    run(build("sanitized", C / "build/sanitized") / program)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind")
@pytest.mark.parametrize("program", PROGRAMS)
def test_under_valgrind(program: str) -> None:
    directory = build("programs", C / "build/plain")
    run("valgrind", "-q", "--error-exitcode=99", "--max-stackframe=20000000", *LEAKS, directory / program)
