"""The pictures of the documentation show the observers as they are."""

from __future__ import annotations

import pytest

pytest.importorskip("textual")
pytest.importorskip("wsproto")

from tests.actors.cli.observe import docs_pictures, zone_pictures
from tests.actors.cli.observe.browser import needs_browser
from tests.actors.cli.observe.pictures import lines_of

pytestmark = pytest.mark.real

STALE = "the picture is stale: run `make pictures`"


def test_the_picture_of_the_terminal_is_current() -> None:
    kept = docs_pictures.TERMINAL.read_text(encoding="utf-8")
    assert lines_of(docs_pictures.terminal_picture()) == lines_of(kept), STALE
    assert "http" not in kept.replace('"http://www.w3.org/', "")  # it needs nothing from elsewhere


def test_the_pictures_of_three_zones_have_the_pages_and_keys_of_the_terminal() -> None:
    """What they show is of a moment; the lines of pages and of keys are the same at each."""
    drawn = zone_pictures.still_lines()
    kept = {
        title: lines_of((zone_pictures.FOLDER / f"{title}.svg").read_text(encoding="utf-8"))
        for title in drawn
    }
    for title, (pages, keys) in drawn.items():
        assert kept[title][1].startswith(pages), STALE
        assert zone_pictures.keys_of(kept[title]) == keys, STALE
        assert "http" not in "".join(kept[title])
    for name in zone_pictures.VIEWS:
        width, height = docs_pictures.size_of((zone_pictures.FOLDER / f"page-{name}.png").read_bytes())
        assert (width, height) == (zone_pictures.WIDTH, zone_pictures.HEIGHT)


@needs_browser
def test_the_picture_of_the_page_is_current() -> None:
    kept, made = docs_pictures.PAGE.read_bytes(), docs_pictures.page_picture()
    assert docs_pictures.text_of(made) == docs_pictures.text_of(kept), STALE
    assert docs_pictures.size_of(made) == docs_pictures.size_of(kept), STALE
    assert len(kept) < 200_000
