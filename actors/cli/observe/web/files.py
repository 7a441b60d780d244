"""The files of the page, as they lie in the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from enfilade.actors.cli.observe.web.gate import HEADERS
from enfilade.actors.cli.observe.web.http import Answer

__all__ = ["page_files"]

KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}


def page_files() -> dict[str, Answer]:
    """The answers to requests for files, by path."""
    found: dict[str, Answer] = {}
    for file in files(__package__).joinpath("page").iterdir():
        kind = KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            found[f"/{file.name}"] = Answer(200, file.read_bytes(), kind, HEADERS)
    found["/"] = found.pop("/index.html")
    return found
