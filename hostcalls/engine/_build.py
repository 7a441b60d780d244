"""Builds `enfilade.hostcalls.engine._engine`, the C shim, with cffi; run from the root of the repository.

Nothing of Wasmtime is needed to build it: the shim finds the wasmtime package's shared library when it
runs.
"""

from __future__ import annotations

from pathlib import Path

import cffi
import hardening

SHIM = Path("hostcalls/engine/shim")

ffibuilder = cffi.FFI()
ffibuilder.cdef((SHIM / "cdef.h").read_text())
ffibuilder.set_source(
    "enfilade.hostcalls.engine._engine",
    '#include "shim.h"',
    sources=[str(path) for path in sorted(SHIM.glob("*.c"))],
    depends=[str(path) for path in sorted(SHIM.glob("*.h"))],
    include_dirs=[str(SHIM)],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-pthread", *hardening.compile_flags()],
    extra_link_args=hardening.link_flags(),
    libraries=["dl", "pthread"],
)
