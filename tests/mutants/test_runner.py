"""The runner of mutants, on a made-up tree; and every table fits its file.

But for one, which runs pytest, the files of tests of the made-up tree are plain programs: they start sooner.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.mutants.runner import HERE, PYTEST, ROOT, BadMutant, main, read_table

PYTHON = (sys.executable, "-B", "-S")
SOURCE = """
def larger(a: int, b: int) -> int:
    return a if a > b else b


def smaller(a: int, b: int) -> int:
    return a if a < b else b
"""
TESTS = """
from package.made_up import larger


def test_larger() -> None:
    assert larger(1, 2) == 2


test_larger()
"""
HEADER = 'file = "folder/made_up.py"\ntests = ["test_made_up.py"]\n'
FOUND = '[[mutant]]\nbefore = "a > b"\nafter = "a < b"\n'
EQUAL = '[[mutant]]\nbefore = "a > b"\nafter = "a >= b"\n'
UNSEEN = '[[mutant]]\nwithin = "smaller"\nbefore = "a < b"\nafter = "a > b"\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose tests import the folder by a link, as ours import the package."""
    root = tmp_path / "tree"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "made_up.py").write_text(SOURCE)
    (root / "package").symlink_to("folder")
    (root / "test_made_up.py").write_text(TESTS)
    return root


def run(tree: Path, *mutants: str, command: tuple[str, ...] = PYTHON) -> int:
    (tree.parent / "table.toml").write_text(HEADER + "".join(mutants))
    return main(tables=tree.parent, root=tree, command=command)


def test_reports_what_no_test_finds(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Survivors are reported, unless the table gives the reason; the tree itself is never touched."""
    assert run(tree, FOUND, UNSEEN, EQUAL + 'equal = "equal numbers are the same"\n') == 1
    assert capsys.readouterr().out.splitlines() == [
        "survives: folder/made_up.py, smaller: 'a < b' -> 'a > b'",
        "3 mutants, 1 surprises",
    ]
    assert (tree / "folder" / "made_up.py").read_text() == SOURCE


def test_reports_a_reason_that_is_not_true(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mutant that is said to be equal, and is found, is reported as well."""
    assert run(tree, FOUND + 'equal = "it is not"\n') == 1
    assert "found, though said to be equal" in capsys.readouterr().out


@pytest.mark.real
def test_runs_pytest(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that real tables are run with passes without a mutant, and finds one."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # to start sooner
    (tree / "test_made_up.py").write_text(TESTS.removesuffix("test_larger()\n"))
    assert run(tree, FOUND, command=PYTEST) == 0


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
def test_refuses_mutants_that_do_not_fit(tree: Path, mutant: str, message: str) -> None:
    """They are refused before any test is run."""
    (tree / "test_made_up.py").write_text("raise SystemError('not to be run')")
    with pytest.raises(BadMutant, match=message):
        run(tree, f"[[mutant]]\n{mutant}\n")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (TESTS.replace("== 2", "== 3"), "must pass before there is a mutant"),
        ("assert 1 + 1 == 2", "must import folder/made_up.py"),
    ],
    ids=["fail_anyway", "never_look"],
)
def test_refuses_tests_that_decide_nothing(tree: Path, tests: str, message: str) -> None:
    """Tests that fail without a mutant would find everything, those without the file nothing."""
    (tree / "test_made_up.py").write_text(tests)
    with pytest.raises(BadMutant, match=message):
        run(tree, FOUND)


@pytest.mark.parametrize("table", sorted(HERE.glob("*.toml")), ids=lambda path: path.stem)
def test_tables_fit(table: Path) -> None:
    """Every mutant of a table can be applied, and its tests exist."""
    for mutant in read_table(table):
        mutant.applied_to((ROOT / mutant.file).read_text())
        for test in mutant.tests:
            assert (ROOT / test).exists()


def test_an_unknown_table_is_named_with_those_there_are() -> None:
    """Before the first test runs: a mistyped name must not cost an hour."""
    with pytest.raises(BadMutant, match=r"got mailbocks; there are: .*\bmailbox\b"):
        main(["mailbocks"])
