"""The engine of a mesh by itself: requests and messages through a NATS server, by our own client."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from enfilade.transport.mesh.connection import Connection, NoResponders
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.settings import Server
from enfilade.transport.mesh.watcher import Quiet
from tests.benchmarks.kernel import kernel
from tests.benchmarks.nats_server import nats_server
from tests.benchmarks.peers.transports import end, fork

ENOUGH = 2**20
"""Unsent bytes above which a sender waits."""


@asynccontextmanager
async def _connected(url: str, name: str) -> AsyncIterator[Connection]:
    connection = Connection(
        [Server.parse(url)],
        name=name,
        inbox=f"inbox.{name}",
        watcher=Quiet(),
        entropy=os.urandom,
        random=random.random,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(connection.run)
        yield connection
        nursery.cancel_scope.cancel()


async def _serve(url: str) -> None:
    """Answer requests with what they bring, and count messages."""
    count = 0

    async with _connected(url, "server") as connection:

        def echo(message: Message) -> None:
            connection.publish(message.reply, message.payload)

        def note(_: Message) -> None:
            nonlocal count
            count += 1

        def tell(message: Message) -> None:
            connection.publish(message.reply, str(count).encode())

        connection.subscribe("echo", echo)
        connection.subscribe("note", note)
        connection.subscribe("count", tell)
        await trio.sleep_forever()


def _with_server(main: Callable[[Connection], Awaitable[float]]) -> float:
    async def run(url: str) -> float:
        async with _connected(url, "client") as client:
            while True:
                try:
                    await client.request("count", b"")
                    break
                except NoResponders:  # the other is not there yet
                    await trio.sleep(0.01)
            return await main(client)

    with nats_server() as url:
        pid = fork(lambda: trio.run(_serve, url))
        try:
            return trio.run(run, url)
        finally:
            end(pid)


@kernel("node-call")
def node_call(calls: int, size: int) -> float:
    payload = bytes(size)

    async def main(client: Connection) -> float:
        for _ in range(min(calls, 20)):
            await client.request("echo", payload)
        begin = time.perf_counter()
        for _ in range(calls):
            await client.request("echo", payload)
        return (time.perf_counter() - begin) / calls

    return _with_server(main)


@kernel("node-send")
def node_send(messages: int, size: int) -> float:
    payload = bytes(size)

    async def main(client: Connection) -> float:
        begin = time.perf_counter()
        for number in range(messages):
            client.publish("note", payload)
            if client.unsent > ENOUGH:
                await client.settled()
            elif number % 64 == 63:
                await trio.lowlevel.checkpoint()
        while int((await client.request("count", b"")).payload) < messages:
            pass
        return (time.perf_counter() - begin) / messages

    return _with_server(main)
