"""tractor: an actor is an OS process that runs trio. Its release on PyPI needs a trio older than ours.

Run it with an interpreter of its own, as `make bench` does: `--interpreter tractor=PATH`.
"""

# mypy: allow-subclassing-any, allow-untyped-decorators
from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import tractor  # type: ignore[import-not-found, unused-ignore]
import trio

from tests.benchmarks.kernel import kernel
from tests.ports import free_port


def run(main: Any) -> float:
    return float(trio.run(main))


def open_nursery() -> Any:
    """tractor's nursery, with a registrar at a free port instead of the one port of all programs."""
    return tractor.open_nursery(arbiter_addr=("127.0.0.1", free_port()))


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Send back everything but increments."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for message in stream:
            if not isinstance(message, list | tuple):
                await stream.send(message)


@asynccontextmanager
async def stream() -> AsyncIterator[Any]:
    """A stream to `echo` in a process of its own."""
    async with open_nursery() as nursery:
        portal = await nursery.start_actor("echo", enable_modules=[__name__])
        async with portal.open_context(echo) as (context, _first), context.open_stream() as opened:
            yield opened
        await portal.cancel_actor()


@kernel("node-call", run=run)
async def node_call(calls: int, size: int) -> float:
    return await node_call_of(calls, size)


async def node_call_of(calls: int, size: int) -> float:
    message = bytes(size)
    async with stream() as opened:
        for _ in range(min(calls, 10)):
            await opened.send(message)
            await opened.receive()
        begin = time.perf_counter()
        for _ in range(calls):
            await opened.send(message)
            await opened.receive()
        return (time.perf_counter() - begin) / calls


@kernel("node-send", run=run)
async def node_send(messages: int, size: int) -> float:
    return await node_send_of(messages, size)


async def node_send_of(messages: int, size: int) -> float:
    payload = bytes(size)
    async with stream() as opened:
        begin = time.perf_counter()
        for _ in range(messages):
            await opened.send(("increment", payload))
        await opened.send("finished")
        await opened.receive()
        return (time.perf_counter() - begin) / messages


@kernel("ping-pong", run=run)
async def ping_pong(rounds: int) -> float:
    return await node_call_of(rounds, 4)


@kernel("counting", run=run)
async def counting(messages: int) -> float:
    return await node_send_of(messages, 4)


async def ready() -> int:
    """The process id of the actor."""
    return os.getpid()


@kernel("node-spawn", run=run)
async def node_spawn(processes: int) -> float:
    """Every actor is an OS process."""
    async with open_nursery() as nursery:
        begin = time.perf_counter()
        portals = [
            await nursery.start_actor(f"actor{number}", enable_modules=[__name__])
            for number in range(processes)
        ]
        for portal in portals:
            await portal.run(ready)
        elapsed = time.perf_counter() - begin
        for portal in portals:
            await portal.cancel_actor()
    return elapsed / processes
