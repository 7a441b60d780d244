"""Events of calls, groups, pools, guests and workers: made while somebody asks for them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, CallTimeout, Guest, JobDiscarded, Node, Pool, Worker, open_node
from enfilade.actors.messages.reasons import Custom
from enfilade.actors.observing.events import records as kinds
from enfilade.actors.observing.events.shown import event_shown
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.sdk.wat import Assembler
from tests.actors.observing.test_events import taken


class Deaf(Actor):
    async def answer(self) -> None:
        await trio.sleep(math.inf)

    async def ask(self, other: Any) -> None:
        await other.within(2).call(Deaf.answer)


class Clerk(Worker):
    async def work(self, job: Any) -> None:
        await trio.sleep_forever()


def fields(event: Any) -> tuple[Any, ...]:
    """The fields of an event that are its own, refs as serials."""
    shown = event_shown(event, inspects=True)
    own = [shown[name] for name in shown if name not in ("number", "at", "kind", "node")]
    return tuple(value["serial"] if isinstance(value, dict) and "serial" in value else value for value in own)


async def test_a_call_without_a_reply_is_told(autojump_clock: MockClock) -> None:
    """Of plain code and of a process; not one that was cancelled, nor one that fails."""
    async with open_node("shop") as node, node.events("call.*") as events:
        deaf, other = await node.spawn(Deaf), await node.spawn(Deaf)
        with trio.move_on_after(1):
            await deaf.within(5).call(Deaf.answer)
        with pytest.raises(CallTimeout):
            await deaf.within(3).call(Deaf.answer)
        async with node.mailbox() as me:
            request = me.request(deaf, Deaf.answer)
            with pytest.raises(CallTimeout):
                await request.wait(1)
        other.cast(Deaf.ask, deaf)
        await trio.sleep(10)
        seen = await taken(events, 3)
        assert [fields(event) for event in seen] == [
            (None, deaf.serial, "answer", 3),
            (me.serial, deaf.serial, "answer", 1),
            (other.serial, deaf.serial, "answer", 2),
        ]
    assert not node.hooks.call_timed_out


async def test_members_of_groups_are_told(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.events("group.*") as events:
        one, two = await node.spawn(Deaf), await node.spawn(Deaf)
        scope = node.groups.scope("floor")
        scope.join("tills", one, two)
        scope.leave("tills", one)
        two.exit(KILL)
        await wait_all_tasks_blocked()
        seen = await taken(events, 4)
        assert [(event.kind, *fields(event)) for event in seen] == [
            ("group.joined", "floor", "tills", one.serial),
            ("group.joined", "floor", "tills", two.serial),
            ("group.left", "floor", "tills", one.serial),
            ("group.left", "floor", "tills", two.serial),
        ]
    assert not node.hooks.group_joined


async def test_jobs_that_are_discarded_are_told(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.events("pool.*") as events:
        pool = await node.spawn(Pool, Clerk, size=1, queue_limit=0)
        pool.cast(Pool.submit, 1)
        with pytest.raises(JobDiscarded):
            await pool.call(Pool.submit, "second")
        (event,) = await taken(events, 1)
        assert fields(event) == (pool.serial, "str")


async def guest_event(node: Node, guest: Guest) -> Any:
    async with node.events("guest.*") as events:
        await node.spawn(guest)
        (event,) = await taken(events, 1)
        return event


async def test_guests_that_are_cut_short_are_told() -> None:
    trapping = Assembler()
    trapping.function("start", "unreachable")
    endless = Assembler()
    endless.function("start", "(loop $again (br $again))")
    async with open_node("shop") as node:
        event = await guest_event(node, Guest(trapping.binary()))
        assert isinstance(event, kinds.GuestTrapped)
        assert event.trap == "unreachable instruction"
        assert event.backtrace
        assert event_shown(event, inspects=False)["text"] is None
        event = await guest_event(node, Guest(endless.binary(), limits=Limits(cpu_time=0.05)))
        assert isinstance(event, kinds.GuestLimited)
        assert event.trap == "cpu time exhausted"


async def test_a_worker_that_is_lost_is_told(autojump_clock: MockClock) -> None:
    """The hook, as the employer of workers calls it; the event holds the reason's text."""
    async with open_node("shop") as node, node.events("worker.*") as events:
        for told in node.hooks.worker_lost:
            told("worker 1", Custom("worker worker 1 ended with status -9"))
        (event,) = await taken(events, 1)
        assert isinstance(event, kinds.WorkerLost)
        assert (event.worker, event.reason.text) == ("worker 1", "worker worker 1 ended with status -9")
    assert not node.hooks.worker_lost
