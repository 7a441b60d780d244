"""The C library's own tests and its fuzzer, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

import sys
from pathlib import Path

import pytest

from tests import c_programs

C = Path(__file__).resolve().parents[3] / "transport/doors/c"
PROGRAMS = sorted(path.stem for path in C.glob("test/test_*.c"))
LONG = ("test_attacks", "test_flow", "test_handshake", "test_stress")
"""The programs that race for long. The sanitizers, which take five times as long, see them in the soak."""

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


@pytest.mark.parametrize(
    "program",
    [pytest.param(name, marks=pytest.mark.soak) if name in LONG else name for name in PROGRAMS],
)
def test_c_program(built: Path, program: str) -> None:
    """Every case in a process of its own; what the sanitizers find ends the case with an error."""
    c_programs.run_cases(built / "test" / program)


@pytest.mark.parametrize("program", LONG)
def test_c_program_as_it_is_installed(program: str) -> None:
    """The same cases without the sanitizers, as fast as a user has them."""
    build = C / "build/plain"
    programs = [str(build / "test" / name) for name in LONG]
    c_programs.make(C, build, *programs)
    c_programs.run_cases(build / "test" / program)


@pytest.mark.parametrize(
    ("seed", "rounds"),
    [
        ("1", 100),
        pytest.param("1", 300, marks=pytest.mark.soak),
        pytest.param("2", 300, marks=pytest.mark.soak),
    ],
)
def test_fuzzed_wire(built: Path, seed: str, rounds: int) -> None:
    """Hostile clients and hostile servers: the honest side serves on, and keeps no descriptor."""
    assert f"{rounds} rounds" in c_programs.run(built / "fuzz/fuzz_wire", str(rounds), seed)
