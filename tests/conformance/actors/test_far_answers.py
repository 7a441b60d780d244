"""What supervisors, pools and event managers answer near and far: the same records and classes of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from enfilade.actors import (
    Actor,
    Child,
    ChildCounts,
    ChildInfo,
    ChildNotFound,
    ChildRunning,
    Custom,
    DynamicSupervisor,
    EventHandler,
    EventManager,
    HandlerExists,
    HandlerRemoved,
    ImproperError,
    InvalidFlag,
    InvalidKey,
    JobDiscarded,
    MaxChildren,
    NoChildIds,
    NoHandler,
    NoTemplate,
    PartitionSupervisor,
    Pool,
    PoolDraining,
    PoolStatistics,
    Ref,
    Started,
    StartFailed,
    Supervisor,
    Worker,
    open_node,
)
from enfilade.actors.testing import VirtualClock
from enfilade.transport.records import UnregisteredType
from tests.conformance.actors.abroad import autojump_clock, open_abroad

__all__ = ["autojump_clock"]

Spawn = Callable[..., Awaitable[Ref[Any]]]


class Clerk(Actor):
    """Fails to start from its second start on, and has something to tell about the first."""

    starts = 0

    def __init__(self) -> None:
        type(self).starts += 1
        if self.starts > 1:
            raise ValueError("once is enough")

    def on_start(self) -> str:
        return "open"


class Copyist(Worker):
    def work(self, job: Any) -> Any:
        return job


class Listener(EventHandler):
    def on_event(self, event: Any) -> None:
        raise ValueError(event)


class Keeper(Actor):
    """Keeps the notice of an event manager."""

    def __init__(self) -> None:
        self.told: Any = None

    def on_message(self, message: Any) -> None:
        self.told = message

    def last(self) -> Any:
        return self.told


async def of_supervisor(spawn: Spawn) -> list[Any]:
    """Ask for a child that runs, one that is stopped, one that cannot start, and one that there is not."""
    clerk = type("Clerk", (Clerk,), {"starts": 0})
    ref = await spawn(Supervisor, [Child(Copyist, id="one"), Child(clerk, id="two")])
    await ref.call(Supervisor.terminate_child, "two")
    return [
        await outcome(ref.call, method, *args)
        for method, *args in (
            (Supervisor.children,),
            (Supervisor.count_children,),
            (Supervisor.restart_child, "one"),
            (Supervisor.restart_child, "two"),
            (Supervisor.delete_child, "three"),
        )
    ]


async def of_dynamic_supervisor(spawn: Spawn) -> list[Any]:
    ref = await spawn(DynamicSupervisor, Child(type("Clerk", (Clerk,), {"starts": 0})), max_children=1)
    empty = await spawn(DynamicSupervisor)
    return [
        await outcome(ref.call, DynamicSupervisor.start_from_template),
        await outcome(ref.call, DynamicSupervisor.start_from_template),
        await outcome(ref.call, DynamicSupervisor.restart_child, "one"),
        await outcome(empty.call, DynamicSupervisor.start_from_template),
    ]


async def of_partitions(spawn: Spawn) -> list[Any]:
    ref = await spawn(PartitionSupervisor, Child(Copyist), partitions=1)
    return [
        await outcome(ref.call, PartitionSupervisor.partition, []),
        await outcome(ref.call, PartitionSupervisor.resize, 2),
    ]


async def of_pool(spawn: Spawn) -> list[Any]:
    ref = await spawn(Pool, Copyist, size=1, queue_limit=0)
    statistics = await outcome(ref.call, Pool.statistics)
    await ref.call(Pool.drain)
    return [statistics, await outcome(ref.call, Pool.submit, 1)]


async def of_event_manager(spawn: Spawn) -> list[Any]:
    """A handler that crashes: its supervisor is told."""
    keeper = await spawn(Keeper)
    ref = await spawn(Adding, keeper)
    return [
        await outcome(ref.call, EventManager.add_handler, "key", "no handler is needed"),
        await outcome(ref.call, EventManager.call_handler, "other", 1),
        await outcome(ref.call, EventManager.notify, "event"),
        await outcome(keeper.call, Keeper.last),
    ]


class Adding(EventManager):
    """Has a handler from its start."""

    def __init__(self, keeper: Ref[Any]) -> None:
        super().__init__()
        self.keeper = keeper

    def on_start(self) -> None:
        self.add_handler("key", Listener, supervised=self.keeper)


async def outcome(fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """The kind of what `fn` returns or raises, and what it has."""
    try:
        value = await fn(*args)
    except Exception as error:
        return type(error), sorted(vars(error))
    values = value if isinstance(value, tuple) else (value,)
    return [(type(each), getattr(each, "id", None), getattr(each, "info", None)) for each in values]


EXPECTED: dict[Any, set[type]] = {
    of_supervisor: {ChildInfo, ChildCounts, ChildRunning, StartFailed, ChildNotFound},
    of_dynamic_supervisor: {Started, MaxChildren, NoChildIds, NoTemplate},
    of_partitions: {InvalidKey, InvalidFlag},
    of_pool: {PoolStatistics, PoolDraining},
    of_event_manager: {HandlerExists, NoHandler, type(None), HandlerRemoved},
}


@pytest.mark.parametrize("ask", EXPECTED)
async def test_answers_are_the_same(
    autojump_clock: VirtualClock, tmp_path: Path, ask: Callable[[Spawn], Awaitable[list[Any]]]
) -> None:
    """D11: near and far."""
    async with open_node("near") as node:
        near = await ask(node.spawn)
    async with open_abroad("memory", tmp_path) as abroad:
        far = await ask(abroad.spawn)
    kinds = {each[0] if isinstance(each, tuple) else each[0][0] for each in near}
    assert far == near
    assert kinds == EXPECTED[ask]


class Refusing(Actor):
    """Refuses with an error that has an object which does not travel."""

    def take(self) -> Any:
        return self.process.refuse(JobDiscarded(Listener(), 3))


async def test_what_does_not_travel(autojump_clock: VirtualClock, tmp_path: Path) -> None:
    """D11, D9: an error keeps its class and tells the rest in words. A specification stays."""
    async with open_abroad("memory", tmp_path) as abroad:
        refusing = await abroad.spawn(Refusing)
        with pytest.raises(JobDiscarded, match="Listener") as raised:
            await refusing.call(Refusing.take)
        assert "Listener" in str(raised.value.job)
        assert isinstance(raised.value.job, str)
        supervisor = await abroad.spawn(Supervisor)
        with pytest.raises(UnregisteredType, match="names code"):
            await supervisor.call(Supervisor.start_child, Child(Copyist))


class Improper(Actor):
    """Fails its calls with what is no exception that a caller may get."""

    def fail(self, key: str) -> Any:
        deferred = self.process.defer()
        deferred.fail(IMPROPER[key])
        return deferred


IMPROPER: dict[str, Any] = {
    "words": "words",
    "none": None,
    "a reason": Custom("no reason to end"),
    "a class": ValueError,
    "an end": GeneratorExit("early"),
    "an object": Listener(),
}


@pytest.mark.parametrize("key", IMPROPER)
async def test_errors_that_are_none(autojump_clock: VirtualClock, tmp_path: Path, key: str) -> None:
    """C8: the caller gets `ImproperError`, near and far."""
    async with open_abroad("memory", tmp_path) as abroad:
        for spawn in (abroad.home.spawn, abroad.spawn):
            improper = await spawn(Improper)
            with pytest.raises(ImproperError, match="expected an Exception") as raised:
                await improper.call(Improper.fail, key)
            assert str(raised.value.target) == str(improper)
