"""A node as it was seen once: recorded updates, so that pictures of it are always the same."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from enfilade.actors import Node
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.observing.protocol.views import Update
from enfilade.actors.observing.watches.client import State

NOW = 10_000.0
NAME = "bank@east"


def state(*, fields: dict[str, Any] | None = None, rows: Any = (), events: Any = ()) -> State:
    """A state with these data."""
    return State(Update(1, NOW, 0.0, 1.0, True, {}), fields or {}, [*rows], [*events])


@asynccontextmanager
async def nowhere() -> AsyncIterator[tuple[Node, str]]:
    """A connection that is never there."""
    await trio.sleep_forever()
    raise AssertionError
    yield


def observed() -> Observed:
    """The node, connected, on a clock that stands still."""
    found = Observed("bank.door", nowhere, lambda: NOW)
    found.name, found.is_up = NAME, True
    found.given = frozenset({"observe", "inspect", "control"})
    found.heard()
    return found


def links() -> list[dict[str, Any]]:
    """Three node links: one that works, one whose credit is nearly used up, one that is down."""
    busy = {"frames_in": 812.0, "frames_out": 640.0, "bytes_in": 92_000.0, "bytes_out": 88_000.0}
    mill = {"name": "mill@west", "state": "up", "round_trip": 0.0004, "window": 1_048_576, "under_way": 4_096}
    till = {"name": "till@east", "state": "up", "round_trip": 0.02, "window": 65_536, "under_way": 60_000}
    gone = {"name": "mint@north", "state": "down", "reason": "the peer is gone", "frames_in": None}
    return [{**mill, **busy, "queued": 0}, {**till, **busy, "queued": 21_000}, gone]


def numbers(second: int) -> dict[str, Any]:
    """The numbers of the node at a moment, in seconds before now."""
    wave = math.sin(second / 40)
    return {
        "full_name": NAME,
        "zone": "east",
        "incarnation": "0000000000000001",
        "pid": 4711,
        "uptime": 11_530.0 - second,
        "processes": 1_024 - second // 60,
        "queued": round(40 + 40 * wave) if second > 60 else 212 - second,
        "dead_letters": max(0, 120 - second),
        "crashes": 14 - second // 60,
        "cpu_seconds": 900.0 - second * 0.2 + 4 * math.cos(second / 40),
        "rates": {"handled": None},
        "loop": {"busy": 0.25 + 0.2 * wave, "longest_step": 0.004, "lag": 0.001},
        "memory": {"rss": 80_000_000 + round(6e6 * wave)},
        "observation": {"seconds": 40.0 - second * 0.02, "budget": 0.05},
        "links": links(),
    }


def ref(serial: int, name: str = "") -> dict[str, Any]:
    return {"serial": serial, "text": f"<{NAME}:{serial}{' ' * bool(name)}{name}>"}


WHY = {"type": "Crashed", "text": "crashed: ValueError('no change for 54')", "is_normal": False}
ERROR = {
    "type": "ValueError",
    "text": "no change for 54",
    "notes": [],
    "frames": [{"file": "bank/till.py", "line": 41, "function": "Till.pay"}],
}


def events() -> list[dict[str, Any]]:
    """Some restarts, a give-up, a node link that was lost."""
    found: list[dict[str, Any]] = []

    def add(ago: float, kind: str, **given: Any) -> None:
        found.append({"kind": kind, "number": len(found) + 1, "at": NOW - ago, "node": NAME, **given})

    floor, child = ref(7, "floor"), {"supervisor": ref(7, "floor"), "child_id": "till 3"}
    add(500.0, "node.up", peer="mill@west")
    for number, ago in enumerate((480.0, 320.0, 300.0, 290.0, 12.0)):
        crash = {"ref": ref(40 + number, "till 3"), "actor": "Till", "name": "till 3", "label": None}
        message = {"kind": "cast", "what": "pay", "sender": None}
        add(ago, "process.crashed", **crash, **child, reason=WHY, exception=ERROR, message=message, queued=3)
        add(ago, "child.terminated", **child, ref=crash["ref"], reason=WHY, will_restart=True)
        restarted = {"old": crash["ref"], "ref": ref(41 + number, "till 3"), "reason": WHY}
        add(
            ago,
            "child.restarted",
            **child,
            **restarted,
            seconds=0.0004,
            in_period=min(3, number + 1),
            intensity=3,
        )
    add(200.0, "supervisor.gave_up", supervisor=floor, child_id="till 9", reason=WHY, restarts=4, period=5.0)
    add(100.0, "node.down", peer="mill@west", reason="the peer is gone")
    return sorted(found, key=lambda event: event["at"])


def process(serial: int, **given: Any) -> dict[str, Any]:
    row = {
        "serial": serial,
        "name": None,
        "label": None,
        "actor": "Till",
        "kind": "actor",
        "state": "idle",
        "queued": 0,
        "memory": 1_548,
        "restarts": 0,
        "child_id": None,
        "waits_for": None,
        "supervisor": None,
        "reason": None,
    }
    return {**row, **given}


def processes() -> list[dict[str, Any]]:
    """The first of its processes, those with the longest mailboxes first."""
    ended = {"type": "Crashed", "is_normal": False, "hidden": True}
    waiting = f"<{NAME}:12 ledger>"
    ledger = process(12, name="ledger", actor="Ledger", state="handling", queued=212, memory=23_400)
    clerk = process(13, name="clerk", actor="clerk", kind="function", state="waiting", waits_for=waiting)
    tills = [
        process(
            14 + number, name=f"till {number}", child_id=f"till {number}", supervisor=7, restarts=number == 3
        )
        for number in range(40)
    ]
    tills[1] = {**tills[1], "state": "suspended", "queued": 31}
    tills[2] = {**tills[2], "state": "ended", "kind": "ended", "reason": ended}
    return [ledger, tills[1], clerk, tills[0], *tills[2:]]


def busiest() -> list[dict[str, Any]]:
    """The processes that hold its loop most, and one that has ended."""
    shares = {"ledger": 0.22, "till 0": 0.014, "till 3": 0.002, "till 2": 0.0}
    found = [row for row in processes() if row["name"] in shares]
    return [{**row, "busy": shares[row["name"]], "rate": 4_100.0 * shares[row["name"]]} for row in found]


def branches() -> list[dict[str, Any]]:
    """The tree, with one branch open."""

    def branch(depth: int, id_: str, serial: int | None, **given: Any) -> dict[str, Any]:
        return {"id": id_, "depth": depth, "process": serial, "name": None, "queued": 0, **given}

    place = {"restart": "permanent", "state": "running", "process_state": "idle"}
    below = {"processes": 900, "restarts": 2, "queued": 31}
    supervisor = {"actor": "Supervisor", "process_state": "idle"}
    return [
        branch(0, "root", 6, **supervisor, children=4, open=True),
        branch(1, "floor", 7, **{**place, **supervisor}, restarts=0, children=900, open=False, below=below),
        branch(1, "ledger", 12, **{**place, "process_state": "handling"}, actor="Ledger", restarts=0),
        branch(1, "till 9", None, restart="permanent", state="stopped", restarts=4),
        branch(1, "mint", None, restart="permanent", state="running", restarts=0, elsewhere="<mint@west:3>"),
    ]


async def feed(sight: Sight) -> None:
    """Have the sight of the node know all of it. Runs in trio."""
    for second in reversed(range(0, 600, 2)):
        sight.history.note(NOW - second, numbers(second))
    sight.fields, sight.heard_at, sight.observation_share = numbers(0), NOW, 0.02
    sight.timeline.extend(events())
    sight.longest = [row for row in processes() if row["queued"]]
    await sight._take_busiest(state(rows=busiest()))
    for second, queued in ((20.0, 100), (10.0, 150), (0.0, 212)):
        sight.mailboxes.note(NOW - second, [{**sight.longest[0], "queued": queued}])
    await sight._take_waits(state())
