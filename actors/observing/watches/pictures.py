"""Pictures: what a watch shows, for each kind of view.

A picture is taken once for each update. It has the whole of the view, or what has changed since the picture
before; events and lines of the log are in one picture only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.dumps.dump import dump_in_steps
from enfilade.actors.observing.events.crashes import state_shown
from enfilade.actors.observing.events.log_lines import KEPT
from enfilade.actors.observing.events.records import Event
from enfilade.actors.observing.events.shown import event_shown
from enfilade.actors.observing.events.subscriptions import kinds_of
from enfilade.actors.observing.measurements.node_numbers import node_numbers
from enfilade.actors.observing.measurements.vitals import Rates
from enfilade.actors.observing.protocol.matching import Match
from enfilade.actors.observing.protocol.views import (
    DumpView,
    EventView,
    LogView,
    MetricsView,
    NodeView,
    ProcessView,
    ReplicaInColumns,
    ReplicaView,
    StateView,
    TableView,
    TraceView,
    TreeView,
)
from enfilade.actors.observing.tables.node_tables import peer_rows
from enfilade.actors.observing.tables.rows import detail_of, reason_shown
from enfilade.actors.observing.tables.trees import LivingForest, branches_of
from enfilade.actors.observing.watches.contents import contents_of
from enfilade.actors.observing.watches.own_texts import SLOW
from enfilade.actors.observing.watches.replica import ReplicaPicture
from enfilade.actors.observing.watches.shots import Changes, Pictures, Scene, Shot
from enfilade.actors.observing.watches.traces import TracePicture
from enfilade.actors.observing.watches.windows import table_picture
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.system import get_status

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["EVENTS", "PICTURES", "PIECE"]

EVENTS: Final = 500
"""How many events an update carries."""

WAITING: Final = 10_000
"""How many events wait for the next update."""

LINES: Final = 500
"""How many lines of the log an update carries."""

PIECE: Final = 500
"""How many records of a dump an update carries."""

LARGEST_STATE: Final = 2_000
LARGEST_CONTENTS: Final = 2_000
"""Characters of a state, and of the contents of a message in a mailbox."""

ASKING: Final = 1.0
"""Seconds that a process has to tell its state."""


class NodePicture:
    """The node itself, and its node links."""

    def __init__(self, scene: Scene, view: NodeView) -> None:
        self._scene = scene
        self._changes = Changes()
        self._rates = Rates()
        self._links: dict[str, Rates] = {}
        self._vitals = scene.watching.vitals
        self._look = self._vitals.begin()
        self._counts = scene.watching.count()
        self._at: float | None = None

    async def shot(self, *, is_full: bool) -> Shot:
        watching = self._scene.watching
        node, vitals = watching.node, self._vitals
        sums = await watching.sums.told(watching.walker, self._scene.budget, self._scene.interval)
        now = node.timers.now()
        every, self._at = 0.0 if self._at is None else now - self._at, now
        totals = {
            "spawned": vitals.spawned,
            "ended": vitals.ended,
            "restarted": vitals.restarted,
            "dead_letters": node.dead_letters.count,
            "dropped": node.dropped,
            "timers_fired": node.timers.fired,
            "handled": self._counts.total,
        }
        fields = {
            **node_numbers(node),
            **sums,
            "rates": self._rates.of(totals, now),
            **vitals.told(self._look),
            "observation": {
                "observers": len(watching.watches),
                "counting": self._counts.is_on,
                "sampling": self._counts.is_sampled,
                "seconds": round(watching.walker.seconds, 6),
                "budget": self._scene.budget,
                "every": round(every, 3),
            },
            "links": [watching.link_shown(row, self._links, now) for row in peer_rows(node)],
        }
        return Shot(self._changes.of(fields, is_full=is_full))

    def close(self) -> None:
        self._vitals.end(self._look)
        self._scene.watching.count_no_more()


class MetricsPicture:
    """The metrics of the node."""

    def __init__(self, scene: Scene, view: MetricsView) -> None:
        self._scene = scene
        self._messages = view.messages
        scene.watching.metrics.begin()
        if view.messages:
            scene.watching.count()

    async def shot(self, *, is_full: bool) -> Shot:
        metrics = self._scene.watching.metrics
        found = await metrics.readings(self._scene.budget, messages=self._messages)
        return Shot({"readings": found})

    def close(self) -> None:
        self._scene.watching.metrics.end()
        if self._messages:
            self._scene.watching.count_no_more()


class TreePicture:
    """The supervision tree."""

    def __init__(self, scene: Scene, view: TreeView) -> None:
        self._scene = scene
        self._view = view
        self._changes = Changes()
        self._branches: dict[Any, dict[str, Any]] = {}

    async def shot(self, *, is_full: bool) -> Shot:
        watching = self._scene.watching
        forest = LivingForest(watching.node)
        fields = await branches_of(forest, self._view, watching.walker, self._scene.budget)
        branches = fields.pop("branches")
        before, self._branches = self._branches, {branch["key"]: branch for branch in branches}
        data = dict(self._changes.of({**fields, "order": list(self._branches)}, is_full=is_full))
        changed = [branch for branch in branches if is_full or before.get(branch["key"]) != branch]
        if changed or is_full:
            data["branches"] = changed
        return Shot(data)

    def close(self) -> None:
        """Nothing is kept."""


class ProcessPicture:
    """One process in detail, and the next one of its name when it has ended."""

    def __init__(self, scene: Scene, view: ProcessView) -> None:
        self._scene = scene
        self._view = view
        self._changes = Changes()
        self._counts = scene.watching.count()
        self._followed: int | None = None

    async def shot(self, *, is_full: bool) -> Shot:
        node, wanted = self._scene.watching.node, self._view.process
        if isinstance(wanted, str):
            ref = node.whereis(wanted)
            serial = self._followed if ref is None else ref.serial
        else:
            serial = wanted
        was_followed, self._followed = self._followed, serial
        is_new = False
        if was_followed not in (None, serial):
            gone = self._gone(was_followed)
            if gone is not None and self._changes.shown.get("ended") is None:
                self._followed = was_followed  # its end is told first, and then who follows
                return Shot(self._changes.of(gone, is_full=is_full))
            is_new = True
        process = None if serial is None else node.processes.get(serial)
        if process is not None:
            fields = {
                **detail_of(
                    process,
                    self._status if self._scene.inspects else None,
                    self._contents if self._view.contents else None,
                    has_log=self._scene.inspects,
                ),
                **self._counts.of(process),
                "ended": None,
            }
        else:
            fields = self._gone(serial) or {"serial": serial, "state": "unknown", "ended": None}
        return Shot(self._changes.of(fields, is_full=is_full or is_new), is_new=is_new)

    def _status(self, process: Process) -> str | None:
        return self._scene.own_texts.of(type(process.body.actor), state_shown, process)

    def _contents(self, process: Process, message: Any) -> str | None:
        return contents_of(process, message, self._scene.own_texts, LARGEST_CONTENTS)

    def _gone(self, serial: int | None) -> dict[str, Any] | None:
        """What is to be said of a process that has ended a short while ago."""
        for _, row, reason in reversed(self._scene.watching.grave.rows):
            if row["serial"] == serial:
                shown = reason_shown(reason, inspects=self._scene.inspects)
                return {**self._changes.shown, **row, "reason": shown, "ended": shown}
        return None

    def close(self) -> None:
        self._scene.watching.count_no_more()


class EventPicture:
    """The events since the last picture: a subscriber of its node."""

    def __init__(self, scene: Scene, view: EventView) -> None:
        node = scene.watching.node
        self._scene = scene
        self.kinds = kinds_of(view.kinds)
        self.inspects = scene.inspects
        self._match = Match(view.match)
        observation: Any = node.observation
        self._observation = observation
        kept = [event for event in (*node.timeline, *node.crashes) if event.number > view.since]
        self._missed = observation.forgotten_since(view.since) if view.since else 0
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

    async def shot(self, *, is_full: bool) -> Shot:
        missed, self._missed = self._missed, 0
        first, self._waiting = self._waiting[:EVENTS], self._waiting[EVENTS:]
        shown = [event_shown(event, inspects=self._scene.inspects) for event in first]
        if not self._match.is_open:
            shown = [fields for fields in shown if self._match(fields.get)]
        return Shot({"events": shown}, missed, has_more=bool(self._waiting))

    def close(self) -> None:
        self._observation.unsubscribe(self)


class LogPicture:
    """The lines since the last picture; in the first one, the last of those that are kept."""

    def __init__(self, scene: Scene, view: LogView) -> None:
        self._lines = scene.watching.log_lines
        self._level = logging.getLevelNamesMapping()[view.level]
        self._prefix = view.prefix
        self._lines.begin()
        self._seen = max(0, self._lines.number - KEPT)

    async def shot(self, *, is_full: bool) -> Shot:
        lines = [line for line in list(self._lines.lines) if line["number"] > self._seen]
        missed = lines[0]["number"] - self._seen - 1 if lines else 0
        chosen = [
            {name: value for name, value in line.items() if name != "levelno"}
            for line in lines
            if line["levelno"] >= self._level and line["logger"].startswith(self._prefix)
        ]
        if len(chosen) > LINES:
            chosen = chosen[:LINES]
            self._seen = chosen[-1]["number"]
            return Shot({"lines": chosen}, missed, has_more=True)
        self._seen = lines[-1]["number"] if lines else self._seen
        return Shot({"lines": chosen}, missed)

    def close(self) -> None:
        self._lines.end()


class StatePicture:
    """The state of one process, as its own `format_status` shows it."""

    def __init__(self, scene: Scene, view: StateView) -> None:
        self._scene = scene
        self._view = view
        self._changes = Changes()

    async def shot(self, *, is_full: bool) -> Shot:
        node, wanted = self._scene.watching.node, self._view.process
        if isinstance(wanted, str):
            ref = node.whereis(wanted)
        else:
            found = node.processes.get(wanted)
            ref = None if found is None else found.ref
        fields: dict[str, Any] = {
            "serial": None if ref is None else ref.serial,
            "state": None,
            "problem": None,
        }
        if ref is None:
            fields["problem"] = "there is no such process"
        else:
            process = process_of(ref)
            kind = type(None if process is None else process.body.actor)
            try:
                fields["state"] = await self._state(ref, kind)
                if fields["state"] is None:
                    fields["problem"] = "it exposes no state"
            except RuntimeFault as error:
                fields["problem"] = safe_str(error)
        return Shot(self._changes.of(fields, is_full=is_full))

    async def _state(self, ref: Ref[Any], kind: type) -> str | None:
        own_texts = self._scene.own_texts
        if own_texts.is_slow(kind):
            return SLOW
        status = await get_status(ref.within(ASKING))
        clock = self._scene.watching.walker.clock
        began = clock()
        text = None if status.state is None else safe_repr(status.state, LARGEST_STATE)
        own_texts.took(kind, status.seconds + clock() - began)
        return text

    def close(self) -> None:
        """Nothing is kept."""


class DumpPicture:
    """A dump, in pieces: the waits first, and each piece as the node is then."""

    def __init__(self, scene: Scene, view: DumpView) -> None:
        self._scene = scene
        self._records = dump_in_steps(scene.watching.node, everything=view.everything)
        self._made: list[dict[str, Any]] = []
        self._is_over = False

    async def shot(self, *, is_full: bool) -> Shot:
        """See `Picture`. The records of a picture that is interrupted are for the next one."""
        walker = self._scene.watching.walker
        async with walker.turn:
            await walker.work(self._make_one, self._scene.budget)
        records, self._made = self._made, []
        return Shot({"records": records, "is_last": self._is_over}, has_more=not self._is_over)

    def _make_one(self) -> bool:
        """Make a record; return true if there is room for more in this piece."""
        try:
            record = next(self._records)
        except StopIteration:
            self._is_over = True
            return False
        if record is not None:
            self._made.append(record)
        return len(self._made) < PIECE

    def close(self) -> None:
        self._records = iter(())


PICTURES: Final[Pictures] = {
    NodeView: NodePicture,
    MetricsView: MetricsPicture,
    TableView: table_picture,
    TreeView: TreePicture,
    ProcessView: ProcessPicture,
    EventView: EventPicture,
    LogView: LogPicture,
    StateView: StatePicture,
    DumpView: DumpPicture,
    ReplicaView: ReplicaPicture,
    ReplicaInColumns: ReplicaPicture,
    TraceView: TracePicture,
}
"""The pictures of a node that runs: of every view."""
