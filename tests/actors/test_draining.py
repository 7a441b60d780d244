"""Orders to stop, and what lies in the mailbox then. Clauses S8 and M9 of docs/semantics.md."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    SHUTDOWN,
    Actor,
    DeadLetter,
    Down,
    Node,
    ReceiveTimeout,
    Ref,
    open_node,
    system,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.subjects import BOOM, TIERS, Sync

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Desk(Actor):
    """A sync actor that can end itself."""

    def __init__(self, observer: Ref[Any]) -> None:
        self.observer = observer

    def close(self, drain: bool) -> None:
        self.process.stop(BOOM, drain=drain)

    def note(self, value: Any) -> None:
        if value == "last":
            self.process.ref.send("too late")
        self.observer.send(value)


class AsyncDesk(Desk):
    """The same with a task."""

    async def note(self, value: Any) -> None:
        super().note(value)


@pytest.mark.parametrize("tier", TIERS)
async def test_stop_after_what_is_queued(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """S8: an actor that is drained handles what came before, and nothing that comes after."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref = await node.spawn(tier, me.ref)
        await system.suspend(ref)  # so that all lies in the mailbox, in this order, before any is handled
        for number in range(3):
            ref.cast(tier.note, number)
        async with trio.open_nursery() as nursery:

            async def drain() -> None:
                await ref.stop(SHUTDOWN, drain=True)
                assert ref not in [process.ref for process in node.processes.values()]

            nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            ref.cast(tier.note, "late")
            await system.resume(ref)
        assert [await me.receive(int, timeout=1) for _ in range(3)] == [0, 1, 2]
        letter = await me.receive(DeadLetter, timeout=1)
        assert (letter.message.args, letter.reason) == (("late",), SHUTDOWN)


@pytest.mark.parametrize("tier", TIERS)
async def test_stop_overtakes_what_is_queued(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """S8: an order to stop is served before messages that wait; they become dead letters."""
    async with node.mailbox() as me:
        ref = await node.spawn(tier, me.ref)
        await system.suspend(ref)  # so that nothing is handled before the order comes
        for number in range(3):
            ref.cast(tier.note, number)
        await ref.stop()
        with pytest.raises(ReceiveTimeout):
            await me.receive(int, timeout=1)
        assert node.dead_letters.count == 3


async def test_message_to_one_that_is_ending(autojump_clock: MockClock, node: Node) -> None:
    """M9: what is sent to a process by somebody who is just being told of its end is a dead letter."""
    ref = await node.spawn(Sync)
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        await system.suspend(ref)
        request = me.request(ref, Sync.echo, 1)
        request.observer = lambda _: ref.send("too late")
        ref.exit(BOOM)
        letter = await me.receive(DeadLetter, timeout=1)
        assert (letter.message, letter.reason) == ("too late", BOOM)


@pytest.mark.parametrize("kind", [Desk, AsyncDesk])
async def test_actor_that_drains_itself(autojump_clock: MockClock, node: Node, kind: type[Desk]) -> None:
    """S8: an actor that ends itself may handle first what it has; what it is sent then is a dead letter."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        me.monitor(ref := await node.spawn(kind, me.ref))
        await system.suspend(ref)
        ref.cast(kind.close, True)
        for number in range(3):
            ref.cast(kind.note, number)
        ref.cast(kind.note, "last")  # makes the actor send itself something, which comes too late
        await system.resume(ref)
        assert [await me.receive(int, timeout=1) for _ in range(3)] == [0, 1, 2]
        letter = await me.receive(DeadLetter, timeout=1)
        assert (letter.message, letter.reason) == ("too late", BOOM)
        assert (await me.receive(Down, timeout=1)).reason == BOOM


@pytest.mark.parametrize("kind", [Desk, AsyncDesk])
@pytest.mark.parametrize("drain", [True, False])
async def test_draining_from_another_node(autojump_clock: MockClock, kind: type[Desk], drain: bool) -> None:
    """S8, D1: an order from another node keeps its place among what the same sender sent."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", ends="*")
    async with (
        open_node("home", carrier=network.carrier("home"), listen="/home", policy=policy) as home,
        open_node("away", carrier=network.carrier("away"), policy=policy) as away,
        home.mailbox() as me,
    ):
        await away.connect("/home")
        own = await home.spawn(kind, me.ref, name="desk")
        ref = await away.whereis_on(home.full_name, "desk")
        assert ref is not None
        await system.suspend(own)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                ref.cast(kind.note, number)

            async def stop() -> None:
                await ref.stop(BOOM, timeout=5, drain=drain)

            nursery.start_soon(stop)
            await trio.sleep(0.5)
            ref.cast(kind.note, 3)
            await trio.sleep(0.5)
            if drain:
                await system.resume(own)
        handled = [message for message in me.queue if isinstance(message, int)]
        assert handled == ([0, 1, 2] if drain else [])
        assert home.dead_letters.count == (1 if drain else 4)
