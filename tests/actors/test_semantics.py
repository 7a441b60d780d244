"""docs/semantics.md and the tests agree: every clause has a test that cites it, every citation a clause."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CITING = [
    *(ROOT / "tests" / "conformance" / "actors").glob("test_*.py"),
    *(ROOT / "tests" / "actors").glob("test_*.py"),
]


def clauses() -> set[str]:
    page = (ROOT / "docs" / "semantics.md").read_text()
    return set(re.findall(r"^- \*\*([A-Z]\d+)\.\*\*", page, re.MULTILINE))


def citations() -> set[str]:
    """What the docstrings of tests begin with: `L4:`, or `C11, M2:`."""
    found: set[str] = set()
    for path in CITING:
        for cited in re.findall(r'"""((?:[A-Z]\d+(?:, )?)+):', path.read_text()):
            found.update(cited.split(", "))
    return found


def test_every_clause_is_tested() -> None:
    assert clauses()
    assert sorted(clauses() - citations()) == []


def test_every_citation_has_its_clause() -> None:
    supervision = (ROOT / "docs" / "semantics-supervision.md").read_text()
    unknown = citations() - clauses()
    assert not {clause for clause in unknown if f"{clause}." not in supervision}
