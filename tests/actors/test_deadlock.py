"""Calls in a circle. Clause C14 of docs/semantics.md."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    CallTimeout,
    Child,
    Deferred,
    Node,
    Process,
    ProcessDied,
    Ref,
    StartError,
    Supervisor,
)

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


class Asks(Actor):
    """Calls the holder of a name before it has started."""

    def __init__(self, name: str, method: Any) -> None:
        self.name = name
        self.method = method

    async def on_start(self) -> None:
        await self.process.node.named(self.name).within(1).call(self.method)


class Spawns(Actor):
    """Starts a process that calls it, in its handler."""

    async def spawn(self) -> None:
        await self.process.spawn(Asks, "parent", Spawns.done)

    async def done(self) -> None: ...


class Relay(Actor):
    """Calls the supervisor for others."""

    async def children(self) -> None:
        await self.process.node.named("top").within(1).call(Supervisor.children)


@pytest.mark.parametrize("through", [None, "relay"], ids=["itself", "through another actor"])
async def test_a_start_that_calls_its_own_supervisor_is_a_circle(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, through: str | None
) -> None:
    """C14: who waits for a start waits for the process that starts."""
    await node.spawn(Relay, name="relay")
    asks = ("top", Supervisor.children) if through is None else ("relay", Relay.children)
    with caplog.at_level(logging.WARNING), pytest.raises(StartError):
        await node.spawn(Supervisor, [Child(Asks, *asks, id="child")], name="top", intensity=0)
    (record,) = [record for record in caplog.records if CIRCLE in record.getMessage()]
    assert "waits for children of <test@local:" in record.getMessage()
    assert "waits for start of <test@local:" in record.getMessage()


async def test_a_handler_that_waits_for_a_start_that_waits_for_it_is_a_circle(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """C14: the same with a spawn in a handler."""
    parent = await node.spawn(Spawns, name="parent")
    with caplog.at_level(logging.WARNING), pytest.raises(ProcessDied):
        await parent.call(Spawns.spawn)
    (record,) = [record for record in caplog.records if CIRCLE in record.getMessage()]
    assert f"{parent} waits for start of" in record.getMessage()


async def test_a_start_that_calls_others_is_no_circle(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """C14: a supervisor that is elsewhere in the tree answers."""
    await node.spawn(Supervisor, [], name="other")
    with caplog.at_level(logging.WARNING):
        await node.spawn(Supervisor, [Child(Asks, "other", Supervisor.children, id="child")])
    assert not [record for record in caplog.records if CIRCLE in record.getMessage()]
