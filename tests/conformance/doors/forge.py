"""A process that makes the peers of the conformance tests by forking.

To start an interpreter and to import what a peer needs takes long, and there are some hundred peers; to fork
a process that has done so once takes a moment. The forge itself never touches a door and has one thread, so
its children begin as a fresh interpreter would, but for its memory.

The forge is asked over a socket. Each request carries, as descriptors, the peer's standard input and output,
a socket on which the forge reports the peer's number and then its exit status, and the descriptors that the
peer is to have under numbers of their own.
"""

import contextlib
import fcntl
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import Any

REQUEST_BYTES = 65536
MOST_DESCRIPTORS = 64
OUT_OF_THE_WAY = 200


def readable(fd: int, seconds: float) -> bool:
    """Wait until a descriptor can be read, or has been hung up; false if it cannot within `seconds`.

    With `poll`, because `select` takes no number above 1023, and revoked private doors hold many.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Forge:
    """The tests' end. It lives as long as the tests' process."""

    def __init__(self, root: str) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.doors.forge", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=root,
        )
        theirs.close()

    def make(self, target: str, arguments: str, stdin: int, stdout: int, passed: list[int]) -> "Made":
        """Fork a peer that runs `target`, a module and a function; the descriptors stay the caller's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps([target, arguments, passed]).encode()
        socket.send_fds(self._control, [request], [stdin, stdout, theirs.fileno(), *passed])
        theirs.close()
        return Made(ours)


class Made:
    """A peer that the forge has made: what `subprocess.Popen` is to a process of one's own."""

    def __init__(self, reports: socket.socket) -> None:
        self._reports = reports
        self._status: int | None = None
        self.pid = int(reports.recv(64))

    def wait(self, timeout: float) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired`."""
        if self._status is None:
            if not readable(self._reports.fileno(), timeout):
                raise subprocess.TimeoutExpired(f"peer {self.pid}", timeout)
            self._status = int(self._reports.recv(64) or b"-9")
            self._reports.close()
        return self._status

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        if self._status is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(target: str, arguments: str, fds: list[int], numbers: list[int]) -> None:
    """In the new process: take the descriptors' places, and be the peer."""
    from tests.conformance.doors import peer

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    beyond = max(OUT_OF_THE_WAY, *(number + 1 for number in numbers), max(fds) + 1)
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD, beyond) for fd in fds]
    os.closerange(3, beyond)
    for fd, number in zip(aside, [0, 1, *numbers], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    peer.be(target, arguments)


def serve(control: socket.socket) -> None:
    """Make peers until the tests' process has gone."""
    wake, waking = socket.socketpair()
    for end in (wake, waking):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    reports: dict[int, socket.socket] = {}
    poll = select.poll()
    for end in (control, wake):
        poll.register(end, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wake.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                wake.recv(4096)
            reap(reports)
        if control.fileno() not in ready:
            continue
        request, fds, _, _ = socket.recv_fds(control, REQUEST_BYTES, MOST_DESCRIPTORS)
        if not request:
            return
        target, arguments, numbers = json.loads(request)
        importlib.import_module(target.partition(":")[0])
        status = 1
        pid = os.fork()
        if pid == 0:
            try:
                run(target, arguments, [*fds[:2], *fds[3:]], numbers)
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        reports[pid] = socket.socket(fileno=fds[2])
        reports[pid].send(str(pid).encode())
        for fd in (*fds[:2], *fds[3:]):
            os.close(fd)


def reap(reports: dict[int, Any]) -> None:
    """Report the peers that have ended."""
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with reports.pop(pid) as report, contextlib.suppress(OSError):
            report.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    from tests.conformance.doors.peer import die_with_parent

    die_with_parent()
    serve(socket.socket(fileno=int(sys.argv[1])))
