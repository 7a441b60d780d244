"""Nodes of a mesh for the tests: in this process, and in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Node, open_node
from enfilade.transport import Limits, Policy
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.servers import NatsServer, running

PATIENCE = 60
"""Seconds for what takes a moment on a machine that is not overloaded."""


class Account(Actor):
    """An actor to talk to."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def give(self, value: Any) -> Any:
        return value

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def history(self) -> list[Any]:
        return self.seen

    def summary(self) -> tuple[int, bool]:
        """How much came, and whether it was 0, 1, 2 and so on."""
        return len(self.seen), self.seen == list(range(len(self.seen)))


ROOMY = Limits(payload=256 * 1024 * 1024, pending_bytes=512 * 1024 * 1024, decoding=600.0)
"""For the longest payloads."""


@asynccontextmanager
async def nodes(mesh: str | Mesh, *names: str, limits: Limits | None = None) -> AsyncIterator[list[Node]]:
    """Open nodes with an account each, for the length of a block."""
    policy = Policy.same_mesh(exports="*", ends="*", entries="*", groups="*", limits=limits)
    async with AsyncExitStack() as stack:
        opened = []
        for each in names:
            name, _, zone = each.partition("@")
            node = await stack.enter_async_context(
                open_node(name, zone=zone, mesh=mesh, policy=policy, entries={"Account": Account})
            )
            await node.spawn(Account, name="account")
            opened.append(node)
        yield opened


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running(tmp_path) as (server,):
        yield server


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens by itself."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - two nodes and a server agree in their own time
            await trio.sleep(0.01)


PROGRAM = """
import os, sys, trio
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import nodes

async def main(servers, name):
    mesh = Mesh(servers=servers, name=os.environ.get("ENFILADE_TEST_MESH", "default"))
    async with nodes(mesh, name) as (node,):
        shared = node.mesh._membership.carrier
        print(node.incarnation, shared.connection.server.port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main, *sys.argv[1:])
"""


class Program:
    """A node in a process of its own, which ends with its standard input at the latest."""

    def __init__(
        self,
        mesh: str,
        name: str,
        environment: dict[str, str] | None = None,
        program: str = PROGRAM,
        before: Sequence[str] = (),
    ) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", program, mesh, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[3],
            env={**os.environ, **(environment or {})},
        )

    async def line(self) -> str:
        """Wait for the next line that it prints."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            line = await trio.to_thread.run_sync(self.process.stdout.readline, abandon_on_cancel=True)
        return line.decode().strip()

    async def ready(self) -> tuple[int, int]:
        """Wait until the node is open; its incarnation, and the port of its server."""
        incarnation, port = (await self.line()).split()
        return int(incarnation), int(port)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """End it, and close what leads to it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def start(*args: Any) -> Program:
        programs.append(Program(*args))
        return programs[-1]

    yield start
    for program in programs:
        program.end()
