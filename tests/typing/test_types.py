"""`ref.call(Type.method, ...)` is checked by mypy and pyright: what passes, and what must not."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.typing.mypy_cache import cache_of_mypy

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = (HERE / "accepted.py", HERE / "rejected.py")
SECONDS = 300

Errors = dict[Path, set[int]]
"""The lines in which a type checker finds an error, by page."""

pytestmark = pytest.mark.timeout(SECONDS + 100)  # pyright, which may wait for the network, is given up before


def mypy(cache: Path) -> Errors:
    """Check all pages with mypy."""
    options = ["--strict", "--no-error-summary", "--no-pretty", "--cache-dir", str(cache)]
    command = [sys.executable, "-m", "mypy", *options, *map(str, PAGES)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    errors: Errors = {page: set() for page in PAGES}
    for name, line in re.findall(r"^([^:\n]+):(\d+): error:", result.stdout, re.MULTILINE):
        errors.setdefault(ROOT / name, set()).add(int(line))
    return errors


def pyright(_cache: Path) -> Errors:
    """Check all pages with pyright."""
    command = [sys.executable, "-m", "pyright", "--outputjson", *map(str, PAGES)]
    try:
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        report = json.loads(result.stdout)
    except (json.JSONDecodeError, subprocess.TimeoutExpired):
        pytest.skip("pyright does not run here: it needs Node.js")
    errors: Errors = {page: set() for page in PAGES}
    for diagnostic in report["generalDiagnostics"]:
        if diagnostic["severity"] == "error":
            line = diagnostic["range"]["start"]["line"] + 1
            errors.setdefault(Path(diagnostic["file"]), set()).add(line)
    return errors


@pytest.fixture(scope="module", params=[mypy, pyright])
def errors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """What one run of the checker finds."""
    checker: Callable[[Path], Errors] = request.param
    return checker(cache_of_mypy(tmp_path_factory.mktemp("types")))


def test_what_is_right_is_accepted(errors: Errors) -> None:
    assert errors[HERE / "accepted.py"] == set()


def test_what_is_wrong_is_refused(errors: Errors) -> None:
    path = HERE / "rejected.py"
    lines = path.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    assert errors[path] == wrong
