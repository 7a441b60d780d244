"""trio alone: what a task switch costs, which no process with a task of its own can be without."""

from __future__ import annotations

import socket
import time
from typing import Any

import trio

from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import end, fork


def run(main: Any) -> float:
    return float(trio.run(main))


@kernel("call", run=run)
async def checkpoint(calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        await trio.lowlevel.checkpoint()
    return (time.perf_counter() - begin) / calls


@kernel("channel", run=run)
async def channel(frames: int, capacity: int) -> float:
    """A memory channel with room for as many frames."""
    send, receive = trio.open_memory_channel[bytes](capacity // 64)
    message = bytes(64)

    async def read() -> None:
        for _ in range(frames):
            await receive.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        begin = time.perf_counter()
        for _ in range(frames):
            await send.send(message)
    return (time.perf_counter() - begin) / frames


@kernel("node-call")
def node_call(calls: int, size: int) -> float:
    """A Unix socket through trio's streams on both sides."""
    client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    async def serve() -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(server))
        while True:
            await stream.send_all(await _receive(stream, size))

    async def ask() -> float:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
        message = bytes(size)
        begin = time.perf_counter()
        for _ in range(calls):
            await stream.send_all(message)
            await _receive(stream, size)
        return (time.perf_counter() - begin) / calls

    pid = fork(lambda: trio.run(serve))
    server.close()
    try:
        return trio.run(ask)
    finally:
        end(pid)
        client.close()


async def _receive(stream: trio.SocketStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += await stream.receive_some()
    return bytes(data)
