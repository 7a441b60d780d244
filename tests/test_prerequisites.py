"""The first line that a newcomer sees where something is missing: what it is, and what to type."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parent.parent / ".packaging" / "prerequisites.py"


def prerequisites() -> ModuleType:
    specification = importlib.util.spec_from_file_location("prerequisites", PROGRAM)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_old_python_can_run_it() -> None:
    """Nothing in an annotation is looked up that Python 3.6 does not have, such as `list[str]`."""
    functions = [
        part for part in ast.walk(ast.parse(PROGRAM.read_text())) if isinstance(part, ast.FunctionDef)
    ]
    kinds = {type(function.returns) for function in functions}
    kinds |= {type(argument.annotation) for function in functions for argument in function.args.args}
    assert kinds <= {ast.Name, ast.Constant}


def test_nothing_is_said_where_nothing_is_missing() -> None:
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_missing_compiler_is_named() -> None:
    done = run(CC="no-such-compiler")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "missing a C compiler (no program 'no-such-compiler' was found); install them" in done.stderr


@pytest.mark.parametrize(
    ("header", "missing"),
    [("stdlib.h", "the headers of the C library"), ("Python.h", "the headers of Python 3.")],
)
def test_missing_headers_are_named(header: str, missing: str, tmp_path: Path) -> None:
    """The compiler of this test finds every header but one."""
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\n! grep -q '<{header}>'\n")
    compiler.chmod(0o755)
    done = run(CC=str(compiler))
    assert done.returncode == 1
    assert f"Enfilade cannot be built here: missing {missing}" in done.stderr


@pytest.mark.parametrize(
    ("version", "fits"),
    [((3, 10), False), ((3, 11), True), ((3, 14), True), ((3, 15), False)],
)
def test_another_python_is_named(
    version: tuple[int, int], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = prerequisites()
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert ("needs Python 3.11 to 3.14, and this is 3." in module.unfit()) is not fits


@pytest.mark.parametrize(
    ("platform", "known"), [("linux", True), ("sunos5", True), ("darwin", False), ("win32", False)]
)
def test_another_system_is_refused(platform: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = prerequisites()
    monkeypatch.setattr(sys, "platform", platform)
    assert ("runs on Linux and illumos" in module.unfit()) is not known


@pytest.mark.parametrize(("manager", "command"), [("apk", "apk add gcc"), (None, "the tools of your system")])
def test_the_advice_is_the_machine_s(
    manager: str | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = prerequisites()
    monkeypatch.setattr(module.shutil, "which", lambda name: name if name == manager else None)
    assert command in module.advice()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_they_are_asked_for_once(tmp_path: Path) -> None:
    """Also where the virtual environment and what is built in it are both to be made."""
    command = ["make", "--dry-run", f"VENV={tmp_path / 'venv'}", "demo"]
    done = subprocess.run(
        command, cwd=PROGRAM.parent.parent, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Compiling doors" in done.stdout
    assert done.stdout.count("prerequisites.py") == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_lets_python_keep_its_caches() -> None:
    """Each start of Python would compile all that it imports: hundreds of tests start one."""
    command = ["make", "--no-print-directory", "--eval=shown: ; @env", "shown"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    made = subprocess.run(
        command, cwd=PROGRAM.parent.parent, env=environment, capture_output=True, text=True, check=True
    )
    assert not [line for line in made.stdout.splitlines() if line.startswith("PYTHONDONTWRITEBYTECODE=")]
