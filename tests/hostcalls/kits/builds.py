"""Builds guests by the commands that the kits give."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from enfilade.hostcalls import sdk

SDK = Path(sdk.__file__).parent
EXAMPLES = SDK / "examples"
BUILD_SECONDS = 300
RUST_TARGET = "wasm32-unknown-unknown"

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


@functools.cache
def rust() -> dict[str, str] | None:
    """The environment of a Cargo whose compiler has the wasm32 target: that on the path, or the system's."""
    for path in (os.environ.get("PATH", ""), "/usr/bin:/bin"):
        cargo, rustc = shutil.which("cargo", path=path), shutil.which("rustc", path=path)
        if cargo and rustc:
            asked = subprocess.run(
                [rustc, "--target", RUST_TARGET, "--print", "target-libdir"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if asked.returncode == 0 and Path(asked.stdout.strip()).is_dir():
                return {**os.environ, "PATH": path, "CARGO": cargo, "RUSTC": rustc}
    return None


needs_rust = pytest.mark.skipif(rust() is None, reason=f"needs Cargo and Rust with the target {RUST_TARGET}")


def build_rust(source: Path, directory: Path, config: pytest.Config) -> Path:
    """A guest in Rust, in a package such as the crate describes, by the command that it gives."""
    library = (SDK / "rust" / "src" / "lib.rs").read_text()
    manifest = "\n".join(re.findall(r"^//! ((?:\[|crate-type|enfilade = ).*)$", library, re.MULTILINE))
    manifest = manifest.replace("\u2026/rust", str(SDK / "rust")).replace(
        "[lib]",
        f'[package]\nname = "{source.stem}"\nversion = "0.0.0"\nedition = "2021"\n\n[lib]\npath = "{source}"',
    )
    release = (SDK / "rust" / "Cargo.toml").read_text().partition("[profile.release]")
    (directory / "Cargo.toml").write_text(manifest + "\n" + "".join(release[1:]))
    found = re.search(r"^//!     cargo (build .*)$", library, re.MULTILINE)
    environment = rust()
    assert found is not None
    assert environment is not None
    assert config.cache is not None
    target = config.cache.mkdir("rust")
    subprocess.run(
        [environment["CARGO"], *found[1].split(), "--offline", "--quiet"],
        check=True,
        cwd=directory,
        timeout=BUILD_SECONDS,
        env={**environment, "CARGO_TARGET_DIR": str(target), "RUSTFLAGS": "-D warnings"},
    )
    return target / RUST_TARGET / "release" / f"{source.stem}.wasm"


def assemblyscript() -> str | None:
    """The compiler of AssemblyScript: the one that `make kits` has installed, or the one on the path."""
    installed = Path(sys.prefix) / "kits" / "node_modules" / ".bin" / "asc"
    return str(installed) if installed.exists() else shutil.which("asc")


needs_assemblyscript = pytest.mark.skipif(assemblyscript() is None, reason="needs asc of AssemblyScript")


def build_assemblyscript(source: Path, directory: Path) -> Path:
    """A guest in AssemblyScript, by the command that the kit gives."""
    library = (SDK / "assemblyscript" / "enfilade.ts").read_text()
    found = re.search(r"^ \*   asc guest.ts (.*) \\\n \*  (.*)$", library, re.MULTILINE)
    compiler = assemblyscript()
    assert found is not None
    assert compiler is not None
    command = " ".join(found.groups()).replace('"', "").replace("$(enfilade guest sdk)", str(SDK))
    command = command.replace("guest.wasm", f"{source.stem}.wasm")
    build([compiler, str(source), *command.split()], directory)
    return directory / f"{source.stem}.wasm"


def build_wat(source: Path, directory: Path) -> Path:
    """A guest in the text format, by the program that writes it."""
    build([sys.executable, str(source), str(directory / f"{source.stem}.wasm")], directory)
    return directory / f"{source.stem}.wasm"


@attrs.frozen
class Kit:
    """One of the kits.

    Attributes:
        name: that of its folder.
        suffix: of its programs.
        build: builds a program in a directory.
        needs: marks of tests that use it.
    """

    name: str
    suffix: str
    build: Callable[[Path, Path, pytest.Config], Path]
    needs: tuple[pytest.MarkDecorator, ...] = ()


KITS = (
    Kit("c", ".c", lambda source, directory, _: build_c(source, directory), (needs_clang,)),
    Kit("wat", ".py", lambda source, directory, _: build_wat(source, directory)),
    Kit("zig", ".zig", build_zig, (needs_zig,)),
    Kit("rust", ".rs", build_rust, (needs_rust,)),
    Kit(
        "assemblyscript",
        ".ts",
        lambda source, directory, _: build_assemblyscript(source, directory),
        (needs_assemblyscript,),
    ),
)


def in_every_kit(source: Callable[[Kit], Path]) -> list[Any]:
    """Parameters of a fixture: for each kit that has the program, what builds it in a directory."""
    return [
        pytest.param(functools.partial(kit.build, source(kit)), id=kit.name, marks=kit.needs)
        for kit in KITS
        if source(kit).exists()
    ]
