"""The programs in docs/examples, each with a page that tells its story and shows what it prints."""

import doctest
import os
import sys
from pathlib import Path

import pytest

from tests.docs.page import blocks, commands
from tests.process_groups import run_in_group

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/examples"
SECONDS = 300
LONGEST = 300

PAGES = sorted(EXAMPLES.glob("*.md"))


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_program_prints_what_its_page_shows(page: Path) -> None:
    shown = [found for block in blocks(page.read_text()) for found in commands(block.body)]
    assert shown, "the page shows no command"
    for command, expected in shown:
        python, program, *arguments = command.split()
        assert python == "python"
        result = run_in_group(
            [sys.executable, str(ROOT / program), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            together=True,
            seconds=SECONDS,
        )
        assert result.returncode == 0, result.stdout
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(expected, result.stdout, flags), result.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_program_is_short(page: Path) -> None:
    program = page.with_name(page.stem.replace("-", "_") + ".py")
    assert len(program.read_text().splitlines()) < LONGEST


def test_what_a_job_says_is_text_in_the_page() -> None:
    """The job's own words cannot be markup in the browser of whoever looks."""
    namespace: dict[str, object] = {"__name__": "example"}
    exec((EXAMPLES / "job_service.py").read_text(), namespace)
    row, page = namespace["Row"], namespace["page"]
    assert callable(row)
    assert callable(page)
    shown = page([row(1, "<script>", "done", 1, "<img src=x>")]).decode()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "<img" not in shown
