"""How processes end, near and far alike: limits of `stop`, exit signals, ends over links."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    CallTimeout,
    Custom,
    Down,
    Exit,
    Exited,
    Process,
    Reason,
    ReceiveTimeout,
    Shutdown,
    acknowledges_start,
    system,
)
from enfilade.actors.testing import VirtualClock
from tests.conformance.actors.test_near_and_far import Place, autojump_clock, mesh_server, place, where

__all__ = ["autojump_clock", "mesh_server", "place", "where"]


class Slow(Actor):
    """Takes its time to stop."""

    async def on_stop(self, reason: Any) -> None:
        await trio.sleep(5)


@pytest.mark.parametrize("by", ["ref", "name"])
async def test_act_m7_the_limit_of_a_ref_is_one_of_stop(
    autojump_clock: VirtualClock, place: Place, by: str
) -> None:
    """S8: `within` limits the wait of `stop`, as it does that of `call`; the process stops all the same."""
    ref = await place.spawn(Slow, name="slow")
    if by == "name":
        ref = place.named("slow")
    async with place.here.mailbox() as me:
        monitor = me.monitor(ref)
        since = trio.current_time()
        with pytest.raises(CallTimeout):
            await ref.within(1).stop()
        assert trio.current_time() - since == pytest.approx(1, abs=0.1)
        down = await me.receive(Down, timeout=60)
        assert down.monitor is monitor
        assert trio.current_time() - since == pytest.approx(5, abs=0.5)


async def test_without_a_limit_stop_waits(autojump_clock: VirtualClock, place: Place) -> None:
    """S8: a timeout of its own goes before the ref's limit."""
    ref = await place.spawn(Slow)
    await ref.within(1).stop(timeout=60)
    other = await place.spawn(Slow)
    await other.stop()


async def _self_killed(me: Process) -> None:
    await me.receive()
    raise Exit(KILL)


class Watcher(Actor):
    """Traps exits, and links to whom it is told."""

    def __init__(self) -> None:
        self.process.trap_exits = True
        self.seen: list[Any] = []

    def link(self, ref: Any) -> None:
        self.process.link(ref)

    def on_exit(self, exited: Exited) -> None:
        self.seen.append(exited.reason)

    def told(self) -> list[Any]:
        return self.seen


@pytest.mark.parametrize("is_suspended", [False, True])
async def test_act_j4_a_kill_over_a_link_is_trapped(
    autojump_clock: VirtualClock, place: Place, is_suspended: bool
) -> None:
    """L3: it is a message like any other end; only the signal that was sent by `exit` cannot be trapped."""
    subject = await place.spawn(_self_killed)
    watcher = await place.here.spawn(Watcher)
    await watcher.call(Watcher.link, subject)
    if is_suspended:
        await system.suspend(watcher)
    async with place.here.mailbox() as me:
        me.monitor(subject)
        subject.send("go")
        assert (await me.receive(Down, timeout=60)).reason == KILL
    if is_suspended:
        await system.resume(watcher)
    assert await watcher.call(Watcher.told) == [KILL]


async def test_a_kill_over_a_link_ends_who_does_not_trap(autojump_clock: VirtualClock, place: Place) -> None:
    """L3: with `KILL`, not with `KILLED`."""

    async def linked(me: Process) -> None:
        me.link(subject)
        await me.receive()

    subject = await place.spawn(_self_killed)
    async with place.here.mailbox() as me:
        me.monitor(await me.spawn(linked))
        await wait_all_tasks_blocked()
        subject.send("go")
        assert (await me.receive(Down, timeout=60)).reason == KILL


@acknowledges_start
async def _waiting(me: Process, traps: bool) -> None:
    me.trap_exits = traps
    me.started()
    got = await me.receive(Exited)
    raise Exit(Custom(("trapped", got.reason)))


@pytest.mark.parametrize("traps", [False, True])
@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x"), Custom("boom"), KILL, KILLED])
async def test_the_table_of_exit_signals(
    autojump_clock: VirtualClock, place: Place, reason: Reason, traps: bool
) -> None:
    """L3: what a signal that was sent by `exit` does, with every reason; L9: it says who sent it."""
    subject = await place.spawn(_waiting, traps)
    async with place.here.mailbox() as me:
        me.monitor(subject)
        me.exit(subject, reason)
        if reason == NORMAL and not traps:
            with pytest.raises(ReceiveTimeout):
                await me.receive(Down, timeout=1)
            return
        ended = (await me.receive(Down, timeout=60)).reason
        if reason == KILL:
            assert ended == KILLED
        elif traps:
            assert isinstance(ended, Custom)
            assert ended.value == ("trapped", reason)
            return
        else:
            assert ended == reason
        assert ended.by == me.ref


@pytest.mark.parametrize("traps", [False, True])
@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Custom("boom")])
async def test_the_table_of_ends_over_links(
    autojump_clock: VirtualClock, place: Place, reason: Reason, traps: bool
) -> None:
    """L3: what the end of a linked process does."""

    async def ending(me: Process) -> None:
        await me.receive()
        raise Exit(reason)

    @acknowledges_start
    async def linked(me: Process) -> None:
        me.link(other)
        await _waiting(me, traps)

    other = await place.spawn(ending)
    async with place.here.mailbox() as me:
        monitor = me.monitor(await me.spawn(linked))
        await wait_all_tasks_blocked()
        other.send("go")
        if reason == NORMAL and not traps:
            with pytest.raises(ReceiveTimeout):
                await me.receive(Down, timeout=1)
            return
        down = await me.receive(Down, timeout=60)
        assert down.monitor is monitor
        assert down.reason == (Custom(("trapped", reason)) if traps else reason)


@pytest.mark.parametrize("second", [KILL, Custom("second")])
async def test_a_kill_during_the_cleanup(autojump_clock: VirtualClock, place: Place, second: Reason) -> None:
    """L3: a second signal changes nothing, but for a `KILL`, which the process then ends with."""

    async def tidying(me: Process) -> None:
        try:
            await me.receive()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    subject = await place.spawn(tidying)
    async with place.here.mailbox() as me:
        me.monitor(subject)
        await wait_all_tasks_blocked()
        me.exit(subject, Custom("first"))
        me.exit(subject, second)
        reason = (await me.receive(Down, timeout=60)).reason
        assert reason == (KILLED if second == KILL else Custom("first"))


@pytest.mark.parametrize("traps", [False, True])
async def test_an_end_of_the_parent_reaches_a_suspended_actor(
    autojump_clock: VirtualClock, place: Place, traps: bool
) -> None:
    """S12, L3: the parent's exit signal stops it; that of another process waits, if it is trapped."""

    class Suspended(Actor):
        def __init__(self) -> None:
            self.process.trap_exits = traps

    async with place.there.mailbox() as parent, place.there.mailbox() as other:
        ref = await parent.spawn(Suspended)
        parent.monitor(ref)
        await system.suspend(ref)
        other.exit(ref, Custom("other"))
        if traps:
            with pytest.raises(ReceiveTimeout):
                await parent.receive(Down, timeout=1)
            parent.exit(ref, Custom("parent"))
        reason = (await parent.receive(Down, timeout=60)).reason
        assert reason == Custom("parent" if traps else "other")


async def test_a_suspended_function_hears_of_its_parent_later(
    autojump_clock: VirtualClock, place: Place
) -> None:
    """S12: a function process that traps exits receives its parent's as any other."""
    async with place.there.mailbox() as parent:
        ref = await parent.spawn(_waiting, True)
        parent.monitor(ref)
        await system.suspend(ref)
        parent.exit(ref, Custom("parent"))
        await trio.sleep(1)
        assert ref.serial in place.there.processes
        await system.resume(ref)
        reason = (await parent.receive(Down, timeout=60)).reason
        assert reason == Custom(("trapped", Custom("parent")))


async def test_an_end_of_the_parent_comes_in_its_turn(autojump_clock: VirtualClock, place: Place) -> None:
    """O1, S12: what the parent sent before its exit signal is handled before."""
    seen: list[int] = []

    class Child(Actor):
        def __init__(self) -> None:
            self.process.trap_exits = True

        def note(self, number: int) -> None:
            seen.append(number)

    async with place.there.mailbox() as parent:
        ref = await parent.spawn(Child)
        parent.monitor(ref)
        for number in range(3):
            ref.cast(Child.note, number)
        parent.exit(ref, Custom("parent"))
        assert (await parent.receive(Down, timeout=60)).reason == Custom("parent")
        assert seen == [0, 1, 2]
