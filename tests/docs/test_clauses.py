"""The pages on semantics and the tests agree: each clause is cited by a test, each citation is a clause."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = pytest.mark.parametrize(
    ("page", "clause"), [("semantics.md", r"[A-Z]\d+"), ("semantics-supervision.md", r"SUP-\d+")]
)


def clauses(page: str, clause: str) -> list[str]:
    """What items of the page begin with."""
    return re.findall(rf"^- \*\*({clause})\.?\*\*", (ROOT / "docs" / page).read_text(), re.MULTILINE)


def citations(clause: str) -> set[str]:
    """What docstrings of tests begin with: `L4:`, or `C11, M2:`."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for cited in re.findall(rf'"""((?:{clause}(?:, )?)+):', path.read_text()):
            found.update(cited.split(", "))
    return found


@PAGES
def test_every_clause_is_tested(page: str, clause: str) -> None:
    assert clauses(page, clause)
    assert set(clauses(page, clause)) - citations(clause) == set()


@PAGES
def test_every_citation_has_its_clause(page: str, clause: str) -> None:
    assert citations(clause) - set(clauses(page, clause)) == set()


@PAGES
def test_every_clause_has_a_name_of_its_own(page: str, clause: str) -> None:
    named = clauses(page, clause)
    assert len(named) == len(set(named))
