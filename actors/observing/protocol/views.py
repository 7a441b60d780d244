"""The records of the observation protocol: what may be looked at, and what is sent of it.

A view says what a watch shows. An update carries it: the whole of it first, then what has changed. All of its
data are numbers, texts, lists and mappings, so that every client can read it.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from typing import Any, Final

import attrs

from enfilade.actors.messages.errors import Refused
from enfilade.actors.messages.plain import LARGEST
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.events.subscriptions import kinds_of
from enfilade.actors.observing.protocol.columns import COLUMNS_OF, KEYS
from enfilade.actors.observing.protocol.matching import LARGEST_MATCH, Match
from enfilade.transport.records import register

__all__ = [
    "LIMITS",
    "PROTOCOL",
    "RIGHTS",
    "DumpView",
    "EventView",
    "Hello",
    "LogView",
    "MetricsView",
    "NodeView",
    "ProcessView",
    "ReplicaInColumns",
    "ReplicaView",
    "StateView",
    "TableView",
    "TraceView",
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
    "traced": 64,
    "trace_entries": 100_000,
    "trace_seconds": 3_600.0,
    "trace_rate": 10_000.0,
}
"""The limits of a peer: watches in all; seconds of an interval; share of the time; rows of a window; branches
that are open, and their depth; characters of a match; seconds until an update must be acknowledged; and of
one trace: processes, entries, seconds, and entries a second.
"""

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@attrs.frozen
class NodeView:
    """The node itself: its name, numbers, memory, observers; and its node links."""


@attrs.frozen
class TableView:
    """A window of a table.

    Attributes:
        of: the table: "processes", "names", "links", "timers", "groups", "pools", "guests", "peers",
            "dead_letters" for the kinds of them, or "children" for those of one supervisor; see
            `columns.COLUMNS_OF`.
        columns: the fields that are wanted; none for all.
        sort: the field by which the rows are sorted; None for the order in which the node has them.
        descending: whether the largest comes first.
        match: which rows are shown; see `matching`.
        first: the number of rows before the window.
        count: the number of rows of the window.
        grave: seconds for which a process that has ended stays.
        supervisor: the serial of the supervisor whose "children" are shown; None for the root.
    """

    of: str = "processes"
    columns: tuple[str, ...] = ()
    sort: str | None = None
    descending: bool = True
    match: str = ""
    first: int = 0
    count: int = 100
    grave: float = 5.0
    supervisor: int | None = None


@attrs.frozen
class TreeView:
    """The supervision tree. Supervisors that are not open show the sums of what is below them.

    Later updates have the branches that have changed, and the order of all, by their keys, when it has.

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
    """One process in detail: by its serial, or by its name, which is followed to the next incarnation.

    Attributes:
        process: its serial, or its name.
        contents: whether the contents of the messages in its mailbox are shown. That needs the right to
            trace.
    """

    process: int | str = 0
    contents: bool = False


@attrs.frozen
class EventView:
    """Events.

    Attributes:
        kinds: as of `Node.events`.
        since: the number of the last event that is known: what is kept of later ones comes first.
        match: which of them are shown; see `matching`.
    """

    kinds: tuple[str, ...] = ()
    since: int = 0
    match: str = ""


@attrs.frozen
class LogView:
    """The log of the node's program: the last lines that were kept, then each line. For those who may
    inspect. Lines are kept while there is such a view.

    Attributes:
        level: the name of the lowest level.
        prefix: the beginning of the names of the loggers.
    """

    level: str = "INFO"
    prefix: str = ""


@attrs.frozen
class StateView:
    """The state of one process, through its `format_status`. For those who may inspect.

    Attributes:
        process: its serial, or its name.
    """

    process: int | str = 0


@attrs.frozen
class DumpView:
    """A dump of the node, in pieces. For those who may inspect.

    Attributes:
        everything: whether idle processes have their lines in a very large node, too.
    """

    everything: bool = False


@attrs.frozen
class ReplicaView:
    """All processes, and then each change: for tools that keep a copy."""


@attrs.frozen
class ReplicaInColumns:
    """A replica as it travels to another node: in the place of `rows` a piece has `columns`, and `values`, in
    which the values of one row come after those of the row before. That is a third of the bytes. A client
    asks for it in the place of a `ReplicaView` where the node has it.
    """


@attrs.frozen
class TraceView:
    """The messages of some processes, as they come. For those who may trace.

    It ends by itself: after `count` entries, after `seconds`, when there are more than `rate` entries within
    a second, or when all its processes have ended.

    Attributes:
        processes: serials, names, patterns of names with `*` and `?`, or "actor:" and the name of a class.
            New incarnations of a name are followed.
        sends: whether what they send is shown, too.
        match: which entries are shown: texts that are looked for in method and type, or comparisons; see
            `matching`.
        count: entries.
        seconds: seconds.
        rate: entries a second.
        contents: whether the contents of messages are shown, as text.
        follow: whether the processes of the node that a traced one sends to are traced from then on, too, and
            trace contexts are carried meanwhile.
    """

    processes: tuple[int | str, ...] = ()
    sends: bool = False
    match: str = ""
    count: int = 100
    seconds: float = 10.0
    rate: float = 1_000.0
    contents: bool = False
    follow: bool = False


@attrs.frozen
class MetricsView:
    """The metrics of the node: see `metrics.INSTRUMENTS`.

    Attributes:
        messages: whether messages are counted for it.
    """

    messages: bool = True


View = (
    NodeView
    | MetricsView
    | TableView
    | TreeView
    | ProcessView
    | EventView
    | LogView
    | StateView
    | DumpView
    | ReplicaView
    | ReplicaInColumns
    | TraceView
)

RIGHTS: Final[dict[type, str]] = {
    NodeView: "observe",
    MetricsView: "observe",
    TableView: "observe",
    TreeView: "observe",
    ProcessView: "observe",
    EventView: "observe",
    ReplicaView: "observe",
    ReplicaInColumns: "observe",
    LogView: "inspect",
    StateView: "inspect",
    DumpView: "inspect",
    TraceView: "trace",
}
"""The right that each view needs. Whoever may inspect, or trace, is shown the views of `observe`, too."""


@attrs.frozen
class Hello:
    """The introduction of a node to an observer.

    Attributes:
        protocol: the version of the protocol.
        node: its full name.
        rights: those among "observe", "inspect", "trace" and "control" that the observer has.
        views: the names of the views that the process shows that was asked.
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


for _record in (*RIGHTS, Hello, Update):
    register(_record, name=f"enfilade.observe.{_record.__name__}")


def check_view(view: object, rights: Collection[str], shown: Container[type]) -> View:
    """The view that a peer asks for, if it is one.

    Args:
        view: what was asked for.
        rights: what the peer may do, by the process that it has asked.
        shown: the views that can be shown: a dump has not all of them.

    Raises:
        Refused: it is not a view, goes beyond the limits, or needs another right; the text says which.
    """
    needed = RIGHTS.get(type(view))
    if needed is not None and needed not in rights:
        raise Refused(f"{type(view).__name__} needs the right to {needed}")
    if needed is not None and type(view) not in shown:
        raise Refused(f"{type(view).__name__} needs a node that runs: a dump has none")
    if type(view) in (NodeView, ReplicaView, ReplicaInColumns):
        return view  # type: ignore[return-value]
    if type(view) is TableView:
        _check_table(view)
        return attrs.evolve(view, columns=tuple(view.columns))
    if type(view) is TreeView:
        _check(view.root is None or type(view.root) is int, "root", "a serial", view.root)
        _check_all("open", view.open, int, LIMITS["open"])
        _check_count("depth", view.depth, 1, LIMITS["depth"])
        _check_count("count", view.count, 1, LIMITS["count"])
        return attrs.evolve(view, open=tuple(view.open))
    if type(view) is ProcessView:
        _check(type(view.contents) is bool, "contents", "a boolean", view.contents)
        if view.contents and "trace" not in rights:
            raise Refused("the contents of messages need the right to trace")
    if type(view) in (ProcessView, StateView):
        _check(_is_process(view.process), "process", "a serial or a name", view.process)  # type: ignore[attr-defined]
        return view  # type: ignore[return-value]
    if type(view) is EventView:
        _check_all("kinds", view.kinds, str, 100)
        _check_count("since", view.since, 0, LARGEST)
        _check_match(view.match)
        try:
            kinds_of(tuple(view.kinds))
        except ValueError as error:
            raise Refused(safe_str(error)) from None
        return attrs.evolve(view, kinds=tuple(view.kinds))
    if type(view) is LogView:
        _check(view.level in LEVELS, "level", f"one of {', '.join(LEVELS)}", view.level)
        is_text = type(view.prefix) is str and len(view.prefix) <= LARGEST_MATCH
        _check(is_text, "prefix", "a string", view.prefix)
        return view
    if type(view) is MetricsView:
        _check(type(view.messages) is bool, "messages", "a boolean", view.messages)
        return view
    if type(view) is DumpView:
        _check(type(view.everything) is bool, "everything", "a boolean", view.everything)
        return view
    if type(view) is TraceView:
        return _checked_trace(view)
    raise Refused(f"expected a view, got {safe_repr(view)}")


def _check_table(view: TableView) -> None:
    _check(view.of in KEYS, "of", f"one of {', '.join(KEYS)}", view.of)
    columns = COLUMNS_OF[view.of]
    _check_all("columns", view.columns, str, len(columns))
    named = (*view.columns, *([] if view.sort is None else [view.sort]))
    unknown = [column for column in named if column not in columns]
    _check(not unknown, "columns and sort", f"fields among {', '.join(columns)}", unknown)
    _check(type(view.descending) is bool, "descending", "a boolean", view.descending)
    _check_match(view.match)
    _check_count("first", view.first, 0, 2**40)
    _check_count("count", view.count, 1, LIMITS["count"])
    _check_number("grave", view.grave, 0, 60)
    is_serial = view.supervisor is None or type(view.supervisor) is int
    _check(is_serial, "supervisor", "a serial", view.supervisor)


def _checked_trace(view: TraceView) -> TraceView:
    most = LIMITS["traced"]
    given = view.processes
    is_fine = isinstance(given, list | tuple) and 0 < len(given) <= most and all(map(_is_process, given))
    _check(is_fine, "processes", f"1 to {most:g} serials, names or patterns", given)
    for field in ("sends", "contents", "follow"):
        _check(type(getattr(view, field)) is bool, field, "a boolean", getattr(view, field))
    _check_match(view.match)
    _check_count("count", view.count, 1, LIMITS["trace_entries"])
    _check_number("seconds", view.seconds, 0.01, LIMITS["trace_seconds"])
    _check_number("rate", view.rate, 1, LIMITS["trace_rate"])
    return attrs.evolve(view, processes=tuple(given))


def _is_process(given: object) -> bool:
    return type(given) is int or (type(given) is str and 0 < len(given) <= LARGEST_MATCH)


def _check_match(match: object) -> None:
    _check(type(match) is str, "match", "a string", match)
    try:
        Match(match)  # type: ignore[arg-type]
    except ValueError as error:
        raise Refused(safe_str(error)) from None


def _check_all(field: str, given: object, kind: type, most: float) -> None:
    is_fine = isinstance(given, list | tuple) and len(given) <= most and all(type(x) is kind for x in given)
    _check(is_fine, field, f"at most {most:g} of {kind.__name__}", given)


def _check_count(field: str, given: object, least: float, most: float) -> None:
    is_count = type(given) is int and least <= given <= most
    _check(is_count, field, f"{least:g} to {most:g}", given)


def _check_number(field: str, given: object, least: float, most: float) -> None:
    is_number = type(given) in (int, float) and least <= given <= most  # type: ignore[operator]
    _check(is_number, field, f"{least:g} to {most:g}", given)


def _check(is_fine: bool, field: str, expected: str, got: object) -> None:
    if not is_fine:
        raise Refused(f"{field} must be {expected}, got {safe_repr(got, 100)}")
