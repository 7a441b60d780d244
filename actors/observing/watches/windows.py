"""Windows of tables: some rows of many, in an order, and what has changed in them since the last update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs

from enfilade.actors.observing.measurements.vitals import Rates
from enfilade.actors.observing.protocol.columns import COUNTED, KEYS, PROCESS_COLUMNS
from enfilade.actors.observing.protocol.matching import Match
from enfilade.actors.observing.protocol.views import TableView
from enfilade.actors.observing.tables.node_tables import table_of
from enfilade.actors.observing.tables.rows import row_of
from enfilade.actors.observing.tables.walker import Window
from enfilade.actors.observing.watches.shots import Changes, Picture, Scene, Shot

__all__ = ["WindowPicture", "table_picture"]

Row = dict[str, Any]


def table_picture(scene: Scene, view: TableView) -> Picture:
    """Make what takes the pictures of a window, for a node that runs."""
    return ProcessWindow(scene, view) if view.of == "processes" else TableWindow(scene, view)


class WindowPicture(ABC):
    """A window of a table."""

    def __init__(self, scene: Scene, view: TableView) -> None:
        self.scene = scene
        self.view = view
        self._key = KEYS[view.of]
        self._changes = Changes()
        self._rows: dict[Any, dict[str, Any]] = {}

    @abstractmethod
    async def window(self) -> Window:
        """The window as it is now."""

    async def shot(self, *, is_full: bool) -> Shot:
        window = await self.window()
        rows = window.rows
        if self.view.columns:
            columns = {self._key, *self.view.columns}
            rows = [{name: value for name, value in row.items() if name in columns} for row in rows]
        key = self._key
        before, self._rows = self._rows, {row[key]: row for row in rows}
        fields = {"total": window.total, "matched": window.matched, "order": [row[key] for row in rows]}
        data = dict(self._changes.of(fields, is_full=is_full))
        changed = (self._changed(None if is_full else before.get(row[key]), row) for row in rows)
        data["rows"] = [row for row in changed if row is not None]
        if not is_full:
            data["left"] = [found for found in before if found not in self._rows]
        return Shot(data)

    def _changed(self, before: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any] | None:
        """The fields of a row that have changed, and its key; None if none has."""
        if before is None:
            return row
        changed = {name: value for name, value in row.items() if before.get(name) != value}
        return {self._key: row[self._key], **changed} if changed else None


class TableWindow(WindowPicture):
    """A window of a table of a node that runs, other than that of processes: all of it is gone through each
    time.
    """

    def __init__(self, scene: Scene, view: TableView) -> None:
        super().__init__(scene, view)
        self._is_counted = view.of == "guests"
        if self._is_counted:
            scene.watching.count()
        self._look = scene.watching.vitals.begin() if view.of == "peers" else None
        self._links: dict[str, Rates] = {}

    async def window(self) -> Window:
        watching = self.scene.watching
        table = table_of(watching.node, self.view, is_counted=self._is_counted)
        window = await watching.walker.window(table, self.view, self.scene.budget)
        if self.view.of != "peers":
            return window
        now = watching.now()
        rows = [watching.link_shown(row, self._links, now) for row in window.rows]
        return attrs.evolve(window, rows=rows)

    def close(self) -> None:
        if self._is_counted:
            self.scene.watching.count_no_more()
        if self._look is not None:
            self.scene.watching.vitals.end(self._look)


class ProcessWindow(WindowPicture):
    """A window of the table of processes. Rows are made for the processes in it, and for no others."""

    def __init__(self, scene: Scene, view: TableView) -> None:
        super().__init__(scene, view)
        self._match = Match(view.match, PROCESS_COLUMNS)
        self._columns = (self._key, *view.columns) if view.columns else PROCESS_COLUMNS
        wanted = COUNTED.intersection((*self._columns, view.sort))
        self._counts = scene.watching.count() if wanted else None
        self._ranking = scene.watching.rankings.begin(view)

    async def window(self) -> Window:
        watching, view, budget = self.scene.watching, self.view, self.scene.budget
        async with watching.walker.turn:
            await self._ranking.refresh(watching.walker, budget, self.scene.interval)
            ended = watching.grave.since(watching.now() - view.grave) if view.grave else []
            buried = {}
            async for row in watching.walker.each(ended, budget):
                if self._match.is_open or self._match(row.get):
                    buried[row["serial"]] = row
            rows = []
            async for serial in watching.walker.each(self._serials(buried), budget):
                row = buried.get(serial) or self._row(serial)
                if row is not None:
                    rows.append(row)
        total = len(watching.node.processes) + len(ended)
        return Window(total, len(self._ranking) + len(buried), rows)

    def _serials(self, buried: Mapping[int, Row]) -> list[int]:
        """The serials of the window, in order: those of the living, and those of the ended among them."""
        ranking, column, first, count = self._ranking, self.view.sort, self.view.first, self.view.count
        order = ranking.order
        ended = [
            order.key(None if column is None else row.get(column), serial) for serial, row in buried.items()
        ]
        start = min(len(ranking), max(0, first - len(ended)))
        edge = ranking.keys(start - 1, start) if start else []
        after = [key for key in ended if not edge or order.is_after(key, edge[0])]
        living = [key for key in ranking.keys(start, first + count) if order.place(key) not in buried]
        place = first - start - (len(ended) - len(after))
        return [order.place(key) for key in order.sorted(living + after)[place : place + count]]

    def _row(self, serial: int) -> Row | None:
        process = self.scene.watching.node.processes.get(serial)
        if process is None or process.ended is not None:
            return None
        row = row_of(process, self._columns)
        return row if self._counts is None else {**row, **self._counts.of(process)}

    def close(self) -> None:
        self.scene.watching.rankings.end(self.view)
        if self._counts is not None:
            self.scene.watching.count_no_more()
