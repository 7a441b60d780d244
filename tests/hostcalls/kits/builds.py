"""Builds guests by the commands that the kits give."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from enfilade.hostcalls import sdk

SDK = Path(sdk.__file__).parent
EXAMPLES = SDK / "examples"
BUILD_SECONDS = 300

needs_clang = pytest.mark.skipif(
    not shutil.which("clang") or not shutil.which("wasm-ld"), reason="needs clang and wasm-ld"
)
needs_zig = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="needs the ziglang package"
)


def build(command: list[str], directory: Path) -> None:
    subprocess.run(command, check=True, cwd=directory, timeout=BUILD_SECONDS)


def build_c(source: Path, directory: Path) -> Path:
    """A guest in C, by the command that the header gives, and without a warning."""
    header = (SDK / "c" / "enfilade.h").read_text()
    found = re.search(r"^ \*   (clang [^*]*) \\\n \*  ([^*]*) guest.c$", header, re.MULTILINE)
    assert found is not None
    command = " ".join(found.groups()).replace('"$(enfilade guest sdk)/c"', str(SDK / "c"))
    command = command.replace("guest.wasm", f"{source.stem}.wasm")
    warnings = ("-std=c11", "-Wall", "-Wextra", "-Werror")
    build([*command.split(), *warnings, str(source)], directory)
    return directory / f"{source.stem}.wasm"


def build_zig(source: Path, directory: Path, config: pytest.Config) -> Path:
    """A guest in Zig, by the command that the library gives."""
    library = (SDK / "zig" / "enfilade.zig").read_text()
    found = re.search(r"^//!   zig (build-exe .*) \\\n//!  (.*)$", library, re.MULTILINE)
    assert found is not None
    command = " ".join(found.groups()).replace('"', "").replace("$(enfilade guest sdk)", str(SDK))
    command = command.replace("guest.zig", str(source)).replace("guest.wasm", f"{source.stem}.wasm")
    assert config.cache is not None
    cache = str(config.cache.mkdir("zig"))
    caches = ("--cache-dir", cache, "--global-cache-dir", cache)
    build([sys.executable, "-m", "ziglang", *command.split(), *caches], directory)
    return directory / f"{source.stem}.wasm"
