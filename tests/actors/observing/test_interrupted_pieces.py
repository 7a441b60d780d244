"""Dumps and replicas in pieces, while something keeps interrupting the node at its work."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors.observing.protocol.views import DumpView, ReplicaView
from enfilade.actors.observing.watches.client import Client, States
from enfilade.actors.observing.watches.watch import Watch
from tests.actors.observing.pair import observed
from tests.actors.observing.test_ranking import Till, Working


async def pieces(states: States) -> list[Any]:
    """All rows of a replica, or records of a dump, without a wait between two pieces."""
    found: list[Any] = []
    async for state in states:
        fields = state.fields
        found += fields.get("rows", fields.get("records", ()))
        if fields.get("piece") == "end" or fields.get("is_last"):
            break
    return found


def workers(found: list[Any]) -> list[int]:
    """The serials of the processes that a test has spawned."""
    return [row["serial"] for row in found if (row.get("label") or "").startswith("worker")]


@pytest.mark.parametrize("view", [ReplicaView(), DumpView()], ids=["replica", "dump"])
@pytest.mark.parametrize("interval", [0.1, 1.0])
async def test_nothing_is_lost_when_pieces_take_longer_than_the_interval(
    view: Any, interval: float, autojump_clock: MockClock
) -> None:
    """Nor made twice, nor held up by the ticks of the pieces before."""
    async with observed() as (bank, eye):
        for number in range(3_000):
            bank.spawn_soon(Till, label=f"worker {number}")
        await trio.lowlevel.checkpoint()
        bank.observation.watching.walker.clock = Working(0.003)
        began = trio.current_time()
        async with Client(eye, "bank@local", "inspect").watch(view, interval) as states:
            found = await pieces(states)
        serials = workers(found)
        assert len(serials) == 3_000
        assert len(set(serials)) == 3_000
        if isinstance(view, ReplicaView):
            assert trio.current_time() - began < 20


async def test_an_acknowledgement_too_many_loses_nothing(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        for number in range(2_000):
            bank.spawn_soon(Till, label=f"worker {number}")
        await trio.lowlevel.checkpoint()
        bank.observation.watching.walker.clock = Working(0.003)
        async with (
            Client(eye, "bank@local", "inspect").watch(ReplicaView(), 1.0) as states,
            trio.open_nursery() as nursery,
        ):

            async def interrupt() -> None:
                while True:
                    await trio.sleep(0.3)
                    states._watch.cast(Watch.ack, 0)

            nursery.start_soon(interrupt)
            found = await pieces(states)
            nursery.cancel_scope.cancel()
        assert len(workers(found)) == 2_000
