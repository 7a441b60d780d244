"""The semantics of supervision and the tests agree: every clause is cited, every citation is a clause."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "semantics-supervision.md"


def clauses() -> list[str]:
    return re.findall(r"^- \*\*(SUP-\d+)\*\*", PAGE.read_text(), re.MULTILINE)


def citations() -> set[str]:
    """What the docstrings of tests begin with: `SUP-4:`, or `SUP-4, SUP-5:`."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for cited in re.findall(r'"""((?:SUP-\d+(?:, )?)+):', path.read_text()):
            found.update(cited.split(", "))
    return found


def test_every_clause_is_tested() -> None:
    assert clauses()
    assert set(clauses()) - citations() == set()


def test_every_citation_has_its_clause() -> None:
    assert citations() - set(clauses()) == set()
    assert len(clauses()) == len(set(clauses()))
