"""A page with a table of any length, of which the node sends what is near to what is seen.

The rows of five screens are asked for, those that are seen in the middle. Where the cursor leaves them,
others are asked for when no key has come for a moment; meanwhile rows that are on their way are shown as
dots. The selected row is known by its key, so it stays selected wherever a new order puts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs
from rich.text import Text

from enfilade.actors.cli.observe.actions import Target, target_of
from enfilade.actors.cli.observe.columns import GUESTS, PROCESSES, TABLES, Column, Table, cell, fit
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.page import Desk, ListPage, cut
from enfilade.actors.observing.protocol.views import LIMITS, TableView
from enfilade.actors.observing.watches.client import State

__all__ = ["STYLES", "GuestsPage", "ProcessesPage", "TablePage", "TablesPage"]

Row = Mapping[str, Any]

PAUSE: Final = 0.15
"""Seconds after the last key until other rows are asked for."""

AROUND: Final = 2
"""How many screens above and below what is seen are asked for."""

STYLES: Final = {
    "ended": "dim",
    "suspended": "yellow",
    "stopping": "yellow",
    "starting": "yellow",
    "stopped": "dim",
    "restarting": "yellow",
    "trapped": "red",
    "down": "dim",
}
"""How a row looks, by its state: what the colour says, the word says as well."""


class TablePage(ListPage):
    """A table.

    Attributes:
        table: which one.
        columns: the columns that are shown, by name.
        sort: the column by which it is sorted; None for the order of the node.
        descending: whether the largest comes first.
        match: which rows are shown.
        is_frozen: whether the order stays as it is.
        selected: the key of the selected row; None.
    """

    always: ClassVar[tuple[str, ...]] = ()
    """Columns that are asked for though they may not be shown."""

    def __init__(self, desk: Desk, sight: Sight, table: Table) -> None:
        super().__init__(desk, sight)
        self._begin(table)

    def _begin(self, table: Table) -> None:
        """Show a table from its beginning."""
        self.cursor = self.top = 0
        self.table = table
        self.columns = table.first
        self.sort = table.sort
        self.descending = table.sort is not None and table.column(table.sort).falls
        self.match = ""
        self.is_frozen = False
        self.selected: Any = None
        self._first = 0
        self._order: list[Any] = []
        self._rows: dict[Any, Row] = {}
        self._matched = 0
        self._total = 0
        self._is_loaded = False

    # What the node sends.

    def _view(self) -> TableView:
        first = max(0, self.top - AROUND * self.height)
        count = min(int(LIMITS["count"]), (2 * AROUND + 1) * self.height)
        columns = tuple(dict.fromkeys((self.table.key, *self.columns, *self.always)))
        return TableView(
            of=self.table.of,
            columns=columns,
            sort=self.sort,
            descending=self.descending,
            match=self.match,
            first=first,
            count=max(count, 50),
        )

    def looks(self) -> list[Look]:
        return [Look(self._view(), self.take)]

    async def take(self, state: State) -> None:
        """Take a state in, and wait until it has been drawn."""
        view = self._looks[0].shown if self._looks else self._view()
        assert isinstance(view, TableView)
        if view.of != self.table.of:
            return  # of the table before
        if self.keep_up():
            self.is_frozen, self.selected = False, None
            self.cursor = self.top = 0
        key = self.table.key
        rows: dict[Any, Row] = {row[key]: row for row in state.rows}
        self._matched, self._total = state.fields["matched"], state.fields["total"]
        self._is_loaded = True
        if self.is_frozen:
            self._rows = {each: rows.get(each, self._rows.get(each, {})) for each in self._order}
        else:
            self._first, self._order, self._rows = view.first, list(rows), rows
            if self.selected in rows:
                self.cursor = self._first + self._order.index(self.selected)
            elif self.selected is None and self._order:
                self._select()
        await self.desk.painted()

    def _ask_again(self) -> None:
        """Ask for another view at once."""
        if self._looks:
            self.desk.soon_sync(self._looks[0].change, self._view())

    def moved(self) -> None:
        self._select()
        if self.is_frozen:
            return
        first, last = self._first, self._first + len(self._order)
        near_top = max(0, self.top - self.height)
        near_end = min(self._matched, self.top + 2 * self.height)
        if near_top < first or near_end > last:
            self.desk.later(PAUSE, self._ask_again)

    def _select(self) -> None:
        place = self.cursor - self._first
        self.selected = self._order[place] if 0 <= place < len(self._order) else None

    def _settle(self) -> None:
        """Leave the cursor where its row is, even if that is beyond what is seen."""
        self.top = max(0, min(self.top, self.count - self.height))

    # What is drawn.

    @property
    def count(self) -> int:
        return len(self._order) if self.is_frozen else self._matched

    @property
    def row(self) -> Row | None:
        """The selected row, if it is among those that are known."""
        return None if self.selected is None else self._rows.get(self.selected)

    @property
    def is_cursor_shown(self) -> bool:  # type: ignore[override]
        place = self.cursor - self._first
        is_known = 0 <= place < len(self._order)
        return not is_known or self._order[place] == self.selected

    def row_at(self, number: int) -> Row | None:
        """The row at a place; None while it is on its way."""
        place = number - self._first
        return self._rows.get(self._order[place]) if 0 <= place < len(self._order) else None

    def heads(self, width: int, height: int) -> list[Text]:
        line = Text()
        for column, cells in self._fitting(width):
            title = column.title
            if column.name == self.sort:
                mark = self.glyphs.down if self.descending else self.glyphs.up
                title = f"{mark}{title}" if column.is_number else f"{title}{mark}"
            if line:
                line.append(" ")
            shown = cut(title, cells, self.glyphs, at_right=column.is_number)
            line.append(shown, "bold underline" if column.name == self.sort else "bold")
        return [line]

    def _fitting(self, width: int) -> list[tuple[Column, int]]:
        return fit([self.table.column(name) for name in self.columns], width)

    def item(self, number: int, width: int) -> Text:
        row = self.row_at(number)
        texts = []
        for column, cells in self._fitting(width):
            shown = self.glyphs.on_its_way if row is None else cell(column, row)
            texts.append(cut(shown, cells, self.glyphs, at_right=column.is_number))
        line = Text(" ".join(texts))
        style = STYLES.get("" if row is None else row.get("state") or "")
        if style is not None:
            line.stylize(style)
        return line

    def empty(self) -> str:
        return self.table.nothing if self._is_loaded else self.sight.observed.not_yet

    def status(self) -> str:
        parts = [self.range_shown()]
        if self.sort is not None:
            parts.append(
                f"by {self.sort.replace('_', ' ')}, {'largest' if self.descending else 'smallest'} first"
            )
        if self.is_frozen:
            parts.append("frozen")
        if self._looks and self._looks[0].shown is not self._looks[0].view:
            parts.append("asking the node")
        if self.match:  # last, because it can be longer than the line
            parts.append(f"filter {self.match!r} of {self._total:,}")
        if self.refused:
            parts = [self.refused]
        return "  ".join(parts)

    # Keys.

    def key(self, key: str) -> bool:
        if super().key(key):
            return True
        if key == "/":
            self.desk.ask("filter", self.match, self._filter)
        elif key in "<>" and self.columns:
            self._sort_by_neighbour(-1 if key == "<" else 1)
        elif key == "r" and self.sort is not None:
            self.descending = not self.descending
            self._restart()
        elif key == " ":
            self.is_frozen = not self.is_frozen
            if not self.is_frozen:
                self._ask_again()
        elif key == "c":
            choices = [
                (c.name, f"{c.title:10} {c.about}", c.name in self.columns) for c in self.table.columns
            ]
            self.desk.choose("columns", choices, self._choose)
        else:
            return False
        return True

    def _filter(self, text: str) -> None:
        self.match = text.strip()
        self.cursor = self.top = 0
        self.selected = None
        self._restart()

    def _sort_by_neighbour(self, step: int) -> None:
        names = self.columns
        at = names.index(self.sort) if self.sort in names else -1 if step > 0 else 0
        self.sort = names[(at + step) % len(names)]
        self.descending = self.table.column(self.sort).falls
        self._restart()

    def _choose(self, names: list[str]) -> None:
        kept = [name for name in self.columns if name in names]
        self.columns = (*kept, *(name for name in names if name not in kept)) or self.columns[:1]
        self._ask_again()

    def _restart(self) -> None:
        """Ask for the rows anew, in another order or others."""
        self.is_frozen = False
        self._ask_again()
        self.desk.redraw()


class _ProcessRows(TablePage):
    """A table of which every row is a process."""

    hints = (
        ("enter", "detail"),
        ("/", "filter"),
        ("<>", "sort"),
        ("r", "reverse"),
        ("c", "columns"),
        ("space", "freeze"),
    )

    def key(self, key: str) -> bool:
        if key == "enter" and self.row is not None:
            self.desk.open_process(self.row["serial"])
            return True
        return super().key(key)

    @property
    def target(self) -> Target | None:
        return None if self.row is None else target_of(self.row, self.life)


class ProcessesPage(_ProcessRows):
    """The table of processes."""

    title = "processes"
    always = ("serial", "name", "label", "actor", "kind", "state", "supervisor", "child_id")

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight, PROCESSES)


class GuestsPage(_ProcessRows):
    """The table of guests."""

    title = "guests"
    always = ("serial", "name", "label", "state")

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight, GUESTS)

    @property
    def target(self) -> Target | None:
        return None if self.row is None else target_of({**self.row, "actor": "guest"}, self.life)


class TablesPage(TablePage):
    """The other tables, one at a time."""

    title = "tables"
    hints = (("t", "next table"), *ProcessesPage.hints)

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight, TABLES[0])

    def heads(self, width: int, height: int) -> list[Text]:
        tabs = Text()
        for table in TABLES:
            tabs.append(f" {table.title} ", style="bold underline" if table is self.table else "dim")
        return [tabs, *super().heads(width, height)]

    def key(self, key: str) -> bool:
        if key == "t":
            self._turn_to(TABLES[(TABLES.index(self.table) + 1) % len(TABLES)])
        elif key == "enter" and self.row is not None:
            process = next((self.row[name] for name in ("serial", "owner", "a") if self.row.get(name)), None)
            if isinstance(process, int):
                self.desk.open_process(process)
        else:
            return super().key(key)
        return True

    def _turn_to(self, table: Table) -> None:
        self._begin(table)
        self._ask_again()

    def _view(self) -> TableView:
        more = {"timers": ("owner",), "links": ("a",)}.get(self.table.of, ())
        view = super()._view()
        return attrs.evolve(view, columns=(*view.columns, *more))
