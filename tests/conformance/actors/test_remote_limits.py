"""How much one peer may ask of a node, and what asking for more comes to: never more than a refusal.

Two nodes on the memory carrier, in virtual time. The policy of b limits what a may do.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    NO_CONNECTION,
    NO_PROCESS,
    Actor,
    CallTimeout,
    Custom,
    Down,
    Node,
    Ref,
    Refused,
    open_node,
)
from enfilade.transport import Limits, Policy, Settings
from enfilade.transport.memory_carrier import MemoryCarrier, MemoryNetwork
from enfilade.transport.outward import FrameTooLarge
from enfilade.transport.wire import FRAME_LIMIT
from tests.conformance.actors.subjects import idle
from tests.conformance.actors.town import Account, settle


class Giver(Actor):
    """Hands out refs."""

    def __init__(self) -> None:
        self.given: list[Ref[Any]] = []

    async def new(self) -> Ref[Any]:
        self.given.append(await self.process.spawn(idle))
        return self.given[-1]

    async def end(self, number: int) -> None:
        self.given[number].exit(KILL)

    async def link_to(self, ref: Ref[Any]) -> str:
        try:
            self.process.link(ref)
        except Refused as refused:
            return str(refused)
        return "linked"


@asynccontextmanager
async def limited(**limits: Any) -> AsyncIterator[tuple[Node, Node, MemoryCarrier]]:
    """Two nodes and the carrier of the one that is limited."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", ends="*", entries="*", groups="*", limits=Limits(**limits))
    carrier = network.carrier("a")
    async with (
        open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy, entries={"it": idle}) as b,
        open_node("a", carrier=carrier, policy=Policy.same_user(exports="*", ends="*", groups="*")) as a,
    ):
        await a.connect("/b")
        await settle()
        yield a, b, carrier


async def test_one_ref_too_many_is_refused(autojump_clock: object) -> None:
    """Whatever would hand out one ref too many is refused; the callee lives, and nothing is left over."""
    async with limited(references=3) as (a, b, _):
        await b.spawn(Giver, name="giver")
        giver = await a.whereis_on("b@local", "giver")
        assert giver is not None
        held = [await giver.call(Giver.new) for _ in range(2)]
        with pytest.raises(Refused, match="holds 3 refs of this node, which is the limit"):
            await giver.call(Giver.new)
        assert len(b.processes) == 4
        await b.spawn(idle, name="another")
        with pytest.raises(Refused, match="the limit"):
            await a.whereis_on("b@local", "another")
        with pytest.raises(Refused, match="the limit"):
            await a.spawn_on("b@local", "it")
        await settle()
        assert len(b.processes) == 5, "the one that could not be told of is gone"
        # What goes by name needs no ref; nor does an exit signal.
        async with a.mailbox() as me:
            me.trap_exits = True
            me.monitor(held[0])
            b.whereis("another").send(1)  # type: ignore[union-attr]
            assert await giver.call(Giver.link_to, me.ref) == "linked"
            await settle()
            assert list(me.links or ()) == [giver], "the link stands, and nothing has ended it"
            assert not me.queue
        b.scope("g").join("g", b.whereis("another"))  # type: ignore[arg-type]
        await settle()
        assert a.scope("g").members("g") == []
        # A dead one makes room.
        await giver.call(Giver.end, 0)
        await settle()
        assert await giver.call(Giver.new) not in held


async def test_links_need_a_ref(autojump_clock: object) -> None:
    """A link hands out the ref of who links; one too many is refused, and there is no half of a link."""
    async with limited(references=1) as (a, b, _):
        held = await a.spawn_on("b@local", "it")
        theirs = await a.spawn(idle, name="theirs")
        giver = await b.spawn(Giver)
        at_b = await b.whereis_on("a@local", "theirs")
        assert at_b is not None
        assert "the limit" in await giver.call(Giver.link_to, at_b)
        assert not giver._process.links  # type: ignore[attr-defined]
        at_b.exit(Custom("it goes without"))
        await settle()
        assert theirs not in [process.ref for process in a.processes.values()]
        held.exit(KILL)


async def test_open_calls_and_monitors(autojump_clock: object) -> None:
    """The call beyond the limit is refused at once, the monitor answered as if nobody were there."""
    async with limited(pending=3) as (a, b, _):
        await b.spawn(Account, name="account")
        account: Ref[Account] = a.remote("account", "b@local").within(5)
        outcomes: list[type] = []

        async def call() -> None:
            try:
                await account.call(Account.wait)
            except (Refused, CallTimeout) as error:
                outcomes.append(type(error))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        assert outcomes == [Refused, Refused, CallTimeout, CallTimeout, CallTimeout]
        async with a.mailbox() as me:
            monitors = [me.monitor(account) for _ in range(5)]
            for monitor in monitors[3:]:
                assert await me.receive(timeout=1) == Down(monitor, account, NO_PROCESS)
            me.demonitor(monitors[0])
            me.monitor(account)
            await settle()
            assert not me.queue


async def test_spawns_under_way(autojump_clock: object) -> None:
    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(10)

    async with limited(pending=2) as (a, b, _):
        b.distribution.entries["it"] = Slow  # type: ignore[index]
        outcomes: list[object] = []

        async def start() -> None:
            try:
                outcomes.append(type(await a.spawn_on("b@local", "it")))
            except Refused as refused:
                outcomes.append(str(refused))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(start)
        assert outcomes[0] == "the limit of 2 spawns in progress is reached"
        assert len(b.processes) == 2


async def test_who_sends_too_fast_is_read_more_slowly(autojump_clock: object) -> None:
    """Who sends faster than it may is read more slowly, and loses nothing; who keeps to it is not."""
    async with limited(rate=100.0) as (a, b, _):
        await b.spawn(Account, name="account")
        account: Ref[Account] = a.remote("account", "b@local").within(1000)
        began = trio.current_time()
        for number in range(1000):
            account.send(number)
            if number % 100 == 0:
                await trio.sleep(0.001)
        assert await account.call(Account.history) == list(range(1000))
        assert 8 <= trio.current_time() - began <= 12
        await trio.sleep(2)
        began = trio.current_time()
        assert await account.call(Account.add, 1) == 1
        assert trio.current_time() - began < 0.5


async def test_who_sends_far_too_fast_is_not_taken_for_dead(autojump_clock: object) -> None:
    """Who is read slowly is heard late; that may take longer than the period after which silence is death."""
    async with limited(rate=10.0) as (a, b, _):
        await b.spawn(Account, name="account")
        account: Ref[Account] = a.remote("account", "b@local").within(1000)
        began = trio.current_time()
        for number in range(700):  # more than one turn takes in
            account.send(number)
        assert await account.call(Account.history) == list(range(700))
        assert await account.call(Account.add, 1) == 1
        assert 60 <= trio.current_time() - began <= 80


async def test_a_peer_that_takes_nothing_in_costs_no_more_than_its_backlog(autojump_clock: object) -> None:
    """A peer that takes nothing in costs so many bytes and no more: then the node link is over, and the
    sender, who never waits, is not held up.
    """
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", limits=Limits(backlog=100_000))
    carriers = {name: network.carrier(name) for name in "ab"}
    async with (
        open_node("b", carrier=carriers["b"], listen="/b", policy=Policy.same_user(exports="*")) as b,
        open_node("a", carrier=carriers["a"], policy=policy, settings=Settings(window=1000, period=1e6)) as a,
    ):
        await b.spawn(Account, name="account")
        await a.connect("/b")
        account = a.remote("account", "b@local")
        async with a.mailbox() as me:
            me.monitor(account)
            await settle()
            carriers["b"].freeze()
            for _ in range(3000):
                account.send("x" * 1000)
            assert (await me.receive(Down)).reason == NO_CONNECTION
        assert a.peers == ()
        carriers["b"].thaw()


@pytest.mark.parametrize("size", [FRAME_LIMIT - 1024, FRAME_LIMIT + 1024, 10**6])
async def test_frame_size(autojump_clock: object, size: int) -> None:
    """A payload may be long; what is not payload may not, and the node link does not suffer from it."""

    def named() -> None:
        """Stands for a method."""

    named.__name__ = named.__qualname__ = "m" * size
    async with limited() as (a, b, _):
        await b.spawn(Account, name="account")
        account: Ref[Any] = a.remote("account", "b@local")
        if size > FRAME_LIMIT:
            with pytest.raises(FrameTooLarge, match=f"a frame must have at most {FRAME_LIMIT} bytes, got"):
                account.cast(named)
            with pytest.raises(FrameTooLarge):
                await account.call(named)
            with pytest.raises(FrameTooLarge):
                await a.whereis_on("b@local", "n" * size)
            ledger = a.distribution._current["b@local"]._open  # type: ignore[attr-defined]
            assert not ledger.calls
            assert not ledger.asked
        else:
            account.cast(named)
        assert await account.call(Account.give, b"x" * size) == b"x" * size


async def test_numbers_that_make_no_limit() -> None:
    for wrong in (
        {"pending": 0},
        {"references": -1},
        {"backlog": 0},
        {"rate": 0.0},
        {"rate": -1.0},
        {"silence": 0.0},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be more than 0"):
            Limits(**wrong)  # type: ignore[arg-type]
