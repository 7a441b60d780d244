"""The pictures of the documentation show the observers as they are."""

from __future__ import annotations

import pytest

pytest.importorskip("textual")
pytest.importorskip("wsproto")

from tests.actors.cli.observe import docs_pictures
from tests.actors.cli.observe.browser import needs_browser
from tests.actors.cli.observe.pictures import lines_of

pytestmark = pytest.mark.real

STALE = "the picture is stale: run `make pictures`"


def test_the_picture_of_the_terminal_is_current() -> None:
    kept = docs_pictures.TERMINAL.read_text(encoding="utf-8")
    assert lines_of(docs_pictures.terminal_picture()) == lines_of(kept), STALE
    assert "http" not in kept.replace('"http://www.w3.org/', "")  # it needs nothing from elsewhere


@needs_browser
def test_the_picture_of_the_page_is_current() -> None:
    kept, made = docs_pictures.PAGE.read_bytes(), docs_pictures.page_picture()
    assert docs_pictures.text_of(made) == docs_pictures.text_of(kept), STALE
    assert docs_pictures.size_of(made) == docs_pictures.size_of(kept), STALE
    assert len(kept) < 200_000
