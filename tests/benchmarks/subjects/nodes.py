"""Two of our nodes on one machine, each in an OS process of its own, met at a door."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from actors import Actor, Down, Ref, open_node
from actors.remote import distributed
from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import end, fork
from transport import Policy


class Echo(Actor):
    def __init__(self) -> None:
        self.received = 0

    def echo(self, payload: bytes) -> bytes:
        return payload

    def on_message(self, _message: Any) -> None:
        self.received += 1

    def count(self) -> int:
        return self.received


async def _serve(path: str) -> None:
    policy = Policy.same_user(exports="echo")
    async with open_node("server") as node, distributed(node, listen=path, policy=policy):
        await node.spawn(Echo, name="echo")
        await trio.sleep_forever()


def with_server(main: Callable[[Any, Ref[Echo], int], Awaitable[float]]) -> float:
    """Run `main` with a node, a ref to the echo actor on another, and that one's process id."""
    with tempfile.TemporaryDirectory(prefix="bench-node-") as directory:
        path = os.path.join(directory, "door")
        pid = fork(lambda: trio.run(_serve, path))
        try:
            return trio.run(_client, path, pid, main)
        finally:
            end(pid)


async def _client(path: str, pid: int, main: Callable[[Any, Ref[Echo], int], Awaitable[float]]) -> float:
    async with open_node("client") as node, distributed(node) as distribution:
        while True:
            try:
                peer = await distribution.connect(path)
                break
            except OSError:
                await trio.sleep(0.01)
        echo: Ref[Echo] | None = None
        while echo is None:
            echo = await distribution.whereis_on(peer, "echo")
        return await main(node, echo, pid)


@kernel("node-call")
def node_call(calls: int, size: int) -> float:
    payload = bytes(size)

    async def main(_node: Any, echo: Ref[Echo], _pid: int) -> float:
        for _ in range(min(calls, 20)):
            await echo.call(Echo.echo, payload)
        begin = time.perf_counter()
        for _ in range(calls):
            await echo.call(Echo.echo, payload)
        return (time.perf_counter() - begin) / calls

    return with_server(main)


@kernel("node-send")
def node_send(messages: int, size: int) -> float:
    payload = bytes(size)

    async def main(_node: Any, echo: Ref[Echo], _pid: int) -> float:
        await echo.call(Echo.count)
        begin = time.perf_counter()
        for _ in range(messages):
            await echo.send_wait(payload)
        assert await echo.call(Echo.count) == messages
        return (time.perf_counter() - begin) / messages

    return with_server(main)


@kernel("node-down")
def node_down(count: int) -> float:
    async def main(node: Any, echo: Ref[Echo], pid: int) -> float:
        async with node.mailbox() as me:
            me.monitor(echo)
            await echo.call(Echo.count)
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await me.receive(Down)
            return time.perf_counter() - begin

    return sum(with_server(main) for _ in range(count)) / count
