"""The pictures of the observers that the documentation shows: `make pictures` makes them anew.

Both are made by the real programs, of a node as it was seen once, so that only a change of the programs
changes them. The picture of the page carries its text, by which a test can tell whether it is still true.
"""

from __future__ import annotations

import asyncio
import base64
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.app import ObserveApp
from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.server import Server, open_listeners
from tests.actors.cli.observe import recorded
from tests.actors.cli.observe.browser import Program

FOLDER: Final = Path(__file__).parents[4] / "docs" / "pictures"
TERMINAL: Final = FOLDER / "observe-terminal.svg"
PAGE: Final = FOLDER / "observe-page.png"

SIZE: Final = (110, 26)
"""Columns and lines of the terminal."""

WIDTH: Final = 1000
HEIGHT: Final = 820
"""Pixels of the page."""

START: Final = b"\x89PNG\r\n\x1a\n"
TEXT: Final = b"Description\0\0\0\0\0"
"""What a PNG begins with, and a piece of text in it."""


def terminal_picture() -> str:
    """The overview on a terminal, as SVG that needs nothing from elsewhere."""

    async def draw() -> str:
        app = ObserveApp([recorded.observed()])
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            app.soon(recorded.feed, app.sight)
            while not (app.sight.fields and app.sight.timeline and app.sight.longest):
                await pilot.pause(0.02)
            app.redraw()
            await pilot.pause()
            shown: str = app.export_screenshot(title="enfilade observe bank.door")
            await pilot.press("q")
            return shown

    svg = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", asyncio.run(draw()), flags=re.S)
    return re.sub(r"terminal-\d+", "terminal", svg)


def page_picture() -> bytes:
    """The overview in a browser, as PNG with its text."""
    return trio.run(_page_picture)


async def _page_picture() -> bytes:
    program = Program()
    try:
        async with trio.open_nursery() as nursery:
            sight = Sight(recorded.observed())
            await recorded.feed(sight)
            listeners = await open_listeners(0)
            server = Server(Audience([sight]), listeners[0].socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, server.serve, listeners)
            async with program.open() as browser:
                tab = await browser.open(server.address(), width=WIDTH, height=HEIGHT)
                await tab.until("Till 'till 3'")
                text = await tab.ask("document.querySelector('main').innerText")
                shown = await tab.call("Page.captureScreenshot")
            nursery.cancel_scope.cancel()
    finally:
        program.end()
    return _with_text(base64.b64decode(shown["data"]), text)


def text_of(png: bytes) -> str:
    """The text that a picture of the page carries."""
    return next(data[len(TEXT) :] for kind, data in _pieces(png) if kind == b"iTXt").decode()


def size_of(png: bytes) -> tuple[int, int]:
    """Its width and height."""
    width, height = struct.unpack_from(">II", next(data for kind, data in _pieces(png) if kind == b"IHDR"))
    return width, height


def _pieces(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    assert png.startswith(START)
    at = len(START)
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        yield kind, png[at + 8 : at + 8 + length]
        at += length + 12


def _with_text(png: bytes, text: str) -> bytes:
    pieces = list(_pieces(png))
    pieces.insert(1, (b"iTXt", TEXT + text.encode()))
    return START + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in pieces
    )


def main() -> None:
    """Make both pictures; `zone_pictures` makes those of a system that runs."""
    FOLDER.mkdir(exist_ok=True)
    TERMINAL.write_text(terminal_picture(), encoding="utf-8")
    PAGE.write_bytes(page_picture())


if __name__ == "__main__":
    main()
