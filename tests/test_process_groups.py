"""What a program of a test has started ends with the test."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.process_groups import Left, run_in_group

pytestmark = pytest.mark.timeout(120)

BACKGROUND = "sleep 1000 & echo $! > pid; "
"""A page's command that goes on in the background, as `enfilade zone run ... &` does."""


def is_gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("how", ["fails", "takes too long", "is interrupted"])
def test_what_it_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "fails":
        assert run_in_group(["bash", "-c", BACKGROUND + "false"], cwd=tmp_path, seconds=60).returncode == 1
    elif how == "takes too long":
        with pytest.raises(subprocess.TimeoutExpired):
            run_in_group(["bash", "-c", BACKGROUND + "exec sleep 1000"], cwd=tmp_path, seconds=1)
    else:

        def interrupt(self: object, timeout: float | None = None) -> None:
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                time.sleep(0.01)
            raise KeyboardInterrupt

        monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_in_group(["bash", "-c", BACKGROUND + "exec sleep 1000"], cwd=tmp_path, seconds=60)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_one_that_leaves_others_behind_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that passes stops what it has started: its reader would be left with it."""
    monkeypatch.setattr("tests.process_groups.GRACE_SECONDS", 0.2)
    with pytest.raises(Left, match="left behind"):
        run_in_group(["bash", "-c", "sleep 1000 > /dev/null 2>&1 & echo $! > pid"], cwd=tmp_path, seconds=60)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_what_it_says_is_told(tmp_path: Path) -> None:
    done = run_in_group([sys.executable, "-c", "print(1); raise SystemExit(3)"], cwd=tmp_path, seconds=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "1\n", "")
