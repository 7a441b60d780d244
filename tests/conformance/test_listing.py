"""docs/conformance.md says which test checks which case."""

from tests.conformance.listing import PAGE, listing


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == listing(), "run `python -m tests.conformance.listing`"
