"""A process is the same by whichever handle it is known: its ref, one with a time limit, a name, an alias.
Clauses A1, A2, G1 to G3, M7, M9, U11 and SUP-26 of docs/semantics.md and docs/semantics-supervision.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from enfilade.actors import (
    Actor,
    Child,
    ChildEvent,
    Joined,
    Left,
    Mailbox,
    MailboxFull,
    Node,
    NoProcess,
    NotJoined,
    Process,
    ReceiveTimeout,
    Ref,
    Supervisor,
)

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Worker(Actor):
    def work(self) -> None: ...


def ended(message: Any) -> bool:
    return type(message) is ChildEvent and message.kind == "ended"


Handle = Callable[[Process], Ref[Any]]

HANDLES = pytest.mark.parametrize(
    "handle",
    [
        lambda process: process.ref,
        lambda process: process.ref.within(3),
        lambda process: process.alias(),
        lambda process: process.node.named("known"),
    ],
    ids=["ref", "limited", "alias", "name"],
)


@HANDLES
async def test_a_member_of_a_group(autojump_clock: MockClock, node: Node, handle: Handle) -> None:
    """G1, G2: it leaves by any handle, and its end takes it out."""
    scope = node.scope(f"of handles {id(handle)}")
    async with node.mailbox() as me:
        scope.monitor(me.ref, "group")
        async with node.mailbox() as member:
            node.register("known", member.ref)
            known = handle(member)
            scope.join("group", known, known)
            assert (await me.receive(Joined, timeout=0)).refs == (member.ref, member.ref)
            assert scope.members("group") == [member.ref, member.ref]
            scope.leave("group", handle(member))
            scope.leave("group", member.ref)
            assert [(await me.receive(Left, timeout=0)).refs for _ in range(2)] == [(member.ref,)] * 2
            with pytest.raises(NotJoined):
                scope.leave("group", known)
            scope.join("group", known)
            await me.receive(Joined, timeout=0)
        assert (await me.receive(Left, timeout=0)).refs == (member.ref,)
        assert scope.members("group") == []
        with pytest.raises(NoProcess):
            scope.join("group", node.named("nobody"))


@HANDLES
async def test_a_watcher_of_a_group(autojump_clock: MockClock, node: Node, handle: Handle) -> None:
    """G3: no bound keeps the news out, and the watcher's end ends the subscription, unless it is a name's."""
    scope = node.scope(f"of watchers {id(handle)}")
    ref = await node.spawn(Worker)
    async with node.mailbox(mailbox=Mailbox(1, "drop_newest")) as watcher:
        node.register("known", watcher.ref)
        monitor, _ = scope.monitor(handle(watcher), "group")
        watcher.ref.send("fills the mailbox")
        scope.join("group", ref)
        assert await watcher.receive(timeout=0) == "fills the mailbox"
        assert (await watcher.receive(timeout=0)).refs == (ref,)
    assert scope.monitored == scope.demonitor(monitor) == monitor.watcher.is_name


async def test_an_alias_that_was_taken_back_hears_of_no_group(autojump_clock: MockClock, node: Node) -> None:
    """A1, A2: what is sent to it vanishes, and one for a single message takes one."""
    scope = node.scope("of aliases")
    ref = await node.spawn(Worker)
    async with node.mailbox() as me:
        taken_back, once = me.alias(), me.alias("reply")
        scope.monitor(taken_back, "group")
        scope.monitor(once, "group")
        me.unalias(taken_back)
        scope.join("group", ref)
        assert type(await me.receive(timeout=0)) is Joined
        scope.leave("group", ref)
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


@HANDLES
async def test_a_supervisor_whose_events_are_wanted(
    autojump_clock: MockClock, node: Node, handle: Handle
) -> None:
    """SUP-26: the subscription to a name follows its holder."""
    async with node.mailbox() as me:
        for _ in range(2):
            top = await node.spawn(Supervisor, [Child(Worker, id="child")], name="known")
            process = node.processes[top.serial]
            node.child_events.subscribe(me.ref, handle(process))
            await top.call(Supervisor.terminate_child, "child")
            assert (await me.receive(ended, timeout=0)).supervisor == top
            other = await node.spawn(Supervisor, [Child(Worker, id="child")])
            await other.call(Supervisor.terminate_child, "child")
            with pytest.raises(ReceiveTimeout):
                await me.receive(ended, timeout=1)
            await top.stop()


@HANDLES
async def test_a_subscriber_of_dead_letters(node: Node, handle: Handle) -> None:
    """M9, U11: nothing is kept of one that has ended."""
    ref = await node.spawn(Worker)
    await ref.stop()
    async with node.mailbox() as me:
        node.register("known", me.ref)
        known = handle(me)
        node.dead_letters.subscribe(known)
        ref.send("a letter")
        assert (await me.receive(timeout=0)).message == "a letter"
    ref.send("another")
    assert len(node.dead_letters) == 0


@pytest.mark.parametrize("mode", ["reply", "reply_demonitor"])
async def test_a_call_that_was_refused_uses_up_no_alias(
    autojump_clock: MockClock, node: Node, mode: Any
) -> None:
    """M7, A2: as no message does."""
    async with node.mailbox(mailbox=Mailbox(1, "fail")) as me, node.mailbox() as other:
        alias: Any = me.alias(mode) if mode == "reply" else me.monitor(other.ref, alias=mode).alias
        me.ref.send("fills the mailbox")
        with pytest.raises(MailboxFull):
            await other.request(alias, Worker.work).receive()
        assert await me.receive() == "fills the mailbox"
        alias.send("let in")
        assert await me.receive(timeout=0) == "let in"
        alias.send("too late")
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)
