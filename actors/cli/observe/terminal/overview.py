"""The overview: plots of the last ten minutes, warnings, who has most to do, who has crashed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.history import LENGTH, SERIES, Series
from enfilade.actors.cli.observe.terminal.glyphs import bars
from enfilade.actors.cli.observe.terminal.page import Page, cut, heading, shorten

__all__ = ["OverviewPage"]

GAP = 2


class OverviewPage(Page):
    """The overview of a node."""

    title = "overview"
    _scrolled = 0

    def draw(self, width: int, height: int) -> list[Text]:
        if not self.sight.fields:
            return [
                Text("  asking the node" if self.sight.observed.is_up else "  not connected", style="dim")
            ]
        tall = height >= 34
        lines = self._plots(width, 3 if tall else 1)
        lines += self._warnings(width, 8 if tall else 3)
        lines += self._mailboxes(width, 10 if tall else 4)
        lines += self._crashes(width, max(3, height - len(lines) - 1))
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

    def _mailboxes(self, width: int, most: int) -> list[Text]:
        waiting = [row for row in self.sight.longest if row.get("queued")][:most]
        lines = [heading("longest mailboxes", width, self.glyphs)]
        if not waiting:
            return [*lines, Text("  no message waits", style="dim")]
        cells = (width - GAP) // 2
        texts = [cut(_mailbox(row), cells, self.glyphs) for row in waiting]
        half = (len(texts) + 1) // 2
        for left, right in zip_longest(texts[:half], texts[half:], fillvalue=""):
            lines.append(Text(left + " " * GAP + right))
        return lines

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


def _mailbox(row: Mapping[str, Any]) -> str:
    name = row.get("name") or row.get("label")
    actor = words.one_line(row.get("actor") or row.get("kind") or "")
    who = f"{words.one_line(name)} ({actor})" if name else f"{actor} {row['serial']}"
    return f"{words.number(row['queued']):>7}  {who}, {row.get('state')}"
