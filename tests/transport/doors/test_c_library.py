"""The C library's own tests and its fuzzer, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library is for Linux; others have doors")

C = Path(__file__).resolve().parents[3] / "transport/doors/c"
BUILD = C / "build/sanitized"
PROGRAMS = sorted(path.stem for path in C.glob("test/test_*.c"))
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


@pytest.fixture(scope="module")
def built() -> Path:
    """Where the programs are. They stay there, so that a later run compiles only what has changed."""
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "-j2", "-C", C, f"BUILD={BUILD}", "sanitized"],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    if "cannot find -lasan" in made.stderr or "cannot find -lubsan" in made.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert made.returncode == 0, made.stdout + made.stderr
    return BUILD


def run(program: Path, *arguments: str) -> str:
    done = subprocess.run(
        [program, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", PROGRAMS)
def test_c_program(built: Path, program: str) -> None:
    """Every case in a process of its own; what the sanitizers find ends the case with an error."""
    said = run(built / "test" / program)
    assert re.search(r"[1-9]\d* run, 0 failed", said), said


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", ["1", "2"])
def test_fuzzed_wire(built: Path, seed: str) -> None:
    """Hostile clients and hostile servers: the honest side serves on, and keeps no descriptor."""
    assert "300 rounds" in run(built / "fuzz/fuzz_wire", "300", seed)
