"""Our nodes on one machine, each in an OS process of its own, met at a door."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from enfilade.actors import Actor, Down, Node, Ref, open_node
from enfilade.transport import Policy
from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import end, fork, together


class Echo(Actor):
    def __init__(self) -> None:
        self.received = 0

    def echo(self, payload: bytes) -> bytes:
        return payload

    def on_message(self, _message: Any) -> None:
        self.received += 1

    def count(self) -> int:
        return self.received


@attrs.frozen
class Connected:
    """A node that is connected to the server, and a ref to the echo actor there."""

    node: Node
    server: str
    echo: Ref[Echo]


async def _serve(path: str) -> None:
    policy = Policy.same_user(exports="echo", entries="echo")
    async with open_node("server", listen=path, policy=policy, entries={"echo": Echo}) as node:
        await node.spawn(Echo, name="echo")
        await trio.sleep_forever()


@asynccontextmanager
async def _connected(name: str, path: str) -> AsyncIterator[Connected]:
    async with open_node(name, policy=Policy.same_user()) as node:
        while True:
            try:
                server = await node.connect(path)
                break
            except OSError:  # the server is not there yet
                await trio.sleep(0.01)
        echo: Ref[Echo] | None = None
        while echo is None:
            echo = await node.whereis_on(server, "echo")
        yield Connected(node, server, echo)


def _with_server(main: Callable[[Connected, int], Awaitable[float]]) -> float:
    """Run `main` with a node that is connected to another, and that one's process id."""

    async def run(path: str, pid: int) -> float:
        async with _connected("client", path) as client:
            return await main(client, pid)

    with tempfile.TemporaryDirectory(prefix="node-") as directory:
        path = os.path.join(directory, "door")
        pid = fork(lambda: trio.run(_serve, path))
        try:
            return trio.run(run, path, pid)
        finally:
            end(pid)


async def _calls(client: Connected, calls: int, payload: bytes) -> None:
    for _ in range(calls):
        await client.echo.call(Echo.echo, payload)


@kernel("node-call")
def node_call(calls: int, size: int) -> float:
    payload = bytes(size)

    async def main(client: Connected, _pid: int) -> float:
        await _calls(client, min(calls, 20), payload)
        begin = time.perf_counter()
        await _calls(client, calls, payload)
        return (time.perf_counter() - begin) / calls

    return _with_server(main)


@kernel("node-crowd")
def node_crowd(calls: int, size: int, clients: int) -> float:
    """So many nodes call one, each from a process of its own."""
    payload = bytes(size)

    async def main(number: int, path: str, begin: Callable[[], None]) -> None:
        async with _connected(f"client{number}", path) as client:
            await _calls(client, min(calls, 20), payload)
            begin()
            await _calls(client, calls, payload)

    with tempfile.TemporaryDirectory(prefix="node-") as directory:
        path = os.path.join(directory, "door")
        elapsed = together(
            lambda: trio.run(_serve, path),
            lambda number, begin: trio.run(main, number, path, begin),
            clients,
        )
    return elapsed / (calls * clients)


@kernel("node-send")
def node_send(messages: int, size: int) -> float:
    payload = bytes(size)

    async def main(client: Connected, _pid: int) -> float:
        await client.echo.call(Echo.count)
        begin = time.perf_counter()
        for _ in range(messages):
            await client.echo.send_wait(payload)
        assert await client.echo.call(Echo.count) == messages
        return (time.perf_counter() - begin) / messages

    return _with_server(main)


@kernel("node-spawn")
def node_spawn(processes: int) -> float:
    async def main(client: Connected, _pid: int) -> float:
        begin = time.perf_counter()
        for _ in range(processes):
            ref = await client.node.spawn_on(client.server, "echo")
            await ref.call(Echo.count)
        return (time.perf_counter() - begin) / processes

    return _with_server(main)


@kernel("node-reconnect")
def node_reconnect(count: int) -> float:
    """The call finds no node link, and makes one."""

    async def main(client: Connected, _pid: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            client.node.distribution.disconnect(client.server)
            while client.server in client.node.peers:
                await trio.lowlevel.checkpoint()
            await client.echo.call(Echo.count)
        return (time.perf_counter() - begin) / count

    return _with_server(main)


@kernel("node-down")
def node_down(count: int) -> float:
    async def main(client: Connected, pid: int) -> float:
        async with client.node.mailbox() as me:
            me.monitor(client.echo)
            await client.echo.call(Echo.count)
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await me.receive(Down)
            return time.perf_counter() - begin

    return sum(_with_server(main) for _ in range(count)) / count
