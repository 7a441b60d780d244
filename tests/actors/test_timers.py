"""The timer heap and the lanes against the clock."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILL,
    KILLED,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    Actor,
    Backoff,
    CallTimeout,
    Child,
    ChildEvent,
    DeadLetter,
    Deferred,
    Down,
    Exited,
    Mailbox,
    MailboxFull,
    Node,
    NodeConfig,
    Process,
    Reason,
    ReceiveTimeout,
    Ref,
    Supervisor,
    open_node,
    system,
)
from enfilade.actors.messages.errors import LiveArgument
from enfilade.transport import PayloadError, Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.subjects import BOOM, idle

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Expiring:
    """Notes when it expired."""

    def __init__(self, log: list[tuple[float, int]], number: int) -> None:
        self.log = log
        self.number = number

    def expire(self) -> None:
        self.log.append((trio.current_time(), self.number))


async def test_lane_expires_in_order(autojump_clock: MockClock) -> None:
    """C3: time limits of one length expire in order, and those that were met do not."""
    log: list[tuple[float, int]] = []
    async with open_node("test") as node:
        lane = node.timers.lane(5)
        entries = [Expiring(log, number) for number in range(10)]
        began = trio.current_time()
        for entry in entries:
            lane.add(entry)
            await trio.sleep(1)
        await trio.sleep(0.5)
        lane.discard(entries[7])
        assert [number for _, number in log] == [0, 1, 2, 3, 4, 5]
        await trio.sleep(20)
        assert [number for _, number in log] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
        assert [time - began for time, _ in log] == pytest.approx([5, 6, 7, 8, 9, 10, 11, 13, 14])
        assert len(node.timers) == 0
        assert node.timers.lane(5) is not lane


async def test_earlier_timer_wakes_the_sleeper(autojump_clock: MockClock) -> None:
    """T2: a timer that is due before the one that is waited for is not late."""
    async with open_node("test") as node, node.mailbox() as me:
        me.send_after(100, me.ref, "late")
        await trio.sleep(1)
        me.send_after(1, me.ref, "early")
        assert await me.receive(timeout=1.5) == "early"
        assert await me.receive(timeout=150) == "late"


async def test_cancelled_timers_do_not_pile_up(autojump_clock: MockClock) -> None:
    """T1: of a hundred thousand timers that were cancelled the heap keeps few."""
    generator = random.Random(1)
    async with open_node("test") as node, node.mailbox() as me:
        for _ in range(100_000):
            me.send_after(generator.uniform(1, 1000), me.ref, "never").cancel()
        assert len(list(node.timers.pending())) < 1000
        assert len(node.timers) == 0


async def test_timer_to_a_full_mailbox(autojump_clock: MockClock) -> None:
    """M3, T3: nobody is there to be told of a refusal, so none is refused."""
    async with open_node("test") as node, node.mailbox(Mailbox(1, "fail")) as me:
        for _ in range(3):
            me.send_after(1, me.ref, "tick")
        await trio.sleep(2)
        assert len(me.queue) == 3


async def test_a_timer_of_a_key_that_is_replaced_is_gone(autojump_clock: MockClock, node: Node) -> None:
    """T5: none that can no longer count is left to fire."""
    async with node.mailbox() as me:
        for _ in range(3):
            me.timers.start("key", 60.0, "message")
        assert node.statistics().timers == 1
        assert me.timers.cancel("key")
        assert node.statistics().timers == 0
        me.timers.start("key", 60.0, "message")
        await me.receive()
        assert "key" not in me.timers
        assert not me.timers.cancel("key")


async def test_a_message_of_a_timer_is_a_message(autojump_clock: MockClock, node: Node) -> None:
    """T5: it ends the wait for any, as others do."""

    class Waiting(Actor):
        def __init__(self) -> None:
            self.seen: list[Any] = []
            self.process.timers.start("key", 1.0, "message")
            self.process.timeout_after(2.0)

        def on_message(self, message: Any) -> None:
            self.seen.append(message)

        def told(self) -> list[Any]:
            return self.seen

    ref = await node.spawn(Waiting)
    await trio.sleep(5)
    assert await ref.call(Waiting.told) == ["message"]


async def test_many_time_limits(autojump_clock: MockClock) -> None:
    """C3: a thousand callers that wait for different times are each told after theirs."""

    class Silent(Actor):
        async def never(self) -> None:
            await trio.sleep_forever()

    async with open_node("test") as node:
        ref = await node.spawn(Silent)
        late: dict[int, float] = {}

        async def call(seconds: int) -> None:
            began = trio.current_time()
            with pytest.raises(CallTimeout):
                await ref.within(seconds).call(Silent.never)
            late[seconds] = trio.current_time() - began - seconds

        async with trio.open_nursery() as nursery:
            for seconds in range(1, 1001):
                nursery.start_soon(call, seconds)
        assert max(late.values()) == pytest.approx(0, abs=1e-6)
        assert node.statistics().timers == 0
        ref.exit(KILL)


class Clock(Actor):
    """Answers at once, or in a second."""

    def now(self) -> str:
        return "now"

    def later(self) -> Deferred[str]:
        deferred: Deferred[str] = self.process.defer()
        self.process.timers.start("reply", 1, deferred)
        return deferred

    def on_message(self, deferred: Deferred[str]) -> None:
        deferred.reply("later")


WRONG_LIMITS: list[tuple[Any, type[Exception]]] = [
    ("1", TypeError),
    (None, TypeError),
    (-1, ValueError),
    (float("nan"), ValueError),
    (10**400, ValueError),
]


@pytest.mark.parametrize(("seconds", "error"), WRONG_LIMITS, ids=lambda value: str(value)[:20])
async def test_a_time_limit_that_is_none(
    autojump_clock: MockClock, node: Node, seconds: Any, error: type[Exception]
) -> None:
    """C3, T6: a time limit is a number of seconds; whoever gives another is told at once."""
    ref = await node.spawn(Clock)
    for target in (ref, node.named("nobody")):
        with pytest.raises(error, match="a time limit must be a number"):
            target.within(seconds)
    async with node.mailbox() as me:
        request = me.request(ref, Clock.later)
        if seconds is not None:
            with pytest.raises(error, match="a time limit must be a number"):
                await request.wait(seconds)
        with pytest.raises(error):
            await me.receive(timeout=seconds)
        request.cancel()
    assert node.statistics().timers == 0


async def test_no_time_and_all_the_time(autojump_clock: MockClock, node: Node) -> None:
    """C3, T6: a limit of 0 takes an answer that is there at once; `math.inf` is no limit."""
    ref = await node.spawn(Clock)
    assert await ref.within(0).call(Clock.now) == "now"
    with pytest.raises(CallTimeout):
        await ref.within(0).call(Clock.later)
    assert await ref.within(math.inf).call(Clock.later) == "later"
    assert node.statistics().timers == 0


async def _trap(me: Process, observer: Ref[Any]) -> None:
    me.trap_exits = True
    while True:
        observer.send(await me.receive())


TARGETS: dict[str, Callable[[Node, Ref[Any]], Ref[Any]]] = {
    "ref": lambda node, ref: ref,
    "name": lambda node, ref: node.named("target"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("of", ["process", "node"])
@pytest.mark.parametrize(
    ("reason", "end"), [(BOOM, BOOM), (KILL, KILLED), (SHUTDOWN, SHUTDOWN), (NORMAL, None), (None, KILLED)]
)
async def test_exit_after(
    autojump_clock: MockClock, node: Node, target: str, of: str, reason: Reason | None, end: Reason | None
) -> None:
    """T7: a timer may send an exit signal, of the process or node that set it; without a reason, a kill."""
    async with node.mailbox() as me:
        ref = await node.spawn(idle, name="target")
        monitor = me.monitor(ref)
        setter: Node | Process = me if of == "process" else node
        destination = TARGETS[target](node, ref)
        if reason is None:
            timer = setter.kill_after(2, destination)
        else:
            timer = setter.exit_after(2, destination, reason)
        began = trio.current_time()
        assert timer.remaining() == 2
        if end is None:
            with pytest.raises(ReceiveTimeout):
                await me.receive(timeout=5)
            return
        down = await me.receive(Down, timeout=5)
        assert (down.monitor, down.reason, trio.current_time() - began) == (monitor, end, 2)
        assert not timer.active
        assert not timer.cancel()


@pytest.mark.parametrize("of", ["process", "node"])
async def test_exit_after_to_one_that_traps(autojump_clock: MockClock, node: Node, of: str) -> None:
    """T7: the signal can be trapped, and names its sender; a kill cannot."""
    async with node.mailbox() as me:
        ref = await node.spawn(_trap, me.ref)
        setter: Node | Process = me if of == "process" else node
        setter.exit_after(1, ref, BOOM)
        setter.kill_after(2, ref)
        assert await me.receive(timeout=1.5) == Exited(me.ref if of == "process" else node.ref, BOOM)
        me.monitor(ref)
        assert (await me.receive(Down, timeout=5)).reason == KILLED


@pytest.mark.parametrize("way", ["cancelled", "setter ended", "name free", "target ended"])
async def test_exit_after_that_comes_to_nothing(autojump_clock: MockClock, node: Node, way: str) -> None:
    """T1, T3, T4: cancelled, without its setter, or without a target, it does nothing, and leaves nothing."""
    ref = await node.spawn(idle)
    bystander = await node.spawn(idle)
    async with node.mailbox() as me:
        if way == "cancelled":
            assert me.exit_after(1, ref, BOOM).cancel()
            assert node.kill_after(1, ref).cancel()
        elif way == "name free":
            me.exit_after(1, node.named("nobody"), BOOM)
        elif way == "target ended":
            me.kill_after(1, ref)
            await ref.stop(SHUTDOWN)
        else:
            me.exit_after(1, ref, BOOM)
    await trio.sleep(2)
    assert bystander._process.ended is None  # type: ignore[attr-defined]
    assert (ref._process.ended is None) == (way != "target ended")  # type: ignore[attr-defined]
    assert len(node.timers) == 0


async def test_limit_of_ones_own_life(autojump_clock: MockClock, node: Node) -> None:
    """T7: a process may limit its own life."""

    class Mayfly(Actor):
        def __init__(self) -> None:
            self.process.exit_after(1, self.process.ref, SHUTDOWN)

    async with node.mailbox() as me:
        me.monitor(await node.spawn(Mayfly))
        assert (await me.receive(Down, timeout=1.5)).reason == SHUTDOWN


@pytest.mark.parametrize(
    ("seconds", "to", "reason"),
    [(-1, "me", BOOM), ("1", "me", BOOM), (10**400, "me", BOOM), (1, "name", BOOM), (1, "me", "boom")],
)
async def test_bad_exit_timers(node: Node, seconds: Any, to: str, reason: Any) -> None:
    """T6: what cannot be is refused where the timer is set."""
    async with node.mailbox() as me:
        destination: Any = me.ref if to == "me" else to
        for setter in (me, node):
            with pytest.raises((TypeError, ValueError)):
                setter.exit_after(seconds, destination, reason)
        assert len(node.timers) == 0


class Mortal(Actor):
    """Does nothing."""


class Untold:
    """Cannot travel."""


NOBODY_THERE: dict[str, Callable[[Node], Ref[Any]]] = {
    "name": lambda node: node.named("nobody"),
    "name within": lambda node: node.named("nobody").within(3),
    "name of a child in back-off": lambda node: node.named("between"),
}


@pytest.mark.parametrize("addressed", NOBODY_THERE)
@pytest.mark.parametrize("way", ["Process.send_after", "Node.send_after"])
async def test_timer_that_finds_nobody(
    autojump_clock: MockClock, node: Node, addressed: str, way: str
) -> None:
    """T3: the message of a timer to a name that nobody holds is a dead letter, once."""
    supervisor = await node.spawn(
        Supervisor, [Child(Mortal, name="between", backoff=Backoff(first=10, jitter=0))]
    )
    node.named("between").exit(KILL)
    async with node.mailbox() as me, node.mailbox() as undertaker:
        node.dead_letters.subscribe(undertaker.ref)
        target = NOBODY_THERE[addressed](node)
        (me if way == "Process.send_after" else node).send_after(1, target, "tick")
        await trio.sleep(2)
        assert await undertaker.receive(timeout=0) == DeadLetter("tick", target, NO_PROCESS)
        assert not undertaker.queue
        node.dead_letters.unsubscribe(undertaker.ref)
    assert node.statistics().dead_letters == 1
    await supervisor.stop()


async def test_timer_to_an_alias_that_was_taken_back(autojump_clock: MockClock, node: Node) -> None:
    """A1: it vanishes, as whatever is sent to such an alias does."""
    async with node.mailbox() as me:
        alias = me.alias()
        me.send_after(1, alias, "tick")
        me.unalias(alias)
        await trio.sleep(2)
        assert not me.queue
    assert node.statistics().dead_letters == 0


async def test_timer_with_a_message_that_must_not_be_sent(autojump_clock: MockClock) -> None:
    """T3, U14: what `send` would refuse becomes a dead letter, with the error as its reason."""
    async with open_node("test", config=NodeConfig(debug=True)) as node, node.mailbox() as undertaker:
        node.dead_letters.subscribe(undertaker.ref)
        ref = await node.spawn(idle)
        node.send_after(1, ref, iter([1]))
        letter = await undertaker.receive(DeadLetter, timeout=2)
        assert letter.ref == ref
        assert isinstance(letter.reason.error, LiveArgument)


async def far_end(stack: AsyncExitStack) -> tuple[Node, Node]:
    """Two nodes that are connected."""
    network = MemoryNetwork()
    near, home = [
        await stack.enter_async_context(
            open_node(
                name,
                zone=name,
                carrier=network.carrier(name),
                policy=Policy.same_user(exports="*"),
                listen=f"/{name}",
            )
        )
        for name in ("near", "home")
    ]
    await near.connect("/home")
    return near, home


FAR: dict[str, tuple[bool, Any, type[BaseException]]] = {
    "a message that cannot travel": (False, Untold(), PayloadError),
    "a message that cannot travel, by name": (True, Untold(), PayloadError),
    "a full mailbox": (False, "tick", MailboxFull),
    "a full mailbox, by name": (True, "tick", MailboxFull),
}


@pytest.mark.parametrize("case", FAR)
async def test_timer_to_another_node(autojump_clock: MockClock, case: str) -> None:
    """T3, D7: what cannot be sent to another node, or comes back, is a dead letter here, as with `send`."""
    by_name, message, error = FAR[case]
    async with AsyncExitStack() as stack:
        near, home = await far_end(stack)
        ref = await home.spawn(Mortal, name="far", mailbox=Mailbox(1, "fail"))
        await system.suspend(ref)
        ref.send("first")
        found = await near.whereis_on("home@home", "far")
        target = near.remote("far", "home@home") if by_name else found
        assert target is not None
        async with near.mailbox() as me, near.mailbox() as undertaker:
            near.dead_letters.subscribe(undertaker.ref)
            me.send_after(1, target, message)
            letter = await undertaker.receive(DeadLetter, timeout=2)
            assert (letter.message, letter.ref) == (message, target)
            assert isinstance(letter.reason.error, error)
            assert (near.statistics().dead_letters, home.statistics().dead_letters) == (1, 0)
            near.child_events.publish(ChildEvent("started", target, message, None))  # to no subscriber
            near.child_events.subscribe(target)
            near.child_events.publish(ChildEvent("started", target, message, None))
            letter = await undertaker.receive(DeadLetter, timeout=2)
            assert isinstance(letter.message, ChildEvent)
            assert isinstance(letter.reason.error, error)
            near.dead_letters.unsubscribe(undertaker.ref)
