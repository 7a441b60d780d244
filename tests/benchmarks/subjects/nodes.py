"""Our nodes on one machine, each in an OS process of its own, met at a door or, as "mesh", in a mesh."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
import trio

from enfilade.actors import Actor, Down, Node, Ref, open_node
from enfilade.transport import Policy
from tests.benchmarks.kernel import kernel
from tests.benchmarks.nats_server import nats_server
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


Way = dict[str, Any]
"""How a node is opened: for the one that is called, and for those that call it."""


@contextmanager
def _ways(variant: str) -> Iterator[tuple[Way, Way, str]]:
    """How nodes are opened that meet in one way or the other, and the address of the one that is called."""
    if variant == "mesh":
        with nats_server() as url:
            policy = Policy.same_mesh(exports="echo", entries="echo")
            yield {"mesh": url, "policy": policy}, {"mesh": url}, "server@local"
        return
    with tempfile.TemporaryDirectory(prefix="node-") as directory:
        path = os.path.join(directory, "door")
        policy = Policy.same_user(exports="echo", entries="echo")
        yield {"listen": path, "policy": policy}, {"policy": Policy.same_user()}, path


async def _serve(way: Way) -> None:
    async with open_node("server", entries={"echo": Echo}, **way) as node:
        await node.spawn(Echo, name="echo")
        await trio.sleep_forever()


@asynccontextmanager
async def _connected(name: str, address: str, way: Way) -> AsyncIterator[Connected]:
    async with open_node(name, **way) as node:
        while True:
            try:
                server = await node.connect(address)
                break
            except OSError:  # the server is not there yet
                await trio.sleep(0.01)
        echo: Ref[Echo] | None = None
        while echo is None:
            echo = await node.whereis_on(server, "echo")
        yield Connected(node, server, echo)


def _with_server(variant: str, main: Callable[[Connected, int], Awaitable[float]]) -> float:
    """Run `main` with a node that is connected to another, and that one's process id."""
    with _ways(variant) as (there, here, address):

        async def run(pid: int) -> float:
            async with _connected("client", address, here) as client:
                return await main(client, pid)

        pid = fork(lambda: trio.run(_serve, there))
        try:
            return trio.run(run, pid)
        finally:
            end(pid)


async def _calls(client: Connected, calls: int, payload: bytes) -> None:
    for _ in range(calls):
        await client.echo.call(Echo.echo, payload)


@kernel("node-call")
def node_call(calls: int, size: int, variant: str) -> float:
    payload = bytes(size)

    async def main(client: Connected, _pid: int) -> float:
        await _calls(client, min(calls, 20), payload)
        begin = time.perf_counter()
        await _calls(client, calls, payload)
        return (time.perf_counter() - begin) / calls

    return _with_server(variant, main)


@kernel("node-crowd")
def node_crowd(calls: int, size: int, clients: int, variant: str) -> float:
    """So many nodes call one, each from a process of its own."""
    payload = bytes(size)
    with _ways(variant) as (there, here, address):

        async def main(number: int, begin: Callable[[], None]) -> None:
            async with _connected(f"client{number}", address, here) as client:
                await _calls(client, min(calls, 20), payload)
                begin()
                await _calls(client, calls, payload)

        elapsed = together(
            lambda: trio.run(_serve, there),
            lambda number, begin: trio.run(main, number, begin),
            clients,
        )
    return elapsed / (calls * clients)


@kernel("node-callers")
def node_callers(calls: int, size: int, callers: int, variant: str) -> float:
    """So many callers of one node at a time."""
    payload = bytes(size)

    async def main(client: Connected, _pid: int) -> float:
        await _calls(client, min(calls, 20), payload)
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(_calls, client, calls, payload)
        return (time.perf_counter() - begin) / (calls * callers)

    return _with_server(variant, main)


@kernel("node-send")
def node_send(messages: int, size: int, variant: str) -> float:
    payload = bytes(size)

    async def main(client: Connected, _pid: int) -> float:
        await client.echo.call(Echo.count)
        begin = time.perf_counter()
        for _ in range(messages):
            await client.echo.send_wait(payload)
        assert await client.echo.call(Echo.count) == messages
        return (time.perf_counter() - begin) / messages

    return _with_server(variant, main)


@kernel("node-spawn")
def node_spawn(processes: int, variant: str) -> float:
    async def main(client: Connected, _pid: int) -> float:
        begin = time.perf_counter()
        for _ in range(processes):
            ref = await client.node.spawn_on(client.server, "echo")
            await ref.call(Echo.count)
        return (time.perf_counter() - begin) / processes

    return _with_server(variant, main)


@kernel("node-reconnect")
def node_reconnect(count: int, variant: str) -> float:
    """The call finds no node link, and makes one."""

    async def main(client: Connected, _pid: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            client.node.distribution.disconnect(client.server)
            while client.server in client.node.peers:
                await trio.lowlevel.checkpoint()
            await client.echo.call(Echo.count)
        return (time.perf_counter() - begin) / count

    return _with_server(variant, main)


@kernel("node-down")
def node_down(count: int, variant: str) -> float:
    async def main(client: Connected, pid: int) -> float:
        async with client.node.mailbox() as me:
            me.monitor(client.echo)
            await client.echo.call(Echo.count)
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await me.receive(Down)
            return time.perf_counter() - begin

    return sum(_with_server(variant, main) for _ in range(count)) / count
