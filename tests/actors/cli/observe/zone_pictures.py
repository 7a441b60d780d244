"""Pictures of a system of three zones that runs: each page of the terminal, and three of the browser.

`make pictures` makes them anew. What they show is of the moment, so no test can compare it; a test compares
what is the same at every moment, the line of pages and the line of keys, with the programs as they are.
"""

from __future__ import annotations

import asyncio
import base64
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import trio

from enfilade.actors.cli.observe.actions import ACTIONS
from enfilade.actors.cli.observe.command import nodes_behind
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.app import PAGES, ObserveApp
from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.server import Server, open_listeners
from tests.actors.cli.observe import recorded
from tests.actors.cli.observe.browser import Program, Tab
from tests.actors.cli.observe.pictures import lines_of, screen
from tests.actors.cli.observe.three_zones import three_zones

FOLDER: Final = Path(__file__).parents[4] / "docs" / "pictures" / "zones"

SIZE: Final = (130, 34)
"""Columns and lines of the terminal."""

WIDTH: Final = 1100
HEIGHT: Final = 560
"""Pixels of the page."""

SETTLING: Final = 3.0
"""Seconds until a page has something to show."""

PATIENCE: Final = 40
WAITING: Final = "asking the node"
"""How many times it is waited for what a page says while it has nothing to show yet."""

VIEWS: Final = {"tree": "#0/tree", "nodes": "#0/nodes"}
"""The views of the page that are shown, and their addresses."""


def stilled(svg: str) -> str:
    """A screenshot of Textual, without fonts from elsewhere and names that differ each time."""
    svg = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.S)
    return re.sub(r"terminal-\d+", "terminal", svg)


async def terminal_pictures(doors: list[Path], title: str, settling: float = SETTLING) -> dict[str, str]:
    """Each page of the terminal as SVG, by its title."""
    app = ObserveApp(nodes_behind(doors, None))
    shown: dict[str, str] = {}
    async with app.run_test(size=SIZE) as pilot:

        async def pressed(*keys: str, word: str = "") -> None:
            for key in keys:
                await pilot.press(key)
            for _ in range(PATIENCE):
                await asyncio.sleep(settling)
                await pilot.pause()
                if WAITING not in screen(app) and word in screen(app):
                    break

        await pressed()
        for key, page in PAGES.items():
            await pressed(key)
            for keys, word in KEYS.get(page.title, ()):
                await pressed(*keys, word=word)
            if page.title == "detail":  # of the ledger, by the table
                await pressed("2", "slash", *"ledger", "enter")
                await pressed("enter")
            app.redraw()
            await pilot.pause()
            shown[page.title] = stilled(app.export_screenshot(title=title))
        await pilot.press("q")
    return shown


KEYS: Final[dict[str, tuple[tuple[tuple[str, ...], str], ...]]] = {
    "tree": ((("enter",), "market"), (("end", "enter"), "store")),
    "trace": ((("slash", *"ledger", "enter"), "entries"),),
}
"""The keys that are pressed on a page before it is shown, and a word that each lets appear."""


def keys_of(lines: list[str]) -> str:
    """The line of keys, without those that act on the selected row, as there may be none."""
    acting = "".join(action.key for action in ACTIONS)
    return lines[-1].replace(f"{acting} act  ", "")


def still_lines() -> dict[str, tuple[str, str]]:
    """The line of pages and the line of keys of each page, by its title, as the program draws them now."""

    async def draw() -> dict[str, tuple[str, str]]:
        found: dict[str, tuple[str, str]] = {}
        nodes = [recorded.observed() for _ in range(3)]
        for each in nodes:
            each.given = frozenset({"observe", "inspect", "trace", "control"})
        app = ObserveApp(nodes)
        async with app.run_test(size=SIZE) as pilot:
            for key, page in PAGES.items():
                await pilot.press(key)
                await pilot.pause()
                lines = lines_of(app.export_screenshot())
                found[page.title] = lines[1].rstrip(), keys_of(lines)
            await pilot.press("q")
        return found

    return asyncio.run(draw())


async def shown_all(tab: Tab, word: str) -> None:
    """Wait until a page has a word, and nothing that it waits for; and then until it rests."""
    for _ in range(PATIENCE):
        await trio.sleep(SETTLING)
        text = await tab.text()
        if word in text and WAITING not in text:
            break
    await trio.sleep(SETTLING)


OPEN_MARKET: Final = """
[...document.querySelectorAll("[role=treeitem]")].find((each) => each.textContent.includes("Market")).click()
"""


async def page_pictures(doors: list[Path]) -> dict[str, bytes]:
    """Some views of the page as PNG."""
    program = Program()
    shown: dict[str, bytes] = {}
    try:
        async with trio.open_nursery() as nursery:
            nodes = nodes_behind(doors, None, ("observe", "inspect"))
            for node in nodes:
                nursery.start_soon(node.run)
            listeners = await open_listeners(0)
            server = Server(Audience([Sight(node) for node in nodes]), listeners[0].socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, server.serve, listeners)
            async with program.open() as browser:
                tab = await browser.open(server.address(), width=WIDTH, height=HEIGHT)
                for name, address in VIEWS.items():
                    await tab.ask(f"location.hash = {address!r}")
                    await shown_all(tab, "pid ")
                    if name == "tree":
                        await shown_all(tab, "market")
                        await tab.ask(OPEN_MARKET)
                        await shown_all(tab, "store")
                    found: dict[str, Any] = await tab.call("Page.captureScreenshot")
                    shown[name] = base64.b64decode(found["data"])
            nursery.cancel_scope.cancel()
    finally:
        program.end()
    return shown


def main() -> None:
    """Make all of them."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, three_zones(Path(place)) as doors:
        titles = asyncio.run(terminal_pictures(doors, "enfilade observe shop.door bank.door mint.door"))
        for title, svg in titles.items():
            (FOLDER / f"{title}.svg").write_text(svg, encoding="utf-8")
        for name, png in trio.run(page_pictures, doors).items():
            (FOLDER / f"page-{name}.png").write_bytes(png)


if __name__ == "__main__":
    main()
