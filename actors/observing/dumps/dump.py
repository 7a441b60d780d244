"""Dumps: the state of a node at one moment, as lines of JSON, or as text for a terminal.

A dump begins with a header; then come the diagnosis, the statistics and numbers, the stacks of the threads,
the waits, the processes with the places in code of their tasks, the tables, the timeline and the crash
reports, the log; and an end, so that one that was cut is known.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import msgspec

from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.node.statistics import NodeStatistics
from enfilade.actors.observing.events.shown import event_shown
from enfilade.actors.observing.measurements.node_numbers import SUMMED, add_to_sums, node_numbers
from enfilade.actors.observing.measurements.vitals import resident
from enfilade.actors.observing.protocol.views import TableView
from enfilade.actors.observing.tables.diagnosis import IDLE, diagnosed
from enfilade.actors.observing.tables.node_tables import table_of
from enfilade.actors.observing.tables.remarks import remarks
from enfilade.actors.observing.tables.rows import detail_of, state_of
from enfilade.actors.observing.tables.waits import AT_REST, WaitSearch, wait_shown

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.tables.waits import Wait
    from enfilade.actors.processes.process import Process

__all__ = ["FORMAT", "Stacks", "dump", "dump_in_steps", "read", "text_of", "written"]

FORMAT: Final = 3

ALL: Final = 20_000
"""Up to how many processes, and rows of a table, all get a line; beyond that only processes that are not idle
do, and the first rows, unless all are wanted.
"""

TABLES: Final = ("names", "links", "timers", "groups", "dead_letters", "pools", "guests", "peers")
"""The tables of which a dump has the rows."""

STATISTICS: Final = tuple(field.name for field in attrs.fields(NodeStatistics))
"""The numbers of a node that count what it holds."""

LINES: Final = 200
"""How many lines of the log are in a dump, if any were kept."""

FRAMES: Final = 50
"""How many frames of the stack of a thread are in a dump, the innermost."""


def dump(
    node: Node, *, everything: bool = False, cause: str = "asked", reason: str = ""
) -> Iterator[dict[str, Any]]:
    """The records of a dump. Not a checkpoint.

    Args:
        node: the node.
        everything: whether idle processes, and all rows, have their lines in a very large node, too.
        cause: why it is made: "asked", "signal", "held" or "crash".
        reason: what has happened, in a line.
    """
    steps = dump_in_steps(node, everything=everything, cause=cause, reason=reason)
    return (record for record in steps if record is not None)


def dump_in_steps(
    node: Node, *, everything: bool = False, cause: str = "asked", reason: str = ""
) -> Iterator[dict[str, Any] | None]:
    """As `dump`, so that other code can run in between: None for a step that makes no record."""
    yield {
        "record": "header",
        "format": FORMAT,
        "node": node.full_name,
        "incarnation": f"{node.incarnation:016x}",
        "pid": os.getpid(),
        "at": node.runtime.unix_time(),
        "clock": node.timers.now(),
        "cause": cause,
        "reason": reason,
        "python": platform.python_version(),
    }
    processes = list(node.processes.values())
    search, sums = WaitSearch(), dict.fromkeys(SUMMED, 0)
    for process in processes:
        search.look_at(process)
        add_to_sums(sums, process)
        yield None
    waits = search.found()
    yield {"record": "diagnosis", "lines": _told(node, waits, processes)}
    root = None if node.root is None else node.root.serial
    numbers = {**node_numbers(node), **sums, "memory": {"rss": resident()}, "root": root}
    yield {"record": "statistics", **{name: numbers[name] for name in STATISTICS}}
    yield {"record": "node", **numbers}
    yield from _threads()
    for wait in waits:
        yield {"record": "wait", **attrs.asdict(wait)}
    are_all = everything or len(processes) <= ALL
    for process in processes:
        is_shown = process.ended is None and (are_all or state_of(process) != "idle")
        yield {"record": "process", **detail_of(process, None, has_log=True)} if is_shown else None
    left = math.inf if everything else ALL
    for row in _rows(node):
        left -= row is not None
        if left < 0:
            break
        yield None if row is None else {"record": "row", **row}
    for event in sorted((*node.timeline, *node.crashes), key=lambda event: event.number):
        yield {"record": "event", **event_shown(event, inspects=True)}
    for line in list(node.observation.log_lines.lines)[-LINES:]:
        yield {"record": "log", **line}
    yield {"record": "end", "processes": len(processes), "are_all": are_all}


def _told(node: Node, waits: list[Wait], processes: list[Process]) -> list[str]:
    """The first lines: who waits for whom, and what else is worth a look."""
    lines, more = diagnosed(node, waits), remarks(node, processes)
    return more if more and lines == [IDLE] else [*lines, *more]


def _threads() -> Iterator[dict[str, Any]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        stack = [
            {"file": place.filename, "line": place.lineno, "function": place.name}
            for place in traceback.extract_stack(frame, FRAMES)
        ]
        yield {"record": "thread", "thread": names.get(ident, f"{ident}"), "stack": stack}


def _rows(node: Node) -> Iterator[dict[str, Any] | None]:
    """The rows of the tables, and the children of each supervisor; None for a step without one."""
    for of in TABLES:
        for row in _table(node, of):
            yield None if row is None else {"of": of, "row": row}
    for process in list(node.processes.values()):
        if process.body.kind == "supervisor":
            for row in _table(node, "children", process.serial):
                yield None if row is None else {"of": "children", "supervisor": process.serial, "row": row}


def _table(node: Node, of: str, supervisor: int | None = None) -> Iterator[dict[str, Any] | None]:
    """The rows of a table, as far as it does not change while another thread reads it."""
    table = table_of(node, TableView(of=of, supervisor=supervisor), is_counted=False)
    with suppress(RuntimeError):
        yield from table.items()


def written(records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The lines of a dump file."""
    for record in records:
        yield msgspec.json.encode(record, enc_hook=safe_repr) + b"\n"


def read(content: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The records of a dump file, as far as it goes, and whether it was cut.

    Raises:
        ValueError: it is not a dump of this format.
    """
    records: list[dict[str, Any]] = []
    for line in content.splitlines():
        try:
            records.append(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.MsgspecError, RecursionError):
            break
    if not records or records[0].get("record") != "header":
        raise ValueError(f"expected a dump of format {FORMAT}")
    found = records[0].get("format")
    if found != FORMAT:
        raise ValueError(f"expected a dump of format {FORMAT}, got format {safe_repr(found, 40)}")
    return records, records[-1].get("record") != "end"


Stacks = Literal["all", "stuck", "none"]
"""The stacks that a text has: of all threads and tasks; of those tasks that wait for something else than a
message; or none.
"""


def text_of(records: Iterable[dict[str, Any]], stacks: Stacks = "all") -> Iterator[str]:
    """A dump as lines for people: the diagnosis first. What comes from a program is one printable line."""
    for record in records:
        try:
            yield from list(_lines_of(record, stacks))
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
            yield _line(f"  a record of the kind {safe_str(record.get('record'))} that makes no sense")


def _lines_of(record: dict[str, Any], stacks: Stacks) -> Iterator[str]:
    """The lines of a record. One of a file that another program has written may raise anything."""
    kind = record.get("record")
    if kind == "header":
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record["at"]))
        yield _line(f"node {record['node']}, process {record['pid']}, {moment} UTC")
        if record["reason"]:
            yield _line(record["reason"])
    elif kind == "diagnosis":
        yield from (_line(line) for line in record["lines"])
    elif kind == "statistics":
        shown = (f"{name} {count}" for name, count in record.items() if name != "record" and count)
        yield _line(", ".join(shown))
    elif kind == "thread":
        yield _line(f"  thread {record['thread']}")
        if stacks != "none":
            yield from _stack_shown(record)
    elif kind == "wait":
        yield _line(f"  {wait_shown(record)}")
    elif kind == "process":
        yield from _process_shown(record)
        if stacks == "all" or (stacks == "stuck" and record["state"] not in AT_REST):
            yield from _stack_shown(record)
    elif kind == "row" and record["of"] in SHOWN:
        yield _line(f"  {_row_shown(record['of'], record['row'])}")
    elif kind == "event":
        yield _line(_event_shown(record))
    elif kind == "log":
        yield _line(f"  log {record['level']} {record['logger']} {record['message']}")
    elif kind == "end" and not record["are_all"]:
        yield f"  of {record['processes']} processes, those that are idle were left out"


SHOWN: Final = {
    "timers": "timer {id} of {owner_text}, due in {due_in} s: {kind} {message}",
    "dead_letters": "dead letters for {addressee}: {count} times {message}, {reason}",
    "guests": "guest {serial} {module}: {state}, {memory} bytes",
    "peers": "node link to {name}: {state}, {queued} bytes queued",
}
"""The text of a row, for those tables that a dump shows as text."""


def _row_shown(of: str, row: dict[str, Any]) -> str:
    """A row of a table: a timer without an owner is the node's own."""
    fields = {name: "" if value is None else safe_str(value) for name, value in row.items()}
    fields["owner_text"] = fields.get("owner_text") or "the node"
    return SHOWN[of].format_map(fields).rstrip()


def _event_shown(record: dict[str, Any]) -> str:
    subject = record.get("child_id") or record.get("actor") or record.get("peer") or ""
    why = (record.get("reason") or {}).get("text") if isinstance(record.get("reason"), dict) else None
    return f"  event {record['number']} {record['kind']} {subject}" + (f": {why}" if why else "")


def _process_shown(record: dict[str, Any]) -> Iterator[str]:
    names = " ".join(record[name] for name in ("name", "label", "actor") if record.get(name))
    yield _line(f"  process {record['serial']} {names}: {record['state']}, {record['queued']} queued")


def _stack_shown(record: dict[str, Any]) -> Iterator[str]:
    for frame in record["stack"]:
        yield _line(f"    {frame['file']}:{frame['line']} in {frame['function']}")


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
