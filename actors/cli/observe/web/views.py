"""Views of a node, as a page gets them: put into words here, drawn there.

A view is made for a wish of a page. It may look at the node on its own; what it does not is known by the
sight of the node.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from enfilade.actors.cli.charts import Arrow, chart_of
from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.actions import Target, shown_in, target_of, why_no_action
from enfilade.actors.cli.observe.branches import about, is_supervisor, state_of, sums_of, target_at
from enfilade.actors.cli.observe.busiest import busiest_of, nobody
from enfilade.actors.cli.observe.columns import GUESTS, PROCESSES, TABLES, Table, cell
from enfilade.actors.cli.observe.facts import Fact, event_facts, process_facts
from enfilade.actors.cli.observe.history import LENGTH, SERIES
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.timeline import MOODS, rows_of
from enfilade.actors.cli.observe.web import orders
from enfilade.actors.cli.observe.web.view import Drawn, View
from enfilade.actors.cli.observe.zones import zones_of
from enfilade.actors.cli.recordings import Recording, Writer
from enfilade.actors.messages.errors import Refused
from enfilade.actors.observing.protocol import views
from enfilade.actors.observing.watches.client import State

__all__ = ["view_of"]

PLOTTED: Final = 150
"""Values of a plot."""

EVENTS: Final = 200
MARKS: Final = 500
LINES: Final = 200
"""How many events, marks of the timeline, and lines of the log a page gets."""

MAILBOXES: Final = 10
CRASHES: Final = 10
"""How many of each the overview has."""

ALL_TABLES: Final = {table.of: table for table in (PROCESSES, GUESTS, *TABLES)}

IDENTIFYING: Final = ("serial", "name", "label", "actor", "kind", "state", "supervisor", "child_id")
"""The fields of a process by which actions name it."""


class Head(View):
    """All nodes, each in a line: the same for every page."""

    def shown(self) -> dict[str, Any]:
        return {"nodes": [_head(sight) for sight in self.sights]}


def _head(sight: Sight) -> dict[str, Any]:
    observed = sight.observed
    silence, used = observed.silence, sight.observation_share
    trouble = "" if observed.is_up else observed.trouble or "connecting"
    if silence is not None:
        trouble = f"no answer for {words.age(int(silence))}; enfilade dump may say why"
    ago = None if sight.heard_at is None else int(observed.now() - sight.heard_at)
    return {
        "name": words.one_line(observed.name),
        "is_up": observed.is_up,
        "trouble": trouble,
        "seen": "" if ago is None else f"last seen {words.age(ago)} ago",
        "facts": sight.facts,
        "cost": "" if used is None else f"observing it takes {words.share(used)}",
        "warnings": len(sight.warnings),
        "rights": sorted(observed.rights),
        "why_no_action": why_no_action(observed),
    }


class All(View):
    """The warnings, crashes and events of all nodes together."""

    def shown(self) -> dict[str, Any]:
        latest = [
            (sight.seconds_ago(event), number, event)
            for number, sight in enumerate(self.sights)
            for event in list(sight.timeline)[: -EVENTS - 1 : -1]
        ]
        latest.sort(key=lambda each: each[:2])
        return {
            "nodes": [
                {
                    "name": words.one_line(sight.observed.name),
                    "warnings": _warnings(sight),
                    "crashes": _crashes(sight),
                }
                for sight in self.sights
            ],
            "events": [
                {"node": number, **_event(self.sights[number], event)} for _, number, event in latest[:EVENTS]
            ],
        }


class Overview(View):
    """Plots, warnings, the busiest processes, the longest mailboxes, the last crashes."""

    def open(self) -> None:
        self.sight.begin_busiest()

    def close(self) -> None:
        self.sight.end_busiest()

    def shown(self) -> dict[str, Any] | None:
        sight = self.sight
        if not sight.fields:
            return None
        waiting = [row for row in sight.longest if row.get("queued")][:MAILBOXES]
        return {
            "plots": [_plot(sight, series) for series in SERIES if sight.history.has(series)],
            "length": words.age(LENGTH),
            "warnings": _warnings(sight),
            "busiest": [
                {
                    "busy": words.share(row["busy"]),
                    "rate": "" if row.get("rate") is None else f"{words.number(row['rate'])}/s",
                    "process": row["serial"],
                    "text": shown_in(row),
                }
                for row in busiest_of(sight.busiest)
            ],
            "nobody_busy": nobody(sight.busiest),
            "mailboxes": [
                {
                    "queued": words.number(row["queued"]),
                    "process": row["serial"],
                    "text": shown_in(row),
                }
                for row in waiting
            ],
            "crashes": _crashes(sight),
            "crashed": sight.fields.get("crashes", len(sight.crashes)),
        }


def _plot(sight: Sight, series: Any) -> dict[str, Any]:
    values = sight.history.plot(series, PLOTTED)
    most = max((value for value in values if value is not None), default=0.0)
    return {
        "name": series.name,
        "title": series.title,
        "last": series.shown(sight.history.last(series)),
        "most": series.shown(most),
        "top": series.most or most or 1.0,
        "values": values,
    }


class TableWindow(View):
    """A window of a table."""

    def __init__(
        self, sights: Sequence[Sight], node: int, wish: orders.ShowTable, interval: float, drawn: Drawn
    ) -> None:
        super().__init__(sights, node, wish, interval, drawn)
        self._state: State | None = None
        self._of: views.TableView | None = None
        self._life = ""

    @property
    def _table(self) -> Table:
        found = ALL_TABLES.get(self.wish.of)
        if found is None:
            raise Refused(f"of must be one of {', '.join(ALL_TABLES)}, got {self.wish.of!r}")
        return found

    def asks(self) -> views.TableView:
        wish, table = self.wish, self._table
        known = {column.name for column in table.columns}
        chosen = tuple(name for name in wish.columns if name in known) or table.first
        more: tuple[str, ...] = IDENTIFYING if table is PROCESSES else ("state",) if table is GUESTS else ()
        more += {"timers": ("owner",), "links": ("a",)}.get(table.of, ())
        sort = wish.sort if wish.sort in known else None
        descending = wish.descending
        if sort is None and table.sort is not None:
            sort, descending = table.sort, table.column(table.sort).falls
        return views.TableView(
            of=table.of,
            columns=tuple(dict.fromkeys((table.key, *chosen, *more))),
            sort=sort,
            descending=descending,
            match=wish.match,
            first=wish.first,
            count=wish.count,
        )

    def take(self, state: State, of: views.View) -> None:
        assert isinstance(of, views.TableView)
        self._state, self._of, self._life = state, of, self.sight.observed.life

    def shown(self) -> dict[str, Any] | None:
        state, of, table = self._state, self._of, self._table
        if state is None or of is None or of.of != table.of:
            return None
        chosen = self.wish.columns or table.first
        columns = [column for name in chosen for column in table.columns if column.name == name]
        return {
            "of": table.of,
            "life": self._life,
            "columns": [
                {
                    "name": column.name,
                    "title": column.title,
                    "about": column.about,
                    "width": column.width,
                    "grows": column.grows,
                    "is_number": column.is_number,
                    "falls": column.falls,
                }
                for column in columns
            ],
            "choices": [
                {"name": each.name, "title": each.title, "about": each.about} for each in table.columns
            ],
            "rows": [
                {
                    "key": str(row[table.key]),
                    "cells": [cell(column, row) for column in columns],
                    "state": row.get("state") or "",
                    "process": _leads_to(row),
                    "target": _told(target_of(row, self._life)) if table is PROCESSES else None,
                }
                for row in state.rows
            ],
            "first": of.first,
            "sort": of.sort,
            "descending": of.descending,
            "total": state.fields["total"],
            "matched": state.fields["matched"],
            "nothing": table.nothing,
        }


def _leads_to(row: Mapping[str, Any]) -> int | None:
    found = next((row[name] for name in ("serial", "owner", "a") if row.get(name)), None)
    return found if isinstance(found, int) else None


class Tree(View):
    """The supervision tree."""

    _branches: list[dict[str, Any]] | None = None
    _is_cut = False
    _life = ""

    def asks(self) -> views.TreeView:
        return views.TreeView(open=tuple(self.wish.open))

    def take(self, state: State, of: views.View) -> None:
        self._branches, self._is_cut = state.fields["branches"], state.fields["is_cut"]
        self._life = self.sight.observed.life

    def shown(self) -> dict[str, Any] | None:
        branches = self._branches
        if branches is None:
            return None
        return {
            "branches": [self._branch(branches, number) for number in range(len(branches))],
            "is_cut": self._is_cut,
            "life": self._life,
        }

    def _branch(self, branches: list[dict[str, Any]], number: int) -> dict[str, Any]:
        branch = branches[number]
        sums = sums_of(branch)
        return {
            "id": words.one_line(branch["id"] or "-"),
            "depth": branch["depth"],
            "process": branch.get("process"),
            "about": about(branch),
            "state": state_of(branch),
            "is_supervisor": is_supervisor(branch),
            "is_open": bool(branch.get("open")),
            "processes": sums.processes,
            "restarts": sums.restarts,
            "queued": sums.queued or 0,
            "target": _told(target_at(branches, number, self._life)),
        }


class Process(View):
    """One process in detail. The contents of its messages, which need another right, are looked at apart."""

    right = "inspect"
    _fields: dict[str, Any] | None = None
    _messages: list[Any] | None = None
    _life = ""
    _inside: Look | None = None

    def asks(self) -> views.ProcessView:
        return views.ProcessView(self.wish.process)

    def open(self) -> None:
        super().open()
        if self.wish.contents:
            asked = views.ProcessView(self.wish.process, contents=True)
            look = Look(asked, self._take_messages, interval=self._interval, right="trace")
            self._inside = self.sight.observed.look(look)

    def close(self) -> None:
        super().close()
        if self._inside is not None:
            self.sight.observed.drop(self._inside)
        self._inside = self._messages = None

    async def _take_messages(self, state: State) -> None:
        self._messages = state.fields.get("messages")
        await self._drawn()

    def take(self, state: State, of: views.View) -> None:
        if isinstance(of, views.ProcessView) and of.process == self.wish.process:
            self._fields, self._life = state.fields, self.sight.observed.life

    def change(self, wish: Any) -> None:
        if wish.process != self.wish.process:
            self._fields = None
        self.close()
        self.wish = wish
        self.open()

    @property
    def refused(self) -> str | None:
        return super().refused or (None if self._inside is None else self._inside.refused)

    def shown(self) -> dict[str, Any] | None:
        fields = self._fields
        if fields is None:
            return None
        if fields.get("state") in (None, "unknown"):
            title = "there is no such process, or it ended a while ago"
            return {"title": title, "facts": [], "state": "", "life": self._life}
        if self._messages is not None:
            fields = {**fields, "messages": self._messages}
        get = fields.get
        who = words.one_line(get("actor") or get("kind") or "process")
        return {
            "title": f"{who} {words.ref_shown(get('ref') or get('serial'))}",
            "state": words.one_line(get("state")),
            "name": get("name"),
            "process": get("serial"),
            "life": self._life,
            "facts": _facts(process_facts(fields, self.sight.fields.get("full_name"))),
            "target": _told(target_of(fields, self._life)),
        }


class Nodes(View):
    """The nodes that this one is connected to."""

    def shown(self) -> dict[str, Any] | None:
        if not self.sight.fields:
            return None
        zones = zones_of(self.sight)
        return {
            "zones": [
                {"zone": zone, "nodes": [attrs.asdict(neighbour) for neighbour in neighbours]}
                for zone, neighbours in zones.items()
            ]
        }


class Timeline(View):
    """Restarts on an axis of time, and the last events."""

    def shown(self) -> dict[str, Any]:
        sight, span = self.sight, self.wish.span
        rows = rows_of(sight, span)
        left = MARKS
        shown = []
        for row in rows:
            marks = row.marks[-left:] if left else []
            left -= len(marks)
            shown.append(
                {
                    "supervisor": row.supervisor,
                    "restarts": row.restarts,
                    "marks": [
                        {
                            "place": 1 - mark.ago / span,
                            "is_give_up": mark.is_give_up,
                            "text": words.described(mark.event),
                            "event": mark.event["number"],
                        }
                        for mark in marks
                    ],
                }
            )
        latest = list(sight.timeline)[: -EVENTS - 1 : -1]
        return {
            "span": words.age(span),
            "rows": shown,
            "missed": sight.missed,
            "events": [_event(sight, event) for event in latest],
        }


class Event(View):
    """One event in full."""

    def shown(self) -> dict[str, Any]:
        number = self.wish.event
        event = next((each for each in self.sight.timeline if each["number"] == number), None)
        if event is None:
            return {"title": "this event is no longer remembered", "facts": []}
        ago = self.sight.seconds_ago(event)
        return {"title": words.described(event), "facts": _facts(event_facts(event, ago))}


class Log(View):
    """The last lines of the log, the newest first."""

    right = "inspect"

    def __init__(
        self, sights: Sequence[Sight], node: int, wish: orders.ShowLog, interval: float, drawn: Drawn
    ) -> None:
        super().__init__(sights, node, wish, interval, drawn)
        self._lines: deque[dict[str, Any]] = deque(maxlen=LINES)

    def asks(self) -> views.LogView:
        return views.LogView(self.wish.level, self.wish.prefix)

    def take(self, state: State, of: views.View) -> None:
        if state.update.full:  # what is kept comes again
            self._lines.clear()
        self._lines.extendleft(state.fields.get("lines") or [])

    def shown(self) -> dict[str, Any]:
        return {
            "lines": [
                {
                    "number": line["number"],
                    "time": time.strftime("%H:%M:%S", time.localtime(line["at"])),
                    "level": words.one_line(line["level"]),
                    "logger": words.one_line(line["logger"]),
                    "message": words.one_line(line["message"]),
                    "process": line.get("process"),
                }
                for line in self._lines
            ]
        }


class Trace(View):
    """The messages of some processes, as a chart that grows."""

    right = "trace"

    def __init__(
        self, sights: Sequence[Sight], node: int, wish: orders.ShowTrace, interval: float, drawn: Drawn
    ) -> None:
        super().__init__(sights, node, wish, interval, drawn)
        self._begin()

    def _begin(self) -> None:
        self._ended: str | None = None
        self._life = self.sight.observed.life
        self._writer = Writer(self.sight.observed.name, {}, contents=self.wish.contents)

    def asks(self) -> views.TraceView:
        wish = self.wish
        return views.TraceView(
            processes=tuple(wish.processes),
            sends=wish.sends,
            count=wish.count,
            seconds=wish.seconds,
            contents=wish.contents,
            follow=wish.follow,
        )

    def change(self, wish: Any) -> None:
        super().change(wish)
        self._begin()

    def take(self, state: State, of: views.View) -> None:
        if self._ended is not None:
            return
        is_another = self._life not in ("", self.sight.observed.life)
        if is_another and any(isinstance(named, int) for named in self.wish.processes):
            self._ended = "the node has been started again"  # and has given the serials to others
        else:
            for entry in state.fields["entries"]:
                self._writer.add(entry)
            self._ended = state.fields["ended"]
        if self._ended is not None:
            self.close()  # it does not begin again with the next connection

    def shown(self) -> dict[str, Any]:
        records = self._writer.records
        chart = chart_of(Recording(records[0], records[1:], is_cut=False), most=MARKS)
        return {
            "participants": [words.one_line(name) for name in chart.participants],
            "events": [
                {
                    "source": words.one_line(event.source),
                    "target": words.one_line(event.target),
                    "text": words.one_line(event.text),
                    "style": event.style,
                }
                if isinstance(event, Arrow)
                else {"on": event.on and words.one_line(event.on), "text": words.one_line(event.text)}
                for event in chart.events
            ],
            "ended": self._ended,
        }


def _warnings(sight: Sight) -> list[dict[str, Any]]:
    return [{"text": each.text, "process": each.process} for each in sight.warnings]


def _crashes(sight: Sight) -> list[dict[str, Any]]:
    """The last crashes, the newest first."""
    return [
        {
            "ago": _ago(sight, event),
            "who": words.headline(event),
            "why": words.failure(event),
            "event": event["number"],
        }
        for event in sight.crashes[: -CRASHES - 1 : -1]
    ]


def _event(sight: Sight, event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "event": event["number"],
        "ago": _ago(sight, event),
        "kind": event["kind"],
        "text": words.described(event),
        "mood": MOODS.get(event["kind"], ""),
    }


def _ago(sight: Sight, event: Mapping[str, Any]) -> str:
    return f"{words.age(int(sight.seconds_ago(event)))} ago"


def _facts(facts: Sequence[Fact]) -> list[dict[str, Any]]:
    return [attrs.asdict(fact) for fact in facts]


def _told(target: Target) -> dict[str, Any]:
    return attrs.asdict(target)


VIEWS: Final[dict[type, type[View]]] = {
    orders.ShowHead: Head,
    orders.ShowAll: All,
    orders.ShowOverview: Overview,
    orders.ShowTable: TableWindow,
    orders.ShowTree: Tree,
    orders.ShowProcess: Process,
    orders.ShowNodes: Nodes,
    orders.ShowTimeline: Timeline,
    orders.ShowEvent: Event,
    orders.ShowLog: Log,
    orders.ShowTrace: Trace,
}


def view_of(sights: Sequence[Sight], node: int, wish: Any, interval: float, drawn: Drawn) -> View:
    """The view for a wish; see `View`."""
    return VIEWS[type(wish)](sights, node, wish, interval, drawn)
