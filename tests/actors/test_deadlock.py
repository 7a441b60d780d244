"""Calls in a circle. Clause C14 of docs/semantics.md."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    CallingSelf,
    CallTimeout,
    Child,
    Crashed,
    Deferred,
    FailedToStart,
    Node,
    Process,
    ProcessDied,
    Ref,
    StartError,
    StartFailed,
    Supervisor,
    acknowledges_start,
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


# Circles that no time limit ends.

REFUSED = "deadlock, which no time limit would end"


class AsksItsParent(Actor):
    async def on_start(self) -> None:
        await self.process.parent.call(Supervisor.children)


@acknowledges_start
async def asks_its_parent(me: Process) -> None:
    await me.parent.call(Supervisor.children)
    me.started()


class Middle(Actor):
    """Calls the supervisor for others, without a limit."""

    async def children(self) -> None:
        await self.process.node.named("top").within(math.inf).call(Supervisor.children)


class AsksTheMiddle(Actor):
    async def on_start(self) -> None:
        await self.process.node.named("middle").within(math.inf).call(Middle.children)


@pytest.mark.parametrize("child", [AsksItsParent, asks_its_parent, AsksTheMiddle])
@pytest.mark.parametrize("when", ["at the start", "on request"])
async def test_a_start_that_waits_for_its_own_supervisor_is_refused(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, child: Any, when: str
) -> None:
    """C14: requests to supervisors have no time limit, so nothing would end it; everybody in it is named."""
    await node.spawn(Middle, name="middle")
    with caplog.at_level(logging.WARNING):
        if when == "at the start":
            with pytest.raises(StartError) as raised:
                await node.spawn(Supervisor, [Child(child, id="child")], name="top", intensity=0)
            reason: Any = raised.value.reason
            assert isinstance(reason.detail, FailedToStart)
        else:
            top = await node.spawn(Supervisor, [], name="top", intensity=0)
            with pytest.raises(StartFailed):
                await top.call(Supervisor.start_child, Child(child, id="child"))
            assert await top.call(Supervisor.children) == ()
        await wait_all_tasks_blocked()
    assert trio.current_time() < 1
    (record,) = [record for record in caplog.records if REFUSED in record.getMessage()]
    assert "waits for start of <test@local:" in record.getMessage()


class Asker(Actor):
    """Has a child started that calls it."""

    async def start(self, top: Ref[Supervisor], limit: float, patience: float) -> Any:
        child = Child(CallsBack, self.process.ref.within(limit), start_timeout=patience, restart="temporary")
        return await top.call(Supervisor.start_child, child)

    async def within_a_scope(self, top: Ref[Supervisor]) -> Any:
        with trio.move_on_after(2):
            await self.start(top, math.inf, math.inf)
        return "out of time"

    async def nothing(self) -> None: ...


class CallsBack(Actor):
    def __init__(self, asker: Ref[Asker]) -> None:
        self.asker = asker

    async def on_start(self) -> None:
        await self.asker.call(Asker.nothing)


async def test_who_asks_for_a_start_is_in_the_circle(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """C14: a supervisor that carries a request out holds it."""
    top = await node.spawn(Supervisor, [])
    asker = await node.spawn(Asker)
    with caplog.at_level(logging.WARNING):
        with pytest.raises(ProcessDied) as died:
            await asker.within(math.inf).call(Asker.start, top, math.inf, math.inf)
        await wait_all_tasks_blocked()
    assert isinstance(died.value.__cause__, StartFailed)
    failed: Any = died.value.__cause__
    assert isinstance(failed.reason, Crashed)
    assert isinstance(failed.reason.error, CallingSelf)
    for part in (
        f"{asker} waits for start_child of {top}",
        f"{top} waits for start of",
        "waits for nothing of",
    ):
        assert part in str(failed.reason.error)
        assert part in caplog.text
    assert REFUSED in caplog.text


@pytest.mark.parametrize("limit", ["of the call", "of the start", "of a scope"])
async def test_a_circle_that_some_limit_ends_is_not_refused(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, limit: str
) -> None:
    """C14: whoever waits for a limited time ends it in time."""
    top = await node.spawn(Supervisor, [])
    asker = await node.spawn(Asker)
    began = trio.current_time()
    with caplog.at_level(logging.WARNING):
        if limit == "of a scope":
            assert await asker.within(math.inf).call(Asker.within_a_scope, top) == "out of time"
        else:
            limits = (2, math.inf) if limit == "of the call" else (math.inf, 2)
            with pytest.raises(ProcessDied):
                await asker.within(math.inf).call(Asker.start, top, *limits)
        await wait_all_tasks_blocked()
    assert trio.current_time() - began == pytest.approx(2)
    assert REFUSED not in caplog.text
    assert CIRCLE in caplog.text


class Ring(Actor):
    async def along(self, *path: Ref[Any]) -> str:
        return await path[0].within(math.inf).call(Ring.along, *path[1:]) if path else "end"


@pytest.mark.parametrize("length", [2, 3, 5])
async def test_calls_without_limits_in_a_circle(autojump_clock: MockClock, node: Node, length: int) -> None:
    """C14: whoever closes it gets `CallingSelf`, and the others what follows from that."""
    ring = [await node.spawn(Ring) for _ in range(length)]
    with pytest.raises(ProcessDied):
        await ring[0].within(math.inf).call(Ring.along, *ring[1:], ring[0])
    assert trio.current_time() < 1


async def test_a_function_with_other_tasks_may_go_on(autojump_clock: MockClock, node: Node) -> None:
    """C14: another task of it may acknowledge its start."""

    @acknowledges_start
    async def function(me: Process) -> None:
        async def acknowledge() -> None:
            await trio.sleep(1)
            me.started()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(acknowledge)
            await me.parent.call(Supervisor.children)

    top = await node.spawn(Supervisor, [Child(function, id="child")])
    assert len(await top.call(Supervisor.children)) == 1
