"""The process of a server: started so that it dies with this one, and asked to go in order.

The server is a child of the thread that starts it, and the kernel kills it when that ends. What it writes
when it listens tells it from whoever else might answer at its port.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import trio

from enfilade.transport.mesh.settings import MeshError
from enfilade.transport.printable import printable

__all__ = ["LAUNCH", "ServerProcess", "find_program", "server_environment"]

PAUSE: Final = 0.02
"""Seconds between looks at a server that starts."""

LOG_BYTES: Final = 64 * 1024
LONGEST_WORD: Final = 300
"""Bytes of a server's log that are looked at for the reason of its end, and characters of what it says."""

LAUNCH: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.getppid() == int(sys.argv[1]) or os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the server, and dies with the program that started it."""


def find_program(given: str | os.PathLike[str] | None) -> str:
    """Find the program of the server: the one given, beside Python, or on `PATH`.

    Raises:
        MeshError: there is none.
    """
    beside = os.path.dirname(sys.executable)
    found = shutil.which("nats-server", path=beside) or shutil.which("nats-server")
    program = found if given is None else os.fspath(given)
    if program is None:
        raise MeshError(
            "no program nats-server beside Python or on PATH: pip install 'enfilade[mesh]', "
            "or name its path in Mesh(server=...)"
        )
    if not os.access(program, os.X_OK):
        raise MeshError(f"Mesh(server=...) must be the path of nats-server, got {program!r}")
    return os.path.abspath(program)


def server_environment() -> dict[str, str]:
    """Return the environment of a server.

    Its heap is small, and every long message that it passes on is garbage at once: by itself it would collect
    that after each four megabytes, which costs it as much as passing them on. So its heap may have five times
    what it uses, unless the environment of this program says otherwise.
    """
    return {"GOGC": "400", **os.environ}


class ServerProcess:
    """A running server. Made by `start`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @classmethod
    async def start(cls, program: str, configuration: Path, directory: Path) -> "ServerProcess":
        """Start a server, and wait until it listens. The caller bounds the time.

        Args:
            program: its path.
            configuration: the path of its configuration, which names `directory` as that of its ports file.
            directory: where it says that it listens, and writes its log.

        Raises:
            MeshError: it ended at once.
        """
        log = directory / "server.log"
        logged = log.stat().st_size if log.exists() else 0
        for left in directory.glob("nats-server_*.ports"):  # noqa: ASYNC240 - of one's own directory
            left.unlink()
        process = subprocess.Popen(  # noqa: ASYNC220 - here, because it dies with the thread
            [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), program, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=server_environment(),
            start_new_session=True,
        )
        server = cls(process)
        listens = directory / f"nats-server_{process.pid}.ports"
        try:
            while not listens.exists():
                if process.poll() is not None:
                    raise MeshError(f"the server ended at once{_last_word(log, logged)}; see {log}")
                await trio.sleep(PAUSE)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return server

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def ended(self) -> None:
        """Wait for its end. A checkpoint."""
        try:
            handle = os.pidfd_open(self._process.pid)
        except ProcessLookupError:
            await trio.lowlevel.checkpoint()
        else:
            try:
                await trio.lowlevel.wait_readable(handle)
            finally:
                os.close(handle)
        self._process.poll()

    def reload(self) -> None:
        """Have it read its configuration again."""
        self._process.send_signal(signal.SIGHUP)

    async def stop(self, number: signal.Signals, seconds: float) -> None:
        """Ask it to end by a signal, and kill it when it has not after so many seconds."""
        if self._process.poll() is None:
            self._process.send_signal(number)
            with trio.move_on_after(seconds):
                await self.ended()
            self._process.kill()
        self._process.wait()


def _last_word(log: Path, begin: int) -> str:
    """Return what a server has said was its end, in its log behind `begin`; empty if it has not."""
    try:
        with log.open("rb") as file:
            file.seek(begin)
            lines = file.read(LOG_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.partition("[FTL]")[2].strip() for line in lines if "[FTL]" in line]
    return f": {printable(said[-1], LONGEST_WORD)}" if said else ""
