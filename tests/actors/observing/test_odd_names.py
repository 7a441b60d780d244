"""Names, labels, ids and messages that no frame can carry, or that are long: every view shows them."""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Node, Process, Supervisor, open_node
from enfilade.actors.logs import JsonFormatter
from enfilade.actors.messages.safe_text import told
from enfilade.actors.observing.dumps.dump import dump, written
from enfilade.actors.observing.protocol.views import (
    DumpView,
    EventView,
    LogView,
    MetricsView,
    NodeView,
    ProcessView,
    ReplicaView,
    StateView,
    TableView,
    TreeView,
    View,
)
from enfilade.actors.observing.watches.client import Client, State
from enfilade.actors.observing.watches.control import Control
from enfilade.transport.policy import CONTROL, Rights
from tests.actors.cli.observe.shop import shop

LONG = "x" * (1 << 20)
HALF = "a\ud800b"  # half of a surrogate pair, as in the names of files that are no UTF-8
MOST = 1 << 19
"""Characters of an update, at most: half of the longest name."""

ALL = Rights(observe=True, inspect=True, trace=True, control=True)


class Till(Actor):
    def fail(self, why: object) -> None:
        raise ValueError(why)


class Odd(int):
    """A number of the program's own kind."""


NAMES = {"long": LONG, "half": HALF, "escape": "\u202e\x1b[2J\0<b>"}
IDS: dict[str, Hashable] = {
    **NAMES,
    "parts": (2**100, HALF, LONG),
    "large": 2**100,
    "own": Odd(3),
    "nan": float("nan"),
    "deep": ((((((((1,),),),),),),),),
}


async def idle(me: Process) -> None:
    await trio.sleep_forever()


async def last(client: Client, view: View) -> list[State]:
    """The states of a view up to the first that is whole."""
    states = []
    with trio.fail_after(20):
        async with client.watch(view, 0.1) as shown:
            async for state in shown:
                states.append(state)
                if state.fields.get("is_last", True) and state.fields.get("piece", "end") == "end":
                    break
    return states


async def shown_in_every_view(node: Node, eye: Node) -> None:
    """Ask for every view of every process, and demand that each comes, and none is large."""
    serials = list(node.processes)
    above = [serial for serial in serials if node.processes[serial].body.kind == "supervisor"]
    tables = [TableView(of) for of in ("processes", "names", "groups", "links", "timers", "dead_letters")]
    views: dict[str, list[View]] = {
        "observe": [
            NodeView(),
            MetricsView(),
            TreeView(open=tuple(above)),
            EventView(),
            ReplicaView(),
            *tables,
            *(TableView("children", supervisor=serial) for serial in above),
            *(ProcessView(serial) for serial in serials),
        ],
        "inspect": [
            DumpView(),
            LogView("DEBUG"),
            EventView(),
            *(view(serial) for serial in serials for view in (ProcessView, StateView)),
        ],
        "trace": [ProcessView(serial, contents=True) for serial in serials],
    }
    for right in views:
        client = Client(eye, "shop@east", right)
        for view in views[right]:
            for state in await last(client, view):
                size = len(repr((state.fields, state.rows, state.events)))
                assert size < MOST, (view, size)


@contextmanager
def kept_out_of_the_report(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log nothing for pytest, whose workers cannot send half of a surrogate pair either."""
    root = logging.getLogger()
    kept_out = [handler for handler in root.handlers if type(handler) is type(caplog.handler)]
    for handler in kept_out:
        root.removeHandler(handler)
    yield
    for handler in kept_out:
        root.addHandler(handler)


async def test_names_and_labels_of_any_kind(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with kept_out_of_the_report(caplog):
        await names_and_labels_are_shown()


async def names_and_labels_are_shown() -> None:
    async with shop(ALL) as (node, eye):
        named = {await node.spawn(Till, name=name, label=name) for name in NAMES.values()}
        for label in NAMES.values():
            till: Any = await node.spawn(Till, label=label)
            till.cast(Till.fail, label)
            logging.getLogger(HALF).warning(label, extra={"event": object(), "serial": 2**99})
        await wait_all_tasks_blocked()
        await shown_in_every_view(node, eye)
        entries = await eye.remote(CONTROL, "shop@east").call(Control.processes)
        assert {ref.serial for ref in named} <= {entry.serial for entry in entries}


async def test_ids_of_children_of_any_kind(autojump_clock: MockClock) -> None:
    async with shop(ALL) as (node, eye):
        children = [Child(Till, id=IDS[which]) for which in IDS]
        others = [Child(idle, id=("second", IDS[which])) for which in IDS]
        above = await node.spawn(Supervisor, [*children, *others], label=HALF, intensity=100)
        for process in list(node.processes.values()):
            if process.parent == above and process.body.actor is not None:
                process.ref.cast(Till.fail, "on purpose")
        await wait_all_tasks_blocked()
        await shown_in_every_view(node, eye)


async def test_groups_and_messages_of_any_kind(autojump_clock: MockClock) -> None:
    async def member(me: Process) -> None:
        for which in IDS:
            me.node.scope("office").join(IDS[which], me.ref)
            me.send_after(100, me.ref, IDS[which])
        await trio.sleep_forever()

    async with shop(ALL) as (node, eye):
        ref = await node.spawn(member)
        gone = await node.spawn(Till)
        await gone.stop()
        for which in IDS:
            ref.send(IDS[which])
            gone.send(IDS[which])
        await wait_all_tasks_blocked()
        await shown_in_every_view(node, eye)


@pytest.mark.parametrize("which", NAMES)
async def test_a_dump_and_a_line_of_the_log_have_them(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    async with open_node("shop") as node:
        till: Any = await node.spawn(Till, name=NAMES[which], label=NAMES[which])
        till.cast(Till.fail, "on purpose")
        await wait_all_tasks_blocked()
        records = list(dump(node))
    assert max(len(line) for line in written(records)) < MOST
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    (crashed,) = [line for line in lines if line.get("event") == "process.crashed"]
    assert crashed["process_name"] == told(NAMES[which])
    assert len(repr(crashed)) < MOST


def test_a_name_is_told_as_it_is_if_that_can_be_done() -> None:
    for name in ("till", "Kasse 7", "касса", "x" * 1_000, "\u202e\x1b", "", None):
        assert told(name) is name
    assert told("x" * 1_001) == "x" * 997 + "..."
    assert told(HALF) == "a\\ud800b"
    assert told("abcdefgh", 5) == "ab..."
