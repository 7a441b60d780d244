"""`enfilade observe`: what it refuses, and one run in a pseudo terminal against a node of `zone run`."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from enfilade.actors.cli.observe import command
from tests.actors.cli.command import enfilade, enfilade_here
from tests.actors.cli.conftest import put_packages_on_the_path

pytestmark = pytest.mark.serial

ZONE = """
[node]
name = "bank"
zone = "east"
door = "bank.door"

[[child]]
id = "ledger"
actor = "books:Ledger"
name = "ledger"
"""

BOOKS = """
from enfilade.actors import Actor

class Ledger(Actor):
    pass
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The door of a zone that runs."""
    place = tmp_path_factory.mktemp("bank")
    (place / "books.py").write_text(BOOKS)
    (place / "bank.toml").write_text(ZONE)
    with pytest.MonkeyPatch.context() as patch:
        put_packages_on_the_path(patch)
        arguments = [sys.executable, "-m", "enfilade", "zone", "run", "bank.toml"]
        with subprocess.Popen(arguments, cwd=place, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert "runs at" in process.stdout.readline()
                yield place / "bank.door"
            finally:
                process.terminate()
                process.wait(60)


def test_obs_73_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch, door: Path) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = enfilade_here("observe", str(door))
    assert result.returncode == 1
    assert result.stderr == (
        "enfilade: observe needs the extra \"observe\": pip install 'enfilade[observe]';"
        " `enfilade top` needs nothing more\n"
    )
    assert enfilade("top", str(door), "--times", "1").returncode == 0


def test_what_is_no_terminal_is_refused(door: Path) -> None:
    result = enfilade("observe", str(door))
    assert result.returncode == 1
    assert result.stderr == "enfilade: observe needs a terminal; `enfilade top` prints lines\n"


def test_a_dumb_terminal_is_refused(monkeypatch: pytest.MonkeyPatch, door: Path) -> None:
    monkeypatch.setattr(
        command, "sys", SimpleNamespace(**dict.fromkeys(("stdin", "stdout", "stderr"), _Tty()))
    )
    monkeypatch.setenv("TERM", "dumb")
    result = enfilade_here("observe", str(door))
    assert result.returncode == 1
    assert "of the type dumb" in result.stderr


class _Tty:
    def isatty(self) -> bool:
        return True


def read_until(terminal: int, process: subprocess.Popen[bytes], wanted: str, seconds: float = 120.0) -> str:
    """The output of the program until that text is there, without the sequences that control the terminal."""
    seen, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65_536)
            except OSError:  # the program has ended
                break
            text = re.sub(rb"\x1b\[[0-9;?<>=]*[A-Za-z]|\x1b[()].", b"", seen).decode(errors="replace")
            if wanted in text:
                return text
        elif process.poll() is not None:
            break
    raise AssertionError(f"{wanted!r} was not shown: {seen[-2_000:]!r}")


@pytest.mark.parametrize("farewell", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_a_run_in_a_pseudo_terminal(door: Path, farewell: str) -> None:
    """It draws, takes keys, and leaves the terminal as it was."""
    controller, terminal = pty.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        before = termios.tcgetattr(terminal)
        environment = {**os.environ, "TERM": "xterm-256color"}
        arguments = [sys.executable, "-m", "enfilade", "observe", str(door)]
        with subprocess.Popen(
            arguments,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            start_new_session=True,
        ) as process:
            try:
                read_until(controller, process, "no warnings")
                os.write(controller, b"2")
                read_until(controller, process, "Ledger")
                os.write(controller, farewell.encode())
                read_until(controller, process, "")
                deadline = time.monotonic() + 60
                while process.poll() is None and time.monotonic() < deadline:
                    if select.select([controller], [], [], 0.1)[0]:
                        os.read(controller, 65_536)
                assert process.poll() == 0
            finally:
                process.kill()
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(controller)
        os.close(terminal)
