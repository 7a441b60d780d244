"""A process that starts its own kind as it starts is refused, and not started without end."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.actors import Actor, Child, Node, Process, StartError, Supervisor, acknowledges_start, open_node
from enfilade.actors.messages.reasons import Crashed, Shutdown
from enfilade.actors.processes.nested_starts import DEEPEST
from enfilade.actors.supervision.refusals import FailedToStart

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Endless(Supervisor):
    def __init__(self) -> None:
        super().__init__([Child(Endless)])


class Circular(Actor):
    async def on_start(self) -> None:
        await self.process.node.spawn(Supervisor, [Child(Circular)])


@acknowledges_start
async def circular(me: Process) -> None:
    await me.spawn(circular)
    me.started()


@pytest.mark.parametrize(
    ("target", "chain"),
    [
        (Endless, "Endless, started by Endless, started by"),
        (Circular, "Circular, started by Supervisor, started by Circular, started by Supervisor"),
        (circular, "circular, started by circular"),
    ],
)
async def test_endless_starts_are_refused(node: Node, target: Any, chain: str) -> None:
    with pytest.raises(StartError) as raised:
        await node.spawn(target)
    assert f"{DEEPEST} starts wait for one another: " in str(raised.value)
    assert chain in str(raised.value)
    assert not node.processes


class Deep(Supervisor):
    def __init__(self, levels: int) -> None:
        super().__init__([Child(Deep, levels - 1)] if levels else [])


async def test_a_tree_as_deep_as_is_allowed_starts(node: Node) -> None:
    await node.spawn(Deep, DEEPEST - 1)
    assert len(node.processes) == DEEPEST
    with pytest.raises(StartError, match="starts wait for one another"):
        await node.spawn(Deep, DEEPEST + 1)


async def test_a_tree_of_given_children_is_as_deep_as_they_say() -> None:
    child = Child(Actor)
    for level in range(2 * DEEPEST):
        child = Child(Supervisor, [child], id=level)
    async with open_node("deep") as node:
        await node.spawn(Supervisor, [child])
        assert len(node.processes) == 2 * DEEPEST + 2


class Stepwise(Actor):
    """Starts its own kind once it has started itself."""

    async def grow(self, levels: int) -> None:
        if levels:
            below = await self.process.node.spawn(Stepwise)
            below.cast(Stepwise.grow, levels - 1)
        else:
            self.process.node.named("done").send("done")


async def test_starts_one_after_another_may_go_as_deep_as_they_like(node: Node) -> None:
    async with node.mailbox() as me:
        node.register("done", me.ref)
        (await node.spawn(Stepwise)).cast(Stepwise.grow, 4 * DEEPEST)
        assert await me.receive() == "done"


def test_a_deep_chain_of_failed_starts_names_its_cause() -> None:
    failed = FailedToStart("leaf", Crashed(OSError("no room")))
    for level in range(9):
        failed = FailedToStart(level, Shutdown(failed))
        levels = [f"child {upper}" for upper in range(level, -1, -1)]
        if level < 8:
            assert str(failed) == ": shutdown: ".join(levels) + (
                ": shutdown: child 'leaf': crashed: OSError('no room')"
            )
    more = FailedToStart("root", Shutdown(failed))
    start = ": shutdown: ".join(["child 'root'", *(f"child {level}" for level in range(8, 1, -1))])
    assert str(more) == f"{start}: shutdown: 2 more: child 'leaf': crashed: OSError('no room')"
