"""The house rules of docs/architecture.md that a program can check: who may import whom, what lies where."""

import ast
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "hostcalls", "transport")

# Which files of `actors` may import the packages below it: those that adapt guests, those that adapt nodes.
MAY_IMPORT = {
    ("actors", "hostcalls"): ("actors/guest.py", "actors/hosted.py", "actors/host.py", "actors/cli/"),
    ("actors", "transport"): (
        "actors/remote.py",
        "actors/travelling.py",
        "actors/peering.py",
        "actors/workers.py",
        "actors/cli/",
    ),
}

TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "actors",
    "docs",
    "hostcalls",
    "pyproject.toml",
    "tests",
    "transport",
}

LONGEST_FILE = 730  # 600, once the tests of the strategy are two files


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository, or, outside of a checkout, every file that lies there."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        return [path for line in listing.stdout.splitlines() if (path := ROOT / line).is_file()]
    return [path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern) if path.is_file()]


def imported_packages(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], node.lineno


def test_import_table() -> None:
    """actors -> hostcalls and transport in its adapters alone; the other two import nobody."""
    violations = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for target, line in imported_packages(path):
                if target not in PACKAGES or target == package:
                    continue
                if not name.startswith(MAY_IMPORT.get((package, target), ())):
                    violations.append(f"{name}:{line} imports {target}")
    assert not violations, "\n".join(violations)


def test_top_level() -> None:
    """Nothing else lives at the top level but dot files."""
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_file_length() -> None:
    """One concept a file, and no file over the limit."""
    too_long = {
        path.relative_to(ROOT).as_posix(): length
        for path in tracked("*.py", "*.c", "*.h")
        if (length := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert not too_long


@pytest.mark.parametrize("package", [*PACKAGES, "transport.doors", "hostcalls.engine", "actors.testing"])
def test_package_reexports_only(package: str) -> None:
    """A package's `__init__.py` re-exports its public names and does nothing else."""
    tree = ast.parse(ROOT.joinpath(*package.split("."), "__init__.py").read_text())
    for node in tree.body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert is_docstring or is_all or isinstance(node, ast.Import | ast.ImportFrom), ast.unparse(node)


@pytest.mark.parametrize("package", [*PACKAGES, "transport.doors", "hostcalls.engine", "actors.testing"])
def test_exports_are_documented(package: str) -> None:
    """What a package exports says what it does."""
    module = importlib.import_module(package)
    exported = module.__all__
    assert len(exported) == len(set(exported)), "a name is exported twice"
    documentable = {name: getattr(module, name) for name in exported}
    undocumented = [
        name
        for name, value in documentable.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value)
    ]
    assert not undocumented


def test_nothing_left_for_later() -> None:
    """The packages hold no note to finish something later."""
    markers = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + "X|NotImplemented" + r"Error)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked("actors/*.py", "hostcalls/*.py", "transport/*.py", "*.c", "*.h")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if markers.search(line)
    ]
    assert not found, "\n".join(found)
