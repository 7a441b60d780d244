"""Dumps: what a node is doing at one moment, as lines of JSON, or as text for a terminal.

A dump begins with a header; then come the diagnosis, the statistics, the waits, the processes with the places
in code of their tasks, the timeline and the crash reports; and an end, so that one that was cut is known.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.observing.event_shown import event_shown
from enfilade.actors.observing.rows import row_of, stack_of, state_of
from enfilade.actors.observing.waits import diagnosed, waits_of

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["FORMAT", "dump", "text_of", "written"]

FORMAT: Final = 1

ALL: Final = 20_000
"""Up to how many processes all get a line; beyond that only those that are not idle do, unless all are
wanted.
"""


def dump(node: Node, *, everything: bool = False) -> Iterator[dict[str, Any]]:
    """The records of a dump. Not a checkpoint."""
    waits = waits_of(node)
    yield {
        "record": "header",
        "format": FORMAT,
        "node": node.full_name,
        "incarnation": f"{node.incarnation:016x}",
        "pid": os.getpid(),
        "at": node.runtime.unix_time(),
        "python": platform.python_version(),
    }
    yield {"record": "diagnosis", "lines": diagnosed(node, waits)}
    yield {"record": "statistics", **attrs.asdict(node.statistics())}
    for wait in waits:
        yield {"record": "wait", **attrs.asdict(wait)}
    processes = list(node.processes.values())
    are_all = everything or len(processes) <= ALL
    for process in processes:
        if are_all or state_of(process) != "idle":
            yield {"record": "process", **row_of(process), "stack": stack_of(process)}
    for event in sorted((*node.timeline, *node.crashes), key=lambda event: event.number):
        yield {"record": "event", **event_shown(event, inspects=True)}
    yield {"record": "end", "processes": len(processes), "are_all": are_all}


def written(records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The lines of a dump file."""
    for record in records:
        yield msgspec.json.encode(record, enc_hook=safe_repr) + b"\n"


def text_of(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A dump as lines for people: the diagnosis first. What comes from a program is one printable line."""
    for record in records:
        kind = record.get("record")
        if kind == "header":
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record["at"]))
            yield _line(f"node {record['node']}, process {record['pid']}, {moment} UTC")
        elif kind == "diagnosis":
            yield from (_line(line) for line in record["lines"])
        elif kind == "statistics":
            shown = (f"{name} {count}" for name, count in record.items() if name != "record" and count)
            yield _line(", ".join(shown))
        elif kind == "wait":
            method = record["method"] or "a call"
            yield _line(
                f"  {record['waiting_text']} waits for {method} of {record['holder_text']}, {record['place']}"
            )
        elif kind == "process":
            yield from _process_shown(record)
        elif kind == "event":
            subject = record.get("child_id") or record.get("actor") or record.get("peer") or ""
            yield _line(f"  event {record['number']} {record['kind']} {subject}")
        elif kind == "end" and not record["are_all"]:
            yield f"  of {record['processes']} processes, those that are idle were left out"


def _process_shown(record: dict[str, Any]) -> Iterator[str]:
    names = " ".join(record[name] for name in ("name", "label", "actor") if record.get(name))
    yield _line(f"  process {record['serial']} {names}: {record['state']}, {record['queued']} queued")
    for frame in record["stack"]:
        yield _line(f"    {frame['file']}:{frame['line']} in {frame['function']}")


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
