"""A full mailbox refuses by one rule, however its process is addressed. Clauses M3 and M6 to M8 of
docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Deferred,
    Down,
    Exited,
    Mailbox,
    MailboxFull,
    Node,
    NotPublic,
    Ref,
    multi_cast,
    system,
)
from enfilade.actors.processes.mailbox import Overflow
from tests.conformance.actors.subjects import idle

pytest_plugins = ["enfilade.actors.testing.plugin"]

CAPACITY = 2


class Desk(Actor):
    """A sync actor."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def note(self, value: Any) -> Any:
        self.seen.append(value)
        return value

    def on_message(self, message: Any) -> None:
        self.note(message)

    def alias(self) -> Ref[Any]:
        return self.process.alias()


class AsyncDesk(Desk):
    """The same with a task."""

    async def note(self, value: Any) -> Any:
        self.seen.append(value)
        return value

    async def on_message(self, message: Any) -> None:
        await self.note(message)


class Clerk(Actor):
    """Passes calls on."""

    def note(self, ref: Ref[Any]) -> Deferred[Any]:
        deferred = self.process.defer()
        deferred.forward(ref, Desk.note, "forwarded")
        return deferred


Addressing = Callable[[Node, Ref[Any], Ref[Any]], Ref[Any]]
ADDRESSED: dict[str, Addressing] = {
    "ref": lambda node, ref, alias: ref,
    "ref within": lambda node, ref, alias: ref.within(3),
    "name": lambda node, ref, alias: node.named("desk"),
    "name within": lambda node, ref, alias: node.named("desk").within(3),
    "alias": lambda node, ref, alias: alias,
}


async def _stuff(node: Node, kind: type[Desk], overflow: Overflow) -> tuple[Ref[Any], Ref[Any]]:
    """A suspended process with a full mailbox, and an alias of it."""
    ref = await node.spawn(kind, name="desk", mailbox=Mailbox(CAPACITY, overflow))
    alias = await ref.call(Desk.alias)
    await system.suspend(ref)
    for number in range(CAPACITY):
        ref.send(number)
    return ref, alias


async def _seen(ref: Ref[Any]) -> list[Any]:
    await system.resume(ref)
    await wait_all_tasks_blocked()
    return list((await system.get_state(ref))["seen"])


REFUSED = ("block", "fail")
KEPT = {
    "block": [0, 1],
    "fail": [0, 1],
    "drop_newest": [0, 1],
    "dead_letter": [0, 1],
    "drop_oldest": [1, "x"],
}


@pytest.mark.parametrize("addressed", ADDRESSED)
@pytest.mark.parametrize("overflow", KEPT)
@pytest.mark.parametrize("kind", [Desk, AsyncDesk])
@pytest.mark.parametrize("way", ["send", "cast"])
async def test_message_that_finds_no_room(
    autojump_clock: MockClock, node: Node, addressed: str, overflow: Overflow, kind: type[Desk], way: str
) -> None:
    """M7: the sender is told, or the message is dropped and counted, or a dead letter."""
    ref, alias = await _stuff(node, kind, overflow)
    target = ADDRESSED[addressed](node, ref, alias)
    with nullcontext() if overflow not in REFUSED else pytest.raises(MailboxFull) as full:
        target.send("x") if way == "send" else target.cast(Desk.note, "x")
    if full is not None:
        assert (full.value.ref, full.value.capacity) == (ref, CAPACITY)
    statistics = node.statistics()
    assert statistics.dropped == overflow.startswith("drop")
    assert statistics.dead_letters == (overflow == "dead_letter")
    assert await _seen(ref) == KEPT[overflow]


@pytest.mark.parametrize("addressed", ADDRESSED)
@pytest.mark.parametrize("overflow", KEPT)
@pytest.mark.parametrize("way", ["request", "forward"])
async def test_request_that_finds_no_room(
    autojump_clock: MockClock, node: Node, addressed: str, overflow: Overflow, way: str
) -> None:
    """M8: a request fails with the same error, which is raised where it is waited for."""
    ref, alias = await _stuff(node, Desk, overflow)
    target = ADDRESSED[addressed](node, ref, alias)
    clerk = await node.spawn(Clerk)
    async with node.mailbox() as me:
        if way == "request":
            request = me.request(target, Desk.note, "asked")
        else:
            request = me.request(clerk, Clerk.note, target)
        await wait_all_tasks_blocked()
        if overflow == "drop_oldest":
            await system.resume(ref)
            assert await request.receive(1) in ("asked", "forwarded")
        else:
            with pytest.raises(MailboxFull):
                await request.receive(1)


@pytest.mark.parametrize("addressed", ADDRESSED)
@pytest.mark.parametrize("way", ["call", "send_wait"])
async def test_waiting_for_room(autojump_clock: MockClock, node: Node, addressed: str, way: str) -> None:
    """M6, M8: where the policy is to block, whoever can wait does; given up, nothing was sent."""
    ref, alias = await _stuff(node, Desk, "block")
    target = ADDRESSED[addressed](node, ref, alias)
    wait = target.send_wait if way == "send_wait" else lambda value: target.call(Desk.note, value)
    with trio.move_on_after(1) as scope:
        await wait("never")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "x")
        await wait_all_tasks_blocked()
        await system.resume(ref)
    assert await _seen(ref) == [0, 1, "x"]


@pytest.mark.parametrize("addressed", ADDRESSED)
@pytest.mark.parametrize("overflow", ["block", "fail", "drop_newest", "drop_oldest", "dead_letter", "crash"])
@pytest.mark.parametrize("way", ["Process.send_after", "Node.send_after"])
async def test_timer_to_a_full_mailbox(
    autojump_clock: MockClock, node: Node, addressed: str, overflow: Overflow, way: str
) -> None:
    """M3: no policy keeps a timer's message out, however the timer addresses the process."""
    ref, alias = await _stuff(node, Desk, overflow)
    target = ADDRESSED[addressed](node, ref, alias)
    async with node.mailbox() as me:
        (me if way == "Process.send_after" else node).send_after(1, target, "tick")
        await trio.sleep(2)
    assert await _seen(ref) == [0, 1, "tick"]
    statistics = node.statistics()
    assert (statistics.dropped, statistics.dead_letters) == (0, 0)


@pytest.mark.parametrize("overflow", ["block", "fail", "drop_newest", "drop_oldest", "dead_letter", "crash"])
async def test_what_the_runtime_sends_to_a_full_mailbox(
    autojump_clock: MockClock, node: Node, overflow: Overflow
) -> None:
    """M3: replies, `Exited`, `Down`, group notices, keyed timers and idle time-outs find room always."""
    desk = await node.spawn(Desk)
    async with node.mailbox(Mailbox(1, overflow)) as me:
        me.trap_exits = True
        node.scope().monitor(me.ref, "group")
        me.ref.send("fills it")
        other = await me.spawn(idle, link=True)
        me.monitor(other)
        me.timers.start("key", 1, "keyed")
        node.scope().join("group", desk)
        other.exit(KILL)
        assert await me.request(desk, Desk.note, "reply").receive(1) == "reply"
        await trio.sleep(2)
        got = [await me.receive(timeout=0) for _ in range(5)]
        assert [message if isinstance(message, str) else type(message).__name__ for message in got] == [
            "fills it",
            "Joined",
            "Exited",
            "Down",
            "keyed",
        ]
        assert {type(message) for message in got} >= {Exited, Down}
    assert node.statistics().dropped == 0


@pytest.mark.parametrize("mode", ["reply", "reply_demonitor"])
async def test_alias_survives_a_refusal(autojump_clock: MockClock, node: Node, mode: Any) -> None:
    """A2, M7: a message that was refused is not the one that an alias for one message is good for."""
    async with node.mailbox(Mailbox(1, "fail")) as me:
        watched = await node.spawn(Desk)
        alias = me.monitor(watched, alias=mode).alias
        assert alias is not None
        me.ref.send("fills it")
        with pytest.raises(MailboxFull):
            alias.send("refused")
        assert alias.active
        assert await me.receive(timeout=0) == "fills it"
        alias.send("first")
        alias.send("second")
        assert await me.receive(timeout=0) == "first"
        assert not me.queue


async def test_alias_and_private_methods(autojump_clock: MockClock, node: Node) -> None:
    """C1: what may not be cast may not be cast by an alias either, active or not."""
    async with node.mailbox() as me:
        alias = me.alias()
        for _ in range(2):
            with pytest.raises(NotPublic):
                alias.cast(Desk.on_message, 1)
            me.unalias(alias)


@pytest.mark.parametrize("addressed", ADDRESSED)
@pytest.mark.parametrize("overflow", KEPT)
async def test_one_of_many(autojump_clock: MockClock, node: Node, addressed: str, overflow: Overflow) -> None:
    """M7: of a cast to many, one that finds no room keeps none of the others from theirs, and is counted."""
    ref, alias = await _stuff(node, Desk, overflow)
    target = ADDRESSED[addressed](node, ref, alias)
    others = [await node.spawn(Desk) for _ in range(2)]
    multi_cast([others[0], target, others[1]], Desk.note, "x")
    for other in others:
        assert await _seen(other) == ["x"]
    statistics = node.statistics()
    assert statistics.dropped + statistics.dead_letters == 1
    assert await _seen(ref) == KEPT[overflow]
