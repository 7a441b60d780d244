"""Recordings of traces: files of JSON lines, deflated when their names end in ".gz".

The first line is a header; then come processes, as they appear, entries with times in nanoseconds from the
beginning, gaps, and an end that says why the trace has ended. A recording that was cut is read as far as it
goes.
"""

import gzip
import math
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import msgspec

from enfilade.actors.cli.files import LARGEST_FILE, read_own
from enfilade.actors.cli.operator import one_line
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["FORMAT", "Recording", "Writer", "entry_shown", "read_recording", "redact", "write_records"]

FORMAT: Final = 1

CONTENTS: Final = "contents"


@attrs.frozen
class Recording:
    """A recording.

    Attributes:
        header: the node, what was traced, when.
        records: all lines after the header: of the kinds "process", "entry", "gap" and "end".
        is_cut: whether the end is missing.
    """

    header: dict[str, Any]
    records: list[dict[str, Any]]
    is_cut: bool


Process = int | str | None
"""The other end of a message: a serial on the same node, or a text."""


class _Line(msgspec.Struct):
    """A line of a kind that is not known, from a later version: it is passed over."""

    record: str


class _Header(_Line):
    node: str
    started_at: float


class _Process(_Line):
    serial: int
    text: str
    name: str | None
    actor: str | None


class _Entry(_Line):
    what: str
    process: int
    ns: int
    kind: str | None = None
    method: str | None = None
    type: str | None = None
    contents: str | None = None
    outcome: str | None = None
    context: Annotated[str, msgspec.Meta(pattern="-")] | None = None
    sender: Process = None
    receiver: Process = None
    seconds: float | None = None


class _Gap(_Line):
    count: int


class _End(_Line):
    why: str


LINES: Final[dict[object, type[_Line]]] = {
    "header": _Header,
    "process": _Process,
    "entry": _Entry,
    "gap": _Gap,
    "end": _End,
}
"""The lines of each kind, as far as they are read. Others may send recordings."""


class Writer:
    """Makes the records of a trace.

    Args:
        node: the full name of the node.
        spec: what was asked for.
        contents: whether contents of messages are kept.

    Attributes:
        texts: the processes that have appeared, as text, by their serials.
        records: what was made so far.
    """

    def __init__(self, node: str, spec: dict[str, Any], *, contents: bool) -> None:
        self._contents = contents
        self.texts: dict[int, str] = {}
        self._began: float | None = None
        self._ahead = math.inf
        self.records: list[dict[str, Any]] = [
            {"record": "header", "format": FORMAT, "node": node, "spec": spec, "started_at": time.time()}
        ]

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry, or a gap, of a trace."""
        if entry["what"] == "gap":
            self.records.append({"record": "gap", "count": entry["count"]})
            return
        if self._began is None:
            self._began = entry["time"]
        serial = entry["process"]
        if serial not in self.texts:
            self.texts[serial] = entry["text"]
            names = {field: entry[field] for field in ("name", "actor", "text")}
            self.records.append({"record": "process", "serial": serial, **names})
        kept = {
            name: value
            for name, value in entry.items()
            if value is not None and name not in ("time", "name", "actor", "text")
        }
        if not self._contents:
            kept.pop(CONTENTS, None)
        kept["ns"] = round((entry["time"] - self._began) * 1e9)
        self.records.append({"record": "entry", **kept})

    def heard(self, at: float) -> None:
        """Note that the node's clock has just shown `at`: by that, recordings of several nodes are merged."""
        self._ahead = min(self._ahead, time.time() - at)
        began = at if self._began is None else self._began
        self.records[0]["started_at"] = began + self._ahead

    def end(self, why: str) -> None:
        """Say why it has ended."""
        self.records.append({"record": "end", "why": why})


def write_records(records: Iterable[dict[str, Any]], file: Path) -> None:
    """Write the lines of a recording.

    Raises:
        Refusal: the file cannot be written.
    """
    data = b"".join(msgspec.json.encode(record, enc_hook=safe_repr) + b"\n" for record in records)
    if file.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    try:
        file.write_bytes(data)
    except OSError as error:
        raise Refusal(f"the recording {file} cannot be written: {error.strerror}") from error


def read_recording(file: Path) -> Recording:
    """Read a recording; one that was cut as far as it goes.

    Raises:
        Refusal: it cannot be read, is not a recording, or has a line that no trace makes.
    """
    data = read_own(file, "recording")
    if file.suffix == ".gz":
        data = _inflated(file, data)
    records = list(_decoded(data))
    header = records[0] if records else {}
    if header.get("record") != "header" or header.get("format") != FORMAT:
        raise Refusal(f"{file} is not a recording of format {FORMAT}")
    for number, record in enumerate(records, 1):
        try:
            msgspec.convert(record, LINES.get(record.get("record"), _Line))
        except (msgspec.ValidationError, TypeError) as error:
            raise Refusal(f"line {number} of {file} is not one of a recording: {one_line(error)}") from error
    is_cut = records[-1].get("record") != "end"
    return Recording(header, records[1:], is_cut)


def redact(file: Path) -> int:
    """Take the contents of messages out of a recording, in place; return from how many entries."""
    found = read_recording(file)
    entries = [record for record in found.records if record.pop(CONTENTS, None) is not None]
    write_records([found.header, *found.records], file)
    return len(entries)


def _inflated(file: Path, data: bytes) -> bytes:
    """The whole of a deflated file, or what there is of one that was cut.

    Raises:
        Refusal: it is longer than a file that is read may be.
    """
    inflating = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        inflated = inflating.decompress(data, LARGEST_FILE)
    except zlib.error:
        return b""
    if inflating.unconsumed_tail:
        raise Refusal(f"the recording {file} holds more than the {LARGEST_FILE:,} bytes that are read")
    return inflated


def _decoded(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            yield msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            return


def entry_shown(record: Mapping[str, Any], texts: Mapping[int, str]) -> str:
    """An entry of a trace, or a gap, as one line.

    Args:
        record: the record of a recording.
        texts: the names of the processes, by serial.
    """
    if record["record"] == "gap":
        return f"... {record['count']} entries are missing"
    sender, receiver = record.get("sender"), record.get("receiver")
    parts = [
        f"{record['ns'] * 1e-9:10.6f}",
        texts.get(record["process"], str(record["process"])),
        record["what"],
        record.get("kind"),
        record.get("method") or record.get("type"),
        record.get("contents"),
        None if sender is None else f"from {texts.get(sender, sender)}",
        None if receiver is None else f"to {texts.get(receiver, receiver)}",
        record.get("outcome"),
        None if record.get("seconds") is None else f"{record['seconds'] * 1e3:.3f} ms",
    ]
    return " ".join(one_line(part) for part in parts if part is not None)
