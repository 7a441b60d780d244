"""Objects whose methods raise `KeyboardInterrupt` or `SystemExit` end the program of none but who asks them.

A process that many share looks at what others hand to it: keys, ids, specifications. What those raise is told
to who handed them over. U2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enfilade.actors import (
    NORMAL,
    Actor,
    Child,
    DeadLetter,
    DynamicSupervisor,
    EventHandler,
    EventManager,
    FailedToStart,
    HandlerRemoved,
    Joined,
    Left,
    NodeConfig,
    Outcome,
    PartitionSupervisor,
    Pool,
    Resume,
    Supervisor,
    Worker,
    open_node,
    system,
)
from tests.isolation.values import all_raise

Make = Callable[[], object]

errors = pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])


class Idle(Actor):
    """Does nothing."""


class Echo(Worker):
    def work(self, job: Any) -> Any:
        return job


class Handler(EventHandler):
    """Handles nothing."""


class Keyed:
    """Hashable until it is handed over, and equal to nothing."""

    armed = False

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __hash__(self) -> int:
        if self.armed:
            raise self.error
        return 1

    def __eq__(self, other: object) -> bool:
        raise self.error


def supervisor(make: Make, key: Keyed) -> list[tuple[Any, tuple[Any, ...]]]:
    child = Child(Idle, id=key)
    key.armed = True
    return [
        (Supervisor.start_child, (child,)),
        (Supervisor.start_child, (make(),)),
        (Supervisor.terminate_child, (key,)),
        (Supervisor.restart_child, (key,)),
        (Supervisor.delete_child, (key,)),
        (Supervisor.get_childspec, (key,)),
    ]


def dynamic_supervisor(make: Make, key: Keyed) -> list[tuple[Any, tuple[Any, ...]]]:
    return [
        (DynamicSupervisor.start_child, (make(),)),
        (DynamicSupervisor.terminate_child, (key,)),
        (DynamicSupervisor.terminate_child, (make(),)),
    ]


def partition_supervisor(make: Make, key: Keyed) -> list[tuple[Any, tuple[Any, ...]]]:
    key.armed = True
    return [(PartitionSupervisor.partition, (key,)), (PartitionSupervisor.partition, (make(),))]


def pool(make: Make, key: Keyed) -> list[tuple[Any, tuple[Any, ...]]]:
    key.armed = True
    return [
        (Pool.submit, ("job", key)),
        (Pool.submit, ("job", make())),
        (Pool.resize, (make(),)),
    ]


def event_manager(make: Make, key: Keyed) -> list[tuple[Any, tuple[Any, ...]]]:
    key.armed = True
    return [
        (EventManager.add_handler, (key, Handler)),
        (EventManager.add_handler, (make(), Handler)),
        (EventManager.swap_handler, ("known", key, Handler)),
        (EventManager.call_handler, (key, "request")),
        (EventManager.delete_handler, (key,)),
        (EventManager.swap_handler, (key, "other", Handler)),
    ]


SHARED: dict[str, tuple[Any, Any, Any]] = {
    "supervisor": (lambda node: node.spawn(Supervisor), Supervisor.count_children, supervisor),
    "dynamic supervisor": (
        lambda node: node.spawn(DynamicSupervisor),
        DynamicSupervisor.count_children,
        dynamic_supervisor,
    ),
    "partition supervisor": (
        lambda node: node.spawn(PartitionSupervisor, Child(Idle), partitions=2),
        PartitionSupervisor.count_children,
        partition_supervisor,
    ),
    "pool": (lambda node: node.spawn(Pool, Echo, size=2, routing="key"), Pool.statistics, pool),
    "event manager": (
        lambda node: node.spawn(EventManager),
        EventManager.which_handlers,
        event_manager,
    ),
}


@pytest.mark.parametrize("debug", [False, True])
@errors
@pytest.mark.parametrize("kind", SHARED)
async def test_shared_processes_go_on(kind: str, error: type[BaseException], debug: bool) -> None:
    """U2: who handed it over gets an `Exception`; the process, and the node, go on."""
    spawn, ping, requests = SHARED[kind]
    async with open_node("n", config=NodeConfig(debug=debug)) as node:
        ref = await spawn(node)
        if kind == "event manager":
            await ref.call(EventManager.add_handler, "known", Handler)
        for method, args in requests(lambda: all_raise(error), Keyed(error)):
            with pytest.raises(Exception):  # noqa: B017, PT011 (anything that a program expects of a call)
                await ref.call(method, *args)
            await ref.call(ping)
        assert ref.serial in node.processes


@errors
async def test_a_target_that_cannot_be_looked_at(error: type[BaseException]) -> None:
    """U2: it cannot be spawned, which is told as of anything else that cannot."""
    async with open_node("n") as node, node.mailbox() as me:
        for spawn in (node.spawn, me.spawn):
            with pytest.raises(TypeError, match="cannot spawn"):
                await spawn(all_raise(error))
        supervisor = await node.spawn(Supervisor)
        with pytest.raises(Exception):  # noqa: B017, PT011
            await supervisor.call(Supervisor.start_child, Child(all_raise(error), id="c"))  # type: ignore[arg-type]
        assert not await supervisor.call(Supervisor.children)
    assert node.fatal is None


@errors
async def test_a_resume_that_cannot_decide(error: type[BaseException]) -> None:
    """S15: what its predicate raises means no: the actor ends of its own error."""

    def refuses(_: Exception) -> bool:
        raise error

    class Fails(Actor):
        def fail(self) -> None:
            raise ValueError("as asked")

    async with open_node("n") as node:
        ref = await node.spawn(Fails, on_failure=Resume(refuses, limit=3, period=1))
        with pytest.raises(Exception, match="as asked"):
            await ref.call(Fails.fail)
        assert not node.processes
    assert node.fatal is None


@errors
async def test_looking_into_a_process(error: type[BaseException]) -> None:
    """U2: what a process tells of another one can be shown, whatever it holds."""

    class Holds(Actor):
        def __init__(self) -> None:
            self.held = all_raise(error)

    async with open_node("n") as node:
        ref = await node.spawn(Holds, label="label")
        await system.get_state(ref)
        for told in (
            await system.get_status(ref),
            Outcome(all_raise(error)),
            DeadLetter(all_raise(error), ref, NORMAL),
            HandlerRemoved(ref, all_raise(error), NORMAL),
            Joined("scope", all_raise(error), (ref,)),
            Left("scope", all_raise(error), (ref,)),
            Child(Holds, all_raise(error), id="c"),
            FailedToStart(all_raise(error), NORMAL),
        ):
            assert repr(told).startswith(f"{type(told).__name__}(")
            assert len(repr(told)) < 2_000
        await ref.stop()
