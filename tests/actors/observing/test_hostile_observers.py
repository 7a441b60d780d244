"""Observers that ask for too much: each is refused, or costs what its share is, and nobody else notices."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Node, Process, Refused
from enfilade.actors.observing.protocol.matching import LARGEST_MATCH, Glob, Match
from enfilade.actors.observing.protocol.views import (
    EventView,
    MetricsView,
    NodeView,
    ProcessView,
    TableView,
    TraceView,
    TreeView,
    Update,
    check_view,
)
from enfilade.actors.observing.watches.client import Client
from enfilade.actors.observing.watches.desk import Desk
from enfilade.actors.observing.watches.watch import Watch
from enfilade.transport.policy import OBSERVE, TRACE, Rights
from tests.actors.observing.pair import observed

HUGE = "x" * 2**16


class Till(Actor):
    """Does nothing."""


def asks(eye: Node, view: Any, **options: float) -> Any:
    return Client(eye, "bank@local").watch(view, **options)


@pytest.mark.parametrize(
    ("view", "options"),
    [
        (TreeView(open=tuple(range(10**6))), {}),
        (TableView(match="*" * 10_000), {}),
        (TableView(match=HUGE), {}),
        (TableView(of=HUGE), {}),
        (TableView(sort=HUGE), {}),
        (TableView(columns=(HUGE,) * 10), {}),
        (TableView(columns=("name",) * 1_000), {}),
        (TableView(count=10**9), {}),
        (TableView(first=-1), {}),
        (TableView(grave=1e9), {}),
        (TableView(grave=float("nan")), {}),
        (ProcessView(HUGE), {}),
        (EventView((HUGE,)), {}),
        (EventView(("child.*",) * 101), {}),
        (EventView(since=-1), {}),
        (NodeView(), {"interval": 0.0}),
        (NodeView(), {"interval": float("nan")}),
        (NodeView(), {"interval": True}),
        (NodeView(), {"budget": 0.0}),
        (NodeView(), {"budget": -1.0}),
        (None, {}),
        ({"of": "processes"}, {}),
        (TraceView((1,)), {}),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_obs_109_what_goes_beyond_the_limits_is_refused(
    view: Any, options: dict[str, float], autojump_clock: MockClock
) -> None:
    """With a text of a bounded length, and the watches that there are go on."""
    async with observed(Rights(observe=True)) as (_bank, eye), asks(eye, NodeView()) as states:
        await anext(states)
        with pytest.raises(Refused) as caught:
            async with asks(eye, view, **options):
                """It is not entered."""
        assert len(str(caught.value)) < 2_000
        await anext(states)


@pytest.mark.parametrize(
    "view",
    [
        TreeView(open=("x",)),  # type: ignore[arg-type]
        TreeView(root="x"),  # type: ignore[arg-type]
        TreeView(depth=9),
        TableView(first=2.5),  # type: ignore[arg-type]
        TableView(descending=1),  # type: ignore[arg-type]
        TableView(supervisor="root"),  # type: ignore[arg-type]
        TableView(columns="name"),  # type: ignore[arg-type]
        TableView(match=5),  # type: ignore[arg-type]
        ProcessView(None),  # type: ignore[arg-type]
        ProcessView(True),
        EventView(5),  # type: ignore[arg-type]
        MetricsView(1),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_obs_109_fields_of_another_type_are_refused(view: Any) -> None:
    """A peer that does not check what it sends, as ours does."""
    with pytest.raises(Refused):
        check_view(view, {"observe"}, {type(view)})


@pytest.mark.parametrize("processes", [(), (1,) * 65, (HUGE,), ("",), (1.5,), "name", None])
def test_obs_109_a_trace_names_up_to_64_processes(processes: Any) -> None:
    with pytest.raises(Refused):
        check_view(TraceView(processes), {"trace"}, {TraceView})


async def test_obs_109_a_ref_of_somebody_else_is_no_observer(autojump_clock: MockClock) -> None:
    """Whoever watches is sent the updates: another process cannot be flooded with them."""
    async with observed() as (bank, eye):
        victim = await bank.spawn(Till)
        desk: Any = eye.remote(OBSERVE, "bank@local")
        for stranger in (victim, 5, "x"):
            with pytest.raises(Refused, match="observer must be"):
                await desk.call(Desk.watch, stranger, NodeView())
        assert bank.observation.watch_count == 0


async def test_obs_109_acks_of_the_future_and_of_the_past_change_nothing(autojump_clock: MockClock) -> None:
    async with observed() as (_bank, eye), eye.mailbox() as me:
        watch: Any = await eye.remote(OBSERVE, "bank@local").call(Desk.watch, me.ref, NodeView())
        first = await me.receive(Update)
        for number in (first.number + 1, 10**9, 0, -1, "1", None, [1]):
            watch.cast(Watch.ack, number)
        await trio.sleep(5)
        assert not me.queue
        watch.cast(Watch.ack, first.number)
        watch.cast(Watch.ack, first.number)
        assert (await me.receive(Update)).number == 2
        await trio.sleep(5)
        assert not me.queue


async def test_obs_109_two_desks_share_the_limit_of_a_peer(autojump_clock: MockClock) -> None:
    """10,000 watches are asked for, and 64 are there, whichever way they are asked for."""
    rights = Rights(observe=True, trace=True)
    async with observed(rights) as (bank, eye), eye.mailbox() as me:
        desks: list[Any] = [eye.remote(name, "bank@local") for name in (OBSERVE, TRACE)]
        refused = 0
        for number in range(200):
            try:
                await desks[number % 2].call(Desk.watch, me.ref, NodeView())
            except Refused:
                refused += 1
        assert refused == 200 - 64
        assert bank.observation.watch_count == 64


class Steps:
    """A clock that counts how often it is read, and goes on by a millisecond each time."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.reads / 1_000


async def test_obs_109_a_dear_filter_gives_the_loop_back_after_each_row(autojump_clock: MockClock) -> None:
    """So no step is longer than one comparison; those without a filter are made 64 at a time."""
    async with observed() as (bank, eye):
        for _ in range(300):
            bank.spawn_soon(Till)
        await wait_all_tasks_blocked()
        walker = bank.observation.watching.walker
        reads = []
        for view in (TableView(sort="label"), TableView(sort="label", match="?a?a?a*b")):
            walker.clock = Steps()
            async with asks(eye, view) as states:
                await anext(states)
            reads.append(walker.clock.reads)
        assert reads[0] < 100
        assert reads[1] > 300


@pytest.mark.parametrize(
    "pattern",
    ["*" * 10_000, "?*" * 400, "?" * 400 + "a", "a*" * 400 + "b", "a?" * 300 + "b", "*a?a*" * 150 + "b"],
    ids=lambda pattern: pattern[:6],
)
def test_obs_109_a_glob_does_not_go_back(pattern: str) -> None:
    """Each part is looked for once, leftmost first, so even these have an end."""
    assert Glob(pattern).fits("a" * LARGEST_MATCH) == (pattern in ("*" * 10_000, "?*" * 400))


def test_obs_109_only_the_beginning_of_a_text_is_compared() -> None:
    row = {"name": "a" * LARGEST_MATCH + "b"}
    assert not Match("name = a*b")(row.get)
    assert Match("name = a*")(row.get)


async def test_an_observer_that_goes_away_while_it_is_served(autojump_clock: MockClock) -> None:
    """In the middle of a walk: nothing is left of it, and the next one is served."""
    async with observed() as (bank, eye):
        for _ in range(500):
            bank.spawn_soon(Till)
        await wait_all_tasks_blocked()
        watching = bank.observation.watching
        watching.walker.clock = Steps()  # each row takes a step, and each step a rest

        async def observer(me: Process) -> None:
            await eye.remote(OBSERVE, "bank@local").call(Desk.watch, me.ref, TableView(match="no such name"))
            await me.receive()

        ref = await eye.spawn(observer)
        await trio.sleep(1)
        assert len(watching.rankings.rankings) == 1
        assert watching.walker.turn.locked()
        ref.exit(KILL)
        await trio.sleep(0.1)
        assert not watching.rankings.rankings
        assert not watching.watches
        assert not bank.hooks.name_registered
        async with asks(eye, TableView(count=5)) as states:
            assert len((await anext(states)).rows) == 5
