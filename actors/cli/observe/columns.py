"""The columns of the tables: their titles, their widths, and how their values are put into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from enfilade.actors.cli.observe import words

__all__ = ["GUESTS", "PROCESSES", "TABLES", "Column", "Table", "cell", "fit"]


def _text(value: Any) -> str:
    return words.NOTHING if value is None else words.one_line(value)


@attrs.frozen
class Column:
    """A column of a table.

    Attributes:
        name: the field of the rows.
        title: its heading.
        width: characters; what is left over is shared among the columns that grow.
        grows: whether it gets some of that.
        shown: puts a value into words.
        is_number: true where values stand at the right, and the largest come first.
        about: what it says, in a few words.
    """

    name: str
    title: str
    width: int
    shown: Callable[[Any], str] = _text
    is_number: bool = False
    grows: bool = False
    about: str = ""

    @property
    def falls(self) -> bool:
        """True if the rows with the largest values come first: those of numbers, but the soonest of times."""
        return self.is_number and self.name != "due_in"


def _number(
    name: str, title: str, width: int, about: str, shown: Callable[[Any], str] | None = None
) -> Column:
    return Column(name, title, width, shown or words.number, is_number=True, about=about)


@attrs.frozen
class Table:
    """A table of a node.

    Attributes:
        of: its name in the protocol.
        key: the field that identifies a row.
        title: its name for people.
        columns: all of its columns.
        first: those that are shown at first.
        sort: the column by which it is sorted at first; None for the order of the node.
        nothing: said in the place of rows where there are none.
    """

    of: str
    key: str
    title: str
    columns: tuple[Column, ...]
    first: tuple[str, ...]
    sort: str | None
    nothing: str

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)


def fit(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that fit beside each other, with a space between two, and their widths.

    Those at the right are left out where the width does not do.
    """
    fitting: list[Column] = []
    used = -1
    for column in columns:
        if fitting and used + 1 + column.width > width:
            break
        fitting.append(column)
        used += 1 + column.width
    growing = [column.name for column in fitting if column.grows]
    spare = max(0, width - used)
    each, more = divmod(spare, len(growing)) if growing else (0, 0)
    extra = {name: each + (place < more) for place, name in enumerate(growing)}
    return [(column, column.width + extra.get(column.name, 0)) for column in fitting]


def cell(column: Column, row: Mapping[str, Any]) -> str:
    """The text of a cell."""
    return column.shown(row.get(column.name))


def _plain(value: Any) -> str:
    return words.NOTHING if value is None else str(value)


PROCESSES: Final = Table(
    "processes",
    "serial",
    "processes",
    (
        _number("serial", "SERIAL", 8, "its number on the node", _plain),
        Column("name", "NAME", 16, grows=True, about="the name it is registered under"),
        Column("label", "LABEL", 14, grows=True, about="its label"),
        Column("actor", "ACTOR", 12, grows=True, about="its class or function"),
        Column("kind", "KIND", 10, about="actor, supervisor, function, guest, mailbox"),
        Column("state", "STATE", 9, about="what it does now"),
        _number("queued", "QUEUED", 8, "messages in its mailbox"),
        _number("capacity", "CAPACITY", 8, "messages that its mailbox holds"),
        _number("rate", "MSG/S", 8, "messages handled a second"),
        _number("busy", "BUSY", 5, "share of the time that its handlers take", words.share),
        _number("seconds", "SECONDS", 8, "seconds in its handlers since counting began"),
        _number("handled", "HANDLED", 9, "messages handled since counting began"),
        _number("memory", "MEMORY~", 9, "bytes, about", words.size),
        _number("restarts", "RESTARTS", 8, "restarts by its supervisor"),
        _number("links", "LINKS", 6, "links"),
        _number("monitors", "MONITORS", 8, "processes that it monitors"),
        _number("watchers", "WATCHERS", 8, "processes that monitor it"),
        _number("timers", "TIMERS", 6, "timers"),
        Column("child_id", "CHILD", 12, about="its id under its supervisor"),
        Column("method", "METHOD", 14, about="what it handles now"),
        Column("waits_for", "WAITS FOR", 22, grows=True, about="whom it has called and waits for"),
        _number("started_at", "STARTED", 19, "when it was started, in UTC", words.moment),
        Column("reason", "REASON", 20, words.why, grows=True, about="why it has ended"),
    ),
    ("serial", "name", "actor", "state", "queued", "memory", "restarts", "kind", "child_id", "waits_for"),
    "queued",
    "no process matches",
)
"""The table of processes."""

GUESTS: Final = Table(
    "guests",
    "serial",
    "guests",
    (
        _number("serial", "SERIAL", 8, "its number on the node", _plain),
        Column("name", "NAME", 14, grows=True, about="the name it is registered under"),
        Column("label", "LABEL", 12, grows=True, about="its label"),
        Column("module", "MODULE", 16, grows=True, about="its module"),
        Column("state", "STATE", 10, grows=True, about="what it does now"),
        _number("memory", "MEMORY", 9, "bytes of its memory", words.size),
        _number("memory_limit", "OF", 9, "bytes that it may have", words.size),
        _number("cpu", "CPU", 7, "seconds that it has computed", words.age),
        _number("cpu_limit", "OF", 7, "seconds that it may compute", words.age),
        _number("queued", "QUEUED", 7, "bytes that wait for it"),
        _number("hostcalls", "HOSTCALLS", 9, "host calls, while they are counted"),
        _number("slices", "SLICES", 8, "slices of its fiber"),
        _number("preemptions", "PREEMPTED", 9, "slices that were cut short"),
        _number("pending", "PENDING", 7, "futures that it waits for"),
        _number("children", "CHILDREN", 8, "guests that it has started"),
    ),
    ("serial", "name", "module", "state", "memory", "cpu", "queued", "memory_limit", "slices", "children"),
    "memory",
    "no guest runs",
)
"""The table of guests."""

TABLES: Final = (
    Table(
        "names",
        "name",
        "names",
        (
            Column("name", "NAME", 30, grows=True, about="the name"),
            _number("serial", "PROCESS", 9, "the process", _plain),
            Column("actor", "ACTOR", 20, grows=True, about="its class or function"),
        ),
        ("name", "serial", "actor"),
        "name",
        "no name is registered",
    ),
    Table(
        "groups",
        "id",
        "groups",
        (
            Column("scope", "SCOPE", 16, grows=True, about="its scope"),
            Column("name", "NAME", 24, grows=True, about="its name"),
            _number("members", "MEMBERS", 8, "processes in it"),
            _number("local_members", "HERE", 8, "processes of this node in it"),
        ),
        ("scope", "name", "members", "local_members"),
        "members",
        "there is no group",
    ),
    Table(
        "pools",
        "serial",
        "pools",
        (
            _number("serial", "SERIAL", 8, "its number on the node", _plain),
            Column("name", "NAME", 16, grows=True, about="its name"),
            _number("size", "SIZE", 6, "workers"),
            _number("busy", "BUSY", 6, "workers that have a job"),
            _number("waiting", "WAITING", 8, "jobs that wait"),
            _number("limit", "LIMIT", 8, "jobs that may wait"),
            Column("routing", "ROUTING", 12, about="how a worker is chosen"),
            _number("completed", "COMPLETED", 10, "jobs done"),
            _number("discarded", "DISCARDED", 9, "jobs that found no room"),
            _number("replaced", "REPLACED", 8, "workers that were replaced"),
        ),
        (
            "serial",
            "name",
            "size",
            "busy",
            "waiting",
            "limit",
            "completed",
            "discarded",
            "replaced",
            "routing",
        ),
        "waiting",
        "there is no pool",
    ),
    Table(
        "dead_letters",
        "id",
        "dead letters",
        (
            Column("addressee", "ADDRESSEE", 24, grows=True, about="the name or class they were for"),
            Column("message", "MESSAGE", 20, grows=True, about="the method or type of the message"),
            Column("reason", "REASON", 14, grows=True, about="the type of the reason"),
            _number("count", "COUNT", 9, "how many there were"),
        ),
        ("addressee", "message", "reason", "count"),
        "count",
        "no message was lost",
    ),
    Table(
        "timers",
        "id",
        "timers",
        (
            _number("due_in", "DUE IN", 8, "time until then", words.age),
            Column("owner_text", "OWNER", 28, grows=True, about="the process that it belongs to"),
            Column("kind", "KIND", 9, about="what happens then"),
            Column("key", "KEY", 12, about="the key that it was set by"),
            Column("periodic", "AGAIN", 6, words.yes_no, about="whether it is set again each time"),
            Column("message", "MESSAGE", 16, grows=True, about="the type of its message"),
        ),
        ("due_in", "owner_text", "kind", "message"),
        "due_in",
        "no timer runs",
    ),
    Table(
        "links",
        "id",
        "links",
        (
            Column("a_text", "PROCESS", 28, grows=True, about="one end"),
            Column("b_text", "LINKED TO", 28, grows=True, about="the other end"),
            Column("node", "NODE", 16, about="its node, if it is another"),
        ),
        ("a_text", "b_text", "node"),
        None,
        "no process is linked",
    ),
)
"""The other tables, in the order in which they are shown."""
