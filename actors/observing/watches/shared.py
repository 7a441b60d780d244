"""The things that the watches of one node share: walk, vital signs, log, graves, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.ref import Ref
from enfilade.actors.observing.measurements.vitals import Rates, Vitals
from enfilade.actors.observing.protocol.views import RIGHTS, ProcessView, StateView, TraceView, View
from enfilade.actors.observing.tables.ranking import Rankings
from enfilade.actors.observing.tables.sums import Sums
from enfilade.actors.observing.tables.walker import Grave, Walker
from enfilade.actors.observing.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.events.log_lines import LogLines
    from enfilade.actors.observing.measurements.counting import Counts

__all__ = ["Watching"]

TOTALS = ("frames_in", "frames_out", "bytes_in", "bytes_out")
"""The fields of a node link that are shown as what they grow by a second."""


class Watching:
    """The watches of one node, and what they share.

    Attributes:
        node: the node.
        now: the time on the clock of its trio run.
        walker: goes through the node, for one watch at a time.
        sums: the sums over all processes.
        rankings: the orders in which processes are shown.
        vitals: the vital signs.
        metrics: what is measured for tools of others.
        log_lines: the lines of the log.
        grave: the processes that have ended a short while ago.
        watches: the node of the observer of each watch, by the serial of its process.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.now = node.timers.now
        self.walker = Walker(node)
        self.sums = Sums(node)
        self.rankings = Rankings(node, node.observation.counts)
        self.vitals = Vitals(node)
        self.metrics = Metrics(node, self.walker, node.observation.counts)
        self.log_lines: LogLines = node.observation.log_lines
        self.grave = Grave(node.timers.now)
        self.watches: dict[int, str] = {}

    def opened(self, serial: int, observer: str) -> None:
        """A watch begins."""
        if not self.watches:
            self.node.hooks.add(self.grave)
        is_new = serial not in self.watches
        self.watches[serial] = observer
        if is_new:
            self.node.observation.watches_changed(len(self.watches))

    def closed(self, serial: int) -> None:
        """A watch has ended; after the last one nothing is noted any more."""
        if self.watches.pop(serial, None) is None:
            return
        if not self.watches:
            self.node.hooks.remove(self.grave)
            self.grave.rows.clear()
            self.sums.forget()
        self.node.observation.watches_changed(len(self.watches))

    def looked(self, operator: str, right: str, view: View) -> None:
        """Tell of an operator who is about to see what holds data. Not a checkpoint.

        Args:
            operator: the name of its node.
            right: the right that it has shown.
            view: what it will see.
        """
        needed = RIGHTS[type(view)]
        used = needed if needed != "observe" else right
        if used == "observe" or operator == self.node.full_name:
            return
        on = None
        if isinstance(view, ProcessView | StateView):
            on = self._ref(view.process)
        elif isinstance(view, TraceView) and len(view.processes) == 1:
            on = self._ref(view.processes[0])
        self.node.observation.acted(operator, f"{used} {type(view).__name__}", on)

    def _ref(self, process: int | str) -> Ref[Any] | None:
        """The process of that serial, or name."""
        if isinstance(process, str):
            return self.node.whereis(process)
        found = self.node.processes.get(process)
        return None if found is None else found.ref

    def count(self) -> Counts:
        """Have messages counted, for one picture more. Not a checkpoint."""
        counts: Counts = self.node.observation.counts
        counts.begin()
        return counts

    def count_no_more(self) -> None:
        """Have messages counted for one picture less. Not a checkpoint."""
        self.node.observation.counts.end()

    def link_shown(self, row: dict[str, Any], rates: dict[str, Rates], now: float) -> dict[str, Any]:
        """The row of a node link: totals as rates, and how long an answer takes. `rates` are those of each
        link, by the name of the peer.
        """
        own = rates.setdefault(row["name"], Rates())
        grown = own.of({name: row[name] for name in TOTALS}, now)
        return {**row, **grown, "round_trip": self.vitals.round_trips.get(row["name"])}
