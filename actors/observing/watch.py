"""Watches: processes that show one view to one observer, and the process that peers ask for them.

At most one update of a watch is unacknowledged. What changes meanwhile is in the next one, so that nothing is
queued for an observer that is slow, and one that has lost its way gets the state, not a history.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.errors import Refused
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.dump import dump
from enfilade.actors.observing.event_shown import event_shown
from enfilade.actors.observing.events import Event
from enfilade.actors.observing.listing import Listing
from enfilade.actors.observing.rows import detail_of, reason_shown
from enfilade.actors.observing.subscriptions import kinds_of
from enfilade.actors.observing.trees import branches_of
from enfilade.actors.observing.views import (
    LIMITS,
    PROTOCOL,
    EventView,
    Hello,
    NodeView,
    ProcessView,
    TableView,
    TreeView,
    Update,
    View,
    check_view,
)
from enfilade.actors.observing.walker import Grave, Walker
from enfilade.actors.processes.actor import Actor
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.transport.policy import INSPECT, OBSERVE

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.links import Down

__all__ = ["Desk", "Watch", "Watching", "open_desks"]

EVENTS: Final = 500
"""How many events an update carries."""

WAITING: Final = 10_000
"""How many events wait for the next update."""

TICK: Final = "enfilade.observe.tick"


class Watching:
    """The watches of one node, and what they share.

    Attributes:
        watches: the node of the observer of each watch, by the serial of its process.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.walker = Walker(node)
        self.grave = Grave(node.timers.now)
        self.watches: dict[int, str] = {}

    def opened(self, serial: int, observer: str) -> None:
        """A watch begins."""
        if not self.watches:
            self.node.hooks.add(self.grave)
        self.watches[serial] = observer

    def closed(self, serial: int) -> None:
        """A watch has ended; after the last one nothing is noted any more."""
        if self.watches.pop(serial, None) is not None and not self.watches:
            self.node.hooks.remove(self.grave)
            self.grave.rows.clear()


class Watch(Actor):
    """A watch: shows a view to an observer, until that ends or lets go.

    Args:
        watching: what the watches of the node share.
        observer: the process that is sent the updates.
        view: what is shown.
        interval: seconds between two updates.
        budget: the share of the time that the node may spend on it.
        inspects: whether the observer may see what holds data.
    """

    def __init__(
        self,
        watching: Watching,
        observer: Ref[Any],
        view: View,
        interval: float,
        budget: float,
        inspects: bool,
    ) -> None:
        self._watching = watching
        self._observer = observer
        self._view = view
        self._interval = interval
        self._budget = budget
        self._inspects = inspects
        self._number = 0
        self._acknowledged = 0
        self._sent_at = watching.node.timers.now()
        self._is_full = True
        self._due = 0  # the tick that counts: a change of the view makes those before it void
        self._shown: dict[str, Any] = {}
        self._rows: dict[int, dict[str, Any]] = {}
        self._events: _EventQueue | None = None
        self._followed: int | None = None

    async def on_start(self) -> None:
        """Begin with the whole of the view, at once."""
        self._watching.opened(self.process.serial, self._observer.node_name)
        self.process.monitor(self._observer)
        self._begin()

    def _begin(self) -> None:
        """Show the present view from the beginning."""
        if self._events is not None:
            self._events.close_for_good()
            self._events = None
        if isinstance(self._view, EventView):
            self._events = _EventQueue(self._watching.node, self._view)
        self._is_full = True
        self._followed = None
        self._rows = {}
        self._next(0.0)

    def _next(self, seconds: float) -> None:
        self._due += 1
        self.process.send_after(seconds, self.process.ref, (TICK, self._due))

    def ack(self, number: int) -> None:
        """Take note that the observer has taken in the update of that number, so that another may follow."""
        if number == self._number:
            self._acknowledged = number

    def change(self, view: Any) -> int:
        """Show another view from now on. The next update has the whole of it, and does not wait.

        Returns:
            the number of the last update of the view before.

        Raises:
            Refused: it is not a view, or goes beyond the limits.
        """
        try:
            self._view = check_view(view)
        except Refused as error:
            self.process.refuse(error)
            return 0
        self._acknowledged = self._number  # what is under way is of the view before
        self._begin()
        return self._number

    def close(self) -> None:
        """End the watch."""
        self.process.stop()

    def on_down(self, down: Down) -> None:
        """The observer has ended, or its node is gone."""
        self.process.stop()

    def on_stop(self, reason: Reason) -> None:
        """Forget what is kept for the watch."""
        self._watching.closed(self.process.serial)
        if self._events is not None:
            self._events.close_for_good()

    async def on_message(self, message: Any) -> None:
        """Make an update, if the one before has been acknowledged."""
        if message != (TICK, self._due):
            return
        now = self._watching.node.timers.now()
        if self._acknowledged < self._number:
            if now - self._sent_at > LIMITS["unacknowledged_seconds"]:
                self.process.stop()
            else:
                self._next(self._interval)
            return
        worked = self._watching.walker.seconds
        data, missed = await self._collect()
        if message != (TICK, self._due):
            return
        took = self._watching.walker.seconds - worked
        is_full, self._is_full = self._is_full, False
        every = 0.0 if self._number == 0 else now - self._sent_at
        self._number += 1
        self._sent_at = self._watching.node.timers.now()
        try:
            self._observer.send(Update(self._number, self._sent_at, took, every, is_full, data, missed))
        except Exception as error:
            log(
                logging.WARNING, "%s ends: its observer cannot be sent an update: %s", self.process.ref, error
            )
            self.process.stop()
            return
        self._next(self._interval)

    async def _collect(self) -> tuple[dict[str, Any], int]:
        """The data of the next update, and how many events were missed."""
        view = self._view
        if isinstance(view, TableView):
            return await self._table(view), 0
        if isinstance(view, EventView):
            assert self._events is not None
            return self._events.drain(inspects=self._inspects)
        if isinstance(view, TreeView):
            node, walker = self._watching.node, self._watching.walker
            return self._changed(await branches_of(node, view, walker, self._budget)), 0
        if isinstance(view, ProcessView):
            return self._process(view), 0
        return self._changed(await self._node()), 0

    def _changed(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The fields that differ from what was shown last; all of them in a full update."""
        before, self._shown = self._shown, shown
        if self._is_full:
            return shown
        return {name: value for name, value in shown.items() if name not in before or before[name] != value}

    async def _table(self, view: TableView) -> dict[str, Any]:
        if view.of == "processes":
            window = await self._watching.walker.window(view, self._watching.grave, self._budget)
            rows, total, matched = window.rows, window.total, window.matched
        else:
            everything = self._names() if view.of == "names" else self._peers()
            rows = everything[view.first : view.first + view.count]
            total = matched = len(everything)
        if view.columns:
            columns = {"serial", *view.columns}
            rows = [{name: value for name, value in row.items() if name in columns} for row in rows]
        before, self._rows = self._rows, {row["serial"]: row for row in rows}
        order = [row["serial"] for row in rows]
        shown = {"total": total, "matched": matched, "order": order}
        data = self._changed(shown)
        data = {
            **data,
            "rows": [
                changed
                for row in rows
                if (changed := _difference(None if self._is_full else before.get(row["serial"]), row))
            ],
        }
        if not self._is_full:
            data["left"] = [serial for serial in before if serial not in self._rows]
        return data

    def _names(self) -> list[dict[str, Any]]:
        node = self._watching.node
        found = []
        for name in node.registry.names():
            ref = node.whereis(name)
            if ref is not None:
                found.append({"serial": ref.serial, "name": safe_str(name)})
        return found

    def _peers(self) -> list[dict[str, Any]]:
        return [{"serial": number, "name": name} for number, name in enumerate(self._watching.node.peers)]

    def _process(self, view: ProcessView) -> dict[str, Any]:
        node = self._watching.node
        if isinstance(view.process, str):
            ref = node.whereis(view.process)
            serial = self._followed if ref is None else ref.serial
        else:
            serial = view.process
        was_followed, self._followed = self._followed, serial
        if was_followed not in (None, serial):
            gone = self._gone(was_followed)
            if gone is not None and self._shown.get("ended") is None:
                self._followed = was_followed  # its end is told first, and then who follows
                return self._changed(gone)
            self._is_full = True
        process = None if serial is None else node.processes.get(serial)
        if process is not None:
            return self._changed({**detail_of(process, inspects=self._inspects), "ended": None})
        return self._changed(self._gone(serial) or {"serial": serial, "state": "unknown", "ended": None})

    def _gone(self, serial: int | None) -> dict[str, Any] | None:
        """What is to be said of a process that has ended a short while ago."""
        for _, row, reason in reversed(self._watching.grave.rows):
            if row["serial"] == serial:
                shown = reason_shown(reason, inspects=self._inspects)
                return {**self._shown, **row, "reason": shown, "ended": shown}
        return None

    async def _node(self) -> dict[str, Any]:
        node = self._watching.node
        sums = await self._watching.walker.sums(self._budget)
        return {
            "full_name": node.full_name,
            "zone": node.zone,
            "incarnation": f"{node.incarnation:016x}",
            "pid": os.getpid(),
            "processes": len(node.processes),
            "names": len(node.registry),
            "timers": len(node.timers),
            "runnable": len(node.dispatcher.queue),
            "starting": len(node.starting),
            "dead_letters": node.dead_letters.count,
            "dropped": node.dropped,
            "unkillable": node.unkillable,
            "crashes": node.observation.crash_count,
            "stopping": node.stopping,
            **sums,
            "cpu_seconds": round(time.process_time(), 3),
            "rss": _resident(),
            "peers": list(node.peers),
            "watches": len(self._watching.watches),
            "observation_seconds": self._watching.walker.seconds,
        }


class _EventQueue:
    """The events that wait for the next update of a watch: a subscriber of its node."""

    def __init__(self, node: Node, view: EventView) -> None:
        self._node = node
        self.kinds = kinds_of(view.kinds)
        self._missed = 0
        observation: Any = node.observation
        self._observation = observation
        kept = [event for event in (*node.timeline, *node.crashes) if event.number > view.since]
        self._waiting: list[Event] = sorted(
            (event for event in kept if event.kind in self.kinds), key=lambda event: event.number
        )
        observation.subscribe(self)

    def take(self, event: Event) -> bool:
        """See `subscriptions.Sink`. The older half goes when there are too many."""
        self._waiting.append(event)
        if len(self._waiting) > WAITING:
            dropped = len(self._waiting) - WAITING // 2
            del self._waiting[:dropped]
            self._missed += dropped
        return True

    def drain(self, *, inspects: bool) -> tuple[dict[str, Any], int]:
        """The events that an update carries, and how many were missed before them."""
        missed, self._missed = self._missed, 0
        first, self._waiting = self._waiting[:EVENTS], self._waiting[EVENTS:]
        return {"events": [event_shown(event, inspects=inspects) for event in first]}, missed

    def close(self) -> None:
        """See `subscriptions.Sink`."""

    def close_for_good(self) -> None:
        """Be told of no events any more."""
        self._observation.unsubscribe(self)


class Desk(Listing):
    """The process that peers ask for watches.

    Args:
        watching: what the watches of the node share.
        inspects: whether the peers that reach it may see what holds data.
    """

    def __init__(self, watching: Watching, inspects: bool) -> None:
        self._watching = watching
        self._inspects = inspects

    def hello(self) -> Hello:
        """Introduce the node to an observer."""
        views = [view.__name__ for view in (NodeView, TableView, TreeView, ProcessView, EventView)]
        rights = ["observe", "inspect"] if self._inspects else ["observe"]
        return Hello(PROTOCOL, self._watching.node.full_name, rights, views, dict(LIMITS))

    def dump(self, everything: bool = False) -> list[dict[str, Any]]:
        """The records of a dump of the node: for those who may inspect.

        Args:
            everything: whether idle processes have their lines in a very large node, too.

        Raises:
            Refused: the right to observe is not enough.
        """
        if not self._inspects:
            self.process.refuse(Refused("a dump needs the right to inspect"))
            return []
        return list(dump(self._watching.node, everything=bool(everything)))

    def watch(
        self, observer: Ref[Any], view: Any, interval: float = 1.0, budget: float = 0.05
    ) -> Ref[Watch] | None:
        """Start a watch, which sends updates to `observer`, until that ends.

        Args:
            observer: a process of the caller's.
            view: what to show.
            interval: seconds between two updates.
            budget: the share of the time that the node may spend on it.

        Returns:
            Its process, for `ack`, `change` and `close`.

        Raises:
            Refused: something goes beyond the limits.
        """
        try:
            return self._watch(observer, view, interval, budget)
        except Refused as error:
            self.process.refuse(error)
            return None

    def _watch(self, observer: Ref[Any], view: Any, interval: float, budget: float) -> Ref[Watch]:
        if not isinstance(observer, Ref):
            raise Refused(f"observer must be a ref, got {safe_repr(observer, 100)}")
        least, most = LIMITS["interval_min"], LIMITS["interval_max"]
        if type(interval) not in (int, float) or not least <= interval <= most:
            raise Refused(f"interval must be {least:g} to {most:g} s, got {safe_repr(interval, 100)}")
        if type(budget) not in (int, float) or not 0 < budget <= LIMITS["budget_max"]:
            raise Refused(
                f"budget must be above 0, at most {LIMITS['budget_max']:g}, got {safe_repr(budget, 100)}"
            )
        checked = check_view(view)
        open_ = sum(1 for node_name in self._watching.watches.values() if node_name == observer.node_name)
        if open_ >= LIMITS["watches"]:
            raise Refused(f"a peer may have {LIMITS['watches']:g} watches, and has as many")
        watch = self.process.spawn_soon(
            Watch, self._watching, observer, checked, interval, budget, self._inspects
        )
        self._watching.opened(watch.serial, observer.node_name)
        return watch


def _difference(before: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of a row that have changed, and its serial; None if none has."""
    if before is None:
        return row
    changed = {name: value for name, value in row.items() if before.get(name) != value}
    return {"serial": row["serial"], **changed} if changed else None


def _resident() -> int | None:
    """The resident memory of this OS process in bytes; None where that cannot be read."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def open_desks(node: Node) -> None:
    """Start the processes that observers on other nodes ask, under a supervisor. Not a checkpoint."""
    watching = Watching(node)
    desks = [Child(Desk, watching, inspects, id=name, name=name) for name, inspects in DESKS.items()]
    node.spawn_soon(Supervisor, desks, label="observation", arena="node")


DESKS: Final = {OBSERVE: False, INSPECT: True}
"""The names of the processes that observers ask, and whether those who reach them may inspect."""
