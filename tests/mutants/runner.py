"""Apply one mutant at a time to a copy of the tree, run the tests of its file, and tell which ones survive.

The mutants of a module are a table of their own, `<module>.toml` beside this file: `file` and `tests` say
where it lies and what is to find its faults. A mutant has

* `before` and `after`: a text and what takes its place; `before` must occur once;
* `within`: the function, or Class.method, that it must occur once in; without it, the file;
* `equal`: why no test can tell it from the original. Such a mutant is expected to survive.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

__all__ = ["BadMutant", "Mutant", "Tree", "main", "read_table"]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LEFT_OUT = (".git", ".venv*", "_build", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
SECONDS = 600
"""After which tests that do not end have found the mutant."""


class BadMutant(Exception):
    """A table does not fit the file that it is about."""


@attrs.frozen
class Mutant:
    """One fault: the text that it replaces in `file`, and the tests that must find it."""

    file: str
    tests: Sequence[str]
    before: str
    after: str
    within: str = ""
    equal: str = ""

    def __str__(self) -> str:
        place = f"{self.file}, {self.within}" if self.within else self.file
        return f"{place}: {self.before.strip()!r} -> {self.after.strip()!r}"

    def applied_to(self, source: str) -> str:
        """The source with this fault.

        Raises:
            BadMutant: the place does not exist, or its text is not there once, or nothing would change.
        """
        start, end = _span(source, self.within) if self.within else (0, len(source))
        found = source.count(self.before, start, end)
        if found != 1:
            raise BadMutant(f"{self}: the text must occur once, and occurs {found} times")
        if self.before == self.after:
            raise BadMutant(f"{self}: it changes nothing")
        position = source.index(self.before, start, end)
        mutated = source[:position] + self.after + source[position + len(self.before) :]
        try:
            ast.parse(mutated)
        except SyntaxError as error:
            raise BadMutant(f"{self}: it is not Python: {error}") from error
        return mutated


def _span(source: str, name: str) -> tuple[int, int]:
    """The characters from the beginning to the end of that function."""
    body: Sequence[ast.AST] = ast.parse(source).body
    node: Any = None
    for part in name.split("."):
        node = next((node for node in body if getattr(node, "name", None) == part), None)
        if node is None:
            raise BadMutant(f"there is no function {name}")
        body = node.body
    lines = source.splitlines(keepends=True)
    return sum(map(len, lines[: node.lineno - 1])), sum(map(len, lines[: node.end_lineno]))


def read_table(path: Path) -> list[Mutant]:
    """The mutants of one table."""
    table = tomllib.loads(path.read_text())
    return [Mutant(table["file"], table["tests"], **mutant) for mutant in table["mutant"]]


class Tree:
    """A copy of the tree, in which one mutant at a time lives."""

    def __init__(self, root: Path, copy: Path) -> None:
        self._copy = copy
        shutil.copytree(root, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_OUT))

    def finds(self, mutant: Mutant) -> bool:
        """Whether the tests find the mutant."""
        place = self._copy / mutant.file
        source = place.read_text()
        mutated = mutant.applied_to(source)
        place.write_text(mutated)
        try:
            return not self.passes(mutant.tests)
        finally:
            place.write_text(source)

    def passes(self, tests: Iterable[str]) -> bool:
        """Whether these tests pass as the copy is now."""
        command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self._copy)}
        try:
            run = subprocess.run(
                command, cwd=self._copy, env=environment, capture_output=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        if run.returncode not in (0, 1, 2):  # 2: a file of tests cannot even be imported
            raise BadMutant(f"{' '.join(tests)} could not be run: {run.stdout.decode()}{run.stderr.decode()}")
        return run.returncode == 0


def survivors(tree: Tree, mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant with the answer to whether it survives.

    Raises:
        BadMutant: tests fail without any mutant, and so would find everything.
    """
    sound: set[tuple[str, ...]] = set()
    for mutant in mutants:
        tests = tuple(mutant.tests)
        if tests not in sound and not tree.passes(tests):
            raise BadMutant(f"{' '.join(tests)} must pass before there is a mutant, and fail")
        sound.add(tests)
        yield mutant, not tree.finds(mutant)


def main(names: Sequence[str] = (), *, tables: Path = HERE, root: Path = ROOT) -> int:
    """Run these tables, or all; the number of mutants that survive, or are found, unexpectedly."""
    paths = [tables / f"{name}.toml" for name in names] or sorted(tables.glob("*.toml"))
    mutants = [mutant for path in paths for mutant in read_table(path)]
    for mutant in mutants:  # before the first slow step
        mutant.applied_to((root / mutant.file).read_text())
    surprises = 0
    with tempfile.TemporaryDirectory() as copy:
        for mutant, survives in survivors(Tree(root, Path(copy)), mutants):
            if survives == bool(mutant.equal):
                continue
            surprises += 1
            print(f"{'survives' if survives else 'is found, though said to be equal'}: {mutant}", flush=True)
    print(f"{len(mutants)} mutants, {surprises} surprises")
    return surprises
