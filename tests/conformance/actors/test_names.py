"""Group O: names, groups, timers. Clauses N1 to N3, G1 to G5 and T1 to T6 of docs/semantics.md."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    AlreadyStarted,
    Joined,
    Left,
    NameTaken,
    Node,
    NoProcess,
    NotJoined,
    ReceiveTimeout,
    Ref,
    Restarting,
    StartError,
    open_node,
)
from tests.conformance.actors.subjects import BOOM, TIERS, Sync, idle


async def test_act_o1_bad_registrations(autojump_clock: MockClock, node: Node) -> None:
    """N3: A taken name, a second name, a dead process, and what is no name: each is its own error."""
    one, two = await node.spawn(idle), await node.spawn(idle)
    node.register("one", one)
    with pytest.raises(NameTaken) as taken:
        node.register("one", two)
    assert (taken.value.name, taken.value.holder) == ("one", one)
    with pytest.raises(NameTaken) as second:
        node.register("uno", one)
    assert second.value.holder == one
    for bad in ("", None, 3):
        with pytest.raises(ValueError, match="a name must be"):
            node.register(bad, two)  # type: ignore[arg-type]
    two.exit(BOOM)
    await wait_all_tasks_blocked()
    with pytest.raises(NoProcess):
        node.register("two", two)
    with pytest.raises(NoProcess):
        node.unregister("two")


async def test_names_come_and_go(autojump_clock: MockClock, node: Node) -> None:
    """N1: a name can be given, taken back, and is free when its holder ends."""
    ref = await node.spawn(Sync, name="it")
    assert node.whereis("it") == ref
    assert node.registry.names() == ["it"]
    node.unregister("it")
    assert node.whereis("it") is None
    node.register("other", ref)
    await ref.stop()
    assert node.whereis("other") is None


async def test_send_to_a_name(autojump_clock: MockClock, node: Node) -> None:
    """N2: to a name that nobody holds, sending is an error; to one in restart, another error."""
    async with node.mailbox() as me:
        node.register("me", me.ref)
        node.send("me", 1)
        node.named("me").send(2)
        assert [await me.receive(timeout=0) for _ in range(2)] == [1, 2]
    with pytest.raises(NoProcess):
        node.send("me", 3)
    with pytest.raises(NoProcess):
        node.named("me").send(3)
    node.mark_restarting(me.ref, "me")
    with pytest.raises(Restarting):
        node.send("me", 3)
    node.mark_restarting(me.ref, "me", restarting=False)
    with pytest.raises(NoProcess):
        node.send("me", 3)


@pytest.mark.parametrize("tier", TIERS)
async def test_act_o3_failing_start_poisons_no_name(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """A start that fails under a name leaves the name usable."""

    class Failing(tier):  # type: ignore[misc]
        def __init__(self) -> None:
            raise ValueError("no")

    for _ in range(2):
        with pytest.raises(StartError):
            await node.spawn(Failing, name="it")
    ref = await node.spawn(tier, name="it")
    assert await node.named("it").call(tier.echo, 1) == 1
    assert node.whereis("it") == ref


async def test_act_o4_duplicate_name_leaves_no_actor(autojump_clock: MockClock, node: Node) -> None:
    """Spawning under a taken name: the error, and no new process."""
    constructed: list[int] = []

    class Counted(Actor):
        def __init__(self) -> None:
            constructed.append(1)

    await node.spawn(Counted, name="it")
    with pytest.raises(AlreadyStarted):
        await node.spawn(Counted, name="it")
    assert (len(constructed), len(node.processes)) == (1, 1)


async def test_group_membership_counts(autojump_clock: MockClock, node: Node) -> None:
    """G1, G2: one that joins twice has to leave twice; its end takes it out of everything."""
    scope = node.scope()
    one, two = await node.spawn(Sync), await node.spawn(Sync)
    scope.join("g")
    assert scope.which_groups() == []
    scope.join("g", one)
    scope.join("g", two, one)
    assert scope.members("g") == scope.local_members("g") == [one, two, one]
    scope.leave("g", one)
    assert sorted(scope.members("g"), key=hash) == [one, two]
    with pytest.raises(NotJoined):
        scope.leave("g", two, two)
    with pytest.raises(NotJoined):
        scope.leave("other", one)
    scope.join("h", one)
    assert set(scope.which_groups()) == {"g", "h"}
    await one.stop()
    assert scope.members("g") == [two]
    assert scope.which_groups() == ["g"]
    with pytest.raises(NoProcess):
        scope.join("g", one)


async def test_group_monitor(autojump_clock: MockClock, node: Node) -> None:
    """G3: a monitor of a group sees its changes, one of the scope sees all; both begin with the present
    members.
    """
    scope = node.scope()
    ref = await node.spawn(Sync)
    scope.join("g", ref)
    async with node.mailbox() as me:
        monitor, members = scope.monitor(me.ref, "g")
        assert members == [ref]
        other = await node.spawn(Sync)
        scope.join("h", other)
        scope.join("g", other, other)
        assert await me.receive(timeout=0) == Joined("default", "g", (other, other))
        await other.stop()
        assert await me.receive(timeout=0) == Left("default", "g", (other, other))
        assert scope.demonitor(monitor)
        assert not scope.demonitor(monitor)
        scope.leave("g", ref)
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)
        scope.monitor_scope(me.ref)
    assert node.statistics().group_members == 0


async def test_act_o7_scope_monitor_removed(autojump_clock: MockClock, node: Node) -> None:
    """After a scope monitor was taken down no event comes."""
    scope = node.scope()
    ref = await node.spawn(Sync)
    async with node.mailbox() as me:
        monitor, groups = scope.monitor_scope(me.ref)
        assert groups == {}
        scope.join("g", ref)
        assert await me.receive(timeout=0) == Joined("default", "g", (ref,))
        scope.demonitor(monitor)
        scope.leave("g", ref)
        scope.join("h", ref)
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_act_o8_scopes_are_separate(autojump_clock: MockClock, node: Node) -> None:
    """G4: the same group name in two scopes is two groups."""
    ref = await node.spawn(Sync)
    async with node.mailbox() as me:
        node.scope("one").monitor_scope(me.ref)
        node.scope("two").join("g", ref)
        assert node.scope("one").members("g") == []
        assert node.scope("two").members("g") == [ref]
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_remote_members_are_replaced(autojump_clock: MockClock, node: Node) -> None:
    """G5: what another node says of its members replaces what it said before, and monitors see the
    difference.
    """
    scope = node.scope()
    here, there, elsewhere = [await node.spawn(idle) for _ in range(3)]
    scope.join("g", here)
    async with node.mailbox() as me:
        scope.monitor_scope(me.ref)
        scope.replace_remote("other@zone", {"g": [there, there]})
        assert scope.members("g") == [here, there, there]
        assert await me.receive(timeout=0) == Joined("default", "g", (there, there))
        scope.replace_remote("other@zone", {"g": [there], "h": [elsewhere]})
        assert await me.receive(timeout=0) == Left("default", "g", (there,))
        assert await me.receive(timeout=0) == Joined("default", "h", (elsewhere,))
        scope.replace_remote("other@zone", {})
        assert scope.members("g") == [here]
        assert scope.which_groups() == ["g"]


async def test_timer_fires_once(autojump_clock: MockClock, node: Node) -> None:
    """T1: after its time, and not before; cancelling after is too late, and the message stays."""
    async with node.mailbox() as me:
        started = trio.current_time()
        timer = me.send_after(2, me.ref, "tick")
        assert timer.remaining() == pytest.approx(2)
        assert await me.receive(timeout=5) == "tick"
        assert trio.current_time() - started == pytest.approx(2)
        assert not timer.cancel()
        timer = me.send_after(1, me.ref, "tock")
        assert timer.cancel()
        assert not timer.cancel()
        timer = me.send_after(0, me.ref, "stays")
        await trio.sleep(1)
        assert not timer.cancel()
        assert await me.receive(timeout=0) == "stays"
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)


async def test_act_o11_timer_to_a_name(autojump_clock: MockClock, node: Node) -> None:
    """T3: the name is looked up when the timer fires; a name without a holder is no error."""
    async with node.mailbox() as one, node.mailbox() as two:
        node.register("it", one.ref)
        node.send_after(1, node.named("it"), "tick")
        node.unregister("it")
        node.register("it", two.ref)
        assert await two.receive(timeout=2) == "tick"
        node.unregister("it")
        node.send_after(1, node.named("it"), "tick")
        await trio.sleep(2)
        assert not one.queue


async def test_act_o12_equal_deadlines_in_set_order(autojump_clock: MockClock, node: Node) -> None:
    """Timers of one deadline fire in the order in which they were set."""
    async with node.mailbox() as me:
        for number in range(100):
            me.send_after(1, me.ref, number)
        assert [await me.receive(timeout=2) for _ in range(100)] == list(range(100))


async def test_timers_fire_in_order_of_deadline(autojump_clock: MockClock, node: Node) -> None:
    """T2: whatever the order of setting, and with cancelled ones among them."""
    async with node.mailbox() as me:
        delays = [(number * 7919) % 997 for number in range(997)]
        timers = [me.send_after(delay + 1, me.ref, delay) for delay in delays]
        for timer in timers[::2]:
            timer.cancel()
        expected = sorted(delays[1::2])
        assert [await me.receive(timeout=2000) for _ in expected] == expected
        assert node.statistics().timers == 0


class Ticking(Actor):
    """Has keyed timers."""

    def __init__(self, observer: Ref[Any]) -> None:
        self.observer = observer

    def start(self, key: str, seconds: float, message: Any, every: bool = False) -> None:
        self.process.timers.start(key, seconds, message, every=every)

    def block_and_replace(self) -> None:
        """The first tick is put into the mailbox while this handler runs, and then replaced."""
        self.process.timers.start("key", 0, "stale")
        timers = self.process.node.timers
        timers.fire(timers.new.pop())
        self.process.timers.start("key", 1, "fresh")

    def cancel(self, key: str) -> bool:
        return self.process.timers.cancel(key)

    def on_message(self, message: Any) -> None:
        self.observer.send(message)


async def test_act_o14_interval_ends_with_its_target(autojump_clock: MockClock, node: Node) -> None:
    """An interval timer repeats until its process ends, and is gone then."""
    async with node.mailbox() as me:
        ref = await node.spawn(Ticking, me.ref)
        await ref.call(Ticking.start, "key", 1, "tick", True)
        for _ in range(5):
            assert await me.receive(timeout=1.5) == "tick"
        assert node.statistics().timers > 0
        await ref.stop()
        assert node.statistics().timers == 0
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)


async def test_keyed_timer_is_replaced(autojump_clock: MockClock, node: Node) -> None:
    """T5: a timer that is set again under its key fires once; a stale tick in the mailbox is discarded."""
    async with node.mailbox() as me:
        ref = await node.spawn(Ticking, me.ref)
        await ref.call(Ticking.start, "key", 1, "first")
        await ref.call(Ticking.start, "key", 2, "second")
        assert await me.receive(timeout=5) == "second"
        await ref.call(Ticking.block_and_replace)
        assert await me.receive(timeout=5) == "fresh"
        await ref.call(Ticking.start, "key", 1, "never")
        assert await ref.call(Ticking.cancel, "key")
        assert not await ref.call(Ticking.cancel, "key")
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)


async def test_keyed_timer_of_a_function(autojump_clock: MockClock, node: Node) -> None:
    """T5: the same in a process that receives by itself."""
    async with node.mailbox() as me:
        me.timers.start("key", 1, "tick", every=True)
        assert [await me.receive(timeout=2) for _ in range(3)] == ["tick"] * 3
        me.ref.send("before")
        await trio.sleep(1)
        me.timers.cancel("key")
        assert await me.receive(timeout=0) == "before"
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)


async def test_keyed_timer_that_was_left_in_the_mailbox(autojump_clock: MockClock, node: Node) -> None:
    """T5: a receive that looked at its message and wanted another has not taken it."""
    async with node.mailbox() as me:
        for again in (False, True):
            me.timers.start("key", 1, "old")
            with pytest.raises(ReceiveTimeout):
                await me.receive(int, timeout=2)
            if again:
                me.timers.start("key", 1, "new")
                assert await me.receive(timeout=2) == "new"
            else:
                assert me.timers.cancel("key")
            with pytest.raises(ReceiveTimeout):
                await me.receive(timeout=2)
        me.timers.start("key", 1, "tick", every=True)
        with pytest.raises(ReceiveTimeout):
            await me.receive(int, timeout=5)
        assert await me.receive(str, timeout=0) == "tick"
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=0.5)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
async def test_bad_timers(autojump_clock: MockClock, node: Node, seconds: float) -> None:
    """T6: what is no delay is refused with its value."""
    async with node.mailbox() as me:
        with pytest.raises(ValueError, match=str(seconds)):
            me.send_after(seconds, me.ref, "tick")
        with pytest.raises(ValueError, match=str(seconds)):
            me.timeout_after(seconds)
        with pytest.raises(ValueError, match=str(seconds)):
            me.timers.start("key", seconds, "tick")
        with pytest.raises(ValueError, match="more than 0"):
            me.timers.start("key", 0, "tick", every=True)
        assert not len(me.timers)


async def test_timers_die_with_their_owner(autojump_clock: MockClock, node: Node) -> None:
    """T4: a process's timers end with it; the node's own do not."""
    async with node.mailbox() as me:
        async with node.mailbox() as other:
            other.send_after(1, me.ref, "of the other")
            node.send_after(1, me.ref, "of the node")
        assert await me.receive(timeout=2) == "of the node"
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=2)


async def test_leaving_a_group_is_told_once(autojump_clock: MockClock, node: Node) -> None:
    """G2, G3: who has left is no member any more, and its end is no news; a group without members is none."""
    heard: list[Any] = []
    node.groups.listen(heard.append)
    scope = node.scope("of its own")
    ref = await node.spawn(Sync)
    scope.join("g", ref, ref)
    async with node.mailbox() as me:
        scope.monitor(me.ref, "g")
        scope.leave("g", ref, ref)
        assert await me.receive(timeout=0) == Left("of its own", "g", (ref, ref))
        assert scope.which_groups() == []
        await ref.stop()
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)
        scope.replace_remote("far@b", {"g": [node.ref]})
        assert scope.which_groups() == ["g"]
        assert (await me.receive(timeout=0)).refs == (node.ref,)
        scope.replace_remote("far@b", {})
        assert scope.which_groups() == []
    assert [type(event) for event in heard] == [Joined, Left]  # what is far is no news for other nodes


async def test_only_a_ref_monitors_groups(node: Node) -> None:
    """G3: a process, or the arguments in the wrong order, are refused at once."""
    scope = node.scope("bad watchers")
    async with node.mailbox() as me:
        with pytest.raises(TypeError, match=r"me\.ref"):
            scope.monitor(me, "g")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="got 'g'"):
            scope.monitor("g", me.ref)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"me\.ref"):
            scope.monitor_scope(me)  # type: ignore[arg-type]
        scope.join("g", me.ref)
        assert scope.members("g") == [me.ref]


async def test_watchers_that_do_not_end_are_forgotten() -> None:
    """G3, U11: a name that watches a group is no process that ends; the node forgets it when it closes."""
    async with open_node("test") as node:
        node.scope().monitor(node.named("watcher"), "group")
        node.scope("other").monitor_scope(node.named("watcher"))
    assert node.statistics().group_members == 0
