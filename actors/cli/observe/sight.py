"""The knowledge of one node: its numbers, their history, the events, and the warnings that follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.busiest import VIEW as BUSIEST_VIEW
from enfilade.actors.cli.observe.history import LONGEST_STEP, History
from enfilade.actors.cli.observe.lints import Warned, warnings_of
from enfilade.actors.cli.observe.observed import Look, Observed
from enfilade.actors.cli.observe.trackers import Credit, Mailboxes, Row, Waits
from enfilade.actors.observing.protocol.views import EventView, NodeView, TableView
from enfilade.actors.observing.watches.client import State

__all__ = ["NOTED", "Sight"]

NOTED: Final = (
    "child.*",
    "supervisor.*",
    "process.crashed",
    "process.unkillable",
    "process.slow",
    "process.deadlock",
    "loop.held",
    "node.*",
)
"""The kinds of events of the timeline."""

TIMELINE: Final = 2_000
CRASHES: Final = 256
"""How many events, and crash reports, are remembered."""

LONGEST: Final = 20
"""How many of the longest mailboxes, and of the processes that wait for a call, are looked at."""

BUDGET: Final = 0.05
"""The share of its time that a node may spend on being observed, where it does not say."""


class Sight:
    """The knowledge of one node, put together from views that it keeps open.

    Args:
        observed: the node.

    Attributes:
        fields: the last numbers of the node; none before the first update.
        heard_at: when they came, on the clock of our trio run; None.
        ahead: how far the node's clock is ahead of ours, about, in seconds.
        history: the numbers of the last minutes.
        timeline: the last events, oldest first, with crash reports in their places.
        missed: how many events were not seen.
        longest: the longest mailboxes.
        busiest: the processes that hold its loop most; None while they are not known.
        mailboxes, waits, credit, guests: what the lints look at.
        warnings: what to be warned of.
        observation_share: the share of its time that the node spends on being observed; None.
        on_change: called after each change.
    """

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.fields: dict[str, Any] = {}
        self.heard_at: float | None = None
        self.ahead = 0.0
        self.history = History()
        self.timeline: deque[dict[str, Any]] = deque(maxlen=TIMELINE)
        self.missed = 0
        self.longest: list[Row] = []
        self.busiest: list[Row] | None = None
        self.mailboxes = Mailboxes()
        self.waits = Waits()
        self.credit = Credit()
        self.guests: Sequence[Row] = []
        self.warnings: list[Warned] = []
        self.observation_share: float | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._looks: list[Look] = []
        self._life = ""
        self._overviews = 0
        self._look_at_busiest: Look | None = None
        observed.on_change = self._connection_changed

    @property
    def budget(self) -> float:
        """The share of its time that the node may spend on being observed."""
        found: float | None = self.fields.get("observation", {}).get("budget")
        return found or BUDGET

    @property
    def crashes(self) -> list[dict[str, Any]]:
        """The last crash reports, oldest first."""
        return [event for event in self.timeline if event["kind"] == "process.crashed"][-CRASHES:]

    @property
    def links(self) -> list[Row]:
        """The node's links to other nodes, as rows of the table of peers."""
        return self.fields.get("links") or []

    @property
    def facts(self) -> list[str]:
        """The most important numbers of the node, in words; none before the first update."""
        fields = self.fields
        if not fields:
            return []
        dumped = [f"dump of {words.moment(fields['dumped']['at'])}"] if "dumped" in fields else []
        return [
            *dumped,
            f"pid {fields['pid']}",
            f"up {words.age(int(fields['uptime']))}",
            f"{words.number(fields['processes'])} processes",
            f"{words.number(fields['queued'])} queued",
            words.size(fields["memory"]["rss"]),
        ]

    def begin(self) -> None:
        """Look at the node from now on. Not a checkpoint."""
        longest = TableView(columns=PROCESS, sort="queued", count=LONGEST)
        waits = TableView(columns=(*PROCESS, "waits_for"), sort="waits_for", count=LONGEST)
        self._looks = [
            self.observed.look(look)
            for look in (
                Look(NodeView(), self._take_node),
                Look(EventView(NOTED), self._take_events, right="inspect"),
                Look(longest, self._take_longest),
                Look(waits, self._take_waits, interval=2.0),
                Look(TableView("guests", GUEST), self._take_guests, interval=5.0),
            )
        ]

    def end(self) -> None:
        """Look at the node no more; what is known stays. Not a checkpoint."""
        for look in self._looks:
            self.observed.drop(look)
        self._looks = []

    def begin_busiest(self) -> None:
        """Look at the busiest processes, for one overview more. Not a checkpoint."""
        self._overviews += 1
        if self._overviews == 1:
            self._look_at_busiest = self.observed.look(Look(BUSIEST_VIEW, self._take_busiest))

    def end_busiest(self) -> None:
        """Look at them for one overview less. Not a checkpoint."""
        self._overviews -= 1
        if not self._overviews and self._look_at_busiest is not None:
            self.observed.drop(self._look_at_busiest)
            self._look_at_busiest = self.busiest = None

    def seconds_ago(self, event: Mapping[str, Any]) -> float:
        """The age of an event, in seconds."""
        at: float = event["at"]
        return max(0.0, self.observed.now() + self.ahead - at)

    def recent(self, kind: str, seconds: float) -> Iterator[Mapping[str, Any]]:
        """The events of a kind of the last seconds, oldest first."""
        return (e for e in self.timeline if e["kind"] == kind and self.seconds_ago(e) <= seconds)

    def _keep_up(self) -> None:
        """Forget what is known of processes of a start of the node that is over: serials are those of one."""
        before, self._life = self._life, self.observed.life
        if before in ("", self._life):
            return
        self.timeline.clear()
        self.longest, self.busiest, self.guests = [], None, []
        self.mailboxes, self.waits, self.credit = Mailboxes(), Waits(), Credit()

    async def _take_node(self, state: State) -> None:
        self._keep_up()
        now = self.observed.now()
        before, was = self.fields, self.heard_at
        self.fields, self.heard_at = state.fields, now
        self.ahead = state.update.at - now
        self.observed.heard()
        self.history.note(now, state.fields)
        self.credit.note(now, self.links)
        if was is not None and 0 < now - was <= LONGEST_STEP:
            used = _observed_for(self.fields, before)
            self.observation_share = None if used is None else max(0.0, used) / (now - was)
        self._changed()

    async def _take_events(self, state: State) -> None:
        self._keep_up()
        if state.update.full:  # all that is kept comes again
            self.timeline.clear()
        self.missed += state.update.missed
        self.timeline.extend(state.events)
        self._changed()

    async def _take_longest(self, state: State) -> None:
        self._keep_up()
        self.longest = [row for row in state.rows if row.get("state") != "ended"]
        self.mailboxes.note(self.observed.now(), self.longest)
        self._changed()

    async def _take_busiest(self, state: State) -> None:
        self._keep_up()
        self.busiest = [*state.rows]
        self._changed()

    async def _take_waits(self, state: State) -> None:
        self._keep_up()
        self.waits.note(self.observed.now(), [*state.rows])
        self._changed()

    async def _take_guests(self, state: State) -> None:
        self._keep_up()
        self.guests = [*state.rows]
        self._changed()

    def _changed(self) -> None:
        self.warnings = warnings_of(self)
        self.on_change()

    def _connection_changed(self) -> None:
        if not self.observed.is_up:
            self.observation_share = None
        self.on_change()


GUEST: Final = ("serial", "name", "label", "module", "memory", "memory_limit", "cpu", "cpu_limit")
PROCESS: Final = ("serial", "name", "label", "actor", "kind", "state", "queued")


def _observed_for(now: Mapping[str, Any], before: Mapping[str, Any]) -> float | None:
    """The seconds that the node has spent on being observed between two updates; None."""
    if now.get("incarnation") != before.get("incarnation"):
        return None
    values = [_observation_seconds(fields) for fields in (now, before)]
    return None if None in values else values[0] - values[1]  # type: ignore[operator]


def _observation_seconds(fields: Mapping[str, Any]) -> float | None:
    seconds: float | None = fields.get("observation", {}).get("seconds")
    return seconds
