"""What is refused has done nothing: no timer, no message, no half of a change. Clauses C5, C9, D9, T5 and T6
of docs/semantics.md.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    NORMAL,
    Actor,
    Node,
    ProcessDied,
    Ref,
    SenderDropped,
    TaskSupervisor,
    async_nolink,
    async_stream,
    multi_call,
    open_node,
)
from enfilade.transport import PayloadError, Policy
from enfilade.transport.memory_carrier import MemoryNetwork

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Desk(Actor):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def note(self, value: Any) -> Any:
        self.seen.append(value)
        return value

    def set(self, key: Any, seconds: Any, every: bool) -> str:
        """Set a timer by key; returns what refuses it."""
        try:
            self.process.timers.start(key, seconds, "tick", every=every)
        except (TypeError, ValueError) as error:
            return type(error).__name__
        return "set"

    def history(self) -> list[Any]:
        return self.seen

    def on_message(self, message: Any) -> None:
        self.seen.append(message)


class AsyncDesk(Desk):
    async def nothing(self) -> None: ...


DESKS = pytest.mark.parametrize("desk", [Desk, AsyncDesk])


class NoKey:
    """Has a hash, and cannot be compared."""

    def __hash__(self) -> int:
        return hash("key")

    def __eq__(self, other: object) -> bool:
        raise TypeError("no key")


@DESKS
@pytest.mark.parametrize(
    ("key", "seconds", "every"),
    [
        (list, 1, False),
        (dict, 1, True),
        (NoKey, 1, False),
        ("key", -1, False),
        ("key", math.nan, True),
        ("key", "1", False),
        ("key", 0, True),
    ],
)
async def test_a_timer_by_key(
    autojump_clock: MockClock, node: Node, desk: type[Desk], key: Any, seconds: Any, every: bool
) -> None:
    """T5: a key that is none, or a bad time, sets no timer, and leaves the one that is set."""
    ref = await node.spawn(desk)
    assert await ref.call(Desk.set, "key", 2, False) == "set"
    assert await ref.call(Desk.set, key() if callable(key) else key, seconds, every) in (
        "TypeError",
        "ValueError",
    )
    assert node.statistics().timers == 1
    await trio.sleep(5)
    assert await ref.call(Desk.history) == ["tick"]


@pytest.mark.parametrize("timeout", [-1, math.nan, "1", None])
async def test_a_call_of_several(node: Node, timeout: Any) -> None:
    ref = await node.spawn(Desk)
    with pytest.raises((TypeError, ValueError), match="a time limit must be"):
        await multi_call([ref], Desk.note, 1, timeout=timeout)
    assert await ref.call(Desk.history) == []


async def doubled(number: int) -> int:
    await trio.sleep(number)
    return 2 * number


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("timeout", -1),
        ("timeout", math.nan),
        ("timeout", "1"),
        ("max_concurrency", math.nan),
        ("max_concurrency", 1.5),
        ("max_concurrency", True),
        ("max_concurrency", "2"),
    ],
)
async def test_a_stream(node: Node, option: str, value: Any) -> None:
    """NaN tasks at once were none, and the stream was empty."""
    tasks = await node.spawn(TaskSupervisor)
    with pytest.raises((TypeError, ValueError), match=r"max_concurrency must be|limit of a task must be"):
        async_stream(tasks, doubled, [1], **{option: value})


async def test_the_end_of_a_task(autojump_clock: MockClock, node: Node) -> None:
    """Its task goes on."""
    task = await async_nolink(await node.spawn(TaskSupervisor), doubled, 5)
    for bad in (-1, math.nan, "1"):
        with pytest.raises((TypeError, ValueError), match="limit of a task must be"):
            await task.shut_down(bad)  # type: ignore[arg-type]
    assert await task.wait() == 10


@pytest.mark.parametrize("bad", [5, "name", None, [], object()])
async def test_what_is_no_ref(node: Node, bad: Any) -> None:
    """A mistake of the caller's, told in his words."""
    async with node.mailbox() as me:
        for use in (
            lambda: me.link(bad),
            lambda: me.unlink(bad),
            lambda: me.exit(bad, NORMAL),
            lambda: me.send_after(1, bad, "message"),
            lambda: me.exit_after(1, bad, NORMAL),
            lambda: me.request(bad, Desk.note, 1),
            lambda: node.scope("of no refs").join("group", bad),
            lambda: node.scope("of no refs").monitor(bad, "group"),
            lambda: node.register("a name", bad),
            lambda: node.dead_letters.subscribe(bad),
            lambda: node.child_events.subscribe(bad),
        ):
            with pytest.raises(TypeError, match=r"Ref|of this node"):
                use()


@asynccontextmanager
async def neighbours() -> AsyncIterator[tuple[Node, Node, str]]:
    """Two nodes that are connected, and the second one's full name."""
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        nodes = []
        for name in ("a", "b"):
            policy = Policy.same_user(exports=["*"])
            opened = open_node(name, carrier=network.carrier(name), policy=policy, listen=f"/{name}")
            nodes.append(await stack.enter_async_context(opened))
        yield nodes[0], nodes[1], await nodes[0].connect("/b")


class Forwarder(Actor):
    """Forwards what cannot travel."""

    def __init__(self, there: Ref[Any]) -> None:
        self.there = there

    def crashes(self) -> Any:
        deferred = self.process.defer()
        deferred.forward(self.there, Desk.note, object())
        return deferred

    def answers(self) -> Any:
        deferred = self.process.defer()
        try:
            deferred.forward(self.there, Desk.note, object())
        except PayloadError:
            deferred.reply("by itself")
        return deferred

    def drops(self) -> Any:
        deferred = self.process.defer()
        try:
            deferred.forward(self.there, Desk.note, object())
        except PayloadError:
            return deferred


class AsyncForwarder(Forwarder):
    async def nothing(self) -> None: ...


@pytest.mark.parametrize("forwarder", [Forwarder, AsyncForwarder])
async def test_a_call_that_cannot_be_forwarded(autojump_clock: MockClock, forwarder: type[Forwarder]) -> None:
    """D9, C9: the call is still the forwarder's to answer; its caller does not wait for a time limit."""
    async with neighbours() as (here, there, name):
        far = await there.spawn(Desk, name="desk")
        ref = await here.spawn(forwarder, here.remote("desk", name))
        began = trio.current_time()
        assert await ref.call(Forwarder.answers) == "by itself"
        with pytest.raises(SenderDropped):
            await ref.call(Forwarder.drops)
        with pytest.raises(ProcessDied):
            await ref.call(Forwarder.crashes)
        assert trio.current_time() - began < 1
        assert await far.call(Desk.history) == []
