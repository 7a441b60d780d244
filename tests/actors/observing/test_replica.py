"""Replicas: how they travel, and what they cost the node and the machine."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import Actor, Child, Node, Supervisor
from enfilade.actors.observing.protocol.columns import rows_of
from enfilade.actors.observing.protocol.views import ReplicaInColumns, ReplicaView, Update
from enfilade.actors.observing.tables.walker import CREDIT, STEP, Walker
from enfilade.actors.observing.watches.client import Client, States
from enfilade.actors.observing.watches.pictures import PICTURES
from enfilade.actors.observing.watches.watch import Watch
from enfilade.transport.payload import Codec
from tests.actors.observing.pair import observed


class Till(Actor):
    def wait(self) -> None:
        """Do nothing."""


async def rows(states: States) -> dict[int, dict[str, Any]]:
    """The rows of a replica, up to its end."""
    found: dict[int, dict[str, Any]] = {}
    async for state in states:
        for row in (*state.fields.get("rows", ()), *state.fields.get("changed", ())):
            found[row["serial"]] = row
        if state.fields["piece"] == "end":
            return found
    raise AssertionError("the watch has ended")


async def populate(bank: Node) -> None:
    await bank.spawn(Supervisor, [Child(Till, id=("till", number)) for number in range(40)], label="shop")
    for number in range(1_200):
        bank.spawn_soon(Till, label=f"worker {number}\n" if number % 7 else None)
    await bank.spawn(Till, name="till")
    async with bank.mailbox():
        await trio.testing.wait_all_tasks_blocked()


async def test_a_replica_in_columns_has_the_rows_of_one_in_rows(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        await populate(bank)
        async with Client(eye, "bank@local").watch(ReplicaView()) as states:
            assert isinstance(states.view, ReplicaInColumns)
            theirs = await rows(states)
            await states.change(ReplicaView())
            assert (await anext(states)).fields["piece"] == "begin"
            assert (await rows(states)).keys() == theirs.keys()
        async with bank.watch(ReplicaView()) as states:
            ours = await rows(states)
    shown = [row for row in theirs.values() if row["actor"] and row["actor"].endswith("Till")]
    assert len(shown) == 1_241
    assert shown == [ours[row["serial"]] for row in shown]
    assert {row["child_id"] for row in shown if row["child_id"]} == {f"('till', {n})" for n in range(40)}


async def test_a_node_without_columns_is_asked_for_rows(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of the releases before is."""
    async with observed() as (bank, eye):
        await populate(bank)
        assert "ReplicaInColumns" in (await Client(eye, "bank@local").hello()).views
        monkeypatch.delitem(PICTURES, ReplicaInColumns)
        async with Client(eye, "bank@local").watch(ReplicaView()) as states:
            assert isinstance(states.view, ReplicaView)
            assert len(await rows(states)) > 1_241


async def test_a_row_of_a_replica_has_at_most_sixty_bytes(autojump_clock: MockClock) -> None:
    """So that 100,000 of them have at most 6 MB."""
    updates: list[Update] = []
    async with observed() as (bank, eye):
        await populate(bank)
        async with Client(eye, "bank@local").watch(ReplicaView()) as states:
            async for state in states:
                updates.append(state.update)
                if state.fields["piece"] == "end":
                    break
    sizes = {len(update.data["values"]) // 8: len(Codec().encode(update)[0]) for update in updates[1:]}
    assert max(sizes) == 512
    assert sizes[512] <= 60 * 512


def test_rows_need_all_their_values() -> None:
    assert rows_of(["a", "b"], [1, 2, 3, 4]) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        rows_of(["a", "b"], [1, 2, 3])


class Turned:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def walked(walker: Walker, clock: Turned, steps: int, budget: float) -> float:
    """How long so many steps of work take with their rests."""
    left = iter(range(steps - 1, -1, -1))

    def some() -> bool:
        clock.now += STEP
        return bool(next(left))

    began = trio.current_time()
    await walker.work(some, budget)
    return trio.current_time() - began


@pytest.mark.parametrize("budget", [0.05, 0.5])
async def test_a_walk_rests_no_longer_for_what_it_has_rested_before(
    budget: float, autojump_clock: MockClock
) -> None:
    async with observed() as (bank, _):
        walker = bank.observation.watching.walker
        walker.clock = clock = Turned()
        pause = STEP / budget
        first = await walked(walker, clock, 100, budget)
        assert first == pytest.approx(100 * pause, rel=0.05)
        assert await walked(walker, clock, 1, budget) == pytest.approx(pause, rel=0.1), (
            "without a rest before"
        )
        await trio.sleep(60)
        assert await walked(walker, clock, CREDIT - 1, budget) == 0.0
        await trio.sleep(60)
        assert await walked(walker, clock, 100, budget) == pytest.approx((100 - CREDIT) * pause, rel=0.05)


async def test_the_processor_that_an_observer_takes_away_is_no_work(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is sent an update runs at once, and the node has to wait: that would be twenty times as long a
    rest.
    """
    async with observed() as (bank, eye):
        await populate(bank)
        walker = bank.observation.watching.walker
        wall, used = Turned(), Turned()
        walker.clock, walker.processor_time = wall, used
        tell = Watch._tell

        def advance() -> float:
            wall.now += 1.0
            used.now += 0.0001
            return used.now

        def told(self: Watch, update: Update) -> None:
            walker.processor_time = advance
            tell(self, update)

        monkeypatch.setattr(Watch, "_tell", told)
        async with Client(eye, "bank@local").watch(ReplicaView()) as states:
            updates = 1
            while (await anext(states)).fields["piece"] != "end":
                updates += 1
        assert walker.seconds == pytest.approx(updates * 0.0001)
