"""Group R: who owns a process, who is told of its end, and the typed-actor cases of other systems."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    Crashed,
    Down,
    Exited,
    Mailbox,
    NodeStopped,
    NoProcess,
    ProcessDied,
    Ref,
    UnknownMethod,
)
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, Member, clean_node, ended, supervise

TIERS = ("sync", "async")


@pytest.mark.parametrize("behaviour", ["good", "plain"])
@pytest.mark.parametrize("tier", TIERS)
async def test_act_r1_killed_supervisor(tier: str, behaviour: Any, autojump_clock: MockClock) -> None:
    """All its children end, and those of the supervisors below it, before its own end is told."""
    family = Family()
    async with clean_node() as node:
        children = [family.child(letter, behaviour, tier=tier) for letter in "bc"]
        inner = Child(Supervisor, children, id="inner")
        outer = await supervise(node, [family.child("a", behaviour, tier=tier), inner])
        async with node.mailbox() as me:
            me.monitor(outer)
            me.exit(outer, KILL)
            assert (await me.receive()).reason == KILLED
            assert [process.ref for process in node.processes.values()] == [me.ref]


async def test_act_r_subtrees_do_not_overlap(autojump_clock: MockClock) -> None:
    """SUP-45: a killed supervisor is restarted only when nothing of its old tree is left, however slow that
    is.
    """
    family = Family()
    async with clean_node() as node:
        inner = Child(Supervisor, [family.child("b", "slow", tier="async")], id="inner")
        outer = await supervise(node, [inner])
        (info,) = await outer.call(Supervisor.children)
        ref: Any = info.ref
        before = trio.current_time()
        ref.exit(KILL)
        await wait_all_tasks_blocked()
        assert family.journal == ["start b1", "stop b1 killed"]
        await trio.sleep(1.5)
        assert family.journal == ["start b1", "stop b1 killed", "start b2"]
        assert trio.current_time() - before < 2


async def test_act_r3_deep_tree(autojump_clock: MockClock) -> None:
    """Ten thousand supervisors, each the child of the one before: started and stopped without recursion."""
    family = Family()
    child = family.child("leaf")
    for depth in range(10_000):
        child = Child(Supervisor, [child], id=depth)
    async with clean_node(grace=3600.0) as node:
        root = await supervise(node, [child])
        assert node.statistics().processes == 10_002
        await root.stop(SHUTDOWN)
        assert node.statistics().processes == 0
    assert family.journal == ["start leaf1", "stop leaf1 shutdown"]


async def test_act_r4_stopping_supervisor_starts_nothing(autojump_clock: MockClock) -> None:
    """A request to a supervisor that is stopping fails, as do those to a stopped one or a stopped node."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", "slow", tier="async")])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.stop, SHUTDOWN)
            await wait_all_tasks_blocked()
            with pytest.raises(ProcessDied) as died:
                await supervisor.call(Supervisor.start_child, family.child("b"))
            assert died.value.reason == SHUTDOWN
        with pytest.raises(NoProcess):
            await supervisor.call(Supervisor.start_child, family.child("b"))
    with pytest.raises(NodeStopped):
        await node.spawn(Supervisor)
    assert family.incarnations["b"] == 0


async def test_act_r5_child_that_changes_hands(autojump_clock: MockClock) -> None:
    """A child that was unlinked from one watcher and linked to another: only the other is told of its end."""
    family = Family()

    class Watcher(Actor):
        def __init__(self) -> None:
            self.process.trap_exits = True
            self.seen: list[Exited] = []

        def take(self, ref: Ref[Any]) -> None:
            self.process.link(ref)

        def give_up(self, ref: Ref[Any]) -> None:
            self.process.unlink(ref)

        def on_exit(self, exited: Exited) -> None:
            self.seen.append(exited)

        def told(self) -> list[Exited]:
            return self.seen

    async with clean_node() as node:
        child = await node.spawn(Member, family, "a")
        first, second = await node.spawn(Watcher), await node.spawn(Watcher)
        await first.call(Watcher.take, child)
        await second.call(Watcher.take, child)
        await first.call(Watcher.give_up, child)
        await family.crash("a1")
        assert await first.call(Watcher.told) == []
        assert await second.call(Watcher.told) == [Exited(child, BOOM)]


async def test_act_r8_abnormal_stop_reaches_the_starter(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node, node.mailbox() as me:
        me.trap_exits = True
        ref = await me.spawn(Member, family, "a", link=True)
        ref.cast(Member.end, BOOM)
        assert await me.receive() == Exited(ref, BOOM)


async def test_act_r9_unexpected_message(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    """Without a handler it is logged and dropped, and the actor lives; with one it is handled."""
    family = Family()
    seen: list[object] = []

    class CatchAll(Actor):
        def on_message(self, message: object) -> None:
            seen.append(message)

        def ready(self) -> bool:
            return True

    async with clean_node() as node:
        member = await node.spawn(Member, family, "a")
        catch_all = await node.spawn(CatchAll)
        with caplog.at_level(logging.WARNING):
            member.send("what is this")
            catch_all.send("what is that")
            assert await member.call(Member.arguments) == ()
            assert await catch_all.call(CatchAll.ready)
            await wait_all_tasks_blocked()
    assert "what is this" in caplog.text
    assert seen == ["what is that"]


async def test_act_r_unexpected_message_to_a_supervisor(autojump_clock: MockClock) -> None:
    """SUP-16: it becomes a dead letter, and the supervisor goes on; a cast of something unknown too."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")])
        anything: Ref[Any] = supervisor
        anything.send("what is this")
        anything.cast(Member.end, BOOM)
        await wait_all_tasks_blocked()
        assert node.statistics().dead_letters == 2
        with pytest.raises(UnknownMethod):
            await anything.call(Member.arguments)
        assert await family.shown(supervisor) == {"a": "a1"}


async def test_act_r10_rest_for_one(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc"), strategy="rest_for_one")
        await family.crash("b1", NORMAL)
        assert await family.shown(supervisor) == {"a": "a1", "b": "b2", "c": "c2"}


async def test_act_r12_watching(autojump_clock: MockClock) -> None:
    """SUP-80: a monitor tells a stop from a failure by the reason, and a failure's reason has its cause."""

    class Fragile(Actor):
        def fail(self) -> None:
            raise ValueError("broken")

    async with clean_node() as node, node.mailbox() as me:
        stopped = await me.spawn(Fragile, monitor=True)
        await stopped.stop()
        down = await me.receive(Down)
        assert (down.ref, down.reason) == (stopped, NORMAL)
        failed = await me.spawn(Fragile, monitor=True)
        failed.cast(Fragile.fail)
        down = await me.receive(Down)
        assert down.ref == failed
        assert isinstance(down.reason, Crashed)
        assert isinstance(down.reason.error, ValueError)


async def test_act_r13_death_pact(autojump_clock: MockClock) -> None:
    """SUP-81: the choice made here: a link is the pact. Who only watches lives on; who is linked and does
    not trap,
    dies.
    """
    family = Family()

    class Watching(Actor):
        def watch(self, ref: Ref[Any]) -> None:
            self.process.monitor(ref)

        def bind(self, ref: Ref[Any]) -> None:
            self.process.link(ref)

    async with clean_node() as node:
        target = await node.spawn(Member, family, "a")
        watching, bound = await node.spawn(Watching), await node.spawn(Watching)
        await watching.call(Watching.watch, target)
        await bound.call(Watching.bind, target)
        async with node.mailbox() as me:
            me.monitor(bound)
            await family.crash("a1")
            assert (await me.receive(Down)).reason == BOOM
        assert watching in [process.ref for process in node.processes.values()]


async def test_act_r16_backoff(autojump_clock: MockClock) -> None:
    """SUP-23: delays grow to the maximum; after the reset time without a failure they start over."""
    family = Family()
    backoff = Backoff(first=1, factor=2, maximum=5, jitter=0, reset=60)
    async with clean_node() as node:
        await supervise(node, [family.child("a", backoff=backoff)])

        for number, delay in enumerate([1, 2, 4, 5, 5], start=1):
            await family.crash(f"a{number}")
            await trio.sleep(delay - 0.1)
            assert family.incarnations["a"] == number
            await trio.sleep(0.2)
            assert family.incarnations["a"] == number + 1
        await trio.sleep(61)
        await family.crash("a6")
        await trio.sleep(1.1)
        assert family.incarnations["a"] == 7


async def test_act_r_backoff_is_over_when_the_supervisor_stops(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        slowly = Backoff(first=1000, maximum=1000, jitter=0)
        supervisor = await supervise(node, [family.child("a", backoff=slowly), family.child("b")])
        await family.crash("a1")
        before = trio.current_time()
        await supervisor.stop(SHUTDOWN)
        assert trio.current_time() == before
        assert node.statistics().timers == 0


async def test_act_r17_replaced_timer(autojump_clock: MockClock) -> None:
    """A timer replaced under its key does not count, even when its message was already queued."""
    seen: list[str] = []

    class Clock(Actor):
        def set(self, message: str) -> None:
            self.process.timers.start("key", 1.0, message)

        async def on_message(self, message: str) -> None:
            seen.append(message)
            if message == "busy":
                await trio.sleep(2)  # the old timer's message is queued meanwhile
                self.process.timers.start("key", 1.0, "new")

    async with clean_node() as node:
        clock = await node.spawn(Clock)
        await clock.call(Clock.set, "old")
        clock.send("busy")
        await trio.sleep(10)
    assert seen == ["busy", "new"]


@pytest.mark.parametrize("tier", TIERS)
async def test_act_r_inherited_mailbox(tier: str, autojump_clock: MockClock) -> None:
    """SUP-25: with `Mailbox(inherit=True)` the next incarnation handles what was queued, without what was
    being
    handled.
    """
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a", tier=tier, mailbox=Mailbox(inherit=True))])
        async with node.mailbox() as me:
            a1 = family.refs["a1"]
            a1.cast(Member.end, BOOM)
            request = me.request(a1, Member.arguments)
            assert await request.receive() == ()
        assert await family.shown(supervisor) == {"a": "a2"}


async def test_act_r_inherited_calls_fail_when_there_is_no_heir(autojump_clock: MockClock) -> None:
    """SUP-25: when the child is not started again, whoever waits for it is told."""
    family = Family()
    async with clean_node() as node:
        spec = family.child("a", mailbox=Mailbox(inherit=True), restart="temporary")
        await supervise(node, [spec])
        a1 = family.refs["a1"]
        async with node.mailbox() as me:
            a1.cast(Member.end, BOOM)
            request = me.request(a1, Member.arguments)
            before = trio.current_time()
            with pytest.raises(ProcessDied):
                await request.receive()
            assert trio.current_time() == before


async def test_act_r_class_that_specifies_itself(autojump_clock: MockClock) -> None:
    """A class with `child_spec()` says how it wants to be supervised."""
    family = Family()

    class Self(Member):
        def __init__(self) -> None:
            super().__init__(family, "self")

        @classmethod
        def child_spec(cls) -> Child:
            return Child(cls, id="own", restart="transient")

    async with clean_node() as node:
        supervisor: Ref[Supervisor] = await node.spawn(Supervisor, [Self])
        assert (await supervisor.call(Supervisor.get_childspec, "own")).restart == "transient"


async def test_act_r_subclass_with_children_of_its_own(autojump_clock: MockClock) -> None:
    family = Family()

    class Bank(Supervisor):
        def __init__(self, accounts: str) -> None:
            super().__init__(family.children(accounts), strategy="one_for_all", intensity=5)

    async with clean_node() as node:
        bank = await node.spawn(Bank, "abc")
        await family.crash("b1")
        assert await family.shown(bank) == {"a": "a2", "b": "b2", "c": "c2"}
        bank.exit(SHUTDOWN)
        assert await ended(node, bank) == SHUTDOWN
