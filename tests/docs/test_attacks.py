"""The tests that the pages on attacks, faults of a mesh and the kernel's behaviour name exist."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@cache
def all_tests() -> frozenset[str]:
    """The names of all tests, in Python and in C."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.update(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    for path in (ROOT / "transport/doors/c/test").glob("test_*.c"):
        found.update(re.findall(r"\bTEST\((\w+)\)", path.read_text()))
    return frozenset(found)


def rows(page: str, heading: str) -> list[str]:
    """The rows of the first table under a heading."""
    text = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n", 1)[1]
    table = re.split(r"\n\n", text[text.index("\n|") + 1 :], maxsplit=1)[0]
    return table.splitlines()[2:]


@pytest.mark.parametrize(
    ("page", "heading", "least"),
    [
        ("explanation/attacks.md", "Nodes and doors", 20),
        ("explanation/attacks.md", "Guests and their peers", 10),
        ("explanation/mesh-faults.md", "Faults", 20),
        ("illumos.md", "What the kernel does", 20),
    ],
)
def test_each_row_names_tests_that_exist(page: str, heading: str, least: int) -> None:
    assert len(rows(page, heading)) > least
    for row in rows(page, heading):
        named = set(re.findall(r"`(\w+)`", row.strip(" |").rsplit("|", 1)[1]))
        assert named, row
        assert named <= all_tests(), row
