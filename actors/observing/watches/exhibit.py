"""Exhibits: dumps that answer observers as the dumped node did, through the same protocol.

    async with open_node("bank", zone="east", listen=..., observe=False, ...) as node:
        open_exhibit(node, records)

A node in the place of the dumped one has the processes that observers ask, and these show what the dump has.
So every client of the protocol opens a dump without knowing. Nothing changes any more, so that each view is
whole in its first update, and those that follow are empty. Traces and replicas need a node that runs.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from enfilade.actors.observing.events.subscriptions import kinds_of
from enfilade.actors.observing.protocol.columns import KEYS
from enfilade.actors.observing.protocol.matching import Match
from enfilade.actors.observing.protocol.views import (
    DumpView,
    EventView,
    LogView,
    NodeView,
    ProcessView,
    StateView,
    TableView,
    TreeView,
    View,
)
from enfilade.actors.observing.tables.trees import Place, branches_of
from enfilade.actors.observing.tables.walker import Window
from enfilade.actors.observing.watches.desk import NAMES, Desk
from enfilade.actors.observing.watches.pictures import EVENTS, PIECE
from enfilade.actors.observing.watches.shared import Watching
from enfilade.actors.observing.watches.shots import Changes, Scene, Shot
from enfilade.actors.observing.watches.windows import WindowPicture
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["open_exhibit"]

Record = dict[str, Any]


def open_exhibit(node: Node, records: Sequence[Record]) -> None:
    """Have a node answer observers as the node did that was dumped. Not a checkpoint.

    Args:
        node: a node in its place, opened with `observe=False`.
        records: those of the dump, the header first.
    """
    watching = Watching(node)
    clock = records[0]["clock"]
    watching.now = lambda: clock
    content = _Content(records)
    pictures = {view: partial(picture, content) for view, picture in PICTURES.items()}
    rights = [right for right in NAMES if right in RIGHTS]
    children = [
        Child(_ExhibitDesk, watching, right, pictures, id=NAMES[right], name=NAMES[right]) for right in rights
    ]
    node.spawn_soon(Supervisor, children, label="observation", arena="node")


RIGHTS: Final = ("observe", "inspect")
"""The rights that an observer of a dump has."""


class _ExhibitDesk(Desk):
    """The process that observers ask for watches of a dump."""

    def _rights_of_caller(self) -> list[str]:
        return list(RIGHTS)

    def _note(self, view: View) -> None:
        """Nothing is secret from whoever has the file."""


class _Content:
    """The records of a dump, by kind.

    Attributes:
        records: all of them, in order.
        node: the numbers of the node.
        processes: the processes, by serial.
        tables: the rows of each table.
        children: the rows of the children of each supervisor.
        root: the serial of the root supervisor; None.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = [*records]
        header = records[0]
        dumped = {"at": header["at"], "cause": header["cause"], "reason": header["reason"]}
        self.node: Record = {"dumped": dumped, "links": []}
        self.processes: dict[int, Record] = {}
        self.tables: dict[str, list[Record]] = {of: [] for of in KEYS}
        self.children: dict[int, list[Record]] = {}
        for record in records:
            kind, fields = record["record"], {name: record[name] for name in record if name != "record"}
            if kind == "node":
                self.node.update(fields)
            elif kind == "process":
                self.processes[fields["serial"]] = fields
                self.tables["processes"].append(fields)
            elif kind == "row" and fields["of"] == "children":
                self.children.setdefault(fields["supervisor"], []).append(fields["row"])
            elif kind == "row":
                self.tables[fields["of"]].append(fields["row"])
        self.root: int | None = self.node.get("root")
        self.node["links"] = self.tables["peers"]

    def of(self, kind: str) -> list[Record]:
        """The records of a kind, without saying so."""
        found = (record for record in self.records if record["record"] == kind)
        return [{name: record[name] for name in record if name != "record"} for record in found]

    def process(self, named: int | str) -> Record | None:
        """The process of that serial, or name; None."""
        if isinstance(named, int):
            return self.processes.get(named)
        return next((each for each in self.processes.values() if each["name"] == named), None)


class _FiledTable:
    """The rows of a table in a dump."""

    def __init__(self, rows: Sequence[Record]) -> None:
        self.rows = rows

    def items(self) -> Iterator[Record]:
        yield from self.rows


class _FiledWindow(WindowPicture):
    """A window of a table in a dump."""

    def __init__(self, content: _Content, scene: Scene, view: TableView) -> None:
        super().__init__(scene, view)
        if view.of == "children":
            supervisor = content.root if view.supervisor is None else view.supervisor
            rows = content.children.get(supervisor, []) if supervisor is not None else []
        else:
            rows = content.tables[view.of]
        self._table = _FiledTable(rows)

    async def window(self) -> Window:
        return await self.scene.watching.walker.window(self._table, self.view, self.scene.budget)

    def close(self) -> None:
        """Nothing is kept."""


@attrs.frozen
class _FiledForest:
    """The supervision tree in a dump."""

    content: _Content

    def top(self, serial: int | None) -> Record | None:
        wanted = self.content.root if serial is None else serial
        return None if wanted is None else self.content.processes.get(wanted)

    def branch(self, process: Record) -> Record:
        return {
            "process": process["serial"],
            "actor": process["actor"],
            "name": process["name"],
            "queued": process["queued"],
            "process_state": process["state"],
            **(process["supervision"] or {}),
        }

    def below(self, process: Record) -> Iterator[tuple[Record | None, int, int]]:
        for child, place in self.children(process) or ():
            yield child, place["restarts"], 0 if child is None else child["queued"]

    def children(self, process: Record) -> list[tuple[Record | None, Place]] | None:
        rows = self.content.children.get(process["serial"])
        if rows is None:
            return [] if process["kind"] == "supervisor" else None
        return [(self.content.processes.get(row["serial"]), self._place(row)) for row in rows]

    def _place(self, row: Record) -> Place:
        place = {name: row[name] for name in ("place", "restart", "shutdown", "type", "restarts", "state")}
        elsewhere = {} if row["node"] is None else {"elsewhere": row["node"]}
        return {"id": row["child_id"], **place, **elsewhere}


class _FiledPicture:
    """The base of the pictures of a dump."""

    def __init__(self, content: _Content, scene: Scene, view: Any) -> None:
        self.scene = scene
        self.view = view
        self.content = content
        self._changes = Changes()

    def close(self) -> None:
        """Nothing is kept."""


class _FiledFields(_FiledPicture, ABC):
    """Fields that are the same for ever."""

    @abstractmethod
    async def fields(self) -> Record:
        """The fields of the view."""

    async def shot(self, *, is_full: bool) -> Shot:
        return Shot(self._changes.of(await self.fields(), is_full=is_full))


class _FiledNode(_FiledFields):
    async def fields(self) -> Record:
        return self.content.node


class _FiledTree(_FiledFields):
    async def fields(self) -> Record:
        forest = _FiledForest(self.content)
        fields = await branches_of(forest, self.view, self.scene.watching.walker, self.scene.budget)
        return {**fields, "order": [branch["key"] for branch in fields["branches"]]}


class _FiledProcess(_FiledFields):
    async def fields(self) -> Record:
        found = self.content.process(self.view.process)
        serial = self.view.process if isinstance(self.view.process, int) else None
        unknown = {"serial": serial, "state": "unknown"}
        return {**(unknown if found is None else found), "ended": None}


class _FiledState(_FiledFields):
    async def fields(self) -> Record:
        found = self.content.process(self.view.process)
        serial = None if found is None else found["serial"]
        return {"serial": serial, "state": None, "problem": "a dump has no states"}


class _FiledPieces(_FiledPicture, ABC):
    """What comes in pieces: each record in one update only."""

    piece = EVENTS

    def __init__(self, content: _Content, scene: Scene, view: Any) -> None:
        super().__init__(content, scene, view)
        self._left = self.chosen()

    @abstractmethod
    def chosen(self) -> list[Record]:
        """The records that the view asks for."""

    @abstractmethod
    def data(self, records: list[Record], *, is_last: bool) -> Record:
        """The data of an update with some of them."""

    async def shot(self, *, is_full: bool) -> Shot:
        shown, self._left = self._left[: self.piece], self._left[self.piece :]
        return Shot(self.data(shown, is_last=not self._left), has_more=bool(self._left))


class _FiledEvents(_FiledPieces):
    def chosen(self) -> list[Record]:
        kinds = kinds_of(self.view.kinds)
        match = Match(self.view.match)
        return [
            each
            for each in self.content.of("event")
            if each["kind"] in kinds and each["number"] > self.view.since and match(each.get)
        ]

    def data(self, records: list[Record], *, is_last: bool) -> Record:
        return {"events": records}


class _FiledLog(_FiledPieces):
    def chosen(self) -> list[Record]:
        lines = self.content.of("log")
        level = logging.getLevelNamesMapping()[self.view.level]
        return [
            {name: line[name] for name in line if name != "levelno"}
            for line in lines
            if line["levelno"] >= level and line["logger"].startswith(self.view.prefix)
        ]

    def data(self, records: list[Record], *, is_last: bool) -> Record:
        return {"lines": records}


class _FiledDump(_FiledPieces):
    piece = PIECE

    def chosen(self) -> list[Record]:
        return self.content.records

    def data(self, records: list[Record], *, is_last: bool) -> Record:
        return {"records": records, "is_last": is_last}


PICTURES: Final[dict[type, Any]] = {
    NodeView: _FiledNode,
    TableView: _FiledWindow,
    TreeView: _FiledTree,
    ProcessView: _FiledProcess,
    StateView: _FiledState,
    EventView: _FiledEvents,
    LogView: _FiledLog,
    DumpView: _FiledDump,
}
"""The picture of each view that a dump has."""
