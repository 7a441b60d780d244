"""`ref.call(Type.method, ...)` is checked by mypy and pyright: what passes, and what must not."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 300

pytestmark = pytest.mark.timeout(SECONDS + 100)  # pyright, which may wait for the network, is given up before


def mypy(path: Path) -> set[int]:
    """The lines in which mypy finds an error."""
    with tempfile.TemporaryDirectory() as cache:  # of its own: other runs may be writing theirs
        return _mypy(path, cache)


def _mypy(path: Path, cache: str) -> set[int]:
    options = ["--strict", "--no-error-summary", "--no-pretty", "--cache-dir", cache]
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    name = re.escape(path.relative_to(ROOT).as_posix())
    return {int(line) for line in re.findall(rf"^{name}:(\d+): error:", result.stdout, re.M)}


def pyright(path: Path) -> set[int]:
    """The lines in which pyright finds an error."""
    command = [sys.executable, "-m", "pyright", "--outputjson", str(path)]
    try:
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        report = json.loads(result.stdout)
    except (json.JSONDecodeError, subprocess.TimeoutExpired):
        pytest.skip("pyright does not run here: it needs Node.js")
    return {
        diagnostic["range"]["start"]["line"] + 1
        for diagnostic in report["generalDiagnostics"]
        if diagnostic["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_right_is_accepted(checker: Callable[[Path], set[int]]) -> None:
    assert checker(HERE / "accepted.py") == set()


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_wrong_is_refused(checker: Callable[[Path], set[int]]) -> None:
    path = HERE / "rejected.py"
    lines = path.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    assert checker(path) == wrong
