"""Other processes for the conformance tests: servers and clients that live and die on their own.

A test starts one with `Peer(function, *arguments)`: a process that runs `function(link, *arguments)`, a
function of the test's own module. The two talk in lines of JSON: `say` and `hear` on both sides. A peer ends
when its function does, when the test says nothing more (`hear` returns None), when the test's process dies,
or after `WATCHDOG` seconds.
"""

import ctypes
import faulthandler
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.conformance.doors.forge import Forge, Made, readable

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0
WATCHDOG = 300.0


class Link:
    """The peer's end."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, value: object = None) -> None:
        self._writer.write(json.dumps(value) + "\n")
        self._writer.flush()

    def hear(self) -> Any:
        line = self._reader.readline()
        return json.loads(line) if line else None


class PeerDied(AssertionError):
    """The peer ended, or said nothing for too long, while the test waited for it."""


class Peer:
    """A process that runs one function. A context manager: leaving it ends the process.

    command: what to run it under, for instance in namespaces of its own; then it is an interpreter of its
    own.
    """

    living: ClassVar[set["Peer"]] = set()
    _forge: ClassVar[Forge | None] = None

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        pass_fds: Sequence[int] = (),
        command: Sequence[str] = (),
    ) -> None:
        module = ".".join(Path(inspect.getfile(function)).resolve().relative_to(ROOT).with_suffix("").parts)
        target, text = f"{module}:{function.__qualname__}", json.dumps(arguments)
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        self.process: Made | subprocess.Popen[bytes]
        if command:
            program = [*command, sys.executable, "-m", "tests.conformance.doors.peer", target, text]
            self.process = subprocess.Popen(
                program, stdin=theirs_in, stdout=theirs_out, pass_fds=pass_fds, cwd=ROOT
            )
        else:
            if Peer._forge is None:
                Peer._forge = Forge(str(ROOT))
            self.process = Peer._forge.make(target, text, theirs_in, theirs_out, list(pass_fds))
        os.close(theirs_in)
        os.close(theirs_out)
        self._heard = b""
        Peer.living.add(self)

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, value: object = None) -> None:
        os.write(self._to, json.dumps(value).encode() + b"\n")

    def hear(self, patience: float = PATIENCE) -> Any:
        """The next line. Raises `PeerDied` if none comes."""
        while b"\n" not in self._heard:
            ready = readable(self._from, patience)
            received = os.read(self._from, 65536) if ready else b""
            if not received:
                if not ready:
                    raise PeerDied(f"the peer is silent after {patience} s")
                raise PeerDied(f"the peer exited with {self.process.wait(PATIENCE)}")
            self._heard += received
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)

    def ask(self, value: object = None) -> Any:
        self.say(value)
        return self.hear()

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(PATIENCE)

    def _hang_up(self) -> None:
        if self._to >= 0:
            os.close(self._to)
            self._to = -1

    def wait(self) -> int:
        """Let the peer end by itself; return its exit status."""
        self._hang_up()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self._hang_up()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
        if self._from >= 0:
            os.close(self._from)
            self._from = -1
        Peer.living.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.process.kill()
        self.close()


def die_with_parent() -> None:
    """On Linux, ask to be killed when the test's process ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def watch(seconds: float) -> None:
    """Start faulthandler's watchdog, whose thread takes none of the process's signals.

    The thread blocks them itself, but only once it runs; one that came before would interrupt no call.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        faulthandler.dump_traceback_later(seconds, exit=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def be(target: str, arguments: str) -> None:
    """Be a peer: run the function that `target` names, with standard input and output for the
    conversation.
    """
    die_with_parent()
    watch(WATCHDOG)
    module, _, name = target.partition(":")
    link = Link(os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # what else is printed is no part of the conversation
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    function(link, *json.loads(arguments))


if __name__ == "__main__":
    be(sys.argv[1], sys.argv[2])
