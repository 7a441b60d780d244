"""The client of the observation protocol: the state of a view, put together from updates.

    async with Client(node, "bank@east").watch(TableView(sort="queued", count=20)) as states:
        async for state in states:
            print(state.rows)

Every state is acknowledged when the next one is asked for, so that the node sends as fast as it is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import attrs
import trio

from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.errors import NoProcess, Refused
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.protocol.columns import KEYS, rows_of
from enfilade.actors.observing.protocol.views import (
    RIGHTS,
    DumpView,
    EventView,
    Hello,
    LogView,
    MetricsView,
    ReplicaInColumns,
    ReplicaView,
    TableView,
    TraceView,
    TreeView,
    Update,
    View,
)
from enfilade.actors.observing.watches.desk import NAMES, Desk
from enfilade.actors.observing.watches.watch import Watch
from enfilade.actors.processes.links import Down
from enfilade.actors.processes.mailbox import Mailbox
from enfilade.transport.policy import INSPECT, OBSERVE, TRACE

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Client", "State", "States", "WatchEnded", "watching_here"]

MAILBOX = Mailbox(1_000, "drop_oldest")
"""The mailbox of an observer: at most one update waits, unless the node breaks the protocol."""


PASSING = (LogView, DumpView, MetricsView, TraceView, ReplicaView, ReplicaInColumns)
"""The views whose updates do not build on one another."""


class WatchEnded(Exception):
    """The watch is over: its process has ended, or the node is gone."""


@attrs.define
class State:
    """The state of a view after an update.

    Attributes:
        update: the update.
        fields: the fields of the view; for a table `total`, `matched` and `order`.
        rows: the rows of a table, in the order of the window.
        events: the events of this update.

    Of the log, the metrics, a dump, a trace and a replica, `fields` has what this update has brought.
    """

    update: Update
    fields: dict[str, Any]
    rows: list[dict[str, Any]]
    events: list[dict[str, Any]]


class States:
    """An iteration over the states of a watch: what `async with client.watch(...)` gives.

    Attributes:
        view: what is shown.
        interval: seconds between two updates, if the node can keep it.
    """

    def __init__(self, me: Process, watch: Ref[Watch], view: View, interval: float) -> None:
        self.view = view
        self.interval = interval
        self._me = me
        self._watch = watch
        self._last = 0
        self._before = 0
        self._fields: dict[str, Any] = {}
        self._rows: dict[Any, dict[str, Any]] = {}

    def __aiter__(self) -> States:
        return self

    async def __anext__(self) -> State:
        """The state after the next update. A checkpoint; cancelled, nothing is lost.

        Raises:
            WatchEnded: there is none.
        """
        if self._last:
            self._watch.cast(Watch.ack, self._last)
        while True:
            update = await self._me.receive((Update, Down))
            if isinstance(update, Down):
                raise WatchEnded(f"the watch has ended: {safe_str(update.reason)}")
            if update.number > self._before:  # if not, it is of the view before
                self._last = update.number
                return self._applied(update)

    async def change(self, view: View) -> None:
        """Show another view from now on; the next state is its. A checkpoint.

        Raises:
            Refused: it goes beyond the limits.
        """
        self._before = await self._watch.call(Watch.change, view)
        self.view = view

    def _applied(self, update: Update) -> State:
        """The state after `update`."""
        data = dict(update.data)
        if update.full or isinstance(self.view, PASSING):
            self._fields, self._rows = {}, {}
        if isinstance(self.view, ReplicaInColumns) and "values" in data:
            data["rows"] = rows_of(data.pop("columns"), data.pop("values"))
        events = data.pop("events", []) if isinstance(self.view, EventView) else []
        if isinstance(self.view, TableView):
            key = KEYS[self.view.of]
            for left in data.pop("left", []):
                self._rows.pop(left, None)
            for row in data.pop("rows", []):
                self._rows[row[key]] = {**self._rows.get(row[key], {}), **row}
        if isinstance(self.view, TreeView):
            data = self._tree(data)
        self._fields.update(data)
        order = self._fields.get("order", []) if isinstance(self.view, TableView) else []
        rows = [dict(self._rows[each]) for each in order if each in self._rows]
        return State(update, dict(self._fields), rows, events)

    def _tree(self, data: dict[str, Any]) -> dict[str, Any]:
        """The fields of a tree after an update with the branches that have changed, and their order."""
        changed = data.pop("branches", [])
        self._rows.update((branch["key"], branch) for branch in changed)
        order = data.get("order")
        if order is not None:
            self._rows = {key: self._rows[key] for key in order if key in self._rows}
        return {**data, "branches": list(self._rows.values())} if changed or order is not None else data


class Client:
    """An observer of a node.

    Args:
        node: the node that the observer lives on.
        peer: the full name of the node that is observed: a peer of `node`.
        right: the right by which to ask: "observe", "inspect" or "trace". The views that need another one
            are refused.
    """

    def __init__(self, node: Node, peer: str, right: str = "observe") -> None:
        self._node = node
        self._peer = peer
        self._name = NAMES[right]

    @property
    def _desk(self) -> Ref[Desk]:
        return self._node.remote(self._name, self._peer)

    async def hello(self) -> Hello:
        """The introduction of the node. A checkpoint.

        Raises:
            Refused, NoProcess: the node does not let us, or is not observed.
        """
        return await self._desk.call(Desk.hello)

    async def rights(self) -> list[str]:
        """The rights that the node gives: those among "observe", "inspect", "trace" and "control" that can be
        seen from a process of its. A checkpoint.
        """
        for name in (OBSERVE, INSPECT, TRACE):
            try:
                return (await self._node.remote(name, self._peer).call(Desk.hello)).rights
            except (Refused, NoProcess):
                continue
        return []

    @async_block
    async def watch(self, view: View, interval: float = 1.0, budget: float = 0.05) -> AsyncIterator[States]:
        """Watch a view for the length of a block.

        Args:
            view: what to show.
            interval: seconds between two updates.
            budget: the share of its time that the node may spend on it.

        Raises:
            Refused: the node does not let us, or something goes beyond the limits.
            NoProcess: the node is not observed.
        """
        if isinstance(view, ReplicaView) and ReplicaInColumns.__name__ in (await self.hello()).views:
            view = ReplicaInColumns()
        async with _watched(self._node, self._desk, view, interval, budget) as states:
            yield states


@async_block
async def watching_here(node: Node, view: View, interval: float, budget: float) -> AsyncIterator[States]:
    """Watch a view of a node from within its program, for the length of a block.

    Raises:
        Refused: something goes beyond the limits.
    """
    needed = RIGHTS.get(type(view), "observe")
    right = "inspect" if needed == "observe" else needed
    desk = await node.spawn(Desk, node.observation.watching, right, label="observation", arena="node")
    try:
        async with _watched(node, desk, view, interval, budget) as states:
            yield states
    finally:
        with trio.CancelScope(shield=True):
            await desk.stop()


@async_block
async def _watched(
    node: Node, desk: Ref[Desk], view: View, interval: float, budget: float
) -> AsyncIterator[States]:
    async with node.mailbox(MAILBOX) as me:
        watch = await desk.call(Desk.watch, me.ref, view, interval, budget)
        assert watch is not None
        me.monitor(watch)
        try:
            yield States(me, watch, view, interval)
        finally:
            watch.cast(Watch.close)
