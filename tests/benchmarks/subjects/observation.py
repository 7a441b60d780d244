"""Messages of our processes while somebody looks at them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from enfilade.actors import Actor, Node, Ref, open_node
from enfilade.actors.observing.protocol.views import LIMITS, NodeView, TableView, TraceView
from tests.benchmarks.kernel import kernel
from tests.benchmarks.subjects.messages import Counter, Ping, Pong
from tests.benchmarks.subjects.tier import run

INTERVAL = 0.1
"""Seconds between two updates: as often as a watch can be shown anything."""


async def _read(node: Node, view: Any, begun: trio.Event) -> None:
    async with node.watch(view, interval=INTERVAL) as states:
        async for _ in states:
            begun.set()


@asynccontextmanager
async def looked_at(node: Node, how: str, traced: Ref[Any]) -> AsyncIterator[None]:
    """For the length of a block, have a node looked at: "off", "counted", "watched" or "traced"."""
    if how == "off":
        yield
    elif how == "counted":
        async with node.counting():
            yield
    else:
        trace = TraceView(
            (traced.serial,), count=int(LIMITS["trace_entries"]), seconds=60.0, rate=LIMITS["trace_rate"]
        )
        views = [trace] if how == "traced" else [NodeView(), TableView(sort="rate", count=50)]
        async with trio.open_nursery() as nursery:
            for view in views:
                begun = trio.Event()
                nursery.start_soon(_read, node, view, begun)
                await begun.wait()
            yield
            nursery.cancel_scope.cancel()


@kernel("observed-ping-pong", run=run)
async def observed_ping_pong(variant: str, rounds: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        pong = await node.spawn(Pong)
        ping = await node.spawn(Ping, pong, rounds, finished)
        async with looked_at(node, variant, pong):
            begin = time.perf_counter()
            ping.send("start")
            await finished.wait()
            return (time.perf_counter() - begin) / rounds


class Adder(Actor):
    def add(self, number: int) -> int:
        return number + 1


@kernel("observed-call", run=run)
async def observed_call(variant: str, calls: int) -> float:
    async with open_node("bench") as node:
        adder = await node.spawn(Adder)
        async with looked_at(node, variant, adder):
            begin = time.perf_counter()
            for number in range(calls):
                await adder.call(Adder.add, number)
            return (time.perf_counter() - begin) / calls


@kernel("observed-one-way", run=run)
async def observed_one_way(variant: str, messages: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        counter = await node.spawn(Counter, messages, finished)
        async with looked_at(node, variant, counter):
            begin = time.perf_counter()
            for number in range(messages):
                counter.send(number)
                if number % 1_000 == 999:
                    await trio.lowlevel.checkpoint()
            await finished.wait()
            return (time.perf_counter() - begin) / messages
