"""Pictures of a terminal program as text: its public SVG export, reduced to lines."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

CELL = 12.2
"""The width of a character in the export."""

TEXT = re.compile(r'<text[^>]*?x="([\d.]+)"[^>]*?clip-path="url\(#[^"]*?-line-(\d+)\)"[^>]*>(.*?)</text>')

FILES = Path(__file__).with_name("pictures")


def lines_of(svg: str) -> list[str]:
    """The lines of an export, without the white space at their ends."""
    lines: dict[int, str] = defaultdict(str)
    for x, line, text in TEXT.findall(svg):
        column = round(float(x) / CELL)
        shown = html.unescape(text).replace("\xa0", " ")
        lines[int(line)] = lines[int(line)].ljust(column) + shown
    return [lines[number].rstrip() for number in range(max(lines, default=-1) + 1)]


def screen(app: Any) -> str:
    """The picture of the program now."""
    return "\n".join(lines_of(app.export_screenshot()))


def compare(name: str, shown: str) -> None:
    """Compare with the file of that name; one that is not there is written, and the test fails once."""
    file = FILES / f"{name}.txt"
    if not file.exists():
        FILES.mkdir(exist_ok=True)
        file.write_text(shown + "\n", encoding="utf-8")
        raise AssertionError(f"{file} was not there; it has been written: look at it")
    assert shown.splitlines() == file.read_text(encoding="utf-8").splitlines()
