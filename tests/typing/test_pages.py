"""What the pages of the documentation show is right for `mypy --strict`."""

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.page import blocks

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
    return {**found, "session.py": session} if session else dict(found)


def test_every_page_is_typed(tmp_path: Path) -> None:
    """A reader who checks what the page shows finds no mistake."""
    for page in PAGES:
        place = tmp_path / re.sub(r"\W", "_", str(page.relative_to(ROOT)))
        for name, program in programs(page).items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(program)
    found = []
    for place in sorted(tmp_path.iterdir()):
        if not place.is_dir():
            continue
        result = subprocess.run(
            [
                *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty"),
                *("--cache-dir", str(tmp_path.parent / "cache"), "--config-file", ""),
                *("--explicit-package-bases", "."),
            ],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        found += [
            f"{place.name}: {line}"
            for line in (result.stdout + result.stderr).splitlines()
            if "error" in line
        ]
    assert not found, "\n".join(found)
