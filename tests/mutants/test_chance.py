"""Mutants by chance: which changes are made, and what is reported of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.mutants.chance import draw, drawn
from tests.mutants.runner import ROOT, BadMutant

PYTHON = (sys.executable, "-B", "-S")

SOURCE = '''
"""A module."""

LIMIT = 5


class Room:
    """Has a limit."""

    def __init__(self, size: int = 3) -> None:
        """Make one."""
        self.size = size

    def holds(self, count: int, is_open: bool) -> bool:
        if not is_open:
            raise ValueError(f"it is {is_open}, and has {1 + 1}")
        self.note("a", 7)
        return count < self.size and is_open
'''


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in drawn("room.py", source, ["t"], seed=1, most=999)}


def test_each_small_change_to_a_function_is_made() -> None:
    assert changes(SOURCE) == {
        ("self.size = size", "pass"),
        ("not is_open", "(not (not is_open))"),
        ('self.note("a", 7)', "pass"),
        ("7", "8"),
        ("count < self.size and is_open", "None"),
        ("count < self.size and is_open", "(count < self.size)"),
        ("count < self.size and is_open", "(is_open)"),
        ("count < self.size", "count <= self.size"),
        ("count < self.size", "count >= self.size"),
    }


def test_what_occurs_twice_is_told_by_its_statement() -> None:
    source = "def fn(a):\n    first = a > 1\n    second = a > 1, 'ä'\n    return None\n"
    assert ("second = a > 1, 'ä'", "second = a >= 1, 'ä'") in changes(source)
    assert ("a > 1", "a >= 1") not in changes(source)


@pytest.mark.parametrize(
    "file", ["actors/peers/inbound.py", "transport/node_link.py", "tests/mutants/chance.py"]
)
def test_all_changes_of_real_files_can_be_made(file: str) -> None:
    source = (ROOT / file).read_text()
    mutants = drawn(file, source, ["t"], seed=1, most=20)
    assert len(mutants) == 20
    assert len({mutant.applied_to(source) for mutant in mutants}) > 15


def test_the_same_are_drawn_each_time() -> None:
    assert drawn("f", SOURCE, ["t"], seed=4, most=3) == drawn("f", SOURCE, ["t"], seed=4, most=3)
    assert drawn("f", SOURCE, ["t"], seed=4, most=3) != drawn("f", SOURCE, ["t"], seed=5, most=3)


def test_what_no_test_finds_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "made_up.py").write_text("def larger(a, b):\n    return a if a > b else b\n")
    (root / "test_made_up.py").write_text("from made_up import larger\nassert larger(1, 2) == 2\n")
    survive = draw("made_up.py", ["test_made_up.py"], seed=1, most=99, root=root, command=PYTHON)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"5 mutants, {survive} survive"
    assert set(printed[:-1]) == {
        "survives: made_up.py, larger: 'a if a > b else b' -> 'b'",
        "survives: made_up.py, larger: 'a > b' -> 'a >= b'",
    }


@pytest.mark.parametrize(("file", "tests"), [("nowhere.py", ["t"]), ("tests/mutants/chance.py", [])])
def test_a_file_and_its_tests_are_needed(file: str, tests: list[str]) -> None:
    with pytest.raises(BadMutant, match="expected a file of the tree and its files of tests"):
        draw(file, tests, seed=1, most=1)
