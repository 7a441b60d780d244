"""The stops of a supervisor's children, and requests about processes of other nodes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILLED,
    SHUTDOWN,
    Actor,
    Child,
    ChildNotFound,
    Down,
    DynamicSupervisor,
    Reason,
    RemoteEntry,
    Supervisor,
    open_node,
)
from enfilade.transport import Policy, Settings
from enfilade.transport.memory_carrier import MemoryNetwork


class Lingering(Actor):
    """Takes its time to end."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_start(self) -> None:
        self.process.trap_exits = True

    async def on_stop(self, reason: Reason) -> None:
        await trio.sleep(self.seconds)


async def test_a_child_that_ends_early_gives_the_others_no_more_time(autojump_clock: MockClock) -> None:
    """SUP-73: the time limit that they share holds for the last, whoever has ended before."""
    async with open_node("node") as node, node.mailbox() as me:
        supervisor = await node.spawn(DynamicSupervisor)
        slow = await supervisor.call(DynamicSupervisor.start_child, Child(Lingering, 1e6, id=1, shutdown=3.0))
        quick = await supervisor.call(
            DynamicSupervisor.start_child, Child(Lingering, 1.0, id=2, shutdown=3.0)
        )
        for ref in (slow, quick, supervisor):
            me.monitor(ref)
        begun = trio.current_time()
        supervisor.exit(SHUTDOWN)
        ends = [await me.receive(Down, timeout=60.0) for _ in range(3)]
        assert [(end.ref, end.reason) for end in ends] == [
            (quick, SHUTDOWN),
            (slow, KILLED),
            (supervisor, SHUTDOWN),
        ]
        assert trio.current_time() - begun == pytest.approx(3.0)


async def test_what_lives_elsewhere(autojump_clock: MockClock, tmp_path: Path) -> None:
    """SUP-54, SUP-72, SUP-90: a child on another node counts as active; others there are no children."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", ends="*", entries="*")
    settings = Settings(period=1e9, handshake=math.inf, goodbye=math.inf)
    place = str(tmp_path / "far")
    async with (
        open_node(
            "far",
            listen=place,
            carrier=network.carrier("far"),
            policy=policy,
            settings=settings,
            entries={"lingering": Lingering},
        ) as far,
        open_node("home", carrier=network.carrier("home"), policy=policy, settings=settings) as home,
    ):
        await far.spawn(Lingering, 0.0, name="stranger")
        await home.connect(place)
        static = await home.spawn(Supervisor, [Child(RemoteEntry("lingering", "far@local"), 0.0, id="a")])
        assert (await static.call(Supervisor.count_children)).active == 1
        stranger = await home.whereis_on("far@local", "stranger")
        assert stranger is not None
        dynamic = await home.spawn(DynamicSupervisor)
        with pytest.raises(ChildNotFound):
            await dynamic.call(DynamicSupervisor.terminate_child, stranger)
