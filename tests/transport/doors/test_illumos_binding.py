"""The binding for illumos, where no illumos is: compiled against replicas of its headers, run on a mock of
its libc.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.transport.doors import illumos_cases

ROOT = Path(__file__).resolve().parents[3]
C = ROOT / "transport/doors/c"
CASES = [name for name in vars(illumos_cases) if name.startswith("case_")]

REPLICA = [C / "illumos/replica", C / "illumos", C]
SOURCES = [
    (path, REPLICA)
    for path in (
        C / "closing.c",
        C / "dispatch.c",
        C / "interrupt.c",
        C / "look.c",
        C / "thread.c",
        *sorted(C.glob("illumos/*.c")),
        *sorted(C.glob("illumos/mock/*.c")),
    )
]
SOURCES.append((C / "dispatch.c", [C / "include", C]))  # the one file that both systems share


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    ("source", "directories"), SOURCES, ids=[f"{source.stem}-{where[0].name}" for source, where in SOURCES]
)
def test_compiles_without_warnings(
    compiler: str, source: Path, directories: list[Path], tmp_path: Path
) -> None:
    """Our C is clean under -Wall -Wextra -Werror with both compilers, against either system's headers."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread"]
    includes = [f"-I{directory}" for directory in directories]
    result = subprocess.run(
        [compiler, *flags, *includes, "-c", source, "-o", tmp_path / "object.o"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def build(directory: Path) -> str:
    """Compile the binding together with the mock; return the path of the module."""
    spec = importlib.util.spec_from_file_location("doors_build", ROOT / "transport/doors/_build.py")
    assert spec is not None
    assert spec.loader is not None
    description = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(description)
    mock = "transport/doors/c/illumos/mock"
    module = description.describe(
        "enfilade.transport.doors._doors",
        illumos=True,
        sources=description.relative(f"{mock}/*.c"),
        include_dirs=["transport/doors/c/illumos/replica", mock],
        declarations="const char *mock_calls(void); void mock_fail(const char *, int);",
        includes='#include "mock.h"\n',
        base=f"{ROOT}/",
    )
    return str(module.compile(tmpdir=str(directory), verbose=False))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    module = build(tmp_path_factory.mktemp("illumos"))
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "tests.transport.doors.illumos_cases", module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    outcome: dict[str, Any] = json.loads(run.stdout)
    return outcome


@pytest.mark.parametrize("case", CASES)
def test_a_case_passes_on_the_mock(results: dict[str, Any], case: str) -> None:
    assert results[case] is None, results[case]
