"""Each clause is cited by a test, and each clause, page and heading that is cited exists."""

import functools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.goals import ANCHORS, ARCHITECTURE

ROOT = Path(__file__).resolve().parents[2]
PAGES = pytest.mark.parametrize(
    ("page", "clause"),
    [
        ("semantics.md", r"[A-Z]\d+"),
        ("semantics-supervision.md", r"SUP-\d+"),
        ("semantics-mesh.md", r"MESH-\d+"),
    ],
)


@functools.cache
def clauses(page: str, clause: str) -> list[str]:
    """What items of the page begin with."""
    return re.findall(rf"^- \*\*({clause})\.?\*\*", (ROOT / "docs" / page).read_text(), re.MULTILINE)


@functools.cache
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
    assert [name for name, times in Counter(clauses(page, clause)).items() if times > 1] == []


TEXTS = {".py", ".c", ".h", ".md", ".toml", ".erl", ".zig", ".wat"}
PLACES = ("actors", "hostcalls", "transport", "tests", "docs")
NUMBERED_SECTION = r"\b[Ss]ections? \d+\b"
PAGE = r"(?<![\w.-])(?:[\w-]+/)*[\w-]+\.md\b"
HEADINGS = rf'({PAGE})`?, ((?:"[A-Z][^"]*"(?:, | and )?)+)'
CLAUSE = r"(?:[A-Z]\d+|SUP-\d+|MESH-\d+)"
CLAUSES = rf"\bClauses? ({CLAUSE}(?:(?:, | and | to ){CLAUSE})*) of docs/semantics"
LINK = r"\]\(([^)#:]+)(?:#[\w-]*)?\)"
FILE = r"`((?:actors|hostcalls|transport|tests|docs)/[\w./-]+)`"


@functools.cache
def _texts() -> tuple[tuple[Path, str], ...]:
    """Every text file of the project, with each comment and paragraph on one line."""
    paths = [
        ROOT / "README.md",
        ROOT / "SECURITY.md",
        ROOT / "CHANGELOG.md",
        *(path for place in PLACES for path in (ROOT / place).rglob("*")),
    ]
    return tuple(
        (path, re.sub(r"\s*\n[ \t]*(?:\*|#|//)?[ \t]*", " ", path.read_text()))
        for path in paths
        if path.suffix in TEXTS and not {"_build", "__pycache__"} & set(path.parts)
    )


@functools.cache
def _all_pages() -> list[Path]:
    """Every page of the project."""
    return [*ROOT.glob("*.md"), *(path for place in PLACES for path in (ROOT / place).rglob("*.md"))]


@functools.cache
def pages_named(name: str) -> list[Path]:
    """The pages of the project that a citation such as `reference/core.md` can mean."""
    parts = Path(name).parts
    return [path for path in _all_pages() if path.parts[-len(parts) :] == parts]


@functools.cache
def headings(page: Path) -> set[str]:
    """The headings of a page, without numbers in front of them."""
    return set(re.findall(r"^#+ (?:\d+\. )?(.+?)\s*$", page.read_text(), re.MULTILINE))


def missing_pages(text: str) -> set[str]:
    return {name for name in re.findall(PAGE, text) if not pages_named(name.removeprefix("../"))}


def missing_headings(text: str) -> set[str]:
    return {
        f"{page}: {heading}"
        for page, cited in re.findall(HEADINGS, text)
        for heading in re.findall(r'"([^"]+?)\.?"', cited)
        if not any(heading in headings(path) for path in pages_named(page))
    }


def missing_clauses(text: str) -> set[str]:
    known = {
        *clauses("semantics.md", r"[A-Z]\d+"),
        *clauses("semantics-supervision.md", r"SUP-\d+"),
        *clauses("semantics-mesh.md", r"MESH-\d+"),
    }
    cited = {clause for several in re.findall(CLAUSES, text) for clause in re.findall(CLAUSE, several)}
    return (cited | set(re.findall(r"\b(?:SUP|MESH)-\d+", text))) - known


def numbered_sections(text: str) -> set[str]:
    return set(re.findall(NUMBERED_SECTION, text))


@pytest.mark.parametrize("fault", [missing_pages, missing_headings, missing_clauses, numbered_sections])
def test_every_citation_leads_somewhere(fault: Callable[[str], set[str]]) -> None:
    """Cited pages, headings and clauses exist; sections are cited by heading, because numbers change."""
    found = {str(path.relative_to(ROOT)): fault(text) for path, text in _texts() if path != Path(__file__)}
    assert {path: faults for path, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (missing_pages, "see docs/absent.md."),
        (missing_headings, 'as docs/guests.md, "Limits" and "No such heading", has it'),
        (missing_clauses, "Clauses L1 to L99 of docs/semantics.md"),
        (missing_clauses, "by SUP-999"),
        (numbered_sections, "the ABI, section 4.2"),
    ],
)
def test_a_false_citation_is_found(fault: Callable[[str], set[str]], text: str) -> None:
    assert len(fault(text)) == 1


def _pages() -> list[Path]:
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    return [page for page in pages if "_build" not in page.parts]


def test_links_and_file_names_of_pages_exist() -> None:
    """Each relative link of a page, and each file that it names below one of the rooms, exists."""
    broken = {
        f"{page.relative_to(ROOT)}: {target}"
        for page in _pages()
        for places, pattern in (((page.parent,), LINK), ((ROOT, ROOT / "tests"), FILE))
        for target in re.findall(pattern, page.read_text())
        if not any((place / target).exists() for place in places)
    }
    assert broken == set()


@pytest.mark.parametrize(
    ("heading", "goals"),
    [("## What must be reached", ARCHITECTURE), ("### What was set for another machine", ANCHORS)],
)
def test_the_page_on_benchmarks_states_every_goal(heading: str, goals: tuple[str, ...]) -> None:
    """The goals that benchmarks are judged by are those that the page states, in its order."""
    section = re.split(
        r"^#+ ", (ROOT / "docs" / "benchmarks.md").read_text().split(f"{heading}\n")[1], flags=re.M
    )[0]
    assert tuple(re.findall(r"^\| (?!goal |target |-)(.+?) \| .+ \|$", section, re.MULTILINE)) == goals
