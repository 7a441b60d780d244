"""A Sphinx extension: links between the built pages that lead nowhere are warnings.

Sphinx checks the links of the sources. It does not check those that it makes itself, such as the ones from a
module's source back to the reference.
"""

import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


class Page(HTMLParser):
    """A built page.

    Attributes:
        anchors: the places in it that links can lead to.
        links: the places that it links to.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag declares or links to."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in {"href", "src"}:
                self.links.add(value)


def broken_links(folder: Path) -> list[str]:
    """The links of built pages that lead to no file, or to no place in it."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            place = unquote(parts.path)
            target = Path(os.path.normpath(path.parent / place)) if place else path
            if not target.exists():
                found.append(f"{path.relative_to(folder)}: no file {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{path.relative_to(folder)}: no place {link}")
    return found


def check(app: Sphinx, failure: Exception | None) -> None:
    """Warn of each broken link, when all pages are built."""
    if failure is None and app.builder.format == "html":
        for link in broken_links(Path(app.outdir)):
            logger.warning("broken link: %s", link)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
