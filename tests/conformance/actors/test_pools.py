"""Worker pools: conformance group Q, and what follows from it."""

from collections import defaultdict
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import (
    KILL,
    SHUTDOWN,
    Actor,
    Crashed,
    Custom,
    Down,
    Exit,
    Ignore,
    Node,
    Process,
    ProcessDied,
    Ref,
    Request,
    StartError,
    open_node,
    system,
)
from enfilade.actors.patterns.pool import JobDiscarded, Pool, PoolDraining, Worker


class Clerk(Worker):
    """Finishes a job when told to, and remembers who did what, in which order."""

    def __init__(self, gates: dict[Any, trio.Event], done: list[tuple[int, Any]]) -> None:
        self.gates = gates
        self.done = done

    async def work(self, job: Any) -> Any:
        if job == "crash":
            raise RuntimeError("on purpose")
        await self.gates[job].wait()
        self.done.append((self.process.serial, job))
        return job


class Office:
    """A pool of clerks whose jobs end when the test says so."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.gates: dict[Any, trio.Event] = defaultdict(trio.Event)
        self.done: list[tuple[int, Any]] = []

    async def open(self, **options: Any) -> Ref[Pool]:
        return await self.node.spawn(Pool, Clerk, self.gates, self.done, **options)

    async def finish(self, *jobs: Any) -> None:
        for job in jobs:
            self.gates[job].set()
        await trio.testing.wait_all_tasks_blocked()

    def workers_of(self, *jobs: Any) -> set[int]:
        return {worker for worker, job in self.done if job in jobs}


async def submit(me: Any, pool: Ref[Pool], job: Any, key: Any = None) -> Request[Any]:
    request: Request[Any] = me.request(pool, Pool.submit, job, key)
    await trio.testing.wait_all_tasks_blocked()
    return request


async def test_a_job_is_answered_with_what_the_worker_returns() -> None:
    class Doubler(Worker):
        def work(self, job: int) -> int:
            return 2 * job

    async with open_node("n") as node:
        pool = await node.spawn(Pool, Doubler, size=2)
        assert [await pool.call(Pool.submit, n) for n in range(5)] == [0, 2, 4, 6, 8]


async def test_round_robin_gives_every_worker_its_turn() -> None:
    async with open_node("n") as node:
        office = Office(node)
        pool = await office.open(size=3, routing="round_robin")
        for number in range(6):
            pool.cast(Pool.submit, number)
        await office.finish(*range(6))
        by_worker: dict[int, list[int]] = defaultdict(list)
        for worker, job in office.done:
            by_worker[worker].append(job % 3)
        assert sorted(set(jobs).pop() for jobs in by_worker.values()) == [0, 1, 2]
        assert all(len(set(jobs)) == 1 and len(jobs) == 2 for jobs in by_worker.values())


async def test_act_q2_a_key_goes_to_the_same_worker_every_time() -> None:
    async with open_node("n") as node:
        office = Office(node)
        pool = await office.open(size=4, routing="key")
        jobs = [(key, number) for number in range(5) for key in "abcd"]
        for job in jobs:
            pool.cast(Pool.submit, job, job[0])
        await office.finish(*jobs)
        for key in "abcd":
            assert len({worker for worker, job in office.done if job[0] == key}) == 1
            assert [job[1] for _, job in office.done if job[0] == key] == list(range(5))


async def test_act_q3_a_sticky_key_waits_for_the_worker_that_has_it() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=2, routing="sticky")
        first = await submit(me, pool, "k1", "k")
        second = await submit(me, pool, "k2", "k")
        other = await submit(me, pool, "o1", "o")
        await office.finish("k2", "o1")
        assert other.check()
        assert not second.check(), "the free worker must not take a job of a key in flight"
        await office.finish("k1")
        assert first.check()
        assert second.check()
        assert len(office.workers_of("k1", "k2")) == 1


async def test_act_q4_a_full_queue_discards_the_newest() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1, queue_limit=2, discard="newest")
        requests = [await submit(me, pool, number) for number in range(4)]
        with pytest.raises(JobDiscarded) as caught:
            requests[3].result()
        assert caught.value.job == 3
        await office.finish(*range(4))
        assert [request.result() for request in requests[:3]] == [0, 1, 2]
        assert (await pool.call(Pool.statistics)).discarded == 1


async def test_act_q4_a_full_queue_discards_the_oldest() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1, queue_limit=2, discard="oldest")
        requests = [await submit(me, pool, number) for number in range(4)]
        with pytest.raises(JobDiscarded):
            requests[1].result()
        await office.finish(*range(4))
        assert [requests[n].result() for n in (0, 2, 3)] == [0, 2, 3]


async def test_act_q6_a_draining_pool_finishes_what_it_has_and_refuses_more() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1)
        requests = [await submit(me, pool, number) for number in range(3)]
        drained = me.request(pool, Pool.drain)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(PoolDraining):
            await pool.call(Pool.submit, "late")
        assert not drained.check()
        await office.finish(*range(3))
        assert [request.result() for request in requests] == [0, 1, 2]
        assert await drained.receive() is None


async def test_act_q7_shrinking_keeps_pending_jobs_with_their_worker_and_in_order() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=4, routing="key")
        jobs = [(key, number) for key in range(8) for number in range(3)]
        requests = [await submit(me, pool, job, job[0]) for job in jobs]
        await pool.call(Pool.resize, 1)
        late = await submit(me, pool, (7, 3), 7)
        await office.finish(*jobs, (7, 3))
        assert all(request.check() for request in [*requests, late])
        for key in range(8):
            assert [job[1] for _, job in office.done if job[0] == key] == list(range(3 + (key == 7)))
            assert len({worker for worker, job in office.done if job[0] == key}) == 1
        assert (await pool.call(Pool.statistics)).size == 1


async def test_act_q7_growing_puts_new_workers_to_the_waiting_jobs() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1)
        for number in range(3):
            await submit(me, pool, number)
        await pool.call(Pool.resize, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert (await pool.call(Pool.statistics)).busy == 3


async def test_act_q8_a_stuck_worker_is_killed_and_replaced(autojump_clock: Any) -> None:
    async with open_node("n") as node:
        office = Office(node)
        pool = await office.open(size=1, stuck_after=2.0)
        started = trio.current_time()
        with pytest.raises(ProcessDied):
            await pool.within(60).call(Pool.submit, "never")
        assert trio.current_time() - started == pytest.approx(2.0)
        office.gates["next"].set()
        assert await pool.call(Pool.submit, "next") == "next"
        assert (await pool.call(Pool.statistics)).replaced == 1


async def test_a_worker_that_has_unlinked_its_pool_is_replaced_once() -> None:
    """A worker hurts only itself: the pool hears of its end by a monitor, too."""

    class Deserter(Worker):
        def work(self, job: str) -> int:
            for linked in list(self.process.links):
                if job == "desert":
                    self.process.unlink(linked)
            if job != "number":
                raise RuntimeError("on purpose")
            return self.process.serial

    async with open_node("n") as node:
        pool = await node.spawn(Pool, Deserter, size=1)
        for replaced, job in enumerate(("desert", "crash", "desert"), 1):
            with pytest.raises(ProcessDied):
                await pool.call(Pool.submit, job)
            assert await pool.call(Pool.submit, "number") > 0
            assert (await pool.call(Pool.statistics)).replaced == replaced


@pytest.mark.parametrize("routing", ["any", "round_robin", "key", "sticky"])
async def test_a_crash_costs_only_the_job_at_hand(routing: Any) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1, routing=routing)
        crashing = me.request(pool, Pool.submit, "crash", "k")
        waiting = [me.request(pool, Pool.submit, number, "k") for number in range(3)]
        await office.finish(0, 1, 2)
        assert [request.result() for request in waiting] == [0, 1, 2]
        with pytest.raises(ProcessDied):
            crashing.result()


async def test_too_many_replacements_end_the_pool() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1, intensity=2, period=10.0)
        monitor = me.monitor(pool)
        for _ in range(3):
            pool.cast(Pool.submit, "crash")
        down = await me.receive()
        assert down.monitor is monitor
        assert down.reason.is_normal


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": 1, "routing": "best"},
        {"size": 1, "queue_limit": -1},
        {"size": 1, "stuck_after": 0},
        {"size": True},
        {"size": "1"},
        {"size": 10**20},
        {"size": 1, "routing": ["any"]},
        {"size": 1, "discard": "all"},
        {"size": 1, "queue_limit": 1.5},
        {"size": 1, "queue_limit": "1"},
        {"size": 1, "stuck_after": "1"},
        {"size": 1, "stuck_after": float("nan")},
        {"size": 1, "rate_limit": 3},
        {"size": 1, "intensity": -1},
        {"size": 1, "period": 0},
        {"size": 1, "period": "5"},
    ],
)
async def test_bad_arguments_are_named(options: dict[str, Any]) -> None:
    async with open_node("n") as node:
        with pytest.raises(StartError, match=list(options)[-1]) as failed:
            await node.spawn(Pool, Worker, **options)
        assert isinstance(failed.value.reason, Crashed)
        assert isinstance(failed.value.reason.error, ValueError)


async def test_a_pool_leaves_nothing_behind() -> None:
    async with open_node("n") as node:
        office = Office(node)
        pool = await office.open(size=3)
        pool.cast(Pool.submit, "held")
        await trio.testing.wait_all_tasks_blocked()
        await pool.stop()
        await trio.testing.wait_all_tasks_blocked()
        assert node.statistics().processes == 0


@pytest.mark.parametrize("routing", ["any", "round_robin", "key", "sticky"])
async def test_a_job_that_nobody_waits_for_any_more_is_not_begun(routing: Any) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1, routing=routing)
        first = await submit(me, pool, 1, "key")
        given_up = await submit(me, pool, 2, "key")
        last = await submit(me, pool, 3, "key")
        given_up.cancel()
        await office.finish(1, 2, 3)
        assert (await first.receive(), await last.receive()) == (1, 3)
        assert [job for _, job in office.done] == [1, 3]
        statistics = await pool.call(Pool.statistics)
        assert (statistics.queued, statistics.discarded, statistics.completed) == (0, 1, 2)
        await pool.call(Pool.drain)


@pytest.mark.parametrize("routing", ["any", "round_robin", "key", "sticky"])
@pytest.mark.parametrize("discard", ["newest", "oldest"])
@pytest.mark.parametrize("waiting", [2, 200])
async def test_act_q4_a_job_that_was_given_up_takes_no_place(
    routing: Any, discard: Any, waiting: int
) -> None:
    """act-Q4: given a full queue, when one of its jobs is given up, then it is that one which goes."""
    async with open_node("n") as node, node.mailbox() as me:
        office = Office(node)
        pool = await office.open(size=1, routing=routing, discard=discard, queue_limit=waiting)
        for job in range(1 + waiting):
            office.gates[job].set()
        office.gates[0] = trio.Event()
        requests = [me.request(pool, Pool.submit, job, "key") for job in range(1 + waiting)]
        await trio.testing.wait_all_tasks_blocked()
        given_up = requests.pop(waiting // 2)
        given_up.cancel()
        office.gates["new"].set()
        requests.append(await submit(me, pool, "new", "key"))
        await office.finish(0)
        answers = [await request.receive() for request in requests]
        assert answers == [job for job in range(1 + waiting) if job != waiting // 2] + ["new"]
        statistics = await pool.call(Pool.statistics)
        assert (statistics.queued, statistics.discarded) == (0, 1)


@pytest.mark.parametrize("worker", [Actor, Worker])
async def test_a_worker_that_does_not_work(worker: type[Actor]) -> None:
    async with open_node("n") as node:
        with pytest.raises(StartError, match=r"must define work\(self, job\)") as failed:
            await node.spawn(Pool, worker, size=1)
        assert isinstance(failed.value.reason, Crashed)


@pytest.mark.parametrize("routing", ["any", "round_robin", "key", "sticky"])
async def test_a_worker_that_died_idle_costs_no_job(routing: Any) -> None:
    """The pool has not heard of the death yet when it gives the job away."""
    async with open_node("n") as node:
        office = Office(node)
        pool = await office.open(size=1, routing=routing)
        async with node.mailbox() as me:
            await trio.testing.wait_all_tasks_blocked()
            await system.suspend(pool)
            jobs = [await submit(me, pool, number, "k") for number in range(3)]
            (worker,) = (process for process in node.processes.values() if process.parent == pool)
            worker.ref.exit(KILL)
            await trio.testing.wait_all_tasks_blocked()
            await system.resume(pool)
            await office.finish(0, 1, 2)
            assert [await job.receive() for job in jobs] == [0, 1, 2]
            assert [job for _, job in office.done] == [0, 1, 2]
            statistics = await pool.call(Pool.statistics)
            assert (statistics.completed, statistics.queued, statistics.replaced) == (3, 0, 1)


@pytest.mark.parametrize("routing", ["key", "sticky"])
async def test_a_key_that_is_none_harms_nobody(routing: Any) -> None:
    async with open_node("n") as node:
        office = Office(node)
        pool = await office.open(size=1, routing=routing)
        unhashable: Any = ([],)
        with pytest.raises(TypeError, match="hashable"):
            await pool.call(Pool.submit, 1, unhashable)
        office.gates[1].set()
        assert await pool.call(Pool.submit, 1, "k") == 1


class Busy(Worker):
    def work(self, job: Any) -> Any:
        return job


async def test_a_size_beyond_reason_is_refused() -> None:
    """A pool makes its workers in one step: the caller is told of its mistake, and the loop goes on."""
    async with open_node("test") as node:
        pool = await node.spawn(Pool, Busy, size=1)
        for size in (100_001, 10**20_000):
            with pytest.raises(ValueError, match="size must be an int from 1 to 100000"):
                await pool.call(Pool.resize, size)
        assert (await pool.call(Pool.statistics)).size == 1


class Jobless(Worker):
    """Cannot start."""

    def __init__(self, how: str) -> None:
        self.how = how
        if how == "init":
            raise LookupError("no desk")

    def on_start(self) -> None:
        match self.how:
            case "start":
                raise LookupError("no desk")
            case "exit":
                raise Exit(Custom("no desk"))
            case "ignore":
                raise Ignore("no desk")

    def work(self, job: Any) -> Any:
        return job


class AsyncJobless(Jobless):
    async def nothing(self) -> None:
        """Makes it an actor with a task."""


@pytest.mark.parametrize("worker", [Jobless, AsyncJobless])
@pytest.mark.parametrize("how", ["init", "start", "exit", "ignore"])
async def test_workers_that_cannot_start(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, worker: Any, how: str
) -> None:
    """The pool tries as often as it may; whoever waits hears of its end, and the log says why."""
    async with open_node("office") as node, node.mailbox() as me:
        pool = await node.spawn(Pool, worker, how, size=2, intensity=3)
        me.monitor(pool)
        with pytest.raises(ProcessDied) as died:
            await pool.call(Pool.submit, "job")
        assert died.value.reason == SHUTDOWN
        assert (await me.receive(Down)).reason == SHUTDOWN
        await trio.testing.wait_all_tasks_blocked()
        assert list(node.processes.values()) == [me]
    lines = [line for line in caplog.messages if "gave up: more than 3 workers ended within 5 s" in line]
    assert len(lines) == 1
    assert "no desk" in lines[0] or how == "ignore"


@pytest.mark.parametrize("worker", [3, int, print, Jobless("tidy"), "clerk", None])
async def test_what_is_no_worker(worker: Any) -> None:
    """Nothing can be started as it: the pool says so at its own start."""
    async with open_node("office") as node:
        with pytest.raises(StartError, match="cannot spawn"):
            await node.spawn(Pool, worker, size=1)
        assert not node.processes


async def test_a_worker_that_does_not_take_what_it_is_given() -> None:
    """A function shows it at once."""

    async def worker(me: Process, desk: str) -> None:
        await me.receive()

    async with open_node("office") as node:
        with pytest.raises(StartError, match=r"cannot spawn .*missing 1 required"):
            await node.spawn(Pool, worker, size=2)
        assert not node.processes
