"""The tables of a node: which columns each has, and which of them tells its rows apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

__all__ = ["COLUMNS_OF", "COUNTED", "KEYS", "PROCESS_COLUMNS", "rows_of"]

PROCESS_COLUMNS: Final = (
    "serial",
    "name",
    "label",
    "kind",
    "actor",
    "parent",
    "supervisor",
    "child_id",
    "restarts",
    "state",
    "queued",
    "capacity",
    "handled",
    "rate",
    "busy",
    "seconds",
    "links",
    "monitors",
    "watchers",
    "timers",
    "memory",
    "method",
    "waits_for",
    "started_at",
    "reason",
)
"""The fields of a row of the table of processes."""

COUNTED: Final = frozenset({"handled", "rate", "busy", "seconds"})
"""The fields that are None unless messages are counted; the last two also where no samples can be taken."""

COLUMNS_OF: Final[dict[str, tuple[str, ...]]] = {
    "processes": PROCESS_COLUMNS,
    "names": ("name", "serial", "actor"),
    "links": ("id", "a", "b", "a_text", "b_text", "node"),
    "timers": ("id", "owner", "owner_text", "due_in", "kind", "key", "periodic", "message"),
    "groups": ("id", "scope", "name", "members", "local_members"),
    "dead_letters": ("id", "addressee", "reason", "message", "count"),
    "pools": (
        "serial",
        "name",
        "size",
        "busy",
        "waiting",
        "limit",
        "routing",
        "completed",
        "discarded",
        "replaced",
        "delayed",
    ),
    "guests": (
        "serial",
        "name",
        "label",
        "module",
        "state",
        "memory",
        "memory_limit",
        "cpu",
        "cpu_limit",
        "slices",
        "preemptions",
        "hostcalls",
        "hostcalls_by_name",
        "pending",
        "queued",
        "capabilities",
        "children",
    ),
    "peers": (
        "name",
        "zone",
        "uid",
        "gid",
        "pid",
        "since",
        "state",
        "frames_in",
        "frames_out",
        "bytes_in",
        "bytes_out",
        "queued",
        "under_way",
        "window",
        "round_trip",
        "references",
        "pending",
        "rights",
        "reason",
        "attempts",
        "next_attempt",
        "address",
    ),
    "children": (
        "id",
        "child_id",
        "place",
        "restart",
        "shutdown",
        "type",
        "state",
        "restarts",
        "serial",
        "name",
        "actor",
        "process_state",
        "queued",
        "node",
    ),
}
"""The columns of each table."""

KEYS: Final[dict[str, str]] = {table: columns[0] for table, columns in COLUMNS_OF.items()}
"""The column of each table that tells its rows apart: its first one."""


def rows_of(columns: Sequence[str], values: Iterable[Any]) -> list[dict[str, Any]]:
    """The rows of a table whose values come one row after the other, in the order of the columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*[iter(values)] * len(columns), strict=True)]
