"""What the bare transports share: an echo server and its clients, each in an OS process.

All are started by fork(2). A transport says how to serve and how to connect; both are called in the process
that they are for, so that no thread or lock of a library is ever forked. The client processes are ready
before the clock starts.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

Exchange = Callable[[bytes], object]


class Transport(Protocol):
    """Made before any process is started; `clients` is how many will connect."""

    def serve(self) -> None:
        """Answer every message with itself, until killed."""

    def connect(self, client: int) -> Exchange:
        """The function that sends one message and waits for the answer."""

    def close(self) -> None:
        """Release what was made before the processes."""


def fork(body: Callable[[], None]) -> int:
    """Run `body` in a child process that ends with it; returns its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        except BaseException:  # whatever happens, the child must not return into the parent's code
            import traceback

            traceback.print_exc()
            os._exit(1)
    return pid


def end(*pids: int) -> None:
    """Kill and reap child processes."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def round_trips(transport: Transport, calls: int, size: int, clients: int) -> float:
    """Seconds for one exchange of `size` bytes, with that many clients calling at once."""
    payload = bytes(size)

    def client(number: int, begin: Callable[[], None]) -> None:
        exchange = transport.connect(number)
        for _ in range(min(calls, 20)):
            exchange(payload)
        begin()
        for _ in range(calls):
            exchange(payload)

    try:
        return together(transport.serve, client, clients) / (calls * clients)
    finally:
        transport.close()


def together(
    server: Callable[[], None], client: Callable[[int, Callable[[], None]], None], clients: int
) -> float:
    """Seconds that so many clients work, each in a process of its own, beside a server that never ends.

    A client is given its number and a function to call when it is prepared, which returns when all are.
    """
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()

    def begin() -> None:
        os.write(ready_write, b"r")
        os.read(go_read, 1)

    def run(number: int) -> None:
        try:
            client(number, begin)
            os.write(ready_write, b"f")
        except BaseException:
            os.write(ready_write, b"!")
            raise

    pids = [fork(server)]
    try:
        pids.extend(fork(functools.partial(run, number)) for number in range(clients))
        _await(ready_read, clients)
        started = time.perf_counter()
        os.write(go_write, b"g" * clients)
        _await(ready_read, clients)
        return time.perf_counter() - started
    finally:
        end(*pids)
        for descriptor in (ready_read, ready_write, go_read, go_write):
            os.close(descriptor)


def _await(descriptor: int, count: int) -> None:
    while count:
        marks = os.read(descriptor, count)
        if b"!" in marks:
            raise RuntimeError("a client failed; its traceback is above")
        count -= len(marks)
