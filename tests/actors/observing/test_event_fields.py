"""The fields of events that say how long, how often, for which trace, and why."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Supervisor, open_node
from enfilade.actors.observing.events.records import (
    KINDS,
    DeadLetterEvent,
    NodeOpened,
    NodeRefused,
    ProcessCrashed,
)
from enfilade.actors.observing.events.shown import event_shown
from enfilade.actors.observing.protocol.views import EventView
from enfilade.actors.observing.telemetry.contexts import use
from enfilade.actors.observing.watches.client import Client
from enfilade.transport.policy import Rights
from tests.actors.observing.pair import observed

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Till(Actor):
    def touch(self) -> None:
        raise ValueError("broken")

    def wait(self) -> None:
        """Do nothing."""


class Fragile(Actor):
    """Starts once, fails three times, and starts again."""

    starts = 0

    def __init__(self) -> None:
        Fragile.starts += 1
        if 1 < Fragile.starts < 5:
            raise ValueError("not yet")

    def touch(self) -> None:
        raise ValueError("broken")


def test_events_are_equal_by_kind_and_fields_and_are_shown_with_them() -> None:
    opened, refused = NodeOpened(1, 2.0, "shop"), NodeRefused(1, 2.0, "shop", "no")
    assert refused == NodeRefused(1, 2.0, "shop", "no") != NodeRefused(1, 2.0, "shop", "yes")
    assert len({opened, NodeOpened(1, 2.0, "shop"), refused}) == 2
    assert repr(refused) == "NodeRefused(number=1, at=2.0, node='shop', reason='no')"
    methods = {"__eq__", "__hash__", "__repr__"}
    assert not [kind for kind, event in KINDS.items() if methods & vars(event).keys()]


async def test_the_first_event_of_a_node_is_that_it_is_open() -> None:
    async with open_node("shop") as node:
        (first,) = node.timeline
    assert isinstance(first, NodeOpened)
    assert first.number == 1


async def test_an_end_and_a_crash_say_how_long_the_process_was_there(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.events("process.ended") as events, node.counting():
        till = await node.spawn(Till)
        till.cast(Till.wait)
        await trio.sleep(30)
        with use(PARENT):
            till.cast(Till.touch)
        ended = await anext(events)
        (crash,) = node.crashes
    assert ended.seconds == pytest.approx(30, abs=0.1)
    assert isinstance(crash, ProcessCrashed)
    assert crash.uptime == pytest.approx(30, abs=0.1)
    assert crash.handled is not None
    assert crash.handled >= 1
    assert crash.trace_id == PARENT.split("-")[1]


async def test_without_counting_or_a_trace_a_crash_has_neither() -> None:
    async with open_node("shop") as node:
        till = await node.spawn(Till)
        till.cast(Till.touch)
        await wait_all_tasks_blocked()
        (crash,) = node.crashes
    assert (crash.handled, crash.trace_id) == (None, None)


async def test_attempts_to_start_are_counted_since_the_child_ran_last(autojump_clock: MockClock) -> None:
    Fragile.starts = 0
    async with open_node("shop") as node, node.events("child.start_failed", "child.restarted") as events:
        await node.spawn(Supervisor, [Child(Fragile, id="f", name="f")], intensity=20)
        node.named("f").cast(Fragile.touch)
        found = []
        with trio.fail_after(100):
            for _ in range(4):
                found.append(await anext(events))  # noqa: PERF401 (no more than four)
    assert [event.kind for event in found] == ["child.start_failed"] * 3 + ["child.restarted"]
    assert [event.attempt for event in found[:3]] == [1, 2, 3]


async def test_the_end_of_a_node_says_why() -> None:
    found: list[Any] = []
    async with open_node("shop") as node:
        node.attach("ends", "node.*", lambda event, _: found.append(event))
    assert [(event.kind, event.reason.type, event.reason.is_normal) for event in found] == [
        ("node.stopping", "Shutdown", True),
        ("node.stopped", "Shutdown", True),
    ]
    found.clear()

    async def ordered() -> None:
        async with open_node("shop") as node:
            node.attach("ends", "node.*", lambda event, _: found.append(event))
            node.stop_for(SystemExit(3))
            await trio.sleep_forever()

    with pytest.raises(SystemExit):
        await ordered()
    assert [(event.reason.type, event.reason.is_normal) for event in found] == [("SystemExit", False)] * 2
    assert event_shown(found[0], inspects=False)["reason"] == {
        "type": "SystemExit",
        "is_normal": False,
        "by": None,
        "hidden": True,
    }


class Loud:
    """Notes whether its `repr` was asked for."""

    asked = 0

    def __repr__(self) -> str:
        Loud.asked += 1
        return "sesame"


async def test_the_contents_of_dead_letters_are_for_those_who_may_inspect(autojump_clock: MockClock) -> None:
    """For others the program's own `repr` is not even asked."""
    async with observed(Rights(observe=True, inspect=True)) as (bank, eye):
        till = await bank.spawn(Till)
        await till.stop()
        view = EventView(("message.dead",))
        async with Client(eye, "bank@local").watch(view) as states:
            await anext(states)
            bank.dead_letters._reports._logged["dead letters"] = 10**6  # the log asks for none, either
            Loud.asked = 0
            till.send(Loud())
            (event,) = (await anext(states)).events
            assert (event["message"], event["contents"], event["hidden"]) == ("Loud", None, True)
            assert Loud.asked == 0
        async with Client(eye, "bank@local", "inspect").watch(view) as states:
            await anext(states)
            till.send(Loud())
            (event,) = (await anext(states)).events
            assert event["contents"] == "sesame"
        async with bank.events("message.dead") as events:
            till.send(Loud())
            dead = await anext(events)
        assert isinstance(dead, DeadLetterEvent)
        assert dead.contents == "sesame"


async def test_a_match_chooses_events(autojump_clock: MockClock) -> None:
    async with observed(Rights(observe=True)) as (bank, eye):
        for name in ("one", "two"):
            till = await bank.spawn(Till, name=name)
            till.cast(Till.touch)
        await wait_all_tasks_blocked()
        view = EventView(("process.crashed",), match="name = two")
        async with Client(eye, "bank@local").watch(view) as states:
            (event,) = (await anext(states)).events
    assert event["name"] == "two"
