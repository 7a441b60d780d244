"""Group L: calls, replies, aliases, requests. Clauses C1 to C12 of docs/semantics.md."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    NORMAL,
    Actor,
    Call,
    CallError,
    CallingSelf,
    CallTimeout,
    Crashed,
    Deferred,
    Down,
    Mailbox,
    Node,
    NodeConfig,
    NoProcess,
    NotOwner,
    NotPublic,
    Process,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    RequestCollection,
    Restarting,
    SenderDropped,
    multi_call,
    multi_cast,
    open_node,
)
from tests.conformance.actors.subjects import BOOM, TIERS, Async, Sync, idle


@pytest.mark.parametrize("tier", TIERS)
async def test_act_l1_reply_in_time(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """A call returns the reply."""
    ref = await node.spawn(tier)
    assert await ref.call(tier.echo, 42) == 42
    assert await ref.within(math.inf).call(tier.echo, value=43) == 43


async def test_act_l1_timeout(autojump_clock: MockClock, node: Node) -> None:
    """Without a reply in time the call fails; the default is five seconds."""
    ref = await node.spawn(Async)
    started = trio.current_time()
    with pytest.raises(CallTimeout) as timeout:
        await ref.call(Async.slow_echo, 1, 10)
    assert trio.current_time() - started == pytest.approx(5)
    assert timeout.value.seconds == 5
    with pytest.raises(CallTimeout):
        await ref.within(0.5).call(Async.echo, 1)


async def test_time_limit_of_the_node() -> None:
    """C3: the default limit is a setting of the node."""
    async with open_node("test", config=NodeConfig(call_timeout=0.01)) as node:
        ref = await node.spawn(Async)
        with pytest.raises(CallTimeout):
            await ref.call(Async.slow_echo, 1, 0.1)


async def test_act_l2_late_reply_is_dropped(autojump_clock: MockClock, node: Node) -> None:
    """After a timeout the later reply reaches nobody."""
    async with node.mailbox() as me:
        ref = await node.spawn(Async)
        with pytest.raises(CallTimeout):
            await ref.within(1).call(Async.slow_echo, 1, 2)
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)
        assert await ref.call(Async.echo, 2) == 2
    assert node.statistics().timers == 0


@pytest.mark.parametrize("tier", TIERS)
async def test_act_l3_death_during_a_call(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """C12: the callee's end fails the call at once, with the reason."""
    ref = await node.spawn(tier)
    started = trio.current_time()
    with pytest.raises(ProcessDied) as died:
        await ref.call(tier.fail)
    assert trio.current_time() == started
    assert isinstance(died.value.reason, Crashed)
    assert isinstance(died.value.reason.error, ValueError)
    assert isinstance(died.value.__cause__, ValueError)


async def test_act_l3_queued_calls_fail_too(autojump_clock: MockClock, node: Node) -> None:
    """Not only the call at hand: those in the mailbox learn of the end as well."""
    async with node.mailbox() as me:
        ref = await node.spawn(Async)
        requests = [me.request(ref, Async.slow_echo, 1, 1), me.request(ref, Async.echo, 2)]
        await wait_all_tasks_blocked()
        ref.exit(BOOM)
        for request in requests:
            with pytest.raises(ProcessDied) as died:
                await request.receive()
            assert died.value.reason == BOOM


async def test_call_received_by_a_function_fails_with_it(autojump_clock: MockClock, node: Node) -> None:
    """C5: a call that a function process took out of its mailbox fails when the process ends."""

    async def server(me: Process) -> None:
        call = await me.receive(match=Call)
        call.reply(call.args[0] * 2)
        await me.receive(match=Call)
        raise ValueError("owes a reply")

    ref: Ref[Sync] = await node.spawn(server)
    assert await ref.call(Sync.echo, 21) == 42
    with pytest.raises(ProcessDied):
        await ref.call(Sync.echo, 1)


@pytest.mark.parametrize("tier", TIERS)
async def test_call_to_a_dead_process_fails_fast(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """C2: no process, at once; being restarted is told apart."""
    ref = await node.spawn(tier)
    await ref.stop()
    started = trio.current_time()
    with pytest.raises(NoProcess):
        await ref.call(tier.echo, 1)
    node.mark_restarting(ref, "it")
    with pytest.raises(Restarting):
        await ref.call(tier.echo, 1)
    with pytest.raises(Restarting):
        await node.named("it").call(tier.echo, 1)
    heir = await node.spawn(tier, name="it")
    assert await node.named("it").call(tier.echo, 1) == 1
    await heir.stop()
    with pytest.raises(NoProcess):
        await node.named("it").call(tier.echo, 1)
    assert trio.current_time() == started


async def test_calling_oneself(autojump_clock: MockClock, node: Node) -> None:
    """C4: a call to oneself fails at once."""

    class Narcissus(Actor):
        async def reflect(self) -> str:
            try:
                await self.process.ref.call(Narcissus.reflect)
            except CallingSelf:
                return "caught"
            return "not caught"

    ref = await node.spawn(Narcissus)
    assert await ref.call(Narcissus.reflect) == "caught"


@pytest.mark.parametrize("mode", ["reply", "reply_demonitor"])
async def test_reply_alias_takes_one_message(autojump_clock: MockClock, node: Node, mode: Any) -> None:
    """A2: an alias of mode reply dies at its first message."""
    async with node.mailbox() as me:
        alias = me.alias(mode)
        alias.send(1)
        alias.send(2)
        assert await me.receive(timeout=0) == 1
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)
        assert not alias.active


async def test_unalias(autojump_clock: MockClock, node: Node) -> None:
    """A1: what is sent to an alias that was taken back vanishes; only its owner may take it back."""
    async with node.mailbox() as me, node.mailbox() as other:
        alias = me.alias()
        alias.send(1)
        with pytest.raises(NotOwner):
            other.unalias(alias)
        assert me.unalias(alias)
        assert not me.unalias(alias)
        alias.send(2)
        alias.cast(Sync.note, 3)
        with pytest.raises(NoProcess):
            await alias.call(Sync.echo, 4)
        assert await me.receive(timeout=0) == 1
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)
    assert node.dead_letters.count == 0


@pytest.mark.parametrize("mode", ["demonitor", "reply_demonitor"])
@pytest.mark.parametrize("by", ["demonitor", "down"])
async def test_act_l8_alias_ends_with_its_monitor(
    autojump_clock: MockClock, node: Node, mode: Any, by: str
) -> None:
    """An alias made with a monitor dies when that is taken down, or has fired."""
    async with node.mailbox() as me:
        ref = await node.spawn(idle)
        monitor = me.monitor(ref, alias=mode)
        assert monitor.alias is not None
        if by == "demonitor":
            me.demonitor(monitor)
        else:
            ref.exit(BOOM)
            await me.receive(timeout=1)
        monitor.alias.send("late")
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


@pytest.mark.parametrize("mode", ["reply", "reply_demonitor"])
async def test_reply_takes_the_monitor_down(autojump_clock: MockClock, node: Node, mode: Any) -> None:
    """A2: with mode reply_demonitor whatever comes over the alias is all that comes."""
    async with node.mailbox() as me:
        ref = await node.spawn(idle)
        monitor = me.monitor(ref, alias=mode)
        assert monitor.alias is not None
        monitor.alias.send("reply")
        assert await me.receive(timeout=0) == "reply"
        assert monitor.active is (mode == "reply")
        ref.exit(BOOM)
        if mode == "reply":
            assert (await me.receive(Down, timeout=1)).reason == BOOM
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_explicit_alias_outlives_its_monitor(autojump_clock: MockClock, node: Node) -> None:
    """A2: one of mode explicit does not."""
    async with node.mailbox() as me:
        monitor = me.monitor(await node.spawn(idle), alias="explicit")
        me.demonitor(monitor)
        assert monitor.alias is not None
        monitor.alias.send("still")
        assert await me.receive(timeout=0) == "still"


async def test_act_l9_collection_with_labels(autojump_clock: MockClock, node: Node) -> None:
    """Responses arrive in any order, each with its label."""
    async with node.mailbox() as me:
        collection: RequestCollection[str] = RequestCollection()
        for label, seconds in (("slow", 3), ("quick", 1), ("middling", 2)):
            ref = await node.spawn(Async)
            collection.add(me.request(ref, Async.slow_echo, label * 2, seconds), label)
        assert collection.check() is None
        answers = [await collection.receive(5) for _ in range(3)]
        assert [label for label, _ in answers] == ["quick", "middling", "slow"]
        assert all(request.result() == label * 2 for label, request in answers)
        assert not len(collection)
        with pytest.raises(LookupError):
            await collection.wait()


async def test_act_l10_wait_keeps_and_receive_abandons(autojump_clock: MockClock, node: Node) -> None:
    """A wait that times out leaves the request good; a receive that times out gives it up."""
    async with node.mailbox() as me:
        ref = await node.spawn(Async)
        request = me.request(ref, Async.slow_echo, "reply", 2)
        with pytest.raises(trio.WouldBlock):
            request.result()
        with pytest.raises(CallTimeout):
            await request.wait(1)
        assert await request.wait(2) == "reply"
        assert await request.receive(0) == "reply"
        other = me.request(ref, Async.slow_echo, "reply", 2)
        with pytest.raises(CallTimeout):
            await other.receive(1)
        await trio.sleep(5)
        with pytest.raises(CallTimeout):
            await other.receive(1)
        collection: RequestCollection[int] = RequestCollection()
        collection.add(me.request(ref, Async.slow_echo, "third", 2), 3)
        with pytest.raises(trio.TooSlowError):
            await collection.wait(1)
        assert (await collection.wait(2))[1].result() == "third"


async def test_act_l11_call_with_a_huge_queue(autojump_clock: MockClock, node: Node) -> None:
    """C11, M2: A call looks at no message of the caller's own mailbox, however many wait."""

    class Suspicious:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("the mailbox was searched")

        __hash__ = None  # type: ignore[assignment]

    async with node.mailbox() as me:
        for _ in range(100_000):
            me.ref.send(Suspicious())
        before = me.queue[0]
        for tier in TIERS:
            ref = await node.spawn(tier)
            assert await ref.call(tier.echo, 1) == 1
        assert me.queue[0] is before
        assert len(me.queue) == 100_000
        me.queue.clear()


async def test_act_l12_multi_call(autojump_clock: MockClock, node: Node) -> None:
    """Replies from the good ones, the names of the bad ones, and no stray message."""
    async with node.mailbox() as me:
        good = [await node.spawn(tier) for tier in TIERS]
        dead = await node.spawn(Async)
        await dead.stop()
        silent = await node.spawn(idle)
        vacant = node.named("nobody")
        replies, failures = await multi_call([*good, dead, vacant, silent], Async.echo, 7, timeout=1)
        assert dict(replies) == dict.fromkeys(good, 7)
        assert {ref: type(error) for ref, error in failures} == {
            dead: NoProcess,
            vacant: NoProcess,
            silent: CallTimeout,
        }
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_multi_cast(autojump_clock: MockClock, node: Node) -> None:
    """O3: everybody who can be reached is; who cannot, is skipped."""
    good = [await node.spawn(tier) for tier in TIERS]
    dead = await node.spawn(Sync)
    await dead.stop()
    full = await node.spawn(idle, mailbox=Mailbox(1, "fail"))
    full.send("full")
    multi_cast([dead, full, node.named("nobody"), *good], Sync.note, "hello")
    assert [await ref.call(Sync.notes) for ref in good] == [["hello"]] * 2
    with pytest.raises(NotPublic):
        multi_cast(good, Sync.on_stop, NORMAL)


class Post(Actor):
    """Defers replies, and keeps them."""

    def __init__(self) -> None:
        self.kept: list[Deferred[str]] = []

    def later(self) -> Deferred[str]:
        deferred: Deferred[str] = self.process.defer()
        self.kept.append(deferred)
        return deferred

    def answer(self, value: str) -> None:
        self.kept.pop(0).reply(value)

    def refuse(self) -> None:
        self.kept.pop(0).fail(LookupError("refused"))

    def drop(self) -> None:
        self.kept.clear()

    def leave(self) -> None:
        self.process.stop(BOOM)

    def forward(self, ref: Ref[Any]) -> Deferred[str]:
        deferred: Deferred[str] = self.process.defer()
        deferred.forward(ref, Async.slow_echo, "forwarded", 1)
        return deferred

    def forget(self) -> Deferred[str]:
        return self.process.defer()

    def on_message(self, message: Any) -> None:
        try:
            self.process.defer()
        except RuntimeError:
            message.send("nothing to defer")


class AsyncPost(Post):
    """The same with a task."""

    async def nothing(self) -> None:
        """Makes the class an async one."""


POSTS = [Post, AsyncPost]


@pytest.mark.parametrize("post", POSTS)
async def test_deferred_reply(autojump_clock: MockClock, node: Node, post: type[Post]) -> None:
    """C8: a handler may answer later, or refuse later; a second answer is dropped."""
    async with node.mailbox() as me:
        ref = await node.spawn(post)
        request = me.request(ref, post.later)
        await wait_all_tasks_blocked()
        assert not request.check()
        ref.cast(post.answer, "at last")
        assert await request.receive(1) == "at last"
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(LookupError):
                    await ref.call(post.later)

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            await ref.call(post.refuse)
        ref.send(me.ref)
        assert await me.receive(timeout=1) == "nothing to defer"


@pytest.mark.parametrize("post", POSTS)
async def test_forwarded_reply(autojump_clock: MockClock, node: Node, post: type[Post]) -> None:
    """C9: another process may answer; its end fails the call."""
    ref, other = await node.spawn(post), await node.spawn(Async)
    assert await ref.call(post.forward, other) == "forwarded"
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(ProcessDied):
                await ref.call(post.forward, other)

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        other.exit(BOOM)
    for absent in (other, node.named("nobody")):
        with pytest.raises(NoProcess):
            await ref.call(post.forward, absent)
    assert await ref.call(post.forward, await node.spawn(Async)) == "forwarded"


@pytest.mark.parametrize("post", POSTS)
async def test_forwarded_call_is_no_longer_at_hand(
    autojump_clock: MockClock, node: Node, post: type[Post]
) -> None:
    """C9: who has forwarded a call cannot answer it any more, not even while it is under way."""
    ref, other = await node.spawn(post), await node.spawn(Async)
    async with node.mailbox() as me:
        request = me.request(ref, post.forward, other)
        ref.send(me.ref)
        assert await me.receive(timeout=1) == "nothing to defer"
        assert not request.check()
        assert await request.receive() == "forwarded"


@pytest.mark.parametrize("post", POSTS)
async def test_act_l14_dropped_reply(autojump_clock: MockClock, node: Node, post: type[Post]) -> None:
    """A deferred reply that is dropped fails the call at once, not by a timeout."""
    ref = await node.spawn(post)
    started = trio.current_time()
    with pytest.raises(SenderDropped):
        await ref.call(post.forget)
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(SenderDropped):
                await ref.call(post.later)

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        ref.cast(post.drop)
    assert trio.current_time() == started


@pytest.mark.parametrize("way", ["exit", "stop"])
@pytest.mark.parametrize("post", POSTS)
async def test_deferred_call_fails_with_its_server(
    autojump_clock: MockClock, node: Node, post: type[Post], way: str
) -> None:
    """C5: a call that is deferred fails with the reason of its callee, which has not dropped the reply."""
    async with node.mailbox() as me:
        ref = await node.spawn(post)
        request = me.request(ref, post.later)
        await wait_all_tasks_blocked()
        if way == "exit":
            ref.exit(BOOM)
        else:
            await ref.call(post.leave)
        with pytest.raises(ProcessDied) as died:
            await request.receive(1)
        assert died.value.reason == BOOM


async def test_request_then(autojump_clock: MockClock, node: Node) -> None:
    """C10: a sync actor has the outcome of a request brought to it, between messages."""

    class Client(Actor):
        def __init__(self, observer: Ref[Any]) -> None:
            self.observer = observer

        def ask(self, ref: Ref[Async]) -> None:
            self.process.request(ref, Async.slow_echo, "reply", 1).then(self.answered, "extra")

        def answered(self, request: Any, extra: str) -> None:
            assert self.process.node.current is self.process
            self.observer.send((request.result(), extra))

    async with node.mailbox() as me:
        client = await node.spawn(Client, me.ref)
        client.cast(Client.ask, await node.spawn(Async))
        assert await me.receive(timeout=2) == ("reply", "extra")


@pytest.mark.parametrize("method", [Sync.on_message, Sync.__init__, Actor.on_stop, 3, "echo"])
async def test_only_public_methods(autojump_clock: MockClock, node: Node, method: Any) -> None:
    """C1: hooks, private names and what is no method are refused where they are passed."""
    ref: Any = await node.spawn(Sync)
    with pytest.raises(NotPublic):
        await ref.call(method)
    with pytest.raises(NotPublic):
        ref.cast(method)
    assert await ref.call(Sync.echo, 1) == 1


async def test_busy_sync_actor_is_called_in_turn(autojump_clock: MockClock, node: Node) -> None:
    """C6: what a caller sent before its call is handled before it, by whichever way the call goes."""
    ref = await node.spawn(Sync)
    for number in range(200):
        ref.send(number)
        if number % 3 == 0:
            assert (await ref.call(Sync.notes))[-1] == number
    assert await ref.call(Sync.notes) == list(range(200))


async def test_every_nth_call_is_a_checkpoint(autojump_clock: MockClock, node: Node) -> None:
    """C7: a loop of calls to an idle actor lets others run, and can be cancelled."""
    ref = await node.spawn(Sync)
    count = 0
    with trio.move_on_after(0) as scope:
        while True:
            await ref.call(Sync.echo, 1)
            count += 1
            assert count < 1000
    assert scope.cancelled_caught


async def test_call_error_is_the_common_base() -> None:
    """C2: whoever wants to treat all failures alike can."""
    for error in (NoProcess, Restarting, ProcessDied, CallTimeout, CallingSelf, SenderDropped):
        assert issubclass(error, CallError)
    assert NORMAL.is_normal
