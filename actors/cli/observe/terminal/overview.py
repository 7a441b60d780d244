"""The overview: plots of the last ten minutes, warnings, who is busiest, who has most to do, who crashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.busiest import BUSIEST, busiest_of, nobody
from enfilade.actors.cli.observe.history import LENGTH, SERIES, Series
from enfilade.actors.cli.observe.terminal.glyphs import bars
from enfilade.actors.cli.observe.terminal.page import Page, cut, heading, shorten

__all__ = ["OverviewPage"]

Row = Mapping[str, Any]

GAP = 2

MOST = BUSIEST
FEWEST = 3
"""How many of the busiest, and of the longest mailboxes, are shown if there is room, and if there is not."""


class OverviewPage(Page):
    """The overview of a node."""

    title = "overview"

    def show(self) -> None:
        super().show()
        self.sight.begin_busiest()

    def hide(self) -> None:
        super().hide()
        self.sight.end_busiest()

    def draw(self, width: int, height: int) -> list[Text]:
        if not self.sight.fields:
            return [Text(f"  {self.sight.observed.not_yet}", style="dim")]
        tall = height >= 34
        lines = self._plots(width, 3 if tall else 1)
        lines += self._warnings(width, 8 if tall else 3)
        room = height - len(lines) - 1 - FEWEST  # of which crashes have one line for the heading
        lines += self._most(width, max(FEWEST, min(MOST, room - 1)))
        lines += self._crashes(width, max(FEWEST, height - len(lines) - 1))
        return lines[:height]

    def _plots(self, width: int, height: int) -> list[Text]:
        shown = [series for series in SERIES if self.sight.history.has(series)]
        beside = 2 if width < 120 else 4
        cells = (width - (beside - 1) * GAP) // beside
        lines: list[Text] = []
        for start in range(0, len(shown), beside):
            plots = [self._plot(series, cells, height) for series in shown[start : start + beside]]
            lines += [Text(" " * GAP).join(parts) for parts in zip(*plots, strict=True)]
        return lines

    def _plot(self, series: Series, width: int, height: int) -> list[Text]:
        history = self.sight.history
        values = history.plot(series, width)
        most = max((value for value in values if value is not None), default=0.0)
        last = series.shown(history.last(series))
        title = Text(series.title, style="bold")
        title.append(f" {last}", style="cyan bold")
        note = (
            f"most {series.shown(most)} in {words.age(LENGTH)}"
            if width >= 46
            else f"most {series.shown(most)}"
        )
        room = width - len(title.plain) - len(note)
        title.append(" " * max(1, room) + note, style="dim")
        title.truncate(width)
        picture = [Text(line, style="green") for line in bars(values, height, self.glyphs, series.most)]
        return [title, *picture]

    def _warnings(self, width: int, most: int) -> list[Text]:
        warnings = self.sight.warnings
        if not warnings:
            return [heading("no warnings", width, self.glyphs)]
        lines = [heading(f"{len(warnings)} warning{'s' * (len(warnings) > 1)}", width, self.glyphs)]
        lines += [Text(cut(f"! {each.text}", width, self.glyphs), style="yellow") for each in warnings[:most]]
        if len(warnings) > most:
            lines[-1] = Text(f"! and {len(warnings) - most + 1} more", style="yellow")
        return lines

    def _most(self, width: int, most: int) -> list[Text]:
        """The busiest processes, and beside them those with the longest mailboxes."""
        waiting = [row for row in self.sight.longest if row.get("queued")][:most]
        known = self.sight.busiest
        cells = (width - GAP) // 2
        left = self._column("busiest", [_busy(row) for row in busiest_of(known)[:most]], nobody(known), cells)
        mailboxes = [_mailbox(row) for row in waiting]
        right = self._column("longest mailboxes", mailboxes, "no message waits", width - GAP - cells)
        pairs = zip_longest(left, right, fillvalue=Text(" " * cells))
        return [Text(" " * GAP).join(pair) for pair in pairs]

    def _column(self, title: str, texts: Sequence[str], nothing: str, width: int) -> list[Text]:
        lines = [Text(cut(text, width, self.glyphs)) for text in texts]
        lines = lines or [Text(cut(f"  {nothing}", width, self.glyphs), style="dim")]
        return [heading(title, width, self.glyphs), *lines]

    def _crashes(self, width: int, most: int) -> list[Text]:
        crashes = self.sight.crashes
        note = f"{self.sight.fields.get('crashes', len(crashes)):,} since the node began"
        lines = [heading("last crashes", width, self.glyphs, note)]
        if not crashes:
            return [*lines, Text("  nothing has crashed", style="dim")]
        for event in list(reversed(crashes))[:most]:
            ago = f"{words.age(int(self.sight.seconds_ago(event)))} ago"
            line = Text(cut(ago, 11, self.glyphs, at_right=True) + "  ", style="dim")
            line.append(words.headline(event), style="red")
            line.append(f"  {words.failure(event)}")
            shorten(line, width, self.glyphs)
            lines.append(line)
        return lines


def _mailbox(row: Row) -> str:
    return f"{words.number(row['queued']):>7}  {_who(row)}, {row.get('state')}"


def _busy(row: Row) -> str:
    rate = "" if row.get("rate") is None else f", {words.number(row['rate'])}/s"
    return f"{words.share(row['busy']):>7}  {_who(row)}{rate}"


def _who(row: Row) -> str:
    name = row.get("name") or row.get("label")
    actor = words.one_line(row.get("actor") or row.get("kind") or "")
    return f"{words.one_line(name)} ({actor})" if name else f"{actor} {row['serial']}"
