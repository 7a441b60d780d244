"""Apply one mutant at a time to a copy of the tree, run the tests of its file, and report the survivors.

The mutants of a module are a table of their own, `<module>.toml` beside this file: `file` is the module,
`tests` are the files of tests that must find its faults. A mutant has

* `before` and `after`: a text and what takes its place; `before` must occur once;
* `within`: the function, or Class.method, that it must occur once in; without it, the file;
* `equal`: why no test can tell it from the original. Such a mutant is expected to survive.
"""

from __future__ import annotations

import ast
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

__all__ = ["BadMutant", "Mutant", "Tree", "main", "read_table"]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LEFT_OUT = (".git", ".venv*", "_build", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
SECONDS = 600
"""Time limit of the tests; tests that do not end within it have found the mutant."""

PYTEST = (sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
UNUSABLE = 'raise ImportError("this file is not to be imported")\n'


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
    body: Sequence[ast.AST] = _parsed(source).body
    node: Any = None
    for part in name.split("."):
        node = next((node for node in body if getattr(node, "name", None) == part), None)
        if node is None:
            raise BadMutant(f"there is no function {name}")
        body = node.body
    lines = source.splitlines(keepends=True)
    return sum(map(len, lines[: node.lineno - 1])), sum(map(len, lines[: node.end_lineno]))


@functools.lru_cache(maxsize=1)
def _parsed(source: str) -> ast.Module:
    """The module; the mutants of a file follow one another."""
    return ast.parse(source)


def read_table(path: Path) -> list[Mutant]:
    """The mutants of one table."""
    table = tomllib.loads(path.read_text())
    return [Mutant(table["file"], table["tests"], **mutant) for mutant in table["mutant"]]


class Tree:
    """A copy of the tree, in which one mutant at a time lives.

    Args:
        root: the tree.
        copy: an existing folder for the copy.
        command: runs the files of tests that are appended to it.
    """

    def __init__(self, root: Path, copy: Path, command: Sequence[str] = PYTEST) -> None:
        self._copy = copy
        self._command = command
        # The package is made of links: followed, they would become a second copy, which no mutant reaches.
        ignored = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(root, copy, symlinks=True, dirs_exist_ok=True, ignore=ignored)

    def check(self, file: str, tests: Sequence[str]) -> None:
        """Check that the tests pass, and that they would notice a change of `file`.

        Raises:
            BadMutant: they fail without any mutant, and so would find everything; or they do not import the
                file of this copy, and so would find nothing.
        """
        if self._run(tests).returncode != 0:
            raise BadMutant(f"{' '.join(tests)} must pass before there is a mutant, and fail")
        with self._replaced(file, UNUSABLE):
            if self._run(tests).returncode == 0:
                raise BadMutant(f"{' '.join(tests)} must import {file}, and pass without it")

    def finds(self, mutant: Mutant) -> bool:
        """Tell whether the tests find the mutant.

        Raises:
            BadMutant: the tests could not be run.
        """
        mutated = mutant.applied_to((self._copy / mutant.file).read_text())
        with self._replaced(mutant.file, mutated):
            try:
                run = self._run(mutant.tests)
            except subprocess.TimeoutExpired:
                return True
        if run.returncode not in (0, 1, 2):  # 2: a file of tests cannot even be imported
            output = run.stdout.decode() + run.stderr.decode()
            raise BadMutant(f"{' '.join(mutant.tests)} could not be run: {output}")
        return run.returncode != 0

    @contextmanager
    def _replaced(self, file: str, text: str) -> Iterator[None]:
        place = self._copy / file
        source = place.read_text()
        place.write_text(text)
        try:
            yield
        finally:
            place.write_text(source)

    def _run(self, tests: Iterable[str]) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(self._copy)}
        return subprocess.run(
            [*self._command, *tests],
            cwd=self._copy,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )


def survivors(tree: Tree, mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and True if it survives.

    Raises:
        BadMutant: as `Tree.check`.
    """
    checked: set[tuple[str, ...]] = set()
    for mutant in mutants:
        subject = (mutant.file, *mutant.tests)
        if subject not in checked:
            tree.check(mutant.file, mutant.tests)
            checked.add(subject)
        yield mutant, not tree.finds(mutant)


def main(
    names: Sequence[str] = (), *, tables: Path = HERE, root: Path = ROOT, command: Sequence[str] = PYTEST
) -> int:
    """Run these tables, or all; the number of mutants that survive, or are found, unexpectedly.

    Raises:
        BadMutant: there is no table of a name; or as `Tree.check`.
    """
    known = {path.stem: path for path in sorted(tables.glob("*.toml"))}
    if unknown := [name for name in names if name not in known]:
        raise BadMutant(f"expected names of tables, got {', '.join(unknown)}; there are: {', '.join(known)}")
    paths = [known[name] for name in names or known]
    mutants = [mutant for path in paths for mutant in read_table(path)]
    for mutant in mutants:  # before the first slow step
        mutant.applied_to((root / mutant.file).read_text())
    surprises = 0
    with tempfile.TemporaryDirectory() as copy:
        for mutant, survives in survivors(Tree(root, Path(copy), command), mutants):
            if survives == bool(mutant.equal):
                continue
            surprises += 1
            print(f"{'survives' if survives else 'found, though said to be equal'}: {mutant}", flush=True)
    print(f"{len(mutants)} mutants, {surprises} surprises")
    return surprises
