"""Recordings, dumps and options that make no sense: each is refused, or passed over, in a line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from enfilade.actors.cli import recordings
from enfilade.actors.cli.files import LARGEST_FILE
from enfilade.actors.observing.dumps.dump import FORMAT
from tests.actors.cli.command import enfilade_here

HEADER = {"record": "header", "format": 1, "node": "bank@east", "started_at": 1.0, "spec": {}}
ENTRY = {"record": "entry", "ns": 5, "process": 3, "what": "got", "kind": "cast", "method": "pay"}
END = {"record": "end", "why": "count"}

COMMANDS = (("chart",), ("chart", "--format", "svg"), ("trace", "play"), ("trace", "redact"))


def written(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(range(256)),
        b"hello\n",
        b"[1,2]\n",
        b"null\n",
        b"{}\n",
        b'{"format": 2}\n',
        b"[" * 5_000 + b"\n",
        b'{"format": NaN}\n',
        gzip.compress(b"hello"),
        gzip.compress(b"x" * 1_000)[:20],
    ],
    ids=range(11),
)
def test_what_is_no_recording_and_no_dump(content: bytes, tmp_path: Path) -> None:
    for suffix in ("enftrace", "enftrace.gz"):
        path = tmp_path / f"file.{suffix}"
        path.write_bytes(content)
        for command in (*COMMANDS, ("dump", "show")):
            result = enfilade_here(*command, str(path))
            assert result.returncode == 1
            assert f"{path} is not a " in " ".join(result.stderr.split())
            assert not result.stdout


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"record": None},
        {"record": [1]},
        {"record": "entry"},
        {**ENTRY, "ns": "x"},
        {**ENTRY, "ns": 1e300},
        {**ENTRY, "ns": None},
        {**ENTRY, "process": [1]},
        {**ENTRY, "what": None},
        {**ENTRY, "sender": []},
        {**ENTRY, "receiver": {"a": 1}},
        {**ENTRY, "method": {"x": 1}},
        {**ENTRY, "seconds": "long"},
        {**ENTRY, "context": "none"},
        {"record": "process"},
        {"record": "process", "serial": {}, "text": 5},
        {"record": "process", "serial": 1, "text": "t", "name": 7, "actor": []},
        {"record": "gap"},
        {"record": "gap", "count": "many"},
        {"record": "end"},
        {"record": "header"},
        {**HEADER, "node": 5},
        {**HEADER, "started_at": "x"},
    ],
    ids=range(23),
)
def test_a_line_that_no_trace_makes_is_named(record: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path / "a.enftrace", HEADER, record, ENTRY, END)
    before = path.read_bytes()
    for command in COMMANDS:
        result = enfilade_here(*command, str(path))
        assert result.returncode == 1
        assert f"line 2 of {path} is not one of a recording: " in " ".join(result.stderr.split())
    assert path.read_bytes() == before


@pytest.mark.parametrize("record", [{"record": "later"}, {**ENTRY, "what": "dances"}, {**ENTRY, "more": 1}])
def test_lines_of_a_later_version_are_passed_over(record: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path / "a.enftrace", HEADER, record, ENTRY, END)
    for command in COMMANDS:
        result = enfilade_here(*command, str(path))
        assert result.returncode == 0
        assert "pay" in result.stdout or command[1:] == ("redact",)


DUMP: tuple[dict[str, Any], ...] = (
    {"record": "header", "format": FORMAT, "node": "bank@east", "pid": 5, "at": 1.0, "reason": "why"},
    {"record": "diagnosis", "lines": ["nothing waits"]},
    {"record": "statistics", "processes": 5},
    {"record": "thread", "thread": "main", "stack": [{"file": "a.py", "line": 1, "function": "f"}]},
    {"record": "process", "serial": 1, "name": "till", "state": "idle", "queued": 0, "stack": []},
    {"record": "row", "of": "peers", "row": {"name": "shop@west", "state": "up", "queued": 5}},
    {"record": "event", "number": 1, "kind": "child.started", "child_id": "till"},
    {"record": "log", "level": "INFO", "logger": "bank", "message": "hello"},
    {"record": "end", "processes": 1, "are_all": False},
)


def test_each_line_of_a_dump_that_makes_no_sense_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", *DUMP)
    good = enfilade_here("dump", "show", str(path))
    assert good.returncode == 0
    assert "makes no sense" not in good.stdout
    passed_over = 0
    for place, record in enumerate(DUMP):
        for field in record.keys() - {"record", "format"}:
            for value in (None, 5, [1], {"a": 1}, 1e300):
                spoilt = {**record, field: value}
                written(path, *DUMP[:place], spoilt, *DUMP[place + 1 :])
                result = enfilade_here("dump", "show", str(path))
                assert result.returncode == 0, (spoilt, result.stderr)
                passed_over += "makes no sense" in result.stdout
    assert passed_over > 20


@pytest.mark.parametrize(
    "arguments",
    [
        ("chart", "FILE", "--from", "nan"),
        ("chart", "FILE", "--to", "nan"),
        ("chart", "FILE", "--max", "0"),
        ("chart", "FILE", "--from", "-1"),
        ("trace", "play", "FILE", "--speed", "nan"),
        ("trace", "play", "FILE", "--speed", "0"),
        ("trace", "bank", "till", "--for", "nan"),
        ("trace", "bank", "till", "--rate", "nan"),
        ("top", "bank", "--every", "nan"),
        ("zone", "send", "bank.door", "till", "5", "--timeout", "nan"),
    ],
    ids=" ".join,
)
def test_options_out_of_their_range_are_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    path = written(tmp_path / "a.enftrace", HEADER, ENTRY, END)
    result = enfilade_here(*(str(path) if each == "FILE" else each for each in arguments))
    assert result.returncode == 2


def test_a_number_that_no_serial_is_is_a_name() -> None:
    result = enfilade_here("trace", "nowhere.door", "9" * 5_000)
    assert result.returncode == 1
    assert "nowhere" in result.stderr


FIRST_LINE = (
    b'{"record":"header","format":3,"at":1.0,"node":"a@b","pid":1,"cause":"x","reason":"","clock":1.0}\n'
)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' * 200_000,
        b'{"record":"\xff\xfe"}',
        b'{"record":',
        b"null",
        b"\x00" * 1_000,
        b'{"record":"process"}{"record":"process"}',
    ],
    ids=range(7),
)
def test_a_dump_is_shown_up_to_a_line_that_is_none(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(FIRST_LINE + line + b'\n{"record":"end"}\n')
    result = enfilade_here("dump", "show", str(path))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "node a@b, process 1, 1970-01-01 00:00:01 UTC",
        "the dump was cut here",
    ]


@pytest.mark.parametrize("found", [2, 4, "3", None, 3.5])
def test_a_dump_of_another_format_says_which(found: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text(FIRST_LINE.decode().replace('"format":3', f'"format":{json.dumps(found)}'))
    for words in (("dump", "show"), ("observe",)):
        result = enfilade_here(*words, str(path))
        assert result.returncode == 1
        assert f"expected a dump of format 3, got format {found!r}" in " ".join(result.stderr.split())


def test_what_is_longer_than_any_dump_is_not_read(tmp_path: Path) -> None:
    """A file named by mistake: nobody waits until the memory is used up."""
    path = tmp_path / "image.jsonl"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    for words in (("dump", "show"), ("observe",), ("trace", "play"), ("chart",)):
        result = enfilade_here(*words, str(path))
        assert result.returncode == 1
        assert "has 1,073,741,825 bytes; at most 1,073,741,824 are read" in " ".join(result.stderr.split())


def test_a_recording_that_inflates_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "LARGEST_FILE", 10_000)
    path = tmp_path / "file.enftrace.gz"
    path.write_bytes(gzip.compress(b"\0" * 10_001))
    result = enfilade_here("trace", "play", str(path))
    assert result.returncode == 1
    assert "holds more than the 10,000 bytes that are read" in " ".join(result.stderr.split())
    path.write_bytes(gzip.compress(b"\0" * 10_000))
    assert "is not a recording" in " ".join(enfilade_here("trace", "play", str(path)).stderr.split())
