"""Logs: lines of JSON, and the context of a record.

The records of the runtime name the process that they are about in fields of their own. `Context` does the
same for records of the program's loggers, and `JsonFormatter` writes all of them as JSON, one object a line:

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    handler.addFilter(Context())
    logging.getLogger().addHandler(handler)

The fields of a record, each there if it is known: `node` and `zone`; `serial`, `process_name`, `label` and
`actor` of the process; `supervisor` and `child`, if it is a child; `reason` of an end; `event`, the kind of
the event that the record speaks of; `trace_id` and `span_id` of the trace that it belongs to. The number of
the process is `serial` on the record, because logging itself calls the operating system's process `process`
there; in JSON it is `process`.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.plain import plain
from enfilade.actors.messages.safe_text import safe_repr, safe_str, shown_name
from enfilade.actors.messages.trace_context import TRACE
from enfilade.actors.messages.tracebacks import trace_of
from enfilade.actors.node.reports import fields_of
from enfilade.actors.processes.current import running_process
from enfilade.actors.processes.identity import identity_of

__all__ = ["Context", "JsonFormatter"]

FIELDS: Final = {
    "node": "node",
    "zone": "zone",
    "serial": "process",
    "process_name": "process_name",
    "label": "label",
    "actor": "actor",
    "reason": "reason",
    "supervisor": "supervisor",
    "child": "child",
    "event": "event",
    "peer": "peer",
    "trace_id": "trace_id",
    "span_id": "span_id",
}
"""The fields of a record, and the keys that they have in JSON, in order."""

GUEST: Final = {
    "guest": "label",
    "guest_target": "target",
    "guest_spans": "spans",
    "guest_fields": "fields",
    "guest_timestamp_ms": "timestamp_ms",
}
"""The fields of a guest's record, and the keys that they have under `guest`."""

ALWAYS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""The attributes that every record has."""

FRAMES: Final = 50
LARGEST: Final = 8_192
"""How many frames of an exception are written, the innermost, and how many characters of each text."""


class Context(logging.Filter):
    """Adds node, process and trace to records that are made inside a process, and passes all.

    Add it to a handler: a filter of a logger sees only the records of that logger itself.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is missing to the record. Never raises."""
        _add_context(record)
        return True


@attempt(None)
def _add_context(record: logging.LogRecord) -> None:
    fields = vars(record)
    trace = TRACE.get()
    if trace is not None and "trace_id" not in fields:
        fields |= trace.ids
    if "node" in fields:
        return
    process = running_process()
    if process is None:
        return
    node = process.node
    for name, value in {
        "node": node.full_name,
        "zone": node.zone,
        **fields_of(identity_of(process)),
    }.items():
        if value is not None:
            fields.setdefault(name, value)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line. Never raises.

    The keys are `time` (RFC 3339 in UTC, with milliseconds), `level`, `logger`, `message`; the fields of the
    record that are set; `exception` with `type`, `text`, `notes` and `frames`; `stack`; `guest` with `label`,
    `target`, `spans` and `fields`; and `extra` with what else the program has added. A value that JSON does
    not know is written as its `repr`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return _line(record) or _excuse(record)


@attempt(None)
def _line(record: logging.LogRecord) -> str:
    given = vars(record)
    shown: dict[str, Any] = {
        "time": _time(record.created),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage()[: 8 * LARGEST],
    }
    shown.update(_chosen(given, FIELDS))
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        shown["exception"] = described_error(error)
    elif record.exc_text:
        shown["exception"] = {"text": record.exc_text}
    if record.stack_info:
        shown["stack"] = record.stack_info
    guest = _chosen(given, GUEST)
    if guest:
        shown["guest"] = guest
    known = ALWAYS | FIELDS.keys() | GUEST.keys()
    extra = {name: value for name, value in given.items() if name not in known}
    if extra:
        shown["extra"] = extra
    return _encoded(shown)


def _encoded(shown: dict[str, Any]) -> str:
    """The object as JSON; what JSON does not know, anywhere in it, is its bounded `repr`."""
    try:
        return msgspec.json.encode(shown, enc_hook=_repr).decode()
    except Exception:  # a key of a mapping, a surrogate, a number that is too large, a circle
        return msgspec.json.encode(plain(shown, _repr, 4, safe_str)).decode()


def _repr(value: object) -> str:
    return safe_repr(value, LARGEST)


def _chosen(given: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {key: given[name] for name, key in names.items() if given.get(name) is not None}


def _time(created: float) -> str | None:
    """The time of a record; None if its clock has made none."""
    moment = _moment(created)
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@attempt(None)
def _moment(created: float) -> datetime:
    return datetime.fromtimestamp(created, UTC)


def described_error(error: BaseException) -> dict[str, Any]:
    """The type, text, notes and frames of an error, as JSON knows them. Never raises."""
    shown: dict[str, Any] = {
        "type": shown_name(type(error)),
        "text": safe_str(error, LARGEST),
        "frames": frames_of(error),
    }
    notes = _notes(error)
    if notes:
        shown["notes"] = notes
    return shown


@attempt(())
def _notes(error: BaseException) -> tuple[str, ...]:
    return tuple(safe_str(note, LARGEST) for note in getattr(error, "__notes__", ())[:20])


def frames_of(error: BaseException) -> list[dict[str, Any]]:
    """File, line and function of each frame of an error, the innermost last."""
    frames = _walked(error) or []
    return [
        {"file": frame.f_code.co_filename, "line": line, "function": frame.f_code.co_qualname}
        for frame, line in frames[-FRAMES:]
    ]


@attempt(None)
def _walked(error: BaseException) -> list[tuple[Any, int]]:
    return list(traceback.walk_tb(trace_of(error)))


def _excuse(record: logging.LogRecord) -> str:
    """The line for a record that cannot be formatted."""
    shown = f"{safe_repr(record.msg, LARGEST)} with {safe_repr(record.args, LARGEST)}"
    fields = {
        "time": _time(record.created),
        "level": record.levelname,
        "logger": record.name,
        "message": f"a record could not be formatted: {shown}",
    }
    return msgspec.json.encode(plain(fields, _repr, 1)).decode()
