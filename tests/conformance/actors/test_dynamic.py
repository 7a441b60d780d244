"""Group G: dynamic, partitioned and task supervisors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    SHUTDOWN,
    TIMEOUT,
    Actor,
    CallTimeout,
    Crashed,
    NoProcess,
    ProcessDied,
    Ref,
    system,
)
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.child_spec import Child, InvalidChild, InvalidFlag
from enfilade.actors.supervision.children import ChildCounts
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.partition import PartitionStopped, PartitionSupervisor
from enfilade.actors.supervision.refusals import ChildNotFound, MaxChildren, NoTemplate, StartFailed
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.actors.supervision.tasks import TaskSupervisor, async_nolink, async_stream
from tests.conformance.actors.family import BOOM, Family, Member, clean_node

TIERS = ("sync", "async")
SLOWLY = Backoff(first=10, factor=1, maximum=10, jitter=0)


class Worker(Member):
    """A member whose id is its own argument, not the template's."""

    def __init__(self, family: Family, *extra: Any) -> None:
        super().__init__(family, "w", "good", *extra)


@pytest.mark.parametrize("tier", TIERS)
async def test_act_g2_restart_with_its_own_arguments(tier: str, autojump_clock: MockClock) -> None:
    """SUP-70: the template's arguments first, then its own."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, Child(Worker, family, "fixed"))
        one = await pool.call(DynamicSupervisor.start_from_template, 1)
        two = await pool.call(DynamicSupervisor.start_from_template, 2)
        assert one is not None
        assert two is not None
        await family.crash("w1")
        assert await family.refs["w3"].call(Member.arguments) == ("fixed", 1)
        assert await two.call(Member.arguments) == ("fixed", 2)
        with pytest.raises(NoProcess):
            await one.call(Member.arguments)


async def test_act_g3_concurrent_shutdown(autojump_clock: MockClock) -> None:
    """SUP-73: all are told at once."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w", "slow", tier="async"))
        for _ in range(10):
            await pool.call(DynamicSupervisor.start_from_template)
        before = trio.current_time()
        await pool.stop(SHUTDOWN)
        assert trio.current_time() - before == pytest.approx(1)


async def test_act_g4_escalation(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w"), intensity=2)
        async with node.mailbox() as me:
            me.monitor(pool)
            for _ in range(5):
                await pool.call(DynamicSupervisor.start_from_template)
            for number in range(1, 4):
                await family.crash(f"w{number}")
            assert (await me.receive()).reason == SHUTDOWN
        assert node.statistics().processes == 0


async def test_act_g5_temporary_children(autojump_clock: MockClock) -> None:
    """The bookkeeping stays consistent whichever child ends."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w", restart="temporary"))
        for _ in range(4):
            await pool.call(DynamicSupervisor.start_from_template)
        await family.crash("w2")
        await pool.call(DynamicSupervisor.terminate_child, family.refs["w3"])
        assert await pool.call(Supervisor.count_children) == ChildCounts(1, 2, 0, 2)
        children = await pool.call(Supervisor.children)
        assert [family.name(child.ref) for child in children] == ["w1", "w4"]
        assert {child.id for child in children} == {None}


async def test_act_g_max_children(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w", restart="temporary"), max_children=2)
        for _ in range(2):
            await pool.call(DynamicSupervisor.start_from_template)
        with pytest.raises(MaxChildren) as refused:
            await pool.call(DynamicSupervisor.start_from_template)
        assert refused.value.limit == 2
        await family.crash("w1")
        assert await pool.call(DynamicSupervisor.start_from_template) == family.refs["w3"]


async def test_act_g8_restarting_children_count(autojump_clock: MockClock) -> None:
    """SUP-74: they count."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w", backoff=SLOWLY), max_children=1)
        await pool.call(DynamicSupervisor.start_from_template)
        await family.crash("w1")
        with pytest.raises(MaxChildren):
            await pool.call(DynamicSupervisor.start_from_template)


async def test_act_g9_restart_that_declines(autojump_clock: MockClock) -> None:
    """SUP-71: nothing remains."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w"))
        await pool.call(DynamicSupervisor.start_from_template)
        family.outcomes["w"] = ["ignore"]
        await family.crash("w1")
        assert await pool.call(Supervisor.count_children) == ChildCounts(1, 0, 0, 0)


async def test_act_g_extra_arguments(autojump_clock: MockClock) -> None:
    """SUP-70: they go before the arguments of every child, also when it is restarted."""

    class Keeper(Actor):
        def __init__(self, *given: Any, **named: Any) -> None:
            self.given = (*given, named)

        def arguments(self) -> tuple[Any, ...]:
            return self.given

    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, Child(Keeper, "t"), extra_arguments=["x", "y"])
        ref: Any = await pool.call(DynamicSupervisor.start_from_template, 1, key=2)
        assert await ref.call(Keeper.arguments) == ("x", "y", "t", 1, {"key": 2})
        ref.exit(KILL)
        await wait_all_tasks_blocked()
        (info,) = await pool.call(DynamicSupervisor.children)
        again: Any = info.ref
        assert await again.call(Keeper.arguments) == ("x", "y", "t", 1, {"key": 2})
        for restart in ("permanent", "temporary"):
            other: Any = await pool.call(DynamicSupervisor.start_child, Child(Keeper, 5, restart=restart))
            assert await other.call(Keeper.arguments) == ("x", "y", 5, {})
        assert (await pool.call(DynamicSupervisor.get_childspec, other)).args == ()


async def test_act_g_full_specifications(autojump_clock: MockClock) -> None:
    """SUP-70: children of any specification under one dynamic supervisor; ids may repeat."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor)
        for child in (family.child("a"), family.child("a"), Child(Supervisor, family.children("bc"), id="a")):
            await pool.call(DynamicSupervisor.start_child, child)
        assert await pool.call(Supervisor.count_children) == ChildCounts(3, 3, 1, 2)
        family.outcomes["d"] = [BOOM]
        with pytest.raises(StartFailed):
            await pool.call(DynamicSupervisor.start_child, family.child("d"))
        await family.crash("a1")
        assert await pool.call(Supervisor.count_children) == ChildCounts(3, 3, 1, 2)


class Shard(Actor):
    def __init__(self, *args: Any) -> None:
        self.args = args
        self.index: int = args[-1]

    def given(self) -> tuple[Any, ...]:
        return self.args

    def number(self) -> int:
        return self.index


async def test_act_g_partitions(autojump_clock: MockClock) -> None:
    """SUP-75: integers go by their remainder, other keys by their stable hash; names follow a restart."""
    async with clean_node() as node:
        shards: Ref[PartitionSupervisor] = await node.spawn(
            PartitionSupervisor, Child(Shard, name="shard"), partitions=4, with_index=True
        )
        for key in (0, 1, 5, -3, 7):
            ref = await shards.call(PartitionSupervisor.partition, key)
            assert await ref.call(Shard.number) == abs(key) % 4
        text = await shards.call(PartitionSupervisor.partition, "text")
        assert await text.call(Shard.number) == 1  # in every run
        third = await shards.call(PartitionSupervisor.partition, 3)
        before = node.whereis("shard.3")
        assert before is not None
        before.exit(BOOM)
        await wait_all_tasks_blocked()
        assert await third.call(Shard.number) == 3
        assert node.whereis("shard.3") != before


async def test_the_index_follows_the_arguments(autojump_clock: MockClock) -> None:
    """SUP-75: it is the last argument."""
    async with clean_node() as node:
        shards: Ref[PartitionSupervisor] = await node.spawn(
            PartitionSupervisor, Child(Shard, "first"), partitions=2, with_index=True
        )
        ref = await shards.call(PartitionSupervisor.partition, 1)
        assert await ref.call(Shard.given) == ("first", 1)


async def test_act_g11_resize(autojump_clock: MockClock) -> None:
    """SUP-75: down and up again, but never above the number that it was started with."""
    async with clean_node() as node:
        shards: Ref[PartitionSupervisor] = await node.spawn(
            PartitionSupervisor, Shard, partitions=4, with_index=True
        )
        await shards.call(PartitionSupervisor.resize, 2)
        assert await shards.call(PartitionSupervisor.partitions) == 2
        assert await shards.call(Supervisor.count_children) == ChildCounts(4, 2, 0, 4)
        ref = await shards.call(PartitionSupervisor.partition, 3)
        assert await ref.call(Shard.number) == 1
        await shards.call(PartitionSupervisor.resize, 4)
        ref = await shards.call(PartitionSupervisor.partition, 3)
        assert await ref.call(Shard.number) == 3
        wrong: list[Any] = [5, 0, "2"]
        for number in wrong:
            with pytest.raises(InvalidFlag):
                await shards.call(PartitionSupervisor.resize, number)
        await shards.call(Supervisor.terminate_child, 3)
        with pytest.raises(PartitionStopped):
            await shards.call(PartitionSupervisor.partition, 3)


async def double(number: int) -> int:
    await trio.sleep(1)
    return 2 * number


async def explode(number: int) -> int:
    raise ValueError(f"not {number}")


async def test_act_g_partition_that_was_deleted(autojump_clock: MockClock) -> None:
    """SUP-75: its keys belong to it still, and there is nobody to ask."""
    async with clean_node() as node:
        top = await node.spawn(PartitionSupervisor, Child(Actor), partitions=2)
        await top.call(PartitionSupervisor.terminate_child, 1)
        for _ in range(2):
            with pytest.raises(PartitionStopped):
                await top.call(PartitionSupervisor.partition, 1)
            with suppress(ChildNotFound):
                await top.call(PartitionSupervisor.delete_child, 1)
        assert isinstance(await top.call(PartitionSupervisor.partition, 0), Ref)


async def test_act_g_task_result(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        task = await async_nolink(tasks, double, 21)
        with pytest.raises(CallTimeout):
            await task.wait(0.5)
        assert await task.wait() == 42
        assert task.done
        assert await task.wait() == 42
        await wait_all_tasks_blocked()
        assert (await tasks.call(Supervisor.count_children)).active == 0


async def test_act_g12_task_that_crashes(autojump_clock: MockClock) -> None:
    """SUP-76: the caller lives, and is told the reason when it waits."""
    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        async with node.mailbox():
            task = await async_nolink(tasks, explode, 7)
            with pytest.raises(ProcessDied) as died:
                await task.wait()
        assert isinstance(died.value.reason, Crashed)
        assert isinstance(died.value.__cause__, ValueError)
        assert (await task.outcome()).reason == died.value.reason
        assert (await tasks.call(Supervisor.count_children)).active == 0


async def test_act_g_cancelled_start_of_a_task(autojump_clock: MockClock) -> None:
    """A task that nobody has got hold of does not run, and no item of a stream is lost."""
    ran: list[int] = []

    async def note(number: int) -> int:
        ran.append(number)
        return number

    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        await system.suspend(tasks)
        with trio.move_on_after(1):
            await async_nolink(tasks, note, 0)
        async with async_stream(tasks, note, [1, 2], max_concurrency=1) as stream:
            with trio.move_on_after(1):
                await anext(stream)
            await system.resume(tasks)
            assert [outcome.value async for outcome in stream] == [1, 2]
        assert ran == [1, 2]


async def test_act_g_task_that_is_stopped(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor, max_children=1)
        task = await async_nolink(tasks, double, 1)
        with pytest.raises(MaxChildren):
            await async_nolink(tasks, double, 2)
        assert (await task.shut_down()).reason == SHUTDOWN
        task = await async_nolink(tasks, double, 3)
        await tasks.stop(SHUTDOWN)
        assert (await task.outcome()).reason == SHUTDOWN


@pytest.mark.parametrize("ordered", [True, False])
async def test_act_g_stream(ordered: bool, autojump_clock: MockClock) -> None:
    """So many at a time; outcomes in the order of the items, or as they are ready."""
    running = 0
    most = 0

    async def sleep(seconds: float) -> float:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(seconds)
        running -= 1
        return seconds

    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        items = [3, 1, 2, 1]
        async with async_stream(tasks, sleep, items, max_concurrency=2, ordered=ordered) as stream:
            values = [outcome.value async for outcome in stream]
        assert values == (items if ordered else [1, 3, 2, 1])
        assert most == 2


async def test_act_g_stream_with_failures(autojump_clock: MockClock) -> None:
    async def odd(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number

    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        async with async_stream(tasks, odd, range(4), max_concurrency=2) as stream:
            outcomes = [outcome async for outcome in stream]
        assert [outcome.value for outcome in outcomes] == [0, None, 2, None]
        assert [type(outcome.reason) for outcome in outcomes] == [type(None), Crashed, type(None), Crashed]


async def test_act_g_stream_timeout(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        async with async_stream(tasks, trio.sleep, [1, 9, 1], timeout=2, on_timeout="kill_task") as stream:
            reasons = [outcome.reason async for outcome in stream]
        assert reasons == [None, TIMEOUT, None]
        async with async_stream(tasks, trio.sleep, [1, 9, 1], timeout=2) as stream:
            assert (await anext(stream)).reason is None
            with pytest.raises(CallTimeout):
                await anext(stream)


async def test_act_g14_consumer_that_halts_early(autojump_clock: MockClock) -> None:
    """Tasks whose outcomes nobody takes are shut down, and nothing is left in the caller's mailbox."""
    started: list[int] = []

    async def forever(number: int) -> int:
        started.append(number)
        if number:
            await trio.sleep_forever()
        return number

    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        async with node.mailbox() as me:
            async with async_stream(tasks, forever, range(100), max_concurrency=4) as stream:
                async for outcome in stream:
                    assert outcome.value == 0
                    break
            assert (await tasks.call(Supervisor.count_children)).active == 0
            assert sorted(started) == [0, 1, 2, 3]
            assert len(me.queue) == 0


async def test_act_g_stream_arguments(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        with pytest.raises(ValueError, match="max_concurrency must be at least 1, got 0"):
            async_stream(tasks, double, [1], max_concurrency=0)
        with pytest.raises(ValueError, match=r"on_timeout must be .*, got 'ignore'"):
            async_stream(tasks, double, [1], on_timeout="ignore")  # type: ignore[arg-type]


async def test_act_g_task_killed(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        tasks = await node.spawn(TaskSupervisor)
        task = await async_nolink(tasks, double, 1)
        task.ref.exit(KILL)
        assert (await task.outcome()).reason == KILLED


@pytest.mark.parametrize(
    "children",
    [
        [],
        [Child(Actor, id="x"), Child(Actor, id="y")],
        [Child(Actor, id="x"), Child(Actor, id="x")],
        Child(Actor),
        None,
        5,
    ],
)
@pytest.mark.parametrize("with_template", [True, False])
async def test_change_takes_one_template(
    autojump_clock: MockClock, children: Any, with_template: bool
) -> None:
    """SUP-70: a dynamic supervisor has one template; with another number of them nothing changes."""
    async with clean_node() as node:
        template = Child(Actor, id="template") if with_template else None
        supervisor = await node.spawn(DynamicSupervisor, template)
        with pytest.raises(InvalidChild) as refused:
            await supervisor.call(DynamicSupervisor.change, children, intensity=7)
        assert refused.value.field == "children"
        if with_template:
            assert isinstance(await supervisor.call(DynamicSupervisor.start_from_template), Ref)
        else:
            with pytest.raises(NoTemplate):
                await supervisor.call(DynamicSupervisor.start_from_template)
        flags = supervisor._process.body.strategy.children.flags  # type: ignore[attr-defined]
        assert flags.intensity == 1
