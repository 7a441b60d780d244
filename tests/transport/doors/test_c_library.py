"""The C library's own tests and its fuzzer, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

import sys
from pathlib import Path

import pytest

from tests import c_programs

C = Path(__file__).resolve().parents[3] / "transport/doors/c"
PROGRAMS = sorted(path.stem for path in C.glob("test/test_*.c"))

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the library is for Linux; others have doors"),
    c_programs.patient,
    c_programs.needs_compiler,
]


@pytest.fixture(scope="module")
def built() -> Path:
    """Where the programs are."""
    build = C / "build/sanitized"
    c_programs.make(C, build, "sanitized")
    return build


@pytest.mark.parametrize("program", PROGRAMS)
def test_c_program(built: Path, program: str) -> None:
    """Every case in a process of its own; what the sanitizers find ends the case with an error."""
    c_programs.run_cases(built / "test" / program)


@pytest.mark.parametrize("seed", ["1", pytest.param("2", marks=pytest.mark.soak)])
def test_fuzzed_wire(built: Path, seed: str) -> None:
    """Hostile clients and hostile servers: the honest side serves on, and keeps no descriptor."""
    assert "300 rounds" in c_programs.run(built / "fuzz/fuzz_wire", "300", seed)
