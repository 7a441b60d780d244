"""The refs of events: they hold no process, and stand for it wherever a ref is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Node, NoProcess, Process, open_node, system
from enfilade.actors.observing.events.light_ref import LightRef


class Till(Actor):
    def pay(self, coins: int) -> int:
        return coins


async def told_of(node: Node) -> Any:
    """The ref of a new process, as an event has it."""
    seen: list[Any] = []
    node.attach("look", "process.started", lambda event, _: seen.append(event.ref))
    await node.spawn(Till)
    node.detach("look")
    (ref,) = seen
    assert type(ref) is LightRef
    return ref


def begin_sending(node: Node, me: Process, ref: Any) -> None:
    node.send_events(ref, "name.*")


def join(node: Node, me: Process, ref: Any) -> None:
    node.scope("market").join("tills", ref)


def register(node: Node, me: Process, ref: Any) -> None:
    node.register("till", ref)


USES: list[Callable[[Node, Process, Any], None]] = [begin_sending, join, register]


async def test_they_are_asked_linked_and_watched(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.mailbox() as me:
        ref = await told_of(node)
        assert await ref.call(Till.pay, 5) == 5
        assert (await system.get_status(ref)).ref == ref
        await system.suspend(ref)
        await system.resume(ref)
        me.link(ref)
        me.monitor(ref)
        status = await system.get_status(ref)
        assert status.links == (me.ref,)
        async with node.counting() as counts:
            await ref.call(Till.pay, 1)
            assert counts.handled(ref) == 1
        for use in USES:
            use(node, me, ref)
        assert node.whereis("till") == ref
        assert node.scope("market").members("tills") == [ref]


async def test_of_a_process_that_has_ended_they_say_so(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.mailbox() as me:
        ref = await told_of(node)
        await ref.stop()
        await wait_all_tasks_blocked()
        for use in USES:
            with pytest.raises(NoProcess):
                use(node, me, ref)
        with pytest.raises(NoProcess):
            await system.get_status(ref)


async def test_what_is_no_ref_is_named(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.mailbox() as me:
        for use in (begin_sending, register):
            with pytest.raises(TypeError, match=r"of this node.*, got 5"):
                use(node, me, 5)
