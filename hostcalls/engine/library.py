"""Finding Wasmtime's shared library in the installed `wasmtime` package.

The package itself is not imported: its ctypes face is not used, only the library it carries.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import sys
from pathlib import Path
from typing import Any

from enfilade.hostcalls.engine._engine import ffi, lib
from enfilade.hostcalls.engine.errors import EngineUnavailable

# What Wasmtime puts between an error and its causes, and between those.
_CAUSE = re.compile(r"\s*\n(?:Caused by:\s*)?(?:\s*[0-9]+: )?\s*")

MAJOR_VERSION = 50
"""The major version whose C API the shim declares."""


def load_library() -> str:
    """Resolve Wasmtime's C API for the shim, once in the life of the process, and return Wasmtime's
    version.

    Raises `EngineUnavailable` if the package is missing, has another major version or no library for this
    machine.
    """
    try:
        version = importlib.metadata.version("wasmtime")
    except importlib.metadata.PackageNotFoundError:
        raise EngineUnavailable("the package wasmtime is not installed") from None
    if version.split(".")[0] != str(MAJOR_VERSION):
        raise EngineUnavailable(
            f"wasmtime {version} is installed and the engine is made for {MAJOR_VERSION}; "
            f"run: pip install 'wasmtime>={MAJOR_VERSION},<{MAJOR_VERSION + 1}'"
        )
    path = library_path()
    error = ffi.new("char **")
    if not lib.library_load(str(path).encode(), error):
        raise EngineUnavailable(take_text(error))
    return version


def take_text(error: Any) -> str:
    """Return the text that the shim has put into `error`, a `char **`, as one line, and free it."""
    if error[0] == ffi.NULL:
        return "no memory"
    try:
        return plain_text(bytes(ffi.string(error[0])).decode(errors="replace"))
    finally:
        lib.memory_free(error[0])
        error[0] = ffi.NULL


def plain_text(text: str) -> str:
    """Put an error of Wasmtime's and its causes on one line."""
    return _CAUSE.sub(": ", text.strip())


def library_path() -> Path:
    """Return where the `wasmtime` package keeps its shared library; raise as `load_library` does."""
    spec = importlib.util.find_spec("wasmtime")
    if spec is None or spec.origin is None:
        raise EngineUnavailable("the package wasmtime cannot be found on the import path")
    machine = {"AMD64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}.get(
        platform.machine(), platform.machine()
    )
    suffix = "dylib" if sys.platform == "darwin" else "so"
    path = Path(spec.origin).parent / f"{sys.platform}-{machine}" / f"_libwasmtime.{suffix}"
    if not path.exists():
        raise EngineUnavailable(
            f"the package wasmtime carries no library for {sys.platform} on {machine}: {path}"
        )
    return path
