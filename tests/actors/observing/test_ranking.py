"""Sorted windows over many processes: their order is kept, and not made anew at each update."""

from __future__ import annotations

import random
import time
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Node, Ref, system
from enfilade.actors.observing.protocol.views import TableView
from enfilade.actors.observing.tables.order import Key, Order, SortedKeys
from enfilade.actors.observing.tables.ranking import SWEPT, Ranking
from enfilade.actors.observing.watches.client import Client
from tests.actors.observing.pair import observed


class Till(Actor):
    def pay(self) -> None:
        """Do nothing."""


class Working:
    """A clock that is worked by: each time that it is read, `seconds` have been worked since."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.worked = 0.0

    def __call__(self) -> float:
        self.worked += self.seconds
        return trio.current_time() + self.worked


async def populate(node: Node, count: int) -> list[Ref[Till]]:
    refs = []
    for number in range(count):
        refs.append(node.spawn_soon(Till, label=f"worker {number}"))
        if number % 1_000 == 0:
            await trio.lowlevel.checkpoint()
    return refs


numbers = st.integers(-5, 5) | st.floats(-5, 5)
values = st.none() | numbers | st.text("ab", max_size=3)


@given(st.lists(st.tuples(values, st.integers(0, 20), st.booleans()), max_size=60), st.booleans())
def test_keys_are_kept_in_order(script: list[tuple[Any, int, bool]], descending: bool) -> None:
    order = Order(descending)
    kept, truth = SortedKeys(order), dict[int, Key]()
    for value, place, stays in script:
        if place in truth:
            kept.remove(truth.pop(place))
        if stays:
            kept.add(truth.setdefault(place, order.key(value, place)))
        assert kept.between(0, 100) == order.sorted(truth.values())
        assert len(kept) == len(truth)


@settings(max_examples=10)
@given(st.integers(0, 100), st.integers(0, 1_600))
def test_blocks_are_divided_and_given_up(seed: int, first: int) -> None:
    order = Order(seed % 2 == 0)
    chance, kept = random.Random(seed), SortedKeys(order)
    keys = [order.key(chance.randrange(1_000), place) for place in range(1_600)]
    for key in keys:
        kept.add(key)
    ordered = order.sorted(keys)
    assert kept.between(first, first + 50) == ordered[first : first + 50]
    for key in ordered[:1_400]:
        kept.remove(key)
    assert kept.between(0, 1_600) == ordered[1_400:]


async def test_a_ranking_looks_at_those_of_which_something_was_noted(autojump_clock: MockClock) -> None:
    """All processes are looked at once, and then few: the cost follows the activity."""
    async with observed() as (bank, eye):
        refs = await populate(bank, 3_000)
        watching = bank.observation.watching
        watching.walker.clock = Working(0.001)
        view = TableView(columns=("queued", "rate"), sort="queued", count=3, match="actor = Till", grave=0)
        async with Client(eye, "bank@local").watch(view) as states:
            await anext(states)
            (ranking,) = watching.rankings.rankings.values()
            looked = ranking.looked
            assert looked >= 3_000
            await system.suspend(refs[5])
            for ref in (refs[5], refs[5], refs[6]):
                ref.cast(Till.pay)
            refs[7].exit(KILL)
            state = await anext(states)
            for _ in range(2):
                state = await anext(states)
            assert (ranking.looked - looked) / 3 < SWEPT + 200
            assert state.fields["matched"] == 2_999
            seen = 0
            while state.rows[0]["serial"] != refs[5].serial:  # nothing was noted of it: its round comes
                state = await anext(states)
                seen += 1
            assert state.rows[0]["queued"] == 2
            assert seen <= 4
            refs[5].cast(Till.pay)  # it is not at rest, so it is looked at each time
            assert (await anext(states)).rows[0]["queued"] == 3
            await system.resume(refs[5])
            assert (await anext(states)).rows[0]["queued"] == 0
        await wait_all_tasks_blocked()
        assert not watching.rankings.rankings
        assert not bank.observation.counts.listeners


async def test_watches_share_what_is_ordered_alike(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        await populate(bank, 10)
        watching = bank.observation.watching
        one, other = TableView(sort="queued", count=3), TableView(sort="queued", count=5, first=2)
        async with Client(eye, "bank@local").watch(one) as states, bank.watch(other) as others:
            await anext(states)
            await anext(others)
            (ranking,) = watching.rankings.rankings.values()
            assert isinstance(ranking, Ranking)
            assert ranking.users == 2
            await others.change(TableView(count=5))
            await anext(others)
            assert ranking.users == 1


async def test_an_ended_process_keeps_its_place_for_a_while(autojump_clock: MockClock) -> None:
    """Anywhere in the order, and in every window."""
    async with observed() as (bank, eye):
        refs = await populate(bank, 12)
        serials = [ref.serial for ref in refs]
        async with Client(eye, "bank@local").watch(TableView(match="actor = Till")) as states:
            await anext(states)
            for ref in refs[2:8:2]:
                ref.exit(KILL)
            labels = {serial: f"worker {number}" for number, serial in enumerate(serials)}
            orders = {None: serials, "label": sorted(serials, key=labels.__getitem__)}
            shown = TableView(descending=False, match="actor = Till", count=4, grave=60)
            for sort, order in orders.items():
                for first in range(13):
                    await states.change(attrs.evolve(shown, sort=sort, first=first))
                    state = await anext(states)
                    assert state.fields["order"] == order[first : first + 4]
                    assert state.fields["matched"] == 12
            ended = {row["serial"] for row in state.rows if row["state"] == "ended"}
            assert ended <= {ref.serial for ref in refs[2:8:2]}


async def test_obs_107_two_observers_stay_within_the_larger_budget(autojump_clock: MockClock) -> None:
    """5,000 processes, each as dear as twenty: the walk takes its rests, whoever it walks for."""
    async with observed() as (bank, eye):
        await populate(bank, 5_000)
        walker = bank.observation.watching.walker
        walker.clock = Working(0.0006)
        async with (
            Client(eye, "bank@local").watch(TableView(sort="queued", count=50)) as one,
            Client(eye, "bank@local").watch(TableView(sort="label", count=50)) as other,
            trio.open_nursery() as nursery,
        ):
            every: dict[int, list[float]] = {1: [], 2: []}

            async def read(number: int, states: Any) -> None:
                while True:
                    every[number].append((await anext(states)).update.every)

            began, worked = trio.current_time(), walker.seconds
            nursery.start_soon(read, 1, one)
            nursery.start_soon(read, 2, other)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        share = (walker.seconds - worked) / (trio.current_time() - began)
        assert 0.005 < share < 0.06
        for found in every.values():
            assert len(found) >= 4
            assert all(seconds >= 0.999 for seconds in found[1:])


async def test_three_observers_of_one_order_cost_one_round(autojump_clock: MockClock) -> None:
    """The round of all goes on once an interval, whoever looks, but for its least part."""
    seconds = 10
    looked = {}
    for observers in (1, 3):
        async with observed() as (bank, eye), trio.open_nursery() as nursery:
            await populate(bank, 8_000)
            watching = bank.observation.watching
            watching.walker.clock = Working(0.0002)

            async def read(eye: Node = eye) -> None:
                async with Client(eye, "bank@local").watch(TableView(sort="queued", count=5)) as states:
                    async for _ in states:
                        pass

            for _ in range(observers):
                nursery.start_soon(read)
            await trio.sleep(10)
            (ranking,) = watching.rankings.rankings.values()
            before = ranking.looked
            await trio.sleep(seconds)
            looked[observers] = ranking.looked - before
            nursery.cancel_scope.cancel()
    assert looked[1] > 2 * seconds * SWEPT
    assert looked[3] < looked[1] + 3 * seconds * SWEPT


@pytest.mark.soak
@pytest.mark.real
async def test_obs_107_two_observers_of_a_hundred_thousand_processes() -> None:
    async with observed() as (bank, eye):
        await populate(bank, 100_000)
        await wait_all_tasks_blocked()
        async with (
            Client(eye, "bank@local").watch(TableView(sort="queued", count=50)) as one,
            Client(eye, "bank@local").watch(TableView(sort="label", count=50)) as other,
        ):
            began = time.monotonic()
            first = [await anext(one), await anext(other)]
            assert time.monotonic() - began < 20
            walker, used, began = bank.observation.watching.walker, time.process_time(), time.monotonic()
            worked, updates = walker.seconds, 0
            while time.monotonic() - began < 10:
                for states in (one, other):
                    await anext(states)
                    updates += 1
            seconds = time.monotonic() - began
            assert updates >= 2  # how often is the machine's affair: the budget decides, and `every` tells it
            assert (walker.seconds - worked) / seconds < 0.06
            assert (time.process_time() - used) / seconds < 0.2  # the observer is in this process, too
        assert [len(state.rows) for state in first] == [50, 50]
