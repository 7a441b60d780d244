"""Group S: what two processes of different nodes owe each other: acknowledgements, answers, streams.

A start is acknowledged once, by itself, when `__init__` and `on_start` are over; a call is answered once, by
what the method returns or by what it deferred. These are what other systems call the handshake of a context.
"""

from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    KILLED,
    NO_CONNECTION,
    NORMAL,
    Actor,
    CallTimeout,
    Deferred,
    Down,
    Exit,
    Lagged,
    Mailbox,
    NotConnected,
    Process,
    ProcessDied,
    SenderDropped,
    StartError,
)
from enfilade.actors.testing import VirtualClock
from tests.conformance.actors.abroad import Abroad, autojump_clock, back_end, mesh_server, node, settled
from tests.conformance.actors.subjects import Async

__all__ = ["autojump_clock", "back_end", "mesh_server", "node"]


class Clerk(Actor):
    """Answers later, or twice, or not at all."""

    def __init__(self) -> None:
        self.deferred: list[Deferred[int]] = []

    def later(self) -> Deferred[int]:
        self.deferred.append(self.process.defer())
        return self.deferred[-1]

    def answer(self, value: int) -> None:
        for deferred in self.deferred:
            deferred.reply(value)

    def forget(self) -> None:
        self.deferred.clear()

    def defer_twice(self) -> Deferred[int]:
        self.later()
        return self.process.defer()

    def defer_after_the_end(self) -> str:
        self.deferred[0].reply(0)
        return "no harm"


async def test_act_s6_misuse_of_an_answer(autojump_clock: VirtualClock, node: Abroad) -> None:
    """act-S6: given an answer that is given twice or never, then an error names the misuse, or no harm is
    done.
    """
    async with node.mailbox() as me:
        ref = await node.spawn(Clerk)
        request = me.request(ref, Clerk.later)
        await ref.call(Clerk.answer, 1)
        await ref.call(Clerk.answer, 2)
        assert await request.receive(1) == 1
        assert await ref.call(Clerk.defer_after_the_end) == "no harm"
        request = me.request(ref, Clerk.later)
        await ref.call(Clerk.forget)
        with pytest.raises(SenderDropped, match="dropped the deferred reply without answering"):
            await request.receive(1)
        with pytest.raises(ProcessDied, match="no unanswered call to defer"):
            await ref.call(Clerk.defer_twice)


class Unstarted(Actor):
    """Ends before its start is acknowledged, or never acknowledges it."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def on_start(self) -> None:
        if self.how == "end":
            raise Exit(NORMAL)
        await trio.sleep_forever()


async def test_act_s6_start_that_is_not_acknowledged(autojump_clock: VirtualClock, node: Abroad) -> None:
    """act-S6: given a process that ends without ever having started, then the error says so, with its
    reason; no process can acknowledge its start twice.
    """
    node.far.distribution.entries["it"] = Unstarted  # type: ignore[index]
    with pytest.raises(StartError) as refused:
        await node.home.spawn_on(node.far.full_name, "it", "end")
    assert refused.value.reason == NORMAL
    assert not node.far.processes


@pytest.mark.parametrize("how", ["killed", "lost"])
async def test_act_s8_child_is_cancelled_before_it_has_started(
    autojump_clock: VirtualClock, node: Abroad, how: str
) -> None:
    """act-S8: given a child cancelled before it has started, when the parent waits, then an error, no
    hang.
    """
    node.far.distribution.entries["it"] = Unstarted  # type: ignore[index]
    outcome: list[BaseException] = []

    async def start() -> None:
        try:
            await node.home.spawn_on(node.far.full_name, "it", "never")
        except (StartError, NotConnected) as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await settled()
        (child,) = node.far.processes.values()
        if how == "killed":
            child.ref.exit(KILL)
        else:
            node.home.distribution.disconnect(node.far.full_name)
    (error,) = outcome
    if how == "killed":
        assert isinstance(error, StartError)
        assert error.reason == KILLED
    else:
        assert isinstance(error, NotConnected)
    await settled()
    assert not node.far.processes, "nobody knows of it"


async def test_parent_is_cancelled_before_the_child_has_started(
    autojump_clock: VirtualClock, node: Abroad
) -> None:
    """Given a parent cancelled while it waits for a start, then the child ends, nothing is left."""
    node.far.distribution.entries["it"] = Unstarted  # type: ignore[index]
    with trio.move_on_after(1) as scope:
        await node.home.spawn_on(node.far.full_name, "it", "never")
    assert scope.cancelled_caught
    await settled()
    assert not node.far.processes


async def test_caller_gives_up(autojump_clock: VirtualClock, node: Abroad) -> None:
    """Given a caller that gives up in the middle, then the callee finishes what it does, lives on,
    and its late answer reaches nobody.
    """
    async with node.mailbox() as me:
        ref = await node.spawn(Async, me.ref)
        with pytest.raises(CallTimeout):
            await ref.within(1).call(Async.slow_echo, 1, 2)
        with trio.move_on_after(1):
            await ref.call(Async.slow_echo, 2, 2)
        told = [await me.receive(timeout=10) for _ in range(4)]
        assert told == ["begun", "done"] * 2
        assert await ref.call(Async.echo, 3) == 3
        assert not me.queue


class Consumer(Actor):
    """Keeps what comes, as slowly as it is told to."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.seen: list[Any] = []

    async def on_message(self, message: Any) -> None:
        self.seen.append(message)
        await trio.sleep(self.pause)

    async def history(self) -> list[Any]:
        return self.seen


async def test_act_s17_slow_consumer_lags(autojump_clock: VirtualClock, node: Abroad) -> None:
    """act-S17: given a fan-out stream, when a consumer lags, then it gets Lagged and continues; the others,
    and the publisher, do not notice.
    """
    quick, slow = [await node.far.spawn(Consumer, pause, mailbox=Mailbox(8, "lag")) for pause in (0, 100)]
    node.far.scope("prices").join("tea", quick, slow)
    await settled()
    began = trio.current_time()
    for price in range(200):
        for subscriber in node.home.scope("prices").members("tea"):
            subscriber.send(price)
        if price % 4 == 0:
            await settled()
    assert trio.current_time() == began
    await trio.sleep(2000)
    assert await quick.call(Consumer.history) == list(range(200))
    # One was in hand when the others came, of which the mailbox keeps seven behind the notice.
    assert await slow.call(Consumer.history) == [0, Lagged(192), *range(193, 200)]
    for subscriber in node.home.scope("prices").members("tea"):
        subscriber.send("goes on")
    await trio.sleep(200)
    assert (await slow.call(Consumer.history))[-1] == "goes on"


async def test_act_s17_lagged_travels(autojump_clock: VirtualClock, node: Abroad) -> None:
    """act-S17: a consumer on another node than its mailbox's owner can be told of the lag, too."""

    async def relay(me: Process, to: Any) -> None:
        while True:
            to.send(await me.receive())
            await trio.sleep(100)

    async with node.mailbox() as me:
        ref = await node.spawn(relay, me.ref, mailbox=Mailbox(3, "lag"))
        await settled()
        for number in range(10):
            ref.send(number)
            await settled()
        assert [await me.receive(timeout=200) for _ in range(4)] == [0, Lagged(7), 8, 9]


async def test_bulk_does_not_hold_up_others(autojump_clock: VirtualClock, node: Abroad) -> None:
    """Given much to carry, in both directions at once, then all of it arrives, in order, and a call
    in the middle of it is answered.
    """
    size, count = 50_000, 60
    block = b"x" * size

    async def source(me: Process) -> None:
        target = await me.receive()
        for number in range(count):
            await target.send_wait((number, block))

    async with node.mailbox() as me:
        sink = await node.spawn(Consumer, 0)
        (await node.spawn(source)).send(me.ref)
        for number in range(count):
            await sink.send_wait((number, block))
            if number == count // 2:
                assert await sink.within(100).call(Consumer.history) is not None
        assert [await me.receive(timeout=100) for _ in range(count)] == [(n, block) for n in range(count)]
        assert [number for number, _ in await sink.within(100).call(Consumer.history)] == list(range(count))


async def test_act_s10_stream_that_breaks(autojump_clock: VirtualClock, node: Abroad) -> None:
    """act-S10: given the connection breaks in a stream, then an error on both sides, bounded."""
    consumer = await node.spawn(Consumer, 0)
    publisher = await node.home.spawn(Consumer, 0, name="publisher")
    async with node.home.mailbox() as here, node.far.mailbox() as there:
        here.monitor(consumer)
        there.monitor(node.far.remote("publisher", node.home.full_name))
        await settled()
        for number in range(1000):
            consumer.send(number)
            if number == 500:
                node.home.distribution.disconnect(node.far.full_name)
        assert (await here.receive(Down, timeout=5)).reason == NO_CONNECTION
        assert (await there.receive(Down, timeout=5)).reason == NO_CONNECTION
    publisher.exit(KILL)
