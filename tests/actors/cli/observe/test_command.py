"""`enfilade observe`: what it refuses, and one run in a pseudo terminal against a node of `zone run`."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from enfilade.actors.cli.observe import command
from tests.actors.cli.command import enfilade, enfilade_here

pytestmark = pytest.mark.real


@pytest.fixture
def door(bank: Path) -> Path:
    """The door of a zone that runs."""
    return bank / "bank.door"


def test_obs_73_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch, door: Path) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = enfilade_here("observe", str(door))
    assert result.returncode == 1
    assert result.stderr == (
        "enfilade: observe needs the extra \"observe\": pip install 'enfilade[observe]';"
        " `enfilade top` needs nothing more\n"
    )
    assert enfilade("top", str(door), "--times", "1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--web", "--allow", "control,root"], "enfilade: --allow takes inspect, trace, control, got root"),
        (["--web", "--port", "1"], "enfilade: the page cannot be served at port 1: "),
        (["--port", "4711"], "--port, --open and --allow need --web"),
        (["--web", "--read-only"], "--read-only and --ascii are for the terminal"),
    ],
)
def test_what_the_page_cannot_be_asked_for(
    door: Path, arguments: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken(port: int) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr("enfilade.actors.cli.observe.web.run.open_listeners", taken)
    result = enfilade_here("observe", *arguments, str(door))
    assert result.returncode in (1, 2)
    assert problem in " ".join(result.stderr.replace("\u2502", " ").split())


def test_without_the_packages_of_the_page_one_line_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, door: Path
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "wsproto" else object())
    result = enfilade_here("observe", "--web", str(door))
    assert result.returncode == 1
    assert 'observe needs the extra "observe"' in result.stderr


def test_a_run_of_the_page(door: Path) -> None:
    """It prints an address, for each line another one, shows the node, and ends with ctrl-c."""
    controller, terminal = pty.openpty()
    arguments = [sys.executable, "-m", "enfilade", "observe", "--web", str(door)]
    with subprocess.Popen(
        arguments, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        try:
            first = address_in(read_until(controller, process, "to end"))
            os.write(controller, b"\n")
            second = address_in(read_until(controller, process, "to end"))
            assert first != second
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with pytest.raises(urllib.error.HTTPError, match="403"):
                opener.open(first, timeout=60)
            with opener.open(second, timeout=60) as page:
                assert b"<title>Enfilade</title>" in page.read()
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
            os.close(controller)


def address_in(text: str) -> str:
    """The address that is printed last."""
    found = re.findall(r"http://127\.0\.0\.1:\d+/enter\?once=[\w-]+", text)
    return str(found[-1])


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


def test_an_observer_ends_with_its_terminal(door: Path) -> None:
    """Also where it is not told so by a signal, because the terminal is not that of its session."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "enfilade", "observe", str(door)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            read_until(controller, process, "no warnings")
            os.close(controller)
            process.wait(60)
        finally:
            process.kill()


@pytest.mark.parametrize("command_", [["dump"], ["top", "--times", "2", "--every", "0.1"], ["metrics"]])
def test_a_reader_that_has_gone_is_no_trouble(door: Path, command_: list[str]) -> None:
    """As with `enfilade dump | head -1`: it ends, and says nothing."""
    reader, output = os.pipe()
    os.close(reader)
    arguments = [sys.executable, "-m", "enfilade", *command_, str(door)]
    with subprocess.Popen(arguments, stdout=output, stderr=subprocess.PIPE, text=True) as process:
        os.close(output)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (1, "")


@pytest.mark.parametrize("command_", [["dump"], ["metrics"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_in_one_line(door: Path, command_: list[str]) -> None:
    with open("/dev/full", "w") as output:
        result = subprocess.run(
            [sys.executable, "-m", "enfilade", *command_, str(door)],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert result.returncode == 1
    assert result.stderr == "enfilade: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(("encoding", "can"), [("utf-8", True), ("ascii", False), ("latin-1", False)])
def test_box_characters_are_drawn_where_the_terminal_has_them(
    monkeypatch: pytest.MonkeyPatch, encoding: str, can: bool
) -> None:
    monkeypatch.setattr(command, "sys", SimpleNamespace(stderr=SimpleNamespace(encoding=encoding)))
    assert command._can_draw("\u2500\u2588") is can
    assert command._can_draw("-+")
