"""The timeline: restarts and give-ups on a time axis, by supervisor, and the events below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.facts import event_facts
from enfilade.actors.cli.observe.terminal.page import ListPage, cut, fact_line, heading, shorten
from enfilade.actors.cli.observe.timeline import MOODS, SPANS, rows_of

__all__ = ["TimelinePage"]

Event = Mapping[str, Any]

STYLES: Final = {"bad": "red", "worst": "bold red", "alarming": "bold yellow", "odd": "yellow", "dim": "dim"}

LABEL: Final = 14
"""Cells of the label of a fact."""


class TimelinePage(ListPage):
    """The timeline of a node, the newest event first."""

    title = "timeline"
    hints = (("enter", "report"), ("[ ]", "span"), ("v", "all, restarts, crashes"))

    FAMILIES: Final = (("all", ""), ("restarts", "child.restarted"), ("crashes", "process.crashed"))

    def __init__(self, desk: Any, sight: Any) -> None:
        super().__init__(desk, sight)
        self._span = 600.0
        self._family = 0
        self._selected: int | None = None
        self._shown: list[Event] = []

    def draw(self, width: int, height: int) -> list[Text]:
        kind = self.FAMILIES[self._family][1]
        self._shown = [e for e in reversed(self.sight.timeline) if not kind or e["kind"] == kind]
        numbers = [event["number"] for event in self._shown]
        if self._selected in numbers and self.cursor:
            place = numbers.index(self._selected)
            self.top += place - self.cursor  # what is seen stays, though others came above it
            self.cursor = place
        return super().draw(width, height)

    def moved(self) -> None:
        self._selected = self._shown[self.cursor]["number"] if self.cursor < len(self._shown) else None

    @property
    def count(self) -> int:
        return len(self._shown)

    def heads(self, width: int, height: int) -> list[Text]:
        rows = self._axis(width)
        most = max(1, height // 3)
        more = len(rows) - most
        title = heading("restarts", width, self.glyphs, f"last {words.age(self._span)}")
        if more > 0:
            rows = [*rows[: most - 1], Text(f"  and {more + 1} more supervisors", style="dim")]
        family = self.FAMILIES[self._family][0]
        return [title, *rows, heading("events" if family == "all" else family, width, self.glyphs)]

    def _axis(self, width: int) -> list[Text]:
        """A line for each supervisor that has restarted a child in this time, the latest first."""
        label = min(30, width // 3)
        cells = width - label - 8
        lines = []
        for row in rows_of(self.sight, self._span):
            line = [self.glyphs.on_its_way] * cells
            for mark in row.marks:
                place = max(0, min(cells - 1, cells - 1 - int(mark.ago / self._span * cells)))
                if line[place] != self.glyphs.cross:
                    line[place] = self.glyphs.cross if mark.is_give_up else self.glyphs.mark
            text = Text(cut(row.supervisor, label, self.glyphs) + " ")
            text.append("".join(line), style="yellow")
            text.append(cut(f"{row.restarts:,}", 6, self.glyphs, at_right=True), style="bold")
            lines.append(text)
        return lines or [Text("  no restart", style="dim")]

    def item(self, number: int, width: int) -> Text:
        event = self._shown[number]
        ago = words.age(int(self.sight.seconds_ago(event)))
        line = Text(cut(ago, 7, self.glyphs, at_right=True) + "  ", style="dim")
        line.append(cut(event["kind"], 19, self.glyphs), style="dim")
        line.append(words.described(event), style=STYLES.get(MOODS.get(event["kind"], ""), ""))
        shorten(line, width, self.glyphs)
        return line

    def empty(self) -> str:
        return "nothing has happened yet"

    def status(self) -> str:
        missed = f", {self.sight.missed:,} missed" if self.sight.missed else ""
        return f"{self.range_shown()} events{missed}"

    def key(self, key: str) -> bool:
        if key == "enter" and self.cursor < len(self._shown):
            event = self._shown[self.cursor]
            facts = event_facts(event, self.sight.seconds_ago(event))
            self.desk.read(words.described(event), [fact_line(fact, LABEL) for fact in facts])
        elif key in ("[", "]"):
            at = SPANS.index(self._span) + (1 if key == "[" else -1)
            self._span = SPANS[max(0, min(at, len(SPANS) - 1))]
        elif key == "v":
            self._family = (self._family + 1) % len(self.FAMILIES)
            self.cursor = self.top = 0
        else:
            return super().key(key)
        return True
