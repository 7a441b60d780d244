"""Pools with a rate limit, in virtual time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Node, Pool, ProcessDied, RateLimit, Ref, StartError, Worker
from enfilade.actors.patterns.pool import JobDiscarded, Routing
from enfilade.actors.patterns.rate_limit import LeakyBucket

pytest_plugins = ["enfilade.actors.testing.plugin"]

ROUTINGS: list[Routing] = ["any", "round_robin", "key", "sticky"]


class Clerk(Worker):
    """Notes when it began which job, and works for as long as the job says."""

    def __init__(self, begun: list[tuple[float, Any]], seconds: float = 0.0) -> None:
        self.begun = begun
        self.seconds = seconds

    async def work(self, job: Any) -> Any:
        self.begun.append((round(trio.current_time(), 6), job))
        await trio.sleep(self.seconds)
        return job


class QuickClerk(Worker):
    """The same without a task."""

    def __init__(self, begun: list[tuple[float, Any]]) -> None:
        self.begun = begun

    def work(self, job: Any) -> Any:
        self.begun.append((round(trio.current_time(), 6), job))
        return job


@pytest.mark.parametrize("rate", [0.1, 1 / 3, 1, 7, 1000])
@pytest.mark.parametrize("burst", [1, 2, 10])
def test_bucket_never_runs_over(rate: float, burst: int) -> None:
    """In any stretch of time no more units are poured than `burst`, and what has leaked meanwhile."""
    bucket = LeakyBucket(RateLimit(rate, burst))
    now = 1e6
    poured: list[float] = []
    while len(poured) < 200:
        seconds = bucket.pour(now)
        if seconds:
            now += seconds
        else:
            poured.append(now)
    for first in range(0, 200, 7):
        for last in range(first, 200, 13):
            stretch = poured[last] - poured[first]
            assert last - first + 1 <= burst + rate * stretch + 1e-3
    assert poured[-1] - poured[0] == pytest.approx((200 - burst) / rate, rel=1e-4)


def test_a_timer_may_fire_a_little_early() -> None:
    """What a float loses is no reason to wait again."""
    bucket = LeakyBucket(RateLimit(10.0))
    assert bucket.pour(0.0) == 0.0
    assert bucket.pour(0.1 - 1e-12) == 0.0
    assert bucket.pour(0.2 - 1e-6) > 0.0


@pytest.mark.parametrize("kind", [Clerk, QuickClerk])
@pytest.mark.parametrize("routing", ROUTINGS)
async def test_jobs_begin_at_the_rate(
    autojump_clock: MockClock, node: Node, kind: type[Worker], routing: Routing
) -> None:
    """A burst begins at once, the others one after the other, in the order in which they were submitted."""
    begun: list[tuple[float, Any]] = []
    pool: Ref[Pool] = await node.spawn(
        Pool, kind, begun, size=3, routing=routing, rate_limit=RateLimit(2, burst=2)
    )
    async with node.mailbox() as me:
        start = trio.current_time()
        requests = [me.request(pool, Pool.submit, number, number % 4) for number in range(8)]
        assert [await request.receive(60) for request in requests] == list(range(8))
        begun.sort()  # trio lets tasks of one moment run in any order
        times = [moment - start for moment, _ in begun]
        assert times == pytest.approx([0, 0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0], abs=1e-4)
        assert [job for _, job in begun] == list(range(8))
        statistics = await pool.call(Pool.statistics)
        assert (statistics.completed, statistics.queued, statistics.discarded) == (8, 0, 0)
        assert statistics.delayed >= 4
        await trio.sleep(60)  # the bucket is empty again
        start = trio.current_time()
        begun.clear()
        for number in range(3):
            pool.cast(Pool.submit, number)
        await trio.sleep(1)
        assert [moment - start for moment, _ in begun] == pytest.approx([0, 0, 0.5], abs=1e-4)


async def test_slow_workers_are_not_delayed(autojump_clock: MockClock, node: Node) -> None:
    """Where the workers are the bottleneck, the rate delays nobody."""
    begun: list[tuple[float, Any]] = []
    pool = await node.spawn(Pool, Clerk, begun, 1.0, size=1, rate_limit=RateLimit(10))
    async with node.mailbox() as me:
        requests = [me.request(pool, Pool.submit, number) for number in range(3)]
        start = trio.current_time()
        for request in requests:
            await request.receive(60)
        assert trio.current_time() - start == pytest.approx(3.0, abs=1e-4)
    assert (await pool.call(Pool.statistics)).delayed == 0


async def test_given_up_while_waiting_for_the_rate(autojump_clock: MockClock, node: Node) -> None:
    """A job that its submitter gives up costs nothing of the rate, and is never begun."""
    begun: list[tuple[float, Any]] = []
    pool = await node.spawn(Pool, QuickClerk, begun, size=2, rate_limit=RateLimit(1))
    async with node.mailbox() as me:
        start = trio.current_time()
        requests = [me.request(pool, Pool.submit, number) for number in range(4)]
        await wait_all_tasks_blocked()
        requests[1].cancel()
        with trio.move_on_after(0.5):
            await requests[2].receive(60)
        assert await requests[3].receive(60) == 3
        assert trio.current_time() - start == pytest.approx(1.0, abs=1e-4)
        assert [job for _, job in begun] == [0, 3]
        statistics = await pool.call(Pool.statistics)
        assert (statistics.discarded, statistics.queued) == (2, 0)


@pytest.mark.parametrize(("discard", "lost"), [("newest", 3), ("oldest", 1)])
async def test_full_queue(autojump_clock: MockClock, node: Node, discard: Any, lost: int) -> None:
    """Jobs that wait for the rate are bounded as all that wait are."""
    begun: list[tuple[float, Any]] = []
    pool = await node.spawn(
        Pool, QuickClerk, begun, size=2, queue_limit=2, discard=discard, rate_limit=RateLimit(1)
    )
    async with node.mailbox() as me:
        requests = [me.request(pool, Pool.submit, number) for number in range(4)]
        with pytest.raises(JobDiscarded):
            await requests[lost].receive(0.1)
        for number in {0, 1, 2, 3} - {lost}:
            assert await requests[number].receive(60) == number


async def test_drain_and_resize(autojump_clock: MockClock, node: Node) -> None:
    """A pool that drains does what waits at its rate; one that shrinks loses nothing."""
    begun: list[tuple[float, Any]] = []
    pool = await node.spawn(Pool, QuickClerk, begun, size=4, routing="round_robin", rate_limit=RateLimit(1))
    start = trio.current_time()
    for number in range(5):
        pool.cast(Pool.submit, number)
    await pool.call(Pool.resize, 1)
    await pool.within(60).call(Pool.drain)
    assert [job for _, job in begun] == list(range(5))
    assert trio.current_time() - start == pytest.approx(4.0, abs=1e-4)
    await wait_all_tasks_blocked()
    assert node.statistics().processes == 2  # the pool, and the one worker that it has left


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("rate_limit", [None, RateLimit(1)])
@pytest.mark.parametrize("order", ["kill, submit", "submit, kill"])
async def test_job_that_no_worker_began(
    autojump_clock: MockClock, node: Node, routing: Routing, rate_limit: RateLimit | None, order: str
) -> None:
    """A job whose worker is killed before it has begun is done by the next one, at no cost to the rate."""
    begun: list[tuple[float, Any]] = []
    pool = await node.spawn(Pool, QuickClerk, begun, size=1, routing=routing, rate_limit=rate_limit)
    killer = await node.spawn(Killer)
    await trio.sleep(1)
    (worker,) = [process for process in node.processes.values() if process.parent == pool]
    async with node.mailbox() as me:
        start = trio.current_time()
        if order == "kill, submit":
            worker.ref.exit(KILL)
        requests = [me.request(pool, Pool.submit, number, "key") for number in range(2)]
        if order == "submit, kill":
            killer.cast(Killer.kill, worker.ref)  # its turn comes after the pool's and before the worker's
        assert [await request.receive(60) for request in requests] == [0, 1]
        assert begun == [(start, 0), (start + (rate_limit is not None), 1)]
        statistics = await pool.call(Pool.statistics)
        assert (statistics.completed, statistics.replaced, statistics.queued) == (2, 1, 0)


async def test_job_that_was_begun(autojump_clock: MockClock, node: Node) -> None:
    """A job that its worker had begun is lost with it: nobody knows how much of it was done."""
    begun: list[tuple[float, Any]] = []
    pool = await node.spawn(Pool, Clerk, begun, 1.0, size=1)
    async with node.mailbox() as me:
        request = me.request(pool, Pool.submit, 0)
        await trio.sleep(0.5)
        (worker,) = [process for process in node.processes.values() if process.parent == pool]
        worker.ref.exit(KILL)
        with pytest.raises(ProcessDied):
            await request.receive(60)
    assert len(begun) == 1


class Killer(Actor):
    """Kills what it is told to."""

    def kill(self, ref: Ref[Any]) -> None:
        self.process.exit(ref, KILL)


class HostileKey:
    """A key that cannot be compared, and has the hash of every other."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise LookupError("detached")

    def __repr__(self) -> str:
        raise LookupError("detached")


@pytest.mark.parametrize("routing", ["key", "sticky"])
async def test_keys_that_cannot_be_compared(autojump_clock: MockClock, node: Node, routing: Routing) -> None:
    """The key of one submitter harms nobody else's job."""
    begun: list[tuple[float, Any]] = []
    pool = await node.spawn(Pool, Clerk, begun, 1.0, size=1, routing=routing)
    async with node.mailbox() as me:
        keys = [HostileKey(), 1, HostileKey(), 1]
        requests = [me.request(pool, Pool.submit, number, key) for number, key in enumerate(keys)]
        assert [await request.receive(60) for request in requests] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rate", "burst", "named"),
    [
        (0, 1, "rate"),
        (-1, 1, "rate"),
        (math.inf, 1, "rate"),
        (math.nan, 1, "rate"),
        ("1", 1, "rate"),
        (1, 0, "burst"),
        (1, 1.5, "burst"),
        (1, True, "burst"),
    ],
)
def test_bad_limits(rate: Any, burst: Any, named: str) -> None:
    """A limit that makes no sense is refused with the name of the field."""
    with pytest.raises(ValueError, match=named):
        RateLimit(rate, burst)


async def test_limit_of_another_kind(node: Node) -> None:
    """A bare number is no limit."""
    with pytest.raises(StartError, match="rate_limit"):
        await node.spawn(Pool, QuickClerk, [], size=1, rate_limit=5)
