"""The runner of mutants, on a made-up tree; and every table fits its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.runner import HERE, ROOT, BadMutant, main, read_table

pytestmark = pytest.mark.serial

SOURCE = """
def larger(a: int, b: int) -> int:
    return a if a > b else b


def smaller(a: int, b: int) -> int:
    return a if a < b else b
"""
TESTS = """
from made_up import larger


def test_larger() -> None:
    assert larger(1, 2) == 2
"""
HEADER = 'file = "made_up.py"\ntests = ["test_made_up.py"]\n'
FOUND = '[[mutant]]\nbefore = "a > b"\nafter = "a < b"\n'
EQUAL = '[[mutant]]\nbefore = "a > b"\nafter = "a >= b"\n'
UNSEEN = '[[mutant]]\nwithin = "smaller"\nbefore = "a < b"\nafter = "a > b"\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "made_up.py").write_text(SOURCE)
    (root / "test_made_up.py").write_text(TESTS)
    return root


def run(tree: Path, *mutants: str) -> int:
    (tree.parent / "table.toml").write_text(HEADER + "".join(mutants))
    return main(tables=tree.parent, root=tree)


def test_found_and_survivors(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What no test finds is told, unless the table says why; the tree itself is never touched."""
    assert run(tree, FOUND, UNSEEN, EQUAL + 'equal = "equal numbers are the same"\n') == 1
    assert capsys.readouterr().out.splitlines() == [
        "survives: made_up.py, smaller: 'a < b' -> 'a > b'",
        "3 mutants, 1 surprises",
    ]
    assert (tree / "made_up.py").read_text() == SOURCE


def test_a_reason_that_is_not_true(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mutant that is said to be equal, and is found, is told as well."""
    assert run(tree, FOUND + 'equal = "it is not"\n') == 1
    assert "is found, though said to be equal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mutant", "message"),
    [
        ('before = "a == b"\nafter = "a"', "occurs 0 times"),
        ('before = "return a"\nafter = "return b"', "occurs 2 times"),
        ('within = "largest"\nbefore = "a"\nafter = "b"', "no function largest"),
        ('before = "a > b"\nafter = "a > b"', "changes nothing"),
        ('before = "a > b"\nafter = "a >"', "not Python"),
    ],
)
def test_mutants_that_do_not_fit(tree: Path, mutant: str, message: str) -> None:
    """They are refused before any test is run."""
    (tree / "test_made_up.py").write_text("raise SystemError('not to be run')")
    with pytest.raises(BadMutant, match=message):
        run(tree, f"[[mutant]]\n{mutant}\n")


def test_tests_that_fail_anyway(tree: Path) -> None:
    """Tests that fail without a mutant would find everything: that is an error."""
    (tree / "test_made_up.py").write_text(TESTS.replace("== 2", "== 3"))
    with pytest.raises(BadMutant, match="must pass before there is a mutant"):
        run(tree, FOUND)


@pytest.mark.parametrize("table", sorted(HERE.glob("*.toml")), ids=lambda path: path.stem)
def test_tables_fit(table: Path) -> None:
    """Every mutant of a table can be applied, and its tests exist."""
    for mutant in read_table(table):
        mutant.applied_to((ROOT / mutant.file).read_text())
        for test in mutant.tests:
            assert (ROOT / test).exists()
