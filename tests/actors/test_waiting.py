"""What waits for a node that is being called: in the order of sending, within a bound, for one call alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from enfilade.actors import NO_CONNECTION, Actor, Down, Node, NotConnected, Ref, open_node
from enfilade.actors.messages import signals
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.trace_context import TraceContext
from enfilade.actors.messages.traced import Traced
from enfilade.actors.peers.named_node import NamedNode
from enfilade.actors.peers.waiting import WAITING_LIMIT, Waiting
from enfilade.transport import Policy, register
from enfilade.transport.memory_carrier import MemoryNetwork

MEBIBYTE = 1024 * 1024
MOST = WAITING_LIMIT // MEBIBYTE
"""Messages of a mebibyte that may wait: the last of them goes beyond the limit, and the next finds that."""

TOO_MUCH = r"\d+ bytes wait for b@\w+, which is being called; the limit is 67108864"

quiet = trio.testing.wait_all_tasks_blocked


class Met:
    """Stands for a node that has been met: notes what is delivered there."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def deliver(self, ref: Any, signal: signals.Signal) -> None:
        assert isinstance(signal, signals.Send)
        self.heard.append(signal.message)

    async def send_wait(self, ref: Any, message: Any) -> None:
        self.heard.append(message)


class Calls:
    """Calls of a node, each of which ends when it is told to."""

    def __init__(self) -> None:
        self.ends: list[trio.Event] = []
        self.trouble: dict[int, str] = {}

    async def begin(self) -> None:
        """Begin a call, and wait for its end."""
        number = len(self.ends)
        self.ends.append(trio.Event())
        await self.ends[number].wait()
        if number in self.trouble:
            raise NotConnected("b@west", self.trouble[number])

    async def end(self, number: int, trouble: str = "") -> None:
        """End a call, which then has failed if there was trouble."""
        if trouble:
            self.trouble[number] = trouble
        self.ends[number].set()
        await quiet()


class Meeter:
    """Meets a node by its name."""

    def __init__(self, node: Any, nursery: trio.Nursery) -> None:
        self.node = node
        self.start_soon = nursery.start_soon
        self.is_running = True
        self.calls = Calls()
        self.node_met = Met()

    def met(self, name: str) -> None:
        return None

    async def meet(self, name: str) -> Met:
        await self.calls.begin()
        return self.node_met


@asynccontextmanager
async def named(node: Node) -> AsyncIterator[tuple[Any, Meeter]]:
    """A node that is known by its name alone, and what meets it."""
    async with trio.open_nursery() as nursery:
        meeter = Meeter(node, nursery)
        yield NamedNode(meeter, "b@west"), meeter  # type: ignore[arg-type]
        nursery.cancel_scope.cancel()


async def test_send_wait_stays_behind_what_was_sent_before() -> None:
    async with open_node("a") as node, named(node) as (there, meeter), trio.open_nursery() as nursery:
        ref: Any = object()
        for number in range(3):
            there.deliver(ref, signals.Send(number))
        await quiet()
        nursery.start_soon(there.send_wait, ref, 3)
        await quiet()
        await meeter.calls.end(1)
        assert meeter.node_met.heard == [0, 1, 2, 3]
        await meeter.calls.end(0)
        there.deliver(ref, signals.Send(4))
        await quiet()
        await meeter.calls.end(2)
        assert meeter.node_met.heard == [0, 1, 2, 3, 4]


async def test_a_call_that_fails_late_fails_nothing_of_a_later_one() -> None:
    """It began before the node was met in another way, and that node link was lost meanwhile."""
    async with open_node("a") as node, named(node) as (there, meeter), trio.open_nursery() as nursery:
        ref: Any = node.ref
        there.deliver(ref, signals.Send("first"))
        await quiet()
        nursery.start_soon(there.send_wait, ref, "second")
        await quiet()
        await meeter.calls.end(1)
        there.deliver(ref, signals.Send("third"))
        await quiet()
        await meeter.calls.end(0, "no node b@west is in the mesh")
        assert node.dead_letters.count == 0
        there.deliver(ref, signals.Send("fourth"))
        await meeter.calls.end(2)
        assert meeter.node_met.heard == ["first", "second", "third", "fourth"]


async def test_too_much_for_a_node_that_is_known_by_its_name() -> None:
    """D4: all of it fails, and what comes next waits for the same call."""
    async with open_node("a") as node, named(node) as (there, meeter):
        ref: Any = node.ref
        call: Request[Any] = Request(node, ref, "method", (), {}, None)
        there.deliver(ref, call)
        for _ in range(MOST):
            there.deliver(ref, signals.Send(bytes(MEBIBYTE)))
        assert not call.settled
        assert node.dead_letters.count == 0
        there.deliver(ref, signals.Send("one too many"))
        assert node.dead_letters.count == MOST + 1
        with pytest.raises(NotConnected, match=TOO_MUCH):
            call.result()
        there.deliver(ref, signals.Send("next"))
        await quiet()
        await meeter.calls.end(0)
        assert meeter.node_met.heard == ["next"]
        assert len(meeter.calls.ends) == 1


class Account(Actor):
    """Somebody to talk to."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def history(self) -> list[Any]:
        return self.seen


@attrs.frozen
class Pair:
    """Two nodes that are not connected any more, so that the one calls the other on demand.

    Attributes:
        node: the one.
        account: a process of the other.
        calls: of the node, each of which waits to be ended.
        lose: ends the node link.
    """

    node: Node
    account: Ref[Account]
    calls: Calls
    lose: Callable[[], None]


@asynccontextmanager
async def opened_pair() -> AsyncIterator[Pair]:
    network, policy = MemoryNetwork(), Policy.same_user(exports="*")
    async with (
        open_node("a", carrier=network.carrier("a"), listen="/a", policy=policy) as a,
        open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy) as b,
    ):
        await b.spawn(Account, name="account")
        await a.connect("/b")
        account = await a.whereis_on("b@local", "account")
        assert account is not None
        calls, rendezvous = Calls(), a.distribution.rendezvous
        connect = rendezvous.connect

        async def connect_later(address: str) -> object:
            await calls.begin()
            return await connect(address)

        def lose() -> None:
            network.cut("a", "b")
            network.join("a", "b")

        lose()
        await trio.sleep(3)
        rendezvous.connect = connect_later
        yield Pair(a, account, calls, lose)
        rendezvous.connect = connect


@pytest.fixture
async def pair(autojump_clock: object) -> AsyncIterator[Pair]:
    async with opened_pair() as opened:
        yield opened


async def test_too_much_for_a_node_that_was_connected(pair: Pair, autojump_clock: object) -> None:
    """D4: the same holds; a monitor is told that there is no connection."""
    node, account = pair.node, pair.account
    async with node.mailbox() as me:
        request = me.request(account, Account.history)
        monitor = me.monitor(account)
        for _ in range(MOST):
            account.send(bytes(MEBIBYTE))
        assert node.dead_letters.count == 0
        account.send("one too many")
        assert node.dead_letters.count == MOST + 1
        assert await me.receive(Down, timeout=1) == Down(monitor, account, NO_CONNECTION)
        with pytest.raises(NotConnected, match=TOO_MUCH):
            request.result()
        account.send("next")
        await quiet()
        await pair.calls.end(0)
        assert await account.call(Account.history) == ["next"]
    assert len(pair.calls.ends) == 1


async def test_a_call_on_demand_that_fails_late_fails_nothing_of_a_later_one(
    pair: Pair, autojump_clock: object
) -> None:
    node, account = pair.node, pair.account
    account.send("first")
    await quiet()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.connect, "/b")
        await quiet()
        await pair.calls.end(1)
    pair.lose()
    await trio.sleep(3)
    account.send("second")
    await quiet()
    await pair.calls.end(0, "nothing is attached to '/b'")
    assert node.dead_letters.count == 0
    await pair.calls.end(2)
    assert await account.call(Account.history) == ["first", "second"]


async def test_what_waits_when_the_node_stops_is_answered(autojump_clock: object) -> None:
    """Also by a node that is known by its name alone."""
    async with open_node("a") as node, trio.open_nursery() as callers:
        request: Request[Any] = Request(node, node.ref, "method", (), {}, None)
        async with named(node) as (there, _):
            there.deliver(node.ref, request)
            await quiet()
        with pytest.raises(NotConnected, match="b@west was being called when this node stopped"):
            request.result()
        async with named(node) as (there, meeter):
            meeter.is_running = False
            there.deliver(node.ref, signals.Send("too late"))
            assert node.dead_letters.count == 1
        async with opened_pair() as pair:
            callers.start_soon(fail_to_call, pair.account)
            await quiet()


async def fail_to_call(account: Ref[Account]) -> None:
    with pytest.raises(NotConnected, match="its node is not connected"):
        await account.call(Account.history)


@register
@attrs.frozen
class Parcel:
    """A record that travels."""

    content: Any


LONG = bytes(MEBIBYTE)
CIRCLE: list[Any] = [LONG]
CIRCLE.append(CIRCLE)
CONTEXT = TraceContext(bytes(range(16)), bytes(range(8)))


HEAVY: dict[str, signals.Signal] = {
    "bytes": signals.Send(LONG),
    "bytearray": signals.Send(bytearray(LONG)),
    "view": signals.Send(memoryview(LONG)),
    "text": signals.Send("x" * MEBIBYTE),
    "integer": signals.Send(1 << 8 * MEBIBYTE),
    "numbers": signals.Send(list(range(MEBIBYTE // 64))),
    "list": signals.Send([LONG]),
    "circle": signals.Send(CIRCLE),
    "sets": signals.Send(({LONG}, frozenset())),
    "values": signals.Send({"a": {"b": LONG}}),
    "keys": signals.Send({LONG: 1}),
    "records": signals.Send(Parcel(Parcel(LONG))),
    "argument": signals.Cast("method", (LONG,), {}),
    "keyword": signals.Cast("method", (), {"a": LONG}),
    "traced": signals.Send(Traced(LONG, CONTEXT)),
    "traced cast": signals.Send(Traced(signals.Cast("method", (LONG,), {}), CONTEXT)),
}


@pytest.mark.parametrize("signal", HEAVY.values(), ids=HEAVY)
async def test_what_waits_is_weighed(signal: signals.Signal) -> None:
    """Wherever a signal has its bytes."""
    async with open_node("a") as node:
        waiting = Waiting(node, "b@west")
        waiting.open()
        waiting.add(node.ref, signal)  # type: ignore[arg-type]
        assert MEBIBYTE <= waiting.size < 1.2 * MEBIBYTE
        waiting.deliver(lambda ref, signal: None)
        assert waiting.size == 0


@pytest.mark.parametrize("count", [1, 1000])
async def test_many_small_ones_are_weighed_too(count: int) -> None:
    async with open_node("a") as node:
        waiting = Waiting(node, "b@west")
        waiting.open()
        released = memoryview(b"abc")
        released.release()
        strange: list[Any] = [None, 1, 0.5, "a", [1, 2], object(), released, type("Strange", (), {})()]
        for number in range(count):
            waiting.add(node.ref, signals.Send(strange[number % len(strange)]))  # type: ignore[arg-type]
        assert 200 * count <= waiting.size < 500 * count
