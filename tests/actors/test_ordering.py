"""The one guarantee of delivery: signals of one sender arrive in the order in which it sent them."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import SHUTDOWN, Actor, Down, Exit, Exited, Mailbox, Process, Ref, Shutdown, open_node
from enfilade.actors.messages.signals import Cast


class Sink(Actor):
    """Keeps what arrives, by sender."""

    def __init__(self) -> None:
        self.process.trap_exits = True
        self.seen: dict[str, list[Any]] = defaultdict(list)

    def cast(self, sender: str, number: int) -> None:
        self.seen[sender].append(number)

    def call(self, sender: str, number: int) -> int:
        self.seen[sender].append(number)
        return number

    def all(self) -> dict[str, list[Any]]:
        return dict(self.seen)

    def on_message(self, message: Any) -> None:
        sender, number = message
        self.seen[sender].append(number)

    def on_exit(self, exited: Exited) -> None:
        assert isinstance(exited.reason, Shutdown)
        self.seen[exited.reason.detail].append("exited")

    def on_down(self, down: Down) -> None:
        assert isinstance(down.reason, Shutdown)
        self.seen[down.reason.detail].append("down")


class AsyncSink(Sink):
    """The same with a task."""

    async def nothing(self) -> None:
        """Makes it so."""


async def sender(me: Process, name: str, sink: Ref[Sink], seed: int) -> None:
    """Sends by every means, links and is monitored, and ends."""
    generator = random.Random(seed)
    me.link(sink)
    sink._process.monitor(me.ref)  # type: ignore[attr-defined]
    for number in range(50):
        match generator.randrange(5):
            case 0:
                sink.send((name, number))
            case 1:
                sink.cast(Sink.cast, name, number)
            case 2:
                assert await sink.call(Sink.call, name, number) == number
            case 3:
                await sink.send_wait((name, number))
            case 4:
                me.request(sink, Sink.call, name, number)
        if not generator.randrange(4):
            await trio.lowlevel.checkpoint()
    raise Exit(Shutdown(name))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sink", [Sink, AsyncSink])
async def test_order_of_one_sender(autojump_clock: MockClock, sink: type[Sink], seed: int) -> None:
    """O1: whatever the means, and with many senders at once, up to the news of the sender's end."""
    async with open_node("test") as node:
        ref = await node.spawn(sink)
        names = [f"sender {number}" for number in range(8)]
        for number, name in enumerate(names):
            await node.spawn(sender, name, ref, seed * 100 + number)
        await wait_all_tasks_blocked()
        seen = await ref.call(Sink.all)
        for name in names:
            assert seen[name][:50] == list(range(50))
            assert sorted(seen[name][50:]) == ["down", "exited"]


async def test_dead_letters_of_a_shutdown(autojump_clock: MockClock) -> None:
    """M10: what a planned shutdown leaves undelivered is counted and not published."""
    async with open_node("test") as node:

        async def listener(me: Process) -> None:
            me.trap_exits = True
            node.dead_letters.subscribe(me.ref)
            while True:
                received.append(await me.receive())

        received: list[Any] = []
        await node.spawn(listener)
        ref = await node.spawn(Sink)
        await wait_all_tasks_blocked()  # until the listener has subscribed
        ref._process.suspended = ref._process.attention = True  # type: ignore[attr-defined]
        ref.send(("nobody", 1))
    assert node.dead_letters.count == 1
    assert received == [Exited(node.ref, SHUTDOWN)]


async def test_mailbox_bound_under_load(autojump_clock: MockClock) -> None:
    """M7: a bounded mailbox never holds more than its bound, and loses nothing that it accepted."""

    class Slow(Actor):
        def __init__(self) -> None:
            self.seen: list[int] = []

        async def take(self, number: int) -> None:
            await trio.sleep(0.01)
            self.seen.append(number)

        async def all(self) -> list[int]:
            return self.seen

    async with open_node("test") as node:
        ref = await node.spawn(Slow, mailbox=Mailbox(5, "block"))
        accepted: list[int] = []

        async def feed(start: int) -> None:
            for number in range(start, start + 20):
                await ref.send_wait(Cast("take", (number,), {}))
                accepted.append(number)
                assert len(ref._process.queue) <= 5  # type: ignore[attr-defined]

        async with trio.open_nursery() as nursery:
            for start in (0, 100, 200):
                nursery.start_soon(feed, start)
        seen = await ref.within(60).call(Slow.all)
        assert seen == accepted
        assert all(sorted(part) == part for part in ([n for n in seen if n // 100 == k] for k in range(3)))
