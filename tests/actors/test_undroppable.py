"""A policy that drops what is oldest drops nothing that only the runtime sends. Clauses M3 and M7 of
docs/semantics.md.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    Actor,
    Child,
    Down,
    Exited,
    Joined,
    Lagged,
    Machine,
    Mailbox,
    Node,
    Pool,
    Process,
    RateLimit,
    Supervisor,
    Worker,
    system,
)
from enfilade.actors.patterns.machine import after
from tests.conformance.actors.subjects import idle

pytest_plugins = ["enfilade.actors.testing.plugin"]

POLICIES = pytest.mark.parametrize("mailbox", [Mailbox(2, "drop_oldest"), Mailbox(2, "lag")], ids=str)

FLOOD = range(20)


class Watcher(Actor):
    """Traps exits, and notes what it gets."""

    def __init__(self) -> None:
        self.process.trap_exits = True
        self.seen: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def on_exit(self, exited: Exited) -> None:
        self.seen.append(exited.reason)

    def on_down(self, down: Down) -> None:
        self.seen.append(down.reason)

    def heard(self) -> list[Any]:
        return self.seen


class AsyncWatcher(Watcher):
    """The same with a task."""

    async def nothing(self) -> None:
        """Make it one that has a task."""


TIERS = pytest.mark.parametrize("actor", [Watcher, AsyncWatcher])


@POLICIES
@TIERS
async def test_an_order_to_drain_stays(
    actor: type[Watcher], mailbox: Mailbox, node: Node, autojump_clock: MockClock
) -> None:
    """M3, S8: what comes after `stop(drain=True)` does not take the place of that order."""
    ref = await node.spawn(actor, mailbox=mailbox)
    await system.suspend(ref)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ref.stop(drain=True, timeout=60.0))
        await wait_all_tasks_blocked()
        for number in FLOOD:
            ref.send(number)
        await system.resume(ref)


@POLICIES
@TIERS
async def test_the_end_of_another_is_heard(
    actor: type[Watcher], mailbox: Mailbox, node: Node, autojump_clock: MockClock
) -> None:
    """M3: `Exited`, `Down` and the events of a group stay, and so does the newest message."""
    ref = await node.spawn(actor, mailbox=mailbox)
    watcher: Process = node.processes[ref.serial]
    other = await node.spawn(idle)
    watcher.link(other)
    watcher.monitor(other)
    node.scope().monitor(ref, "group")
    await system.suspend(ref)
    other.exit(KILL)
    node.scope().join("group", await node.spawn(idle))
    await wait_all_tasks_blocked()
    for number in FLOOD:
        ref.send(number)
    await system.resume(ref)
    await wait_all_tasks_blocked()
    seen = await ref.call(actor.heard)
    assert seen.count(KILLED) == 2
    assert sum(isinstance(each, Joined) for each in seen) == 1
    assert seen[-1] == FLOOD[-1]
    lags = [each.missed for each in seen if isinstance(each, Lagged)]
    assert lags == ([len(FLOOD) - 1] if mailbox.overflow == "lag" else [])
    assert node.dropped == len(FLOOD) - 1


@POLICIES
async def test_it_is_heard_behind_messages_that_were_put_aside(
    mailbox: Mailbox, node: Node, autojump_clock: MockClock
) -> None:
    """M3, M4: also by a function process that has skipped what lies before it."""
    async with node.mailbox(mailbox) as me:
        me.trap_exits = True
        other = await node.spawn(idle, link=True)
        me.link(other)
        me.ref.send("skipped")
        with trio.move_on_after(1):
            await me.receive(int)
        other.exit(KILL)
        await wait_all_tasks_blocked()
        for number in FLOOD:
            me.ref.send(str(number))
        assert (await me.receive(Exited)).reason == KILLED
        assert await me.receive(str) == str(FLOOD[-1])


class Fragile(Actor):
    """Crashes on demand."""

    def crash(self) -> None:
        raise ValueError


@POLICIES
async def test_a_supervisor_restarts_its_child(
    mailbox: Mailbox, node: Node, autojump_clock: MockClock
) -> None:
    """M3: a bounded supervisor that is flooded hears of its children all the same."""
    ref = await node.spawn(Supervisor, [Child(Fragile, id="it")], mailbox=mailbox)
    (before,) = await ref.call(Supervisor.children)
    await system.suspend(ref)
    before.ref.cast(Fragile.crash)
    await wait_all_tasks_blocked()
    for number in FLOOD:
        ref.send(number)
    await system.resume(ref)
    (now,) = await ref.call(Supervisor.children)
    assert now.ref not in (None, before.ref)


class Echo(Worker):
    """Returns the job."""

    async def work(self, job: Any) -> Any:
        if job == "stuck":
            await trio.sleep_forever()
        return job


async def test_a_pool_keeps_its_rate_and_its_patience(node: Node, autojump_clock: MockClock) -> None:
    """M3: what a pool tells itself stays."""
    pool = await node.spawn(
        Pool,
        Echo,
        mailbox=Mailbox(2, "drop_oldest"),
        kwargs={"size": 1, "rate_limit": RateLimit(1), "stuck_after": 3.0},
    )
    async with node.mailbox() as me:
        requests = [me.request(pool, Pool.submit, job) for job in ("stuck", "next")]
        await wait_all_tasks_blocked()
        await system.suspend(pool)
        await trio.sleep(5)
        for number in FLOOD:
            pool.send(number)
        await system.resume(pool)
        assert await requests[1].receive(timeout=10.0) == "next"


class Lamp(Machine):
    """Goes off by itself."""

    initial = "on"

    def look(self) -> Any:
        return self.state

    @after(1.0, "on")
    def _off(self) -> None:
        self.become("off")


async def test_a_machine_keeps_its_state_timeouts(node: Node, autojump_clock: MockClock) -> None:
    """M3: the time-out of a state stays."""
    lamp = await node.spawn(Lamp, mailbox=Mailbox(2, "drop_oldest"))
    await system.suspend(lamp)
    await trio.sleep(2)
    for number in FLOOD:
        lamp.send(number)
    await system.resume(lamp)
    assert await lamp.call(Lamp.look) == "off"
