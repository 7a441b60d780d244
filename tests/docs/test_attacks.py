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
    for path in (ROOT / "transport").glob("*/**/test/test_*.c"):
        found.update(re.findall(r"\bTEST\((\w+)\)", path.read_text()))
    return frozenset(found)


def entries(page: str, heading: str) -> list[str]:
    """The entries of the list under a heading, or else the rows of the first table there."""
    text = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    if "\n* " in text:
        return text.split("\n* ")[1:]
    table = re.split(r"\n\n", text[text.index("\n|") + 1 :], maxsplit=1)[0]
    return table.splitlines()[2:]


def named_in(entry: str) -> set[str]:
    """The tests that an entry names: after `Tests:`, or in the last cell of a row."""
    _, label, named = entry.rpartition("Tests:")
    return set(re.findall(r"`(\w+)`", named if label else entry.strip(" |").rsplit("|", 1)[1]))


@pytest.mark.parametrize(
    ("page", "heading", "least"),
    [
        ("explanation/attacks.md", "Nodes and doors", 20),
        ("explanation/attacks.md", "Guests and their peers", 10),
        ("explanation/mesh-faults.md", "Faults", 20),
        ("illumos.md", "What the kernel does", 20),
    ],
)
def test_each_entry_names_tests_that_exist(page: str, heading: str, least: int) -> None:
    assert len(entries(page, heading)) > least
    for entry in entries(page, heading):
        named = named_in(entry)
        assert named, entry
        assert named <= all_tests(), entry
