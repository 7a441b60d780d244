"""A caller that waits no longer harms nobody: its call may still be deferred, refused, forwarded, or dropped.

Clauses C8, C9 and C16 of docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Pool, Process, RateLimit, Ref, Worker, open_node, system
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

FAR = pytest.mark.parametrize("far", [False, True], ids=["near", "far"])


@asynccontextmanager
async def asking(
    target: Any, *args: Any, far: bool, **options: Any
) -> AsyncIterator[tuple[Process, Ref[Any], Ref[Any]]]:
    """Who asks a process of its own node, or of another one; the ref that it has, and the one at home."""
    network, policy = MemoryNetwork(), Policy.same_user(exports="*")
    async with (
        open_node("near", zone="a", carrier=network.carrier("near"), policy=policy, listen="/near") as near,
        open_node("home", zone="b", carrier=network.carrier("home"), policy=policy, listen="/home") as home,
    ):
        own: Any = await (home if far else near).spawn(target, *args, name="callee", **options)
        ref: Any = own
        if far:
            await near.connect("/home")
            ref = await near.whereis_on(home.full_name, "callee")
        async with near.mailbox() as me:
            yield me, ref, own


async def leave(me: Process, ref: Ref[Any], own: Ref[Any], method: Any, *args: Any) -> None:
    """Ask, and give up while the call lies in the mailbox."""
    await system.suspend(own)
    request = me.request(ref, method, *args)
    await trio.sleep(0.1)
    request.cancel()
    await trio.sleep(0.1)
    await system.resume(own)
    await trio.sleep(0.1)


class Forgiving(Actor):
    """Answers later, or refuses, whoever still waits."""

    def __init__(self) -> None:
        self.kept: Any = None

    def later(self) -> Any:
        self.kept = self.process.defer()
        return self.kept

    def refuses(self) -> Any:
        return self.process.refuse(LookupError("it is refused"))

    def who_left(self) -> Any:
        return None if self.kept is None else self.kept.given_up_by


class AsyncForgiving(Forgiving):
    async def later(self) -> Any:
        await trio.sleep(1)
        return super().later()

    async def refuses(self) -> Any:
        await trio.sleep(1)
        return super().refuses()


ACTORS = pytest.mark.parametrize("actor", [Forgiving, AsyncForgiving])


@FAR
@ACTORS
async def test_a_reply_that_is_deferred(autojump_clock: object, actor: type[Forgiving], far: bool) -> None:
    """C8, C16: the handler is not failed because its caller has left, and can see who has."""
    async with asking(actor, far=far) as (me, ref, own):
        await leave(me, ref, own, Forgiving.later)
        await trio.sleep(2)
        assert await ref.call(Forgiving.who_left) == me.ref


@FAR
async def test_a_caller_that_leaves_while_the_handler_waits(autojump_clock: object, far: bool) -> None:
    """C8: the handler defers the call when it goes on."""
    async with asking(AsyncForgiving, far=far) as (me, ref, _):
        with trio.move_on_after(0.5):
            await ref.call(Forgiving.later)
        request = me.request(ref, Forgiving.later)
        await trio.sleep(1)
        request.cancel()
        await trio.sleep(2)
        assert await ref.call(Forgiving.who_left) == me.ref


@FAR
@ACTORS
async def test_a_refusal(
    autojump_clock: object, caplog: pytest.LogCaptureFixture, actor: type[Forgiving], far: bool
) -> None:
    """C12: nobody is told, for there is nobody to tell; it is no cast whose refusal would be logged."""
    async with asking(actor, far=far) as (me, ref, own):
        await leave(me, ref, own, Forgiving.refuses)
        await trio.sleep(2)
        assert await ref.call(Forgiving.who_left) is None
    assert "refused" not in caplog.text


class Router(Actor):
    def __init__(self, to: Ref[Any], method: Any) -> None:
        self.to = to
        self.method = method

    def route(self, *args: Any) -> Any:
        deferred = self.process.defer()
        deferred.forward(self.to, self.method, *args)
        return deferred


@FAR
@pytest.mark.parametrize("hops", [1, 2])
async def test_a_call_that_was_forwarded(autojump_clock: object, hops: int, far: bool) -> None:
    """C9, C16: the callee at the end of the way learns that the caller has left, and who that was."""
    async with asking(Forgiving, far=far) as (me, ref, _):
        to, method = ref, Forgiving.later
        for _hop in range(hops):
            to, method = await me.node.spawn(Router, to, method), Router.route
        with trio.move_on_after(1):
            await to.call(Router.route)
        request = me.request(to, Router.route)
        await trio.sleep(1)
        assert await ref.call(Forgiving.who_left) is None
        request.cancel()
        await trio.sleep(1)
        assert await ref.call(Forgiving.who_left) == me.ref


async def test_a_call_that_two_nodes_pass_on(autojump_clock: object) -> None:
    """C9, D8: the callee on a third node learns of it, too. The second node stands for a caller that it has
    no number for, and the number of that caller is not taken for one of its own processes.
    """
    network, policy = MemoryNetwork(), Policy.same_user(exports="*")
    async with (
        open_node("a", carrier=network.carrier("a"), policy=policy, listen="/a") as a,
        open_node("b", carrier=network.carrier("b"), policy=policy, listen="/b") as b,
        open_node("c", carrier=network.carrier("c"), policy=policy, listen="/c") as c,
        a.mailbox() as me,
    ):
        await a.connect("/b")
        await b.connect("/c")
        own = await c.spawn(Forgiving, name="callee")
        there = await b.whereis_on(c.full_name, "callee")
        await b.spawn(Router, there, Forgiving.later, name="router")
        router = await a.whereis_on(b.full_name, "router")
        assert router is not None
        request = me.request(router, Router.route)
        await trio.sleep(1)
        assert await own.call(Forgiving.who_left) is None
        request.cancel()
        await trio.sleep(1)
        left = await own.call(Forgiving.who_left)
        assert (left.node_name, left.serial) == (b.full_name, 0)


class Notes(Worker):
    """Writes down what it does, and when."""

    def __init__(self, done: list[tuple[int, float]]) -> None:
        self.done = done

    def work(self, job: int) -> int:
        self.done.append((job, trio.current_time()))
        return job


@FAR
@pytest.mark.parametrize("routed", [False, True], ids=["straight", "routed"])
async def test_a_job_that_nobody_waits_for(autojump_clock: object, routed: bool, far: bool) -> None:
    """A pool does not begin it, however early or late it was given up, and it takes nothing of the rate."""
    done: list[tuple[int, float]] = []
    async with asking(Pool, Notes, done, far=far, size=1, rate_limit=RateLimit(1)) as (me, ref, own):
        to: Ref[Any] = await me.node.spawn(Router, ref, Pool.submit) if routed else ref
        method: Any = Router.route if routed else Pool.submit
        began = trio.current_time()
        await system.suspend(own)
        jobs = [me.request(to, method, number) for number in range(6)]
        await trio.sleep(0.1)
        for number in (1, 2):  # in the mailbox
            jobs[number].cancel()
        await trio.sleep(0.1)
        await system.resume(own)
        await trio.sleep(0.1)
        jobs[4].cancel()  # in the queue
        assert [await jobs[number].receive() for number in (0, 3, 5)] == [0, 3, 5]
        assert [(job, round(moment - began)) for job, moment in done] == [(0, 0), (3, 1), (5, 2)]
        statistics = await ref.call(Pool.statistics)
        assert (statistics.completed, statistics.discarded) == (3, 3)
