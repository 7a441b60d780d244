"""The C tests of the inbound queue and the sender: with the sanitizers, and under valgrind."""

from pathlib import Path

import pytest

from tests import c_programs

C = Path(__file__).resolve().parents[2] / "transport/queue"
DOORS = C.parent / "doors/c"
PROGRAMS = sorted(path.stem for path in C.glob("test/test_*.c"))

pytestmark = [c_programs.patient, c_programs.needs_compiler]


@pytest.mark.parametrize("program", PROGRAMS)
def test_with_sanitizers(program: str) -> None:
    build, doors = C / "build/sanitized", DOORS / "build/sanitized"
    c_programs.make(DOORS, doors, "sanitized_library")  # which the tests of doors need as well
    c_programs.make(C, build, "sanitized", f"DOORS_BUILD={doors}")
    c_programs.run_cases(build / program, DOOR_TEST_EMULATED_LIMITS="1")


@c_programs.needs_valgrind
@pytest.mark.parametrize(
    "program",
    [pytest.param(name, marks=() if name == "test_queue" else pytest.mark.soak) for name in PROGRAMS],
)
def test_under_valgrind(program: str) -> None:
    build = C / "build/plain"
    c_programs.make(C, build, "CFLAGS=-O1 -g1", str(build / program))
    c_programs.run_cases(
        *c_programs.VALGRIND, build / program, DOOR_TEST_EMULATED_LIMITS="1", DOOR_TEST_VALGRIND="1"
    )
