"""Calls in a circle. Clause C14 of docs/semantics.md."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, CallTimeout, Deferred, Node, Process, ProcessDied, Ref

pytest_plugins = ["enfilade.actors.testing.plugin"]

CIRCLE = "deadlock, which only a time limit ends"


class Caller(Actor):
    """Calls along a path of refs."""

    async def along(self, *path: Ref[Any]) -> str:
        if path:
            return await path[0].within(1).call(Caller.along, *path[1:])
        return "end"

    async def together(self, *others: Ref[Any]) -> None:
        async with trio.open_nursery() as nursery:
            for other in others:
                nursery.start_soon(other.within(1).call, Caller.along)

    async def deferred(self, helper: Ref[Any], *path: Ref[Any]) -> Deferred[str]:
        reply: Deferred[str] = self.process.defer()
        reply.forward(helper, Caller.along)
        if path:
            await path[0].within(1).call(Caller.along)
        return reply


@pytest.mark.parametrize("length", [2, 3, 5])
async def test_circle_is_logged(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    """C14: a circle is logged when it closes, with everybody in it; time limits end it."""
    ring = [await node.spawn(Caller) for _ in range(length)]
    with caplog.at_level(logging.WARNING):
        with pytest.raises((CallTimeout, ProcessDied)):
            await ring[0].call(Caller.along, *ring[1:], ring[0])
        await wait_all_tasks_blocked()
    (record,) = [record for record in caplog.records if CIRCLE in record.getMessage()]
    for ref in ring:
        assert f"{ref} waits for along of" in record.getMessage()


async def test_long_way_is_no_circle(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """C14: actors that wait in a row, or for one that answers by another's hand, are none."""
    one, two, three = [await node.spawn(Caller) for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        assert await one.call(Caller.along, two, three) == "end"
        await one.call(Caller.together, two, three, two)
        assert await one.call(Caller.deferred, two, three) == "end"
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one.call, Caller.along, two, three)
        await wait_all_tasks_blocked()
    assert CIRCLE not in caplog.text


async def test_function_that_receives_meanwhile(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """C14: a function process can serve while it waits, so it is no part of a circle."""

    async def server(me: Process, other: Ref[Any]) -> None:
        async def serve() -> None:
            (await me.receive()).reply("served")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            assert await other.call(Caller.along, me.ref) == "served"

    async with node.mailbox() as me:
        with caplog.at_level(logging.WARNING):
            me.monitor(await node.spawn(server, await node.spawn(Caller)))
            assert (await me.receive(timeout=1)).reason.is_normal
    assert CIRCLE not in caplog.text
