"""What supervisors tell of children on other nodes, and to listeners there. Clause SUP-26 of
docs/semantics-supervision.md.
"""

from __future__ import annotations

import math
from typing import Any

from trio.testing import MockClock

from enfilade.actors import KILL, KILLED, NO_CONNECTION, Actor, Child, ChildEvent
from tests.actors.supervision.test_remote_children import (
    ENTRIES,
    Country,
    abroad,
    country,
    only,
    settle,
    supervise,
)

__all__ = ["country"]


async def test_events_of_children_elsewhere(autojump_clock: MockClock, country: Country) -> None:
    """SUP-26: what happens to a child on another node is told as that of any child, but for its state."""
    async with country.home.mailbox() as me:
        country.home.child_events.subscribe(me.ref)
        supervisor = await supervise(country, abroad())
        (await only(supervisor)).exit(KILL)
        await settle()
        await country.lose("east")
        told = [await me.receive(ChildEvent, timeout=0) for _ in range(6)]
        shown = [(event.kind, event.reason, event.restarts, event.delay) for event in told]
        assert shown == [
            ("started", None, 0, None),
            ("ended", KILLED, 0, None),
            ("restarting", KILLED, 0, 0.0),
            ("started", None, 1, None),
            ("ended", NO_CONNECTION, 1, None),
            ("restarting", NO_CONNECTION, 1, math.inf),
        ]
        assert {event.state for event in told} == {None}
        assert told[2].ref == told[1].ref == told[0].ref
        country.home.child_events.unsubscribe(me.ref)


async def test_supervisor_of_a_child_elsewhere_that_is_killed(
    autojump_clock: MockClock, country: Country
) -> None:
    """SUP-26: its child, which nobody hears from any more, has ended for the same reason."""
    async with country.home.mailbox() as me:
        supervisor = await supervise(country, abroad())
        child = await only(supervisor)
        country.home.child_events.subscribe(me.ref, supervisor)
        supervisor.exit(KILL)
        await settle()
        event = await me.receive(ChildEvent, timeout=0)
        assert (event.kind, event.ref, event.reason, event.state) == ("ended", child, KILLED, None)
        assert not me.queue
        assert len(country.home.child_events) == 0


class Follower(Actor):
    """Keeps what it is told of."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.told.append((message.kind, message.child_id, message.reason, message.delay))

    def take(self) -> list[Any]:
        return self.told


async def test_events_for_somebody_elsewhere(autojump_clock: MockClock, country: Country) -> None:
    """SUP-26: a process of another node can follow the supervisors of this one."""
    follower = await country.home.spawn_on("west@far", "Follower")
    country.home.child_events.subscribe(follower)
    supervisor = await supervise(country, Child(Actor, id=("a", 1)))
    (await only(supervisor)).exit(KILL)
    await settle()
    assert await follower.call(Follower.take) == [
        ("started", ("a", 1), None, None),
        ("ended", ("a", 1), KILLED, None),
        ("restarting", ("a", 1), KILLED, 0.0),
        ("started", ("a", 1), None, None),
    ]
    country.home.child_events.unsubscribe(follower)


ENTRIES["Follower"] = Follower
