"""A NATS server at the loopback address, for the length of a block."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from enfilade.transport.mesh.server import find_program, server_environment
from enfilade.transport.mesh.settings import MeshError
from tests.benchmarks.kernel import CannotRun

SECONDS = 30.0


@contextmanager
def nats_server() -> Iterator[str]:
    """Run a server; the address for clients.

    Raises:
        CannotRun: there is no program for it.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        command = [find_program(None), "-a", "127.0.0.1", "-p", str(port)]
    except MeshError as error:
        raise CannotRun(str(error)) from error
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=server_environment())
    try:
        limit = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.01)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
