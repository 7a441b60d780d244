"""The main job: `enfilade demo` ends with its summary and status 0, and leaves nothing behind."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import uuid
from pathlib import Path

import pytest

from enfilade.transport.namespaces import available
from tests.actors.cli.command import enfilade

MARK = "ENFILADE_TEST_RUN"


def processes_of(run: str) -> list[str]:
    """The command lines of the processes that carry the mark of a run in their environment."""
    wanted = f"{MARK}={run}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


@pytest.mark.zones
@pytest.mark.parametrize(
    "isolate", [pytest.param(True, id="isolated"), pytest.param(False, id="plain", marks=pytest.mark.soak)]
)
def test_the_demo_ends_with_its_summary(
    isolate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uuid.uuid4().hex
    monkeypatch.setenv(MARK, run)
    if isolate and not available():
        pytest.skip("this machine allows no namespaces")
    result = enfilade("demo", "--pace", "0.5", "--isolate" if isolate else "--no-isolate", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    output = result.stdout
    assert "monitor: the mill in zone west ended: trapped" in output
    assert "mill in zone west runs again" in output
    assert "kill -9" in output
    assert "zone west is down" in output
    assert output.count("zone west is up") == 2
    answered = re.search(r"([\d,]+) calls answered through doors", output)
    assert answered is not None
    assert int(answered[1].replace(",", "")) > 0
    assert "zone west: started 2x" in output
    assert "the guest that trapped answered again after" in output
    assert "the zone that was killed answered again after" in output
    assert result.stderr == ""
    assert max(map(len, output.splitlines())) <= 80
    # It ends with the trees as they stand.
    ends = output[output.rindex("is up, connected") :]
    for name in ("east", "west"):
        tree = ends[ends.index(f"zone {name}, process ") :]
        kinds = re.findall(r"[├└]── (\w+) (sync actor|async actor|async function|wasm guest)", tree)[:4]
        assert {child for child, _ in kinds} == {"ledger", "mill", "clerk", "reporter"}
    left = [line for line in processes_of(run) if "-m enfilade" in line]
    assert left == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.zones
def test_the_demo_on_a_terminal(tmp_path: Path) -> None:
    """It redraws a board of 80 columns, cuts no figure, warns of nothing, and leaves the trees standing."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "enfilade", "demo", "--pace", "0.3"],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color"},
        cwd=tmp_path,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            output = read_to_the_end(controller)
            assert process.wait(60) == 0, output
        finally:
            process.kill()
            os.close(controller)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output).replace("\r", "").splitlines()
    assert "Warning" not in output
    assert max(map(len, lines)) <= 160  # the last line of a drawing, and the first of the next one
    assert [line for line in lines if "\N{HORIZONTAL ELLIPSIS}" in line] == []
    last = "\n".join(lines).rpartition("zone east \N{BOX DRAWINGS LIGHT HORIZONTAL}")[2]
    for child in ("ledger sync actor", "mill wasm guest", "clerk async function", "reporter async actor"):
        assert last.count(child) == 2
    assert re.search(r"answered again after [\d.]+ s\n?$", last)


def read_to_the_end(controller: int) -> str:
    """Everything that a program writes to its terminal."""
    read = bytearray()
    while True:
        try:
            chunk = os.read(controller, 65_536)
        except OSError:  # nobody has the terminal open any more
            break
        if not chunk:
            break
        read += chunk
    return read.decode()
