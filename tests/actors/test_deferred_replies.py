"""A deferred reply answers the call that it was made for, and no other. Clause C8 of docs/semantics.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, LiveResult, Process, Ref, open_node
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork


class Shares(Actor):
    """Has later callers wait for the answer to the first."""

    def __init__(self) -> None:
        self.waiting: Any = None
        self.own: Any = None

    def first(self) -> Any:
        self.waiting = self.process.defer()
        return self.waiting

    def second(self) -> Any:
        return self.waiting

    def mixes_up(self) -> Any:
        self.own = self.process.defer()
        return self.waiting

    def hands_on(self) -> Any:
        deferred = self.process.defer()
        deferred.reply(self.waiting)
        return deferred

    def finish(self) -> Any:
        self.waiting.reply("done")
        return self.waiting

    def usual(self) -> str:
        return "usual"


class AsyncShares(Shares):
    async def first(self) -> Any:
        await trio.lowlevel.checkpoint()
        return Shares.first(self)

    async def second(self) -> Any:
        await trio.lowlevel.checkpoint()
        return self.waiting


@asynccontextmanager
async def asking(actor: type[Shares], *, far: bool) -> AsyncIterator[tuple[Process, Ref[Any]]]:
    """Who asks an actor of its own node, or of another one."""
    network, policy = MemoryNetwork(), Policy.same_user(exports="*")
    async with (
        open_node("near", zone="a", carrier=network.carrier("near"), policy=policy, listen="/near") as near,
        open_node("home", zone="b", carrier=network.carrier("home"), policy=policy, listen="/home") as home,
    ):
        ref: Any = await (home if far else near).spawn(actor, name="shares")
        if far:
            await near.connect("/home")
            ref = await near.whereis_on(home.full_name, "shares")
        async with near.mailbox() as me:
            yield me, ref


@pytest.mark.parametrize("by_request", [False, True], ids=["by_call", "by_request"])
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("actor", [Shares, AsyncShares])
async def test_the_deferred_reply_of_another_call(
    autojump_clock: object, actor: type[Shares], far: bool, by_request: bool
) -> None:
    """Nobody would answer the second call: its caller hears of that at once; the first gets its answer."""
    async with asking(actor, far=far) as (me, ref):
        first = me.request(ref, actor.first)
        for method in (actor.second, actor.mixes_up, actor.finish):
            with pytest.raises(Exception, match=rf"{method.__name__} returned .* of another call"):
                await (me.request(ref, method).receive(2) if by_request else ref.within(2).call(method))
        assert await first.receive(2) == "done"
        assert await ref.call(actor.usual) == "usual"


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("actor", [Shares, AsyncShares])
async def test_a_deferred_reply_as_an_answer(autojump_clock: object, actor: type[Shares], far: bool) -> None:
    """It is no value."""
    async with asking(actor, far=far) as (me, ref):
        first = me.request(ref, actor.first)
        with pytest.raises(Exception, match="returned a deferred reply, which answers a call"):
            await ref.within(2).call(actor.hands_on)
        with pytest.raises(Exception, match="finish returned"):
            await ref.within(2).call(actor.finish)
        assert await first.receive(2) == "done"


async def test_the_error_names_both_methods() -> None:
    """The one that was called, and the one whose call was deferred."""
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Shares)
        first = me.request(ref, Shares.first)
        with pytest.raises(LiveResult, match=r"^Shares\.second returned .* of another call, first, which"):
            await ref.call(Shares.second)
        ref.cast(Shares.second)  # which nobody waits for
        with pytest.raises(LiveResult):
            await ref.call(Shares.finish)
        assert await first.receive(1) == "done"
