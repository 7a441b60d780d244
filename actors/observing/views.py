"""The records of the observation protocol: what may be looked at, and what is sent of it.

A view says what a watch shows. An update carries it: the whole of it first, then what has changed. All of its
data are numbers, texts, lists and mappings, so that every client can read it.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from enfilade.actors.messages.errors import Refused
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.matching import LARGEST_MATCH, Match
from enfilade.actors.observing.rows import COLUMNS
from enfilade.actors.observing.subscriptions import kinds_of
from enfilade.transport.records import register

__all__ = [
    "LIMITS",
    "PROTOCOL",
    "EventView",
    "Hello",
    "NodeView",
    "ProcessView",
    "TableView",
    "TreeView",
    "Update",
    "View",
    "check_view",
]

PROTOCOL: Final = 1
"""The version of the protocol."""

LIMITS: Final[dict[str, float]] = {
    "watches": 64,
    "interval_min": 0.1,
    "interval_max": 60.0,
    "budget_max": 0.5,
    "count": 500,
    "open": 1_000,
    "depth": 8,
    "match": LARGEST_MATCH,
    "unacknowledged_seconds": 60.0,
}
"""The limits of a peer: watches in all; seconds of an interval; share of the time; rows of a window; branches
that are open, and their depth; characters of a match; seconds until an update must be acknowledged.
"""

TABLES: Final = ("processes", "names", "peers")


@attrs.frozen
class NodeView:
    """The node itself: its name, numbers, memory, observers; and its node links."""


@attrs.frozen
class TableView:
    """A window of a table.

    Attributes:
        of: "processes", "names" or "peers".
        columns: the fields that are wanted; none for all.
        sort: the field by which the rows are sorted; None for the order of serials.
        descending: whether the largest comes first.
        match: which rows are shown; see `matching`.
        first: the number of rows before the window.
        count: the number of rows of the window.
        grave: seconds for which a process that has ended stays.
    """

    of: str = "processes"
    columns: tuple[str, ...] = ()
    sort: str | None = None
    descending: bool = True
    match: str = ""
    first: int = 0
    count: int = 100
    grave: float = 5.0


@attrs.frozen
class TreeView:
    """The supervision tree. Supervisors that are not open show the sums of what is below them.

    Attributes:
        root: the serial of the supervisor at the top; None for the root of the node.
        open: the serials of the supervisors whose children are shown.
        depth: how deep.
        count: how many branches at most.
    """

    root: int | None = None
    open: tuple[int, ...] = ()
    depth: int = 8
    count: int = 500


@attrs.frozen
class ProcessView:
    """One process in detail: by its serial, or by its name, which is followed to the next incarnation."""

    process: int | str = 0


@attrs.frozen
class EventView:
    """Events.

    Attributes:
        kinds: as of `Node.events`.
        since: the number of the last event that is known: what is kept of later ones comes first.
    """

    kinds: tuple[str, ...] = ()
    since: int = 0


View = NodeView | TableView | TreeView | ProcessView | EventView


@attrs.frozen
class Hello:
    """The introduction of a node to an observer.

    Attributes:
        protocol: the version of the protocol.
        node: its full name.
        rights: "observe", or "observe" and "inspect", by the process that was asked.
        views: the names of the views that it has.
        limits: see `LIMITS`.
    """

    protocol: int
    node: str
    rights: list[str]
    views: list[str]
    limits: dict[str, float]


@attrs.frozen
class Update:
    """The state of a view, or what has changed in it.

    Attributes:
        number: counts the updates of a watch, from 1 on.
        at: when it was made, on the clock of the node's trio run.
        took: seconds that the node has spent on it.
        every: seconds since the update before: the interval that the watch could keep.
        full: whether `data` is the whole; if not, it is what has changed.
        data: the fields of the view.
        missed: events that were dropped since the update before.
    """

    number: int
    at: float
    took: float
    every: float
    full: bool
    data: dict[str, Any]
    missed: int = 0


for _record in (NodeView, TableView, TreeView, ProcessView, EventView, Hello, Update):
    register(_record, name=f"enfilade.observe.{_record.__name__}")


def check_view(view: object) -> View:
    """The view that a peer asks for, if it is one.

    Raises:
        Refused: it is not a view, or goes beyond the limits; the text says which.
    """
    if type(view) is NodeView:
        return view
    if type(view) is TableView:
        _check_table(view)
        return view
    if type(view) is TreeView:
        _check(view.root is None or type(view.root) is int, "root", "a serial", view.root)
        _check_all("open", view.open, int, LIMITS["open"])
        _check_number("depth", view.depth, 1, LIMITS["depth"])
        _check_number("count", view.count, 1, LIMITS["count"])
        return attrs.evolve(view, open=tuple(view.open))
    if type(view) is ProcessView:
        is_one = type(view.process) is int or (
            type(view.process) is str and len(view.process) <= LARGEST_MATCH
        )
        _check(is_one, "process", "a serial or a name", view.process)
        return view
    if type(view) is EventView:
        _check_all("kinds", view.kinds, str, 100)
        _check_number("since", view.since, 0, 2**63)
        try:
            kinds_of(tuple(view.kinds))
        except ValueError as error:
            raise Refused(safe_str(error)) from None
        return attrs.evolve(view, kinds=tuple(view.kinds))
    raise Refused(f"expected a view, got {safe_repr(view)}")


def _check_table(view: TableView) -> None:
    _check(view.of in TABLES, "of", f"one of {', '.join(TABLES)}", view.of)
    _check_all("columns", view.columns, str, len(COLUMNS))
    unknown = [column for column in (*view.columns, view.sort or "serial") if column not in COLUMNS]
    _check(not unknown, "columns and sort", f"fields among {', '.join(COLUMNS)}", unknown)
    _check(type(view.descending) is bool, "descending", "a boolean", view.descending)
    _check(type(view.match) is str, "match", "a text", view.match)
    _check_number("first", view.first, 0, 2**40)
    _check_number("count", view.count, 1, LIMITS["count"])
    _check_number("grave", view.grave, 0, 60)
    try:
        Match(view.match)
    except ValueError as error:
        raise Refused(safe_str(error)) from None


def _check_all(field: str, given: object, kind: type, most: float) -> None:
    is_fine = isinstance(given, list | tuple) and len(given) <= most and all(type(x) is kind for x in given)
    _check(is_fine, field, f"at most {most:g} of {kind.__name__}", given)


def _check_number(field: str, given: object, least: float, most: float) -> None:
    is_number = type(given) in (int, float) and least <= given <= most  # type: ignore[operator]
    _check(is_number, field, f"{least:g} to {most:g}", given)


def _check(is_fine: bool, field: str, expected: str, got: object) -> None:
    if not is_fine:
        raise Refused(f"{field} must be {expected}, got {safe_repr(got, 100)}")
