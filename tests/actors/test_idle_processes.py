"""Idle processes: what they consist of, and that they wake for their first message however it comes."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Actor, Custom, Mailbox, Process, open_node

ENOUGH = Custom("enough")
PROCESSES = 100


class Sync(Actor):
    """Remembers what it is sent."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.process.trap_exits = True

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def on_exit(self, exited: Any) -> None:
        self.seen.append(exited.reason)

    def on_down(self, down: Any) -> None:
        self.seen.append("down")

    def all(self) -> list[Any]:
        return list(self.seen)

    def send_itself(self, message: Any) -> None:
        self.process.ref.send(message)

    def continue_by_sending_itself(self, message: Any) -> None:
        self.process.continue_with(self.process.ref.send, message)

    def stash_and_unstash(self, message: Any) -> None:
        self.process.stash(message)
        self.process.unstash()

    def ring(self, message: Any) -> None:
        self.process.timers.start("key", 0, message)


class Async(Sync):
    """The same in a task."""

    async def nothing(self) -> None:
        """Only to be of the other tier."""


class Idle(Actor):
    """Waits."""


class AsyncIdle(Actor):
    """Waits in a task."""

    async def on_message(self, message: Any) -> None:
        """Only to be of the other tier."""


async def idle(me: Process) -> None:
    await me.receive()


def tracked() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects())


@pytest.mark.parametrize(("target", "most"), [(Idle, 6), (AsyncIdle, 26), (idle, 26)])
async def test_an_idle_process_is_few_objects(target: Any, most: int) -> None:
    """The collector has to look at each of these at each full collection, so a new one needs a reason.

    A sync actor is its record, ref, body, mailbox and the actor itself; one with a task is also what trio has
    for a task, and the coroutines in which that waits.
    """
    async with open_node("test") as node:
        refs = [await node.spawn(target) for _ in range(5)]
        await wait_all_tasks_blocked()
        before = tracked()
        refs += [await node.spawn(target) for _ in range(PROCESSES)]
        await wait_all_tasks_blocked()
        more = tracked() - before
        each = {kind: number / PROCESSES for kind, number in more.items() if number >= PROCESSES // 2}
        assert sum(each.values()) <= most, each
        assert "deque" not in each


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("bound", [Mailbox(), Mailbox(2), Mailbox(inherit=True)])
async def test_the_first_message_of_every_kind_is_handled(kind: type[Sync], bound: Mailbox) -> None:
    """M1: however it comes."""
    async with open_node("test") as node, node.mailbox() as me:

        async def spawned() -> Any:
            return await node.spawn(kind, mailbox=bound)

        ref = await spawned()
        ref.send(1)
        assert await ref.call(Sync.all) == [1]
        ref = await spawned()
        await ref.send_wait(2)
        assert await ref.call(Sync.all) == [2]
        for method in (Sync.send_itself, Sync.continue_by_sending_itself, Sync.stash_and_unstash, Sync.ring):
            ref = await spawned()
            await ref.call(method, 3)
            await wait_all_tasks_blocked()
            assert await ref.call(Sync.all) == [3], method
            ref = await spawned()
            ref.cast(method, 4)
            await wait_all_tasks_blocked()
            assert await ref.call(Sync.all) == [4], method
        ref = await spawned()
        assert await me.request(ref, Sync.all).receive() == []
        ref = await spawned()
        async with node.mailbox() as other:
            other.exit(ref, ENOUGH)
        assert await ref.call(Sync.all) == [ENOUGH]
        ref = await spawned()
        async with node.mailbox() as other:
            watcher = ref._process  # type: ignore[attr-defined]
            watcher.monitor(other.ref)
        assert await ref.call(Sync.all) == ["down"]
        ref = node.spawn_soon(kind, mailbox=bound)
        ref.send(5)
        assert await ref.call(Sync.all) == [5]


async def test_a_call_needs_no_mailbox() -> None:
    async with open_node("test") as node:
        ref = await node.spawn(Sync)
        for _ in range(3):
            await ref.call(Sync.all)
        assert type(ref._process.queue).__name__ == "UnusedQueue"  # type: ignore[attr-defined]


class SendsWhenMatched(type):
    """A class of classes that sends the process which looks for one of them its first message."""

    def __instancecheck__(cls, instance: object) -> bool:
        cls.me.ref.send(FIRST)  # type: ignore[attr-defined]
        return instance is FIRST


FIRST = object()
WAYS: dict[str, Any] = {
    "any": lambda me: me.receive(),
    "type": lambda me: me.receive(object),
    "predicate": lambda me: me.receive(lambda message: True),
    "in time": lambda me: me.receive(timeout=60),
    "its own": lambda me: me.receive(SendsWhenMatched("Kind", (), {"me": me}), timeout=0),
}


@pytest.mark.parametrize("sender", ["another", "itself"])
@pytest.mark.parametrize("way", WAYS)
async def test_the_first_message_is_received(way: str, sender: str) -> None:
    """M1: whether the process waits for it already or not."""
    received = []

    async def receiver(me: Process) -> None:
        if sender == "itself":
            me.ref.send(FIRST)
        received.append(await WAYS[way](me))

    async with open_node("test") as node:
        ref = await node.spawn(receiver)
        await wait_all_tasks_blocked()
        if sender == "another":
            ref.send(FIRST)
        await wait_all_tasks_blocked()
    assert received == [FIRST]
