"""The program that runs the suite in stages, on small made-up suites."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 240

pytestmark = pytest.mark.real

SETTINGS = """\
[pytest]
addopts = -p xdist -p pytest_timeout -p no:cacheprovider
markers =
    real: about real time
    soak: never
timeout = 20
timeout_method = thread
"""

HEAD = """\
import os, pathlib, signal, subprocess, sys, time
import pytest

real = pytest.mark.real
here = pathlib.Path(__file__).parent


def count(name):
    with (here / name).open("a") as file:
        file.write("x")
    return (here / name).stat().st_size
"""

PASSING = """
def test_virtual():
    pass

@real
def test_real():
    pass
"""


@attrs.frozen
class Suite:
    """A made-up suite in a folder of its own. It is small, so that two workers are enough for each stage."""

    folder: Path

    def write(self, *parts: str, name: str = "test_made_up.py") -> None:
        (self.folder / "pytest.ini").write_text(SETTINGS)
        (self.folder / "conftest.py").write_text("from tests.children import pytest_configure\n")
        (self.folder / name).write_text(HEAD + "".join(map(textwrap.dedent, parts)))

    def start(self) -> "subprocess.Popen[str]":
        """Begin to run it in stages."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.stages", ".", "-n", "2"],
            cwd=self.folder,
            env=environment | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self) -> tuple[int, list[str]]:
        """Run it in stages. Returns: the exit status, and the lines of the result."""
        with self.start() as process:
            try:
                output, _ = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
        return process.returncode, output.partition("===== result\n")[2].splitlines()

    def runs(self, name: str) -> int:
        """How often the test that counts in the file `name` was run."""
        return (self.folder / name).stat().st_size


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def made_up(*names: str, kind: str = "failed") -> Sequence[str]:
    return [f"{kind}: test_made_up.py::{name}" for name in names]


def test_a_real_test_that_passes_the_second_time_is_flaky(suite: Suite) -> None:
    """And all stages add up. Files without real tests are collected in stage 1 alone, by two processes."""
    suite.write(
        PASSING,
        "@real\n@pytest.mark.skip\ndef test_skipped(): pass\n",
        "@real\ndef test_once(): assert count('once') == 2\n",
    )
    suite.write("count('collected')\ndef test_virtual(): pass\n", name="test_virtual_only.py")
    assert suite.run() == (0, [*made_up("test_once", kind="flaky"), "4 passed, 0 failed, 1 skipped"])
    assert suite.runs("collected") == 2


def test_a_real_test_that_fails_twice_fails_the_run(suite: Suite) -> None:
    """However it fails: by a crash, a time-out, an assertion, or a fixture after it.

    A forked child that is still alive does not keep the crash from being seen, and a time-out spares the
    tests of trio that follow. A test in virtual time is not repeated, and stage 2 runs though it has failed.
    """
    suite.write(
        """
        def test_virtual_once():
            assert count('once') == 2

        @real
        def test_crash():
            pid = os.fork()
            if not pid:
                time.sleep(1000)
                os._exit(0)
            (here / f"child-{pid}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

        @real
        @pytest.mark.timeout(2)
        def test_hangs():
            import trio
            trio.run(trio.sleep_forever)

        @real
        def test_trio():
            import trio
            trio.run(trio.sleep, 0)

        @pytest.fixture
        def leak():
            yield
            assert 0

        @real
        def test_leaks(leak):
            pass

        @real
        def test_twice():
            assert count('twice') > 2
        """,
        PASSING,
    )
    try:
        failed = made_up("test_virtual_once", "test_crash", "test_hangs", "test_leaks", "test_twice")
        assert suite.run() == (1, [*failed, "3 passed, 5 failed, 0 skipped"])
    finally:
        for child in suite.folder.glob("child-*"):
            os.kill(int(child.name.partition("-")[2]), signal.SIGKILL)
    assert suite.runs("twice") == 2
    assert suite.runs("once") == 1


@pytest.mark.soak
def test_more_than_five_failures_are_not_repeated(suite: Suite) -> None:
    suite.write(
        PASSING,
        """
        @real
        @pytest.mark.parametrize("number", range(6))
        def test_many(number):
            assert count(f"many-{number}") == 2
        """,
    )
    failed = made_up(*(f"test_many[{number}]" for number in range(6)))
    assert suite.run() == (1, [*failed, "2 passed, 6 failed, 0 skipped"])
    assert suite.runs("many-0") == 1


@pytest.mark.soak
def test_a_crash_in_virtual_time_is_not_repeated(suite: Suite) -> None:
    suite.write(PASSING, "def test_crash():\n    count('crash')\n    os.abort()\n")
    assert suite.run() == (1, [*made_up("test_crash"), "2 passed, 1 failed, 0 skipped"])
    assert suite.runs("crash") == 1


def test_a_file_that_cannot_be_collected_fails_the_run(suite: Suite) -> None:
    suite.write(PASSING)
    suite.write("import nowhere_to_be_found\n", name="test_broken.py")
    status, result = suite.run()
    assert status == 1
    assert "failed: test_broken.py" in result
    assert result[-1].split(", ")[1] != "0 failed"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("tests", "stage"), [("def test_virtual(): pass\n", 2), ("@real\ndef test_real(): pass\n", 1)]
)
def test_a_stage_without_tests_fails_the_run(suite: Suite, tests: str, stage: int) -> None:
    suite.write(tests)
    status, result = suite.run()
    assert status == 1
    assert (
        f"stage {stage} has not run to its end (exit status {int(pytest.ExitCode.NO_TESTS_COLLECTED)})"
        in result
    )


def test_an_interrupt_ends_what_runs(suite: Suite) -> None:
    """The test, the program that it started, and the run, whose result is still told."""
    suite.write(
        """
        def test_virtual():
            pass

        @real
        def test_waits():
            with subprocess.Popen(["sleep", "1000"]) as sleeper:
                try:
                    (here / "started").write_text(str(sleeper.pid))
                    (here / "started").rename(here / "sleeper")
                    sleeper.wait()
                finally:
                    sleeper.kill()
        """,
    )
    deadline = time.monotonic() + SECONDS
    with suite.start() as process:
        while not (suite.folder / "sleeper").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode not in {0, -signal.SIGINT}
    assert output.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"
    with pytest.raises(ProcessLookupError):
        os.kill(int((suite.folder / "sleeper").read_text()), 0)
