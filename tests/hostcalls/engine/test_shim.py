"""The shim's own C tests: all warnings as errors, unit tests and stress under the sanitizers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import wasmtime

from enfilade.hostcalls.engine import library
from tests import c_programs

SHIM = Path(__file__).parents[3] / "hostcalls" / "engine" / "shim"

pytestmark = [pytest.mark.real, c_programs.patient, c_programs.needs_compiler]


def make(build: Path, *arguments: str) -> str:
    return c_programs.make(SHIM, build, *arguments)


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=pytest.mark.soak)])
def test_it_compiles_without_a_warning(tmp_path: Path, compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    assert make(tmp_path, f"CC={compiler}", "CFLAGS=-O2", "check") == ""


def test_units_under_the_sanitizers(tmp_path: Path) -> None:
    assert "shim unit tests passed" in make(tmp_path, "test")


@pytest.mark.soak
@pytest.mark.parametrize(("steps", "seed"), [(2000, 7), *((100_000, seed) for seed in range(5))])
def test_restless_guests_under_the_sanitizers(tmp_path: Path, steps: int, seed: int) -> None:
    restless = tmp_path / "restless.wasm"
    restless.write_bytes(wasmtime.wat2wasm((SHIM / "tests" / "restless.wat").read_text()))
    output = make(
        tmp_path,
        "stress",
        f"WASMTIME={library.library_path()}",
        f"RESTLESS={restless}",
        f"STEPS={steps}",
        f"SEED={seed}",
    )
    assert output.count("shim stress test passed") == 2


@pytest.mark.soak
@c_programs.needs_valgrind
def test_units_and_guests_under_valgrind(tmp_path: Path) -> None:
    restless = tmp_path / "restless.wasm"
    restless.write_bytes(wasmtime.wat2wasm((SHIM / "tests" / "restless.wat").read_text()))
    output = make(
        tmp_path, "memcheck", f"WASMTIME={library.library_path()}", f"RESTLESS={restless}", "STEPS=300"
    )
    assert "shim unit tests passed" in output
    assert "shim stress test passed" in output


def test_the_benchmark_of_the_raw_api_runs(tmp_path: Path) -> None:
    park = tmp_path / "park.wasm"
    park.write_bytes(
        wasmtime.wat2wasm(
            """(module (import "selium::async" "yield_now" (func $yield)) (memory (export "memory") 1)
                 (func (export "park") (loop $ever (call $yield) (br $ever))))"""
        )
    )
    make(tmp_path, "raw")
    done = subprocess.run(
        [tmp_path / "raw", library.library_path(), park, "10"], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) == {"spawn", "instantiate", "resume"}
