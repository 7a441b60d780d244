"""The C API as the shim declares it, compared with what the wasmtime package itself uses."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
from pathlib import Path

import pytest
from wasmtime import _bindings as bindings

from enfilade.hostcalls.engine.library import MAJOR_VERSION, load_library

HEADER = Path(__file__).parents[3] / "hostcalls" / "engine" / "shim" / "wasmtime.h"

TEXT = re.sub(r"\\\n", "\n", HEADER.read_text())
FUNCTIONS = re.findall(
    r"^\s+F\(([\w\s*]+?),\s*(\w+),\s*\((.*?)\)\)(?=\s*(?:F\(|$|#))", TEXT, re.DOTALL | re.MULTILINE
)


def parameter_count(parameters: str) -> int:
    if parameters.strip() == "void":
        return 0
    depth, count = 0, 1
    for letter in parameters:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        count += letter == "," and depth == 0
    return count


def test_the_header_was_read() -> None:
    names = [name for _, name, _ in FUNCTIONS]
    assert len(names) == len(set(names)) == TEXT.count("F(") - 1 > 80
    assert {"wasm_config_new", "wasmtime_call_future_delete"} <= set(names)


@pytest.mark.parametrize(("result", "name", "parameters"), FUNCTIONS, ids=[name for _, name, _ in FUNCTIONS])
def test_every_function_has_the_declared_shape(result: str, name: str, parameters: str) -> None:
    theirs = getattr(bindings, "_" + name)
    assert len(theirs.argtypes) == parameter_count(parameters)
    if result.strip() == "void":
        assert theirs.restype is None
    elif result.strip() in {"bool", "uint8_t", "uint32_t"}:
        sizes = {"bool": 1, "uint8_t": 1, "uint32_t": 4}
        assert ctypes.sizeof(theirs.restype) == sizes[result.strip()]
    else:
        assert ctypes.sizeof(theirs.restype) == 8


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("wasmtime_func", 16),
        ("wasmtime_instance", 16),
        ("wasmtime_memory", 24),
        ("wasmtime_extern", 32),
        ("wasmtime_val", 32),
        ("wasmtime_val_raw", 16),
        ("wasmtime_async_continuation_t", 24),
        ("wasm_byte_vec_t", 16),
    ],
)
def test_every_layout_has_the_declared_size(name: str, size: int) -> None:
    assert ctypes.sizeof(getattr(bindings, name)) == size


def test_the_package_has_the_version_that_the_shim_is_made_for() -> None:
    assert importlib.metadata.version("wasmtime").split(".")[0] == str(MAJOR_VERSION)
    assert load_library() == importlib.metadata.version("wasmtime")


def test_trap_codes_have_the_numbers_that_the_engine_maps() -> None:
    codes = bindings.wasmtime_trap_code_enum
    assert [
        codes.WASMTIME_TRAP_CODE_STACK_OVERFLOW.value,
        codes.WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS.value,
        codes.WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS.value,
        codes.WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL.value,
        codes.WASMTIME_TRAP_CODE_BAD_SIGNATURE.value,
        codes.WASMTIME_TRAP_CODE_INTEGER_OVERFLOW.value,
        codes.WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO.value,
        codes.WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER.value,
        codes.WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED.value,
    ] == [0, 1, 3, 4, 5, 6, 7, 8, 9]
