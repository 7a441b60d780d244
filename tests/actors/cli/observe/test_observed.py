"""A node that is observed through lost connections, under virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors.cli.observe.observed import Connect, Look, Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.observing.protocol.views import TableView, TreeView
from enfilade.actors.observing.watches.client import State
from enfilade.transport.policy import Rights
from tests.actors.cli.observe.shop import Door, connecting, hall, until


async def test_a_lost_node_is_connected_to_again_and_its_views_go_on(autojump_clock: MockClock) -> None:
    door = Door()
    observed = Observed("shop.door", door.connect, trio.current_time)
    sight = Sight(observed)
    async with trio.open_nursery() as nursery:
        sight.begin()
        nursery.start_soon(observed.run)
        await until(lambda: sight.fields and sight.timeline)
        assert observed.rights >= {"observe", "inspect"}
        first = sight.fields["incarnation"]
        events = len(sight.timeline)
        door.lose()
        await until(lambda: not observed.is_up)
        assert observed.trouble
        assert sight.fields["incarnation"] == first  # what was seen last stays
        await until(lambda: observed.attempts >= 4)
        assert observed.trouble == "no such door"
        door.is_open = True
        began = trio.current_time()
        await until(lambda: observed.is_up and sight.fields["incarnation"] != first)
        assert trio.current_time() - began < 12
        assert len(sight.timeline) <= events + 2  # all of the new node, nothing twice
        assert (door.opened, observed.attempts, observed.trouble) == (2, 0, "")
        nursery.cancel_scope.cancel()


async def test_a_node_that_does_not_let_us_observe_it_is_told(autojump_clock: MockClock) -> None:
    observed = Observed("shop.door", connecting(hall, Rights(exports=["*"])), trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observed.run)
        await until(lambda: observed.trouble)
        assert observed.trouble == "node shop@east does not let us observe it; `[[peer]] observe = true` does"
        assert not observed.is_up
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def observing(connect: Connect) -> AsyncIterator[Observed]:
    observed = Observed("shop.door", connect, trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observed.run)
        await until(lambda: observed.is_up)
        yield observed
        nursery.cancel_scope.cancel()


async def test_a_changed_view_interrupts_the_wait_for_an_update(autojump_clock: MockClock) -> None:
    states: list[State] = []

    async def take(state: State) -> None:
        states.append(state)

    async with observing(connecting(hall)) as observed:
        look = observed.look(Look(TableView(match="actor = Till"), take, interval=60.0))
        await until(lambda: states)
        began = trio.current_time()
        look.change(TableView(match="till 00001"))
        await until(lambda: len(states) > 1)
        assert trio.current_time() - began < 1
        assert [row["name"] for row in states[-1].rows] == ["till 00001"]
        assert look.shown == look.view


async def test_a_view_that_is_refused_is_told_and_another_one_does(autojump_clock: MockClock) -> None:
    states: list[State] = []

    async def take(state: State) -> None:
        states.append(state)

    async with observing(connecting(hall)) as observed:
        look = observed.look(Look(TableView(match="queued > many"), take))
        await until(lambda: look.refused)
        assert look.refused is not None
        assert "compared with a number" in look.refused
        look.change(TableView())
        await until(lambda: states)
        assert look.refused is None
        look.change(TableView(match="queued > many"))
        await until(lambda: look.refused)
        seen = len(states)
        look.change(TableView(count=3))
        await until(lambda: len(states) > seen)
        assert len(states[-1].rows) == 3


async def test_an_update_is_acknowledged_when_it_has_been_taken(autojump_clock: MockClock) -> None:
    states: list[State] = []
    drawn = trio.Event()

    async def take(state: State) -> None:
        states.append(state)
        await drawn.wait()

    async with observing(connecting(hall)) as observed:
        look = observed.look(Look(TableView(), take, interval=0.1))
        await until(lambda: states)
        await trio.sleep(30)
        assert len(states) == 1
        drawn.set()
        await until(lambda: len(states) > 2)
        observed.drop(look)
        await wait_all_tasks_blocked()
        seen = len(states)
        await trio.sleep(5)
        assert len(states) == seen


async def test_a_view_can_be_asked_for_once(autojump_clock: MockClock) -> None:
    async with observing(connecting(hall)) as observed:
        state = await observed.once(TreeView())
        assert state is not None
        assert state.fields["branches"][0]["id"] == "root"
    assert await observed.once(TreeView()) is None


async def test_what_cannot_be_done_is_said(autojump_clock: MockClock) -> None:
    observed = Observed("shop.door", connecting(hall), trio.current_time)
    assert await observed.act("", "suspend", 1) == "shop.door is not connected"


async def test_a_silent_node_is_noticed(autojump_clock: MockClock) -> None:
    async with observing(connecting(hall)) as observed:
        assert observed.silence is None
        await trio.sleep(4)
        silence = observed.silence
        assert silence is not None
        assert silence >= 3
        observed.heard()
        assert observed.silence is None
