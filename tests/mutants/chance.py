"""Mutants by chance: faults that nobody has thought of, drawn from all small changes to a file's functions.

A comparison is another one, an operand of `and` or `or` is left out, a condition or a flag is turned round, a
number is one more, a call that is a statement of its own or an assignment to an attribute does not happen, a
result is None. What no test finds shows a rule that no test holds, code that is not needed, or a change that
makes no difference. Which of these it is, somebody has to find out: so the table of the file gets a mutant by
hand, and none from here.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.mutants.runner import PYTEST, ROOT, BadMutant, Mutant, Tree, survivors

__all__ = ["draw", "drawn"]

COMPARISONS: Final[dict[type[ast.cmpop], tuple[str, ...]]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
LEFT_ALONE: Final = (ast.Raise, ast.Assert, ast.JoinedStr, ast.AnnAssign, ast.arguments)
"""Parts of a function whose changes say little: the words of errors, annotations, defaults."""


def draw(
    file: str,
    tests: Sequence[str],
    *,
    seed: int,
    most: int,
    root: Path = ROOT,
    command: Sequence[str] = PYTEST,
) -> int:
    """Draw mutants of a file, print those that no test finds, and return how many that are.

    Raises:
        BadMutant: there is no such file, or no test of it; or as `Tree.check`.
    """
    if not tests or not (root / file).is_file():
        raise BadMutant(f"expected a file of the tree and its files of tests, got {file} and {len(tests)}")
    mutants = drawn(file, (root / file).read_text(), tests, seed=seed, most=most)
    found = 0
    with tempfile.TemporaryDirectory() as copy:
        for mutant, survives in survivors(Tree(root, Path(copy), command), mutants):
            found += survives
            if survives:
                print(f"survives: {mutant}", flush=True)
    print(f"{len(mutants)} mutants, {found} survive")
    return found


def drawn(file: str, source: str, tests: Sequence[str], *, seed: int, most: int) -> list[Mutant]:
    """Draw mutants of a file.

    Args:
        file: its path in the tree.
        source: its text.
        tests: files of tests that must find them.
        seed: draws the same ones each time.
        most: how many, if there are as many.
    """
    candidates = list(_candidates(file, source, tests))
    random.Random(seed).shuffle(candidates)
    usable = (mutant for pair in candidates if (mutant := _usable(pair, source)) is not None)
    return list(itertools.islice(usable, most))


def _candidates(file: str, source: str, tests: Sequence[str]) -> Iterator[tuple[Mutant, Mutant]]:
    """Yield each mutant in two forms: as the part that changes, and as the statement that it lies in."""
    for within, statement in _statements(ast.parse(source).body, ""):
        whole = _text(source, statement)
        for node, after in _changes(source, statement):
            before = _text(source, node)
            start = _span(source, node)[0] - _span(source, statement)[0]
            longer = whole[:start] + after + whole[start + len(before) :]
            yield Mutant(file, tests, before, after, within), Mutant(file, tests, whole, longer, within)


def _usable(pair: tuple[Mutant, Mutant], source: str) -> Mutant | None:
    """Return the form of a mutant whose text occurs once in its function, the shorter one if both do."""
    for mutant in pair:
        with contextlib.suppress(BadMutant):
            mutant.applied_to(source)
            return mutant
    return None


def _statements(body: Sequence[ast.stmt], within: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the statements of functions, and the names of these; docstrings are none."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _statements(statement.body, f"{within}.{statement.name}".lstrip("."))
            continue
        if within and not isinstance(statement, LEFT_ALONE):
            yield within, statement
        for field in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(statement, field, ()), within)
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            yield from _statements(part.body, within)


def _changes(source: str, statement: ast.stmt) -> Iterator[tuple[ast.AST, str]]:
    """Yield what can be changed in a statement, and what it becomes; not what is in statements in it."""
    match statement:
        case ast.Expr(ast.Call() | ast.Await()) | ast.Delete():
            yield statement, "pass"
        case ast.Assign([ast.Attribute()]) | ast.AugAssign(ast.Attribute()):
            yield statement, "pass"
        case ast.Return(ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.BoolOp | ast.Compare):
            yield test, f"(not ({_text(source, test)}))"
    for node in _expressions(statement):
        match node:
            case ast.Compare(left, [operator], [right]):
                for other in COMPARISONS[type(operator)]:
                    yield node, f"{_text(source, left)} {other} {_text(source, right)}"
            case ast.BoolOp(operator, values):
                word = " and " if isinstance(operator, ast.And) else " or "
                for number in range(len(values)):
                    rest = (*values[:number], *values[number + 1 :])
                    yield node, f"({word.join(_text(source, value) for value in rest)})"
            case ast.IfExp(_, one, other_one):
                yield node, _text(source, one)
                yield node, _text(source, other_one)
            case ast.Constant(bool() as flag):
                yield node, str(not flag)
            case ast.Constant(int() as number):
                yield node, str(number + 1)


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what lies in a statement, but for the statements in it and what is left alone."""
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, (ast.stmt, ast.ExceptHandler, ast.match_case, *LEFT_ALONE)):
            yield part
            yield from _expressions(part)


def _text(source: str, node: ast.AST) -> str:
    start, end = _span(source, node)
    return source[start:end]


def _span(source: str, node: ast.AST) -> tuple[int, int]:
    """The characters at which a node begins and ends: the parser counts bytes of lines."""
    assert isinstance(node, ast.stmt | ast.expr)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    places = ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
    starts, lines = _lines(source)
    start, end = (starts[line - 1] + len(lines[line - 1][:column].decode()) for line, column in places)
    return start, end


@functools.lru_cache(maxsize=1)
def _lines(source: str) -> tuple[list[int], list[bytes]]:
    """The character at which each line begins, and the lines."""
    lines = source.splitlines(keepends=True)
    return [0, *itertools.accumulate(map(len, lines))], [line.encode() for line in lines]
