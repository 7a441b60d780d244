"""What the requests that start a child answer. Clause SUP-6 of docs/semantics-supervision.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from trio.testing import MockClock

from enfilade.actors import (
    Actor,
    Child,
    DynamicSupervisor,
    Ignore,
    Node,
    PartitionSupervisor,
    Ref,
    RemoteEntry,
    Started,
    StartFailed,
    Supervisor,
    open_node,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Plain(Actor):
    """Has nothing to tell."""

    told: Any = None

    def __init__(self, *_: Any) -> None: ...

    def on_start(self) -> Any:
        return self.told


class Telling(Plain):
    """Has something to tell."""

    told = "news"


class Declining(Plain):
    """Need not start."""

    def on_start(self) -> Any:
        raise Ignore


class Failing(Plain):
    """Does not start."""

    def on_start(self) -> Any:
        raise ValueError("does not start")


def tasked(kind: type[Plain]) -> type[Plain]:
    """The same class with a task."""

    async def wait(self: Any) -> None: ...

    return type(f"Async{kind.__name__}", (kind,), {"wait": wait})


KINDS = [Plain, Telling, Declining, Failing]
ENTRIES = {kind.__name__: kind for plain in KINDS for kind in (plain, tasked(plain))}


async def _named(node: Node, child: Child) -> Any:
    supervisor = await node.spawn(Supervisor)
    return await supervisor.call(Supervisor.start_child, child)


async def _restarted(node: Node, child: Child) -> Any:
    """By hand, after it had ended: it is specified by `change`, which starts nothing."""
    supervisor = await node.spawn(Supervisor)
    await supervisor.call(Supervisor.change, [child])
    return await supervisor.call(Supervisor.restart_child, child.id)


async def _dynamic(node: Node, child: Child) -> Any:
    supervisor = await node.spawn(DynamicSupervisor)
    return await supervisor.call(DynamicSupervisor.start_child, child)


async def _template(node: Node, child: Child) -> Any:
    supervisor = await node.spawn(DynamicSupervisor, child)
    return await supervisor.call(DynamicSupervisor.start_from_template)


async def _partition(node: Node, child: Child) -> Any:
    supervisor = await node.spawn(PartitionSupervisor, Plain, partitions=1)
    return await supervisor.call(PartitionSupervisor.start_child, child)


Start = Callable[[Node, Child], Awaitable[Any]]
STARTS: list[Start] = [_named, _restarted, _dynamic, _template, _partition]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("side", ["near", "far"])
async def test_answer(autojump_clock: MockClock, entry: str, start: Start, side: str) -> None:
    """SUP-6: a ref; `Started` if there is something to tell; None if the child has declined."""
    network = MemoryNetwork()
    policy = Policy.same_user(entries="*")
    async with (
        open_node(
            "away", carrier=network.carrier("away"), listen="/away", policy=policy, entries=ENTRIES
        ) as away,
        open_node("home", carrier=network.carrier("home"), policy=policy) as home,
    ):
        await home.connect("/away")
        target: Any = RemoteEntry(entry, away.full_name) if side == "far" else ENTRIES[entry]
        child = Child(target, id="child")
        if "Failing" in entry:
            with pytest.raises(StartFailed):
                await start(home, child)
            return
        answer = await start(home, child)
        if "Declining" in entry:
            assert answer is None
        elif "Telling" in entry:
            assert isinstance(answer, Started)
            assert answer.info == "news"
            assert isinstance(answer.ref, Ref)
        else:
            assert isinstance(answer, Ref)
