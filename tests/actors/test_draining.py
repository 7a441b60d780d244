"""Orders to stop, and what lies in the mailbox then. Clauses S8 and M9 of docs/semantics.md."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import SHUTDOWN, DeadLetter, Node, ReceiveTimeout, system
from tests.conformance.actors.subjects import BOOM, TIERS, Sync

pytest_plugins = ["enfilade.actors.testing.plugin"]


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
