"""What the pages of the documentation show is right for `mypy --strict`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.docs.page import blocks
from tests.typing.mypy_cache import cache_of_mypy

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "_build" not in page.parts]


def programs(page: Path) -> dict[str, str]:
    """The session that the page's Python blocks make, and the Python files that it has written, by name."""
    text = page.read_text()
    found = {block.name: block.body for block in blocks(text) if block.name and block.name.endswith(".py")}
    session = ""
    for block in blocks(text):
        if block.language == "python" and block.name is None:
            # On the lines of the page, so that an error leads there.
            session += "\n" * (block.line - 1 - session.count("\n")) + block.body
    name = re.sub(r"\W", "_", str(page.relative_to(ROOT))) + ".py"
    return {**found, name: session} if session else dict(found)


def shared_out(pages: Iterable[Path]) -> list[dict[str, str]]:
    """Share the programs of all pages out to few runs of mypy, in none of which two have the same name."""
    runs: list[dict[str, str]] = []
    for page in pages:
        found = programs(page)
        run = next((run for run in runs if run.keys().isdisjoint(found)), None)
        if run is None:
            runs.append(found)
        else:
            run |= found
    return runs


def test_every_page_is_typed(tmp_path: Path) -> None:
    """A reader who checks what the page shows finds no mistake."""
    cache = cache_of_mypy(tmp_path)
    found = []
    for number, run in enumerate(shared_out(PAGES)):
        place = tmp_path / str(number)
        place.mkdir()
        for name, program in run.items():
            (place / name).write_text(program)
        result = subprocess.run(
            [
                *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty"),
                *("--cache-dir", str(cache), "--config-file", str(ROOT / "pyproject.toml")),
                *("--explicit-package-bases", "."),
            ],
            cwd=place,
            env={**os.environ, "MYPYPATH": str(ROOT / ".packaging")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode in (0, 1), result.stderr
        found += [line for line in (result.stdout + result.stderr).splitlines() if "error" in line]
    assert not found, "\n".join(found)
