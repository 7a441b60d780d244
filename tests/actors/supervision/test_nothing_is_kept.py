"""Supervisors, pools and nodes keep nothing of children and jobs that are gone."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Child,
    DynamicSupervisor,
    Mailbox,
    Node,
    Pool,
    ProcessDied,
    RateLimit,
    RequestCollection,
    Supervisor,
    TaskSupervisor,
    Worker,
    async_nolink,
)

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Large:
    """What must not be kept."""


class Keeper:
    """Hands out objects, and tells how many of them there still are."""

    def __init__(self) -> None:
        self.refs: list[weakref.ref[Large]] = []

    def make(self) -> Large:
        made = Large()
        self.refs.append(weakref.ref(made))
        return made

    def left(self) -> int:
        gc.collect()
        return sum(ref() is not None for ref in self.refs)


class Member(Actor):
    """Holds something, and may crash with it."""

    def __init__(self, keeper: Keeper, *_: Any) -> None:
        self.held = keeper.make()

    def crash(self, value: Any) -> None:
        raise LookupError("the frame has the value")


class AsyncMember(Member):
    """The same with a task."""

    async def crash(self, value: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("the frame has the value")


MEMBERS = pytest.mark.parametrize("kind", [Member, AsyncMember])


@MEMBERS
@pytest.mark.parametrize("end", ["crash", "kill", "stop"])
@pytest.mark.parametrize("heard", [False, True])
async def test_dynamic_children(
    autojump_clock: MockClock, node: Node, kind: type[Member], end: str, heard: bool
) -> None:
    """Children that have ended for good leave nothing: neither arguments, nor state, nor a last message."""
    keeper = Keeper()
    async with node.mailbox() as me:
        if heard:
            node.child_events.subscribe(me.ref)
        supervisor = await node.spawn(DynamicSupervisor, Child(kind, keeper, restart="temporary"))
        for _ in range(5):
            ref = await supervisor.call(DynamicSupervisor.start_from_template, keeper.make())
            assert ref is not None
            if end == "crash":
                ref.cast(kind.crash, keeper.make())  # type: ignore[union-attr]
            elif end == "kill":
                ref.exit(KILL)  # type: ignore[union-attr]
            else:
                await ref.stop()  # type: ignore[union-attr]
            await wait_all_tasks_blocked()
        if heard:
            while me.queue:
                await me.receive()
        del ref
        body = supervisor._process.body  # type: ignore[attr-defined]
        assert len(list(body.strategy.children)) == 0
        assert keeper.left() == 0


@MEMBERS
async def test_restarted_children(autojump_clock: MockClock, node: Node, kind: type[Member]) -> None:
    """Of a child that was restarted often, only the present incarnation is left."""
    keeper = Keeper()
    child = Child(kind, keeper, name="it", mailbox=Mailbox(inherit=True))
    await node.spawn(Supervisor, [child], intensity=10)
    old = node.whereis("it")
    for _ in range(5):
        with pytest.raises(ProcessDied):
            await node.named("it").call(kind.crash, keeper.make())
        await wait_all_tasks_blocked()
    assert keeper.left() == 1
    assert old is not None
    assert old._process.extras_or_none is None  # type: ignore[attr-defined]


class Clerk(Worker):
    """Does its job, or fails with it."""

    def work(self, job: Any) -> Any:
        if type(job) is tuple:
            raise RuntimeError("the frame has the job")
        return job


class AsyncClerk(Clerk):
    """The same with a task."""

    async def work(self, job: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super().work(job)


@pytest.mark.parametrize("kind", [Clerk, AsyncClerk])
@pytest.mark.parametrize("routing", ["any", "key", "sticky"])
@pytest.mark.parametrize("rate_limit", [None, RateLimit(10)])
async def test_pool(
    autojump_clock: MockClock, node: Node, kind: type[Clerk], routing: Any, rate_limit: Any
) -> None:
    """A pool keeps nothing of jobs that were done, failed, discarded or given up, and none of their keys."""
    keeper = Keeper()
    pool = await node.spawn(
        Pool,
        kind,
        size=2,
        routing=routing,
        queue_limit=4,
        stuck_after=60,
        rate_limit=rate_limit,
        intensity=100,
    )
    async with node.mailbox() as me:
        requests = []
        for number in range(10):
            job: Any = keeper.make()
            key = None if routing == "any" else keeper.make()
            requests.append(me.request(pool, Pool.submit, (job,) if number % 3 == 0 else job, key))
            del job, key
        await wait_all_tasks_blocked()
        requests[3].cancel()
        await trio.sleep(20)
        requests.clear()
        pool_actor = pool._process.actor  # type: ignore[attr-defined]
        assert not pool_actor._pool_holders
        await pool.call(Pool.statistics)
        assert keeper.left() == 0


async def test_tasks(autojump_clock: MockClock, node: Node) -> None:
    """A task supervisor keeps nothing of tasks that are over."""
    keeper = Keeper()

    async def run(value: Any, crash: bool) -> Any:
        if crash:
            raise LookupError("the frame has the value")
        return value

    supervisor = await node.spawn(TaskSupervisor)
    for crash in (False, True):
        task = await async_nolink(supervisor, run, keeper.make(), crash)
        await task.outcome()
        del task
    async with node.mailbox() as me:
        me.ref.send(None)  # in debug mode, what was passed is looked at, and forgotten, with the next message
    await wait_all_tasks_blocked()
    assert keeper.left() == 0


async def test_collection(autojump_clock: MockClock, node: Node) -> None:
    """A request that was taken out of a collection is not kept by it, nor the collection by the request."""
    keeper = Keeper()

    class Echo(Actor):
        def echo(self, value: Any) -> Any:
            return value

    async with node.mailbox() as me:
        ref = await node.spawn(Echo)
        collection: RequestCollection[int] = RequestCollection()
        for _ in range(3):
            collection.add(me.request(ref, Echo.echo, keeper.make()), 1)
        for _ in range(3):
            await collection.wait(1)
        await ref.call(Echo.echo, None)
        assert keeper.left() == 0
