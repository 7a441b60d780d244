"""Every snippet of the README and of docs/ runs, and prints what the page says that it prints."""

import os
import sys
from pathlib import Path

import pytest

from tests.docs.page import FENCE, NAMED, Block, blocks, commands
from tests.process_groups import run_in_group

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if "_build" not in page.parts]
PAGE_SECONDS = 800

pytestmark = pytest.mark.timeout(PAGE_SECONDS + 100)


def executable(page: Path) -> bool:
    text = page.read_text()
    return not text.startswith("<!-- page is not executed:") and any(
        block.language in {"python", "console"} for block in blocks(text)
    )


@pytest.mark.real
@pytest.mark.parametrize(
    "page", [page for page in PAGES if executable(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    """A reader who types the page from top to bottom gets what it shows."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    result = run_in_group(
        [sys.executable, str(ROOT / "tests" / "docs" / "page.py"), str(page)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        together=True,
        seconds=PAGE_SECONDS,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_are_named_before_they_are_shown(page: Path) -> None:
    """The name beside a fence is for the tests: readers see only the text, here all since the last fence."""
    text = page.read_text()
    end = 0
    for match in FENCE.finditer(text):
        said, end = text[end : match.start()], match.end()
        if named := NAMED.search(match["info"]):
            assert f"`{named[1]}`" in said, f"the text before the file {named[1]} does not name it"


def test_blocks_are_found_with_their_lines() -> None:
    text = "# Page\n\n```python\nx = 1\n```\n\n```wat name=a.wat\n(module)\n```\n"
    assert blocks(text) == [Block("python", None, "x = 1\n", 4), Block("wat", "a.wat", "(module)\n", 8)]


def test_commands_carry_their_output() -> None:
    assert commands("$ echo a\na\n$ true\n") == [("echo a", "a\n"), ("true", "")]
