"""Receivers that sleep through messages that they do not wait for. Clause M4 of docs/semantics.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NORMAL,
    SHUTDOWN,
    Actor,
    Mailbox,
    Node,
    Process,
    ReceiveTimeout,
    system,
)
from enfilade.actors.messages.signals import Send

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Steps(trio.abc.Instrument):
    """Counts the steps of one task."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


class Tagged(NamedTuple):
    tag: str
    value: int


MATCHES: dict[str, Any] = {
    "type": Tagged,
    "types": (Tagged, bytes),
    "predicate": lambda message: isinstance(message, Tagged) and message.tag == "mine",
}
SENDS: dict[str, Callable[[Process, Any], object]] = {
    "send": lambda me, message: me.ref.send(message),
    "name": lambda me, message: me.node.named("receiver").send(message),
    "alias": lambda me, message: me.alias().send(message),
    "timer": lambda me, message: me.node.send_after(0, me.ref, message),
    "keyed timer": lambda me, message: me.timers.start(message, 0, message),
    "deliver": lambda me, message: me.ref.deliver(Send(message)),
}


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("way", SENDS)
@pytest.mark.parametrize("mailbox", [Mailbox(), Mailbox(1000, "fail")])
async def test_other_messages_wake_nobody(
    autojump_clock: MockClock, node: Node, match: str, way: str, mailbox: Mailbox
) -> None:
    """M4: a receiver that waits for one kind of message sleeps through all others, which stay."""
    async with node.mailbox(mailbox) as me, trio.open_nursery() as nursery:
        node.register("receiver", me.ref)
        got: list[Any] = []

        async def receive(task_status: trio.TaskStatus[trio.lowlevel.Task]) -> None:
            task_status.started(trio.lowlevel.current_task())
            got.append(await me.receive(MATCHES[match]))

        steps = Steps(await nursery.start(receive))
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        for number in range(100):
            SENDS[way](me, number)
        await trio.sleep(1)
        assert steps.count == 0
        SENDS[way](me, Tagged("mine", 1))
        await trio.sleep(1)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count == 1
        assert got == [Tagged("mine", 1)]
        assert [await me.receive(timeout=0) for _ in range(100)] == list(range(100))


@pytest.mark.parametrize("way", ["exit", "timeout", "system", "cancelled", "kill"])
async def test_what_else_wakes_a_receiver(autojump_clock: MockClock, node: Node, way: str) -> None:
    """M3, M4: a receiver that sleeps through messages wakes up for exits, time limits and system messages."""
    ended: list[BaseException] = []

    async def receiver(me: Process) -> None:
        try:
            await me.receive(bytes, timeout=10)
        except BaseException as error:
            ended.append(error)
            raise

    ref = await node.spawn(receiver)
    ref.send("something else")
    await wait_all_tasks_blocked()
    ref.send("something else")
    if way == "system":
        assert (await system.get_status(ref)).queued == 2
        ref.send(b"")
        await wait_all_tasks_blocked()
        assert not ended
        assert ref._process.ended == NORMAL  # type: ignore[attr-defined]
        return
    if way == "timeout":
        await trio.sleep(11)
        assert isinstance(ended[0], ReceiveTimeout)
    else:
        ref.exit(KILL if way == "kill" else SHUTDOWN)
        await wait_all_tasks_blocked()
        assert isinstance(ended[0], trio.Cancelled)
    assert ref._process.ended is not None  # type: ignore[attr-defined]


async def test_predicate_that_fails(autojump_clock: MockClock, node: Node) -> None:
    """M4: what a predicate raises is raised in the receiver, never in a sender."""

    def match(message: Any) -> bool:
        raise LookupError(message)

    async with node.mailbox() as me:
        raised: list[BaseException] = []

        async def receiver(process: Process) -> None:
            try:
                await process.receive(match)
            except LookupError as error:
                raised.append(error)

        ref = await node.spawn(receiver)
        await wait_all_tasks_blocked()
        me.send_after(0, ref, "timer")
        ref.send("message")
        await trio.sleep(1)
        assert [error.args for error in raised] == [("message",)]


async def test_another_task_of_the_process(autojump_clock: MockClock, node: Node) -> None:
    """M4: whoever receives next, for whatever, finds what the last receiver slept through."""

    class Server(Actor):
        async def wait(self) -> Any:
            try:
                return await self.process.receive(bytes, timeout=1)
            except ReceiveTimeout:
                return None

        async def on_message(self, message: Any) -> None:
            seen.append(message)

    seen: list[Any] = []
    async with node.mailbox() as me:
        ref = await node.spawn(Server)
        request = me.request(ref, Server.wait)
        await wait_all_tasks_blocked()
        ref.send("while it waits")
        assert await request.receive(5) is None
        await wait_all_tasks_blocked()
        assert seen == ["while it waits"]
        ref.send("later")
        await wait_all_tasks_blocked()
        assert seen == ["while it waits", "later"]
