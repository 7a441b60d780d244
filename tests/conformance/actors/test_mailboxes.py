"""Group P: mailboxes. Clauses M1 to M12 of docs/semantics.md."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILLED,
    SHUTDOWN,
    Actor,
    CallTimeout,
    Crashed,
    DeadLetter,
    Down,
    Lagged,
    Mailbox,
    MailboxFull,
    Node,
    NoProcess,
    Process,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    Restarting,
    StashOverflow,
    system,
)
from enfilade.actors.messages import signals
from tests.conformance.actors.subjects import BOOM, TIERS, Async, Sync, idle


async def test_act_p1_receive_without_filter(autojump_clock: MockClock, node: Node) -> None:
    """M1: without a match any message, and the runtime's own, are received in order."""
    async with node.mailbox() as me:
        me.trap_exits = True
        me.ref.send("message")
        me.exit(me.ref, BOOM)
        assert await me.receive(timeout=0) == "message"
        assert (await me.receive(timeout=0)).reason == BOOM


async def test_act_p2_filter_leaves_the_others(autojump_clock: MockClock, node: Node) -> None:
    """What does not match stays in its place."""
    async with node.mailbox() as me:
        for message in ("a", 1, "b", 2):
            me.ref.send(message)
        assert await me.receive(match=int, timeout=0) == 1
        assert await me.receive(match=lambda message: message == 2, timeout=0) == 2
        with pytest.raises(ReceiveTimeout):
            await me.receive(match=int, timeout=1)
        assert [await me.receive(timeout=0) for _ in range(2)] == ["a", "b"]


async def test_act_p3_several_filters_in_queue_order(autojump_clock: MockClock, node: Node) -> None:
    """Of several acceptable messages the oldest comes first."""
    async with node.mailbox() as me:
        for message in (b"no", 1.5, "b", 2):
            me.ref.send(message)
        assert [await me.receive(match=(int, str, float), timeout=0) for _ in range(3)] == [1.5, "b", 2]


async def test_act_p4_parked_receiver_is_woken_once(autojump_clock: MockClock, node: Node) -> None:
    """A message wakes the receiver; a second before it runs does not wake it again, and none is lost."""
    received: list[Any] = []

    async def receiver(me: Process) -> None:
        while True:
            received.append(await me.receive())

    ref = await node.spawn(receiver)
    await wait_all_tasks_blocked()
    process = ref._process  # type: ignore[attr-defined]
    assert process.idle
    ref.send(1)
    assert not process.idle
    assert process.waiter is None
    ref.send(2)
    await wait_all_tasks_blocked()
    assert received == [1, 2]
    assert process.idle


async def test_save_pointer(autojump_clock: MockClock, node: Node) -> None:
    """M4: waiting again with the same match looks at new messages only; another match begins at the front."""
    looked_at: list[int] = []

    def wanted(message: Any) -> bool:
        looked_at.append(message)
        return bool(message < 0)

    async with node.mailbox() as me:
        for number in range(1000):
            me.ref.send(number)
        for _ in range(3):
            with pytest.raises(ReceiveTimeout):
                await me.receive(match=wanted, timeout=0)
        assert len(looked_at) == 1000
        me.ref.send(-1)
        assert await me.receive(match=wanted, timeout=0) == -1
        assert len(looked_at) == 1001
        assert await me.receive(match=lambda message: message % 2, timeout=0) == 1
        assert [await me.receive(timeout=0) for _ in range(3)] == [0, 2, 3]


@pytest.mark.parametrize("when", range(6))
async def test_act_p6_cancelled_receiver_loses_nothing(
    autojump_clock: MockClock, node: Node, when: int
) -> None:
    """Wherever a receiver is cancelled, each message is received exactly once, in order."""
    received: list[int] = []
    async with node.mailbox() as me, trio.open_nursery() as nursery:

        async def send() -> None:
            for number in range(300):
                me.ref.send(number)
                if number % 3 == 0:
                    await trio.lowlevel.checkpoint()

        nursery.start_soon(send)
        while len(received) < 300:
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_after, scope, when)
                while len(received) < 300:
                    received.append(await me.receive(match=int))
    assert received == list(range(300))


async def _cancel_after(scope: trio.CancelScope, checkpoints: int) -> None:
    for _ in range(checkpoints):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_put_and_cancel_at_once(autojump_clock: MockClock, node: Node) -> None:
    """M5: a message that comes in the same instant as the cancellation is received or still there, never
    both.
    """
    async with node.mailbox() as me:
        for message_first in (True, False):
            received: list[str] = []
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def receive(received: list[str] = received) -> None:
                        received.append(await me.receive())

                    nursery.start_soon(receive)
                    await wait_all_tasks_blocked()
                    if message_first:
                        me.ref.send("message")
                        scope.cancel()
                    else:
                        scope.cancel()
                        me.ref.send("message")
            rest = [await me.receive(timeout=0)] if me.queue else []
            assert received + rest == ["message"]


async def test_one_reader_at_a_time(autojump_clock: MockClock, node: Node) -> None:
    """M5: a second task that receives from the same mailbox is refused."""
    async with node.mailbox() as me, trio.open_nursery() as nursery:
        nursery.start_soon(me.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await me.receive()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_act_p8_kill_interrupts_and_stop_does_not(
    autojump_clock: MockClock, node: Node, how: str
) -> None:
    """L8: an awaiting handler is interrupted by a kill, and completes when the actor is asked to stop."""
    async with node.mailbox() as me:
        ref = await node.spawn(Async, me.ref)
        request = me.request(ref, Async.slow_echo, "done", 5)
        assert await me.receive(timeout=1) == "begun"
        if how == "kill":
            me.monitor(ref)
            from enfilade.actors import KILL

            me.exit(ref, KILL)
            assert (await me.receive(match=Down, timeout=0.1)).reason == KILLED
            with pytest.raises(ProcessDied):
                await request.receive()
        else:
            await ref.stop(SHUTDOWN)
            assert await me.receive(timeout=0) == "done"
            assert await request.receive() == "done"


@pytest.mark.parametrize("tier", TIERS)
async def test_act_p10_message_to_the_dead(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """A call gets a typed error; a message becomes a dead letter that subscribers see."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref = await node.spawn(tier)
        ref.exit(BOOM)
        await wait_all_tasks_blocked()
        with pytest.raises(NoProcess):
            await ref.call(tier.echo, 1)
        ref.send("hello")
        assert await me.receive(timeout=0) == DeadLetter("hello", ref, BOOM)
        node.dead_letters.unsubscribe(me.ref)
        ref.send("hello")
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_what_lay_in_the_mailbox_is_dead_letters(autojump_clock: MockClock, node: Node) -> None:
    """M9: a process that ends leaves its unread messages as dead letters, those skipped by a match too."""

    async def picky(me: Process) -> None:
        await me.receive(match=bytes)

    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref = await node.spawn(picky)
        for message in (1, 2, b"end", 3):
            ref.send(message)
        assert [(await me.receive(timeout=1)).message for _ in range(3)] == [1, 2, 3]


BOUNDED = 3


async def full(node: Node, overflow: Any) -> tuple[Ref[Sync], list[Any]]:
    """A suspended actor with a full mailbox, and what it will have handled."""
    ref = await node.spawn(Sync, mailbox=Mailbox(BOUNDED, overflow))
    process = ref._process  # type: ignore[attr-defined]
    process.suspended = process.attention = True
    for number in range(BOUNDED):
        ref.send(number)
    return ref, process.body.actor.seen


async def resume(ref: Ref[Any]) -> None:
    """Let a suspended actor go on."""
    ref._process.suspended = False  # type: ignore[attr-defined]
    ref._process.attention = True  # type: ignore[attr-defined]
    if ref._process.idle:  # type: ignore[attr-defined]
        ref._process.wake()  # type: ignore[attr-defined]
    await wait_all_tasks_blocked()


async def test_act_p13_drop_policies(autojump_clock: MockClock, node: Node) -> None:
    """A full mailbox drops the newest or the oldest, or makes a dead letter, and what it holds stays
    intact.
    """
    for overflow, expected in (
        ("drop_newest", [0, 1, 2]),
        ("drop_oldest", [1, 2, 3]),
        ("lag", [Lagged(2), 2, 3]),
        ("dead_letter", [0, 1, 2]),
    ):
        async with node.mailbox() as me:
            node.dead_letters.subscribe(me.ref)
            ref, seen = await full(node, overflow)
            ref.send(3)
            await resume(ref)
            assert seen == expected
            if overflow == "dead_letter":
                letter = await me.receive(match=DeadLetter, timeout=0)
                assert (letter.message, letter.ref) == (3, ref)
            ref.send(4)
            await wait_all_tasks_blocked()
            assert seen == [*expected, 4]
            node.dead_letters.unsubscribe(me.ref)
    assert node.statistics().dropped == 4


async def test_lag_is_told_once_and_counted(autojump_clock: MockClock, node: Node) -> None:
    """M7: however much was missed, one notice says how much, and it keeps its place before what remains."""
    async with node.mailbox(Mailbox(4, "lag")) as me:
        for number in range(100):
            me.ref.send(number)
        with pytest.raises(ReceiveTimeout):
            await me.receive(match=str, timeout=0)
        for number in range(100, 110):
            me.ref.send(number)
        assert await me.receive(timeout=0) == Lagged(107)
        assert [await me.receive(timeout=0) for _ in range(3)] == [107, 108, 109]
        me.ref.send(110)
        assert await me.receive(timeout=0) == 110
        for number in range(4):
            me.ref.send(number)
        request = me.request(me.ref, Sync.echo, 1)
        assert [await me.receive(timeout=0) for _ in range(3)] == [Lagged(2), 2, 3]
        assert not request.check()
        assert (await me.receive(timeout=0)).args == (1,)
    assert node.statistics().dropped == 109


@pytest.mark.parametrize("overflow", ["fail", "block"])
async def test_fail_policy(autojump_clock: MockClock, node: Node, overflow: str) -> None:
    """M7: the sender is told; so is one that cannot wait."""
    ref, seen = await full(node, overflow)
    with pytest.raises(MailboxFull) as error:
        ref.send(3)
    assert (error.value.ref, error.value.capacity) == (ref, BOUNDED)
    await resume(ref)
    assert seen == [0, 1, 2]


async def test_crash_policy(autojump_clock: MockClock, node: Node) -> None:
    """M7: the receiver ends, as one that outgrew its heap; neither what lay in its mailbox nor the message
    that was too much is lost unseen.
    """
    async with node.mailbox() as me:
        ref, _ = await full(node, "crash")
        node.dead_letters.subscribe(me.ref)
        me.monitor(ref)
        ref.send(3)
        down = await me.receive(match=Down, timeout=1)
        assert isinstance(down.reason, Crashed)
        assert isinstance(down.reason.error, MailboxFull)
        letters = [await me.receive(match=DeadLetter, timeout=1) for _ in range(BOUNDED + 1)]
        assert sorted(letter.message for letter in letters) == [0, 1, 2, 3]
        for letter in letters:
            assert letter.ref == ref
            assert isinstance(letter.reason, Crashed)
            assert isinstance(letter.reason.error, MailboxFull)


@pytest.mark.parametrize("overflow", ["fail", "block"])
async def test_refusals_that_nobody_hears_are_counted(
    autojump_clock: MockClock, node: Node, overflow: str
) -> None:
    """M7: a message whose sender cannot be told that the mailbox is full, because it came from another node,
    is dropped and counted.
    """
    ref, seen = await full(node, overflow)
    for signal in (signals.Send(3), signals.Cast("note", (4,), {})):
        ref.deliver(signal)
    assert node.statistics().dropped == 2
    assert node.statistics().dead_letters == 0
    await resume(ref)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("overflow", ["fail", "block", "drop_oldest"])
async def test_request_to_a_full_mailbox_of_one_that_restarts(
    autojump_clock: MockClock, node: Node, overflow: str
) -> None:
    """M9, C2: however full the mailbox was, once the process has ended a request is told that it restarts, or
    that there is no process.
    """
    ref, _ = await full(node, overflow)
    ref.exit(BOOM)
    await resume(ref)
    async with node.mailbox() as me:
        with pytest.raises(NoProcess):
            await me.request(ref, Sync.echo, 1).receive(1)
        node.mark_restarting(ref)
        with pytest.raises(Restarting):
            await me.request(ref, Sync.echo, 1).receive(1)


@pytest.mark.parametrize("overflow", ["drop_newest", "fail", "dead_letter", "block"])
async def test_calls_to_a_full_mailbox(autojump_clock: MockClock, node: Node, overflow: str) -> None:
    """M8: a caller is told at once, whatever becomes of messages; where the policy is to block, it waits."""
    ref, _ = await full(node, overflow)
    if overflow == "block":
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                assert await ref.call(Sync.echo, 1) == 1

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            await resume(ref)
    else:
        with pytest.raises(MailboxFull):
            await ref.call(Sync.echo, 1)


async def test_call_that_finds_no_room_in_time(autojump_clock: MockClock, node: Node) -> None:
    """M8, C3: the time limit of a call is one for the wait for room and for the reply together."""
    ref, _ = await full(node, "block")
    start = trio.current_time()
    with pytest.raises(CallTimeout):
        await ref.within(2).call(Sync.echo, 1)
    assert trio.current_time() - start == 2


@pytest.mark.parametrize("overflow", ["block", "drop_newest"])
async def test_send_wait(autojump_clock: MockClock, node: Node, overflow: str) -> None:
    """M6: waits for room, whatever the policy; cancelled, it has sent nothing; a dying receiver lets it
    go.
    """
    ref, seen = await full(node, overflow)
    with trio.move_on_after(1) as scope:
        await ref.send_wait("never")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        for number in range(3, 9):
            nursery.start_soon(ref.send_wait, number)
            await wait_all_tasks_blocked()
        await resume(ref)
    await wait_all_tasks_blocked()
    assert seen[:3] == [0, 1, 2]
    assert sorted(seen) == list(range(9))
    ref, _ = await full(node, overflow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.send_wait, "too late")
        await wait_all_tasks_blocked()
        ref.exit(BOOM)


async def test_never_wait_for_oneself(autojump_clock: MockClock, node: Node) -> None:
    """M6: a process that would wait for room in its own mailbox is told so."""
    async with node.mailbox(Mailbox(1, "block")) as me:
        await me.ref.send_wait(1)
        with pytest.raises(MailboxFull):
            await me.ref.send_wait(2)


async def test_bound_counts_skipped_messages(autojump_clock: MockClock, node: Node) -> None:
    """M4: what a match has skipped still takes up room."""
    async with node.mailbox(Mailbox(4, "fail")) as me:
        for number in range(4):
            me.ref.send(number)
        with pytest.raises(ReceiveTimeout):
            await me.receive(match=str, timeout=0)
        with pytest.raises(MailboxFull):
            me.ref.send(4)
        assert await me.receive(timeout=0) == 0
        me.ref.send(4)
        with pytest.raises(MailboxFull):
            me.ref.send(5)
        assert [await me.receive(timeout=0) for _ in range(4)] == [1, 2, 3, 4]


async def test_bound_of_a_suspended_process(autojump_clock: MockClock, node: Node) -> None:
    """M7: a process that serves system messages alone has no more room than another."""
    ref = await node.spawn(Sync, mailbox=Mailbox(capacity=2, overflow="fail"))
    await system.suspend(ref)
    ref.send(1)
    ref.cast(Sync.note, 2)
    for _ in range(2):
        with pytest.raises(MailboxFull):
            ref.send(3)
        with pytest.raises(MailboxFull):
            ref.cast(Sync.note, 3)
    await system.resume(ref)
    assert await ref.call(Sync.notes) == [1, 2]


async def test_control_lane_is_never_bounded(autojump_clock: MockClock, node: Node) -> None:
    """M3: exits, downs, replies, system messages reach a process whose mailbox is full."""
    async with node.mailbox(Mailbox(1, "fail")) as me:
        me.trap_exits = True
        me.ref.send("full")
        ref = await me.spawn(idle, link=True)
        me.monitor(ref)
        echo = await node.spawn(Async)
        assert await echo.call(Async.echo, 1) == 1
        ref.exit(BOOM)
        await wait_all_tasks_blocked()
        assert len([await me.receive(timeout=0) for _ in range(3)]) == 3
    ref, _ = await full(node, "fail")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.stop)
        await wait_all_tasks_blocked()
        await resume(ref)


class Stashing(Actor):
    """Stashes until it is told to open."""

    def __init__(self, observer: Ref[Any]) -> None:
        self.observer = observer
        self.is_open = False

    def open(self) -> int:
        self.is_open = True
        return self.process.unstash()

    def on_message(self, message: Any) -> None:
        if self.is_open:
            self.observer.send(message)
        else:
            try:
                self.process.stash(message, capacity=3)
            except StashOverflow:
                self.observer.send("overflow")


async def test_act_p14_stash(autojump_clock: MockClock, node: Node) -> None:
    """M12: one more than the capacity overflows; unstashing keeps the order, ahead of what came later."""
    async with node.mailbox() as me:
        ref = await node.spawn(Stashing, me.ref)
        for number in range(4):
            ref.send(number)
        assert await me.receive(timeout=1) == "overflow"
        request = me.request(ref, Stashing.open)
        ref.send("later")
        assert await request.receive() == 3
        assert [await me.receive(timeout=1) for _ in range(4)] == [0, 1, 2, "later"]


async def test_act_p14_stash_of_a_function(autojump_clock: MockClock, node: Node) -> None:
    """M12: it goes in front of what a selective receive has passed over, too."""
    async with node.mailbox() as me:
        for number in range(3):
            me.ref.send(number)
        me.stash(await me.receive())
        with pytest.raises(ReceiveTimeout):
            await me.receive(str, timeout=0)
        assert me.unstash() == 1
        assert [await me.receive(timeout=0) for _ in range(3)] == [0, 1, 2]


async def test_act_p16_ask_of_a_stopping_parent(autojump_clock: MockClock, node: Node) -> None:
    """A child that calls its parent while the parent stops gets an error, and neither waits for ever."""

    class Parent(Actor):
        async def begin(self, observer: Ref[Any]) -> None:
            self.process.trap_exits = True
            self.child = await self.process.spawn(child, observer, link=True)

        async def question(self) -> None:
            raise AssertionError("a stopping process answers no call")

        async def on_stop(self, reason: Any) -> None:
            await trio.sleep(1)

    async def child(me: Process, observer: Ref[Any]) -> None:
        me.trap_exits = True
        await me.receive(match=str)
        try:
            await me.parent.within(math.inf).call(Parent.question)
        except ProcessDied as died:
            observer.send(died.reason)

    async with node.mailbox() as me:
        parent = await node.spawn(Parent)
        await parent.call(Parent.begin, me.ref)
        stopping = parent._process  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parent.stop, SHUTDOWN)
            await wait_all_tasks_blocked()
            stopping.body.actor.child.send("ask")
            assert await me.receive(timeout=2) == SHUTDOWN


@pytest.mark.parametrize("tier", TIERS)
async def test_act_p17_mailbox_is_inherited(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """M11: what was queued behind the message that crashed the process is for the next incarnation."""
    async with node.mailbox() as me:
        mailbox = Mailbox(inherit=True)
        first = await node.spawn(tier, me.ref, mailbox=mailbox, name="it")
        first.cast(tier.fail)
        first.cast(tier.note, "m2")
        first.send("m3")
        me.monitor(first)
        assert (await me.receive(match=Down, timeout=1)).ref == first
        second = await node.spawn(tier, me.ref, mailbox=mailbox, name="it", heir_of=first)
        rest = [await me.receive(timeout=1) for _ in range(3)]
        assert [message for message in rest if isinstance(message, str)] == ["m2", "m3"]
        assert await second.call(tier.notes) == ["m2", "m3"]


@pytest.mark.parametrize(
    ("capacity", "overflow"),
    [(0, "fail"), (-1, "fail"), (1.5, "fail"), (True, "fail"), (1, "explode"), (1, "lag")],
)
async def test_bad_mailboxes(capacity: Any, overflow: Any) -> None:
    """M6: a bound that makes no sense is refused with its value."""
    with pytest.raises(ValueError, match="mailbox"):
        Mailbox(capacity, overflow)
