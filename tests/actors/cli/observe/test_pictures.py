"""Each page of the terminal as text, from recorded updates, in two sizes, compared with files."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("textual")

from enfilade.actors.cli.observe.terminal.app import ObserveApp
from tests.actors.cli.observe import recorded
from tests.actors.cli.observe.pictures import compare, lines_of, screen

pytestmark = pytest.mark.real

SIZES = {"80x24": (80, 24), "160x50": (160, 50)}


async def shown(key: str, size: tuple[int, int], then: str = "", **options: Any) -> ObserveApp:
    """The program with a page of the recorded node, after more keys; it has been left again."""
    app = ObserveApp([recorded.observed()], **options)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.soon(recorded.feed, app.sight)
        await pilot.press(key)
        page: Any = app.page
        if key == "2":
            rows = recorded.processes()
            fields = {"total": 1_024, "matched": 1_024}
            app.soon(page.take, recorded.state(rows=rows, fields=fields))
        elif key == "3":
            app.soon(page.take, recorded.state(fields={"branches": recorded.branches(), "is_cut": False}))
        for _ in range(200):
            await pilot.pause(0.02)
            if "asking the node" not in screen(app) and app.sight.timeline:
                break
        await pilot.press(*then)
        app.redraw()
        await pilot.pause()
        app.picture = app.export_screenshot()  # type: ignore[attr-defined]
        await pilot.press("q")
    return app


@pytest.mark.parametrize("size", SIZES)
def test_the_tree_as_boxes_looks_like_its_picture(size: str) -> None:
    app = asyncio.run(shown("3", SIZES[size], then="t"))
    compare(f"boxes-{size}", "\n".join(lines_of(app.picture)))  # type: ignore[attr-defined]


PAGES = {"1": "overview", "2": "processes", "3": "tree", "6": "nodes", "7": "timeline"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", PAGES)
def test_a_page_looks_like_its_picture(key: str, size: str) -> None:
    app = asyncio.run(shown(key, SIZES[size]))
    lines = lines_of(app.picture)  # type: ignore[attr-defined]
    width, height = SIZES[size]
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    compare(f"{PAGES[key]}-{size}", "\n".join(lines))


def test_without_colours_all_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same characters, and no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    app = asyncio.run(shown("2", SIZES["80x24"]))
    assert app.no_color
    compare("processes-80x24", "\n".join(lines_of(app.picture)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", PAGES)
def test_a_very_small_terminal_names_the_page(key: str) -> None:
    app = asyncio.run(shown(key, (20, 5)))
    lines = lines_of(app.picture)  # type: ignore[attr-defined]
    assert f"{key}{PAGES[key]}" in lines[1]
    assert max(map(len, lines)) <= 20


def test_of_a_lost_node_the_age_of_what_is_shown_comes_first() -> None:
    """The reason may be longer than the line."""

    async def lost() -> str:
        node = recorded.observed()
        app = ObserveApp([node])
        async with app.run_test(size=(80, 24)) as pilot:
            app.sight.heard_at = recorded.NOW - 75
            node.is_up, node.trouble = False, "the door cannot be called " * 9
            app.redraw()
            await pilot.pause()
            return lines_of(app.export_screenshot())[0]

    line = asyncio.run(lost())
    assert "bank@east  last seen 1m15s ago, trying again  the door" in line


def test_ascii_pictures() -> None:
    for key in PAGES:
        app = asyncio.run(shown(key, SIZES["80x24"], "t" * (key == "3"), is_ascii=True))
        text = "\n".join(lines_of(app.picture))  # type: ignore[attr-defined]
        assert text.isascii(), text
