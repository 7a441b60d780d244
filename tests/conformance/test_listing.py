"""docs/conformance.md says which test checks which case."""

import re

from tests.conformance.listing import CASES, PAGE, ROOT, UNTESTED, listing

ROW = re.compile(r"^\| (\w+-\w+) \| (.*) \|$", re.M)
TEST = re.compile(r"`([\w/]+\.py)`: `(\w+)`")
ROWS = dict(ROW.findall(PAGE.read_text()))


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == listing(), "run `python -m tests.conformance.listing`"


def test_every_id_of_the_page_is_a_case() -> None:
    """A test that carries an id checks the case of that id, not a rule of its own."""
    assert not ROWS.keys() - CASES


def test_every_case_has_a_test_or_is_listed_without_one() -> None:
    """A case that gets a test leaves the list, and none gets into it unseen."""
    assert CASES - ROWS.keys() == UNTESTED


def test_every_test_of_the_page_exists() -> None:
    """The page is read as a reader does, apart from the code that wrote it."""
    for case, cell in ROWS.items():
        tests = TEST.findall(cell)
        assert tests, case
        for file, name in tests:
            source = (ROOT / "tests" / file).read_text()
            assert re.search(rf"^\s*(async )?def {name}\(", source, re.M), (case, file, name)
