"""The reference of zone files names every key, with its type and its default."""

import re
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest

from enfilade.actors.cli.telemetry import TelemetryTable
from enfilade.actors.cli.zonefile import (
    BackoffTable,
    ChildTable,
    KindTable,
    LimitsTable,
    LogLevel,
    LogTable,
    MailboxTable,
    MeshTable,
    NetworkTable,
    NodeTable,
    PeerTable,
    SupervisorTable,
    ZoneFile,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "zone-files.md"

TABLES: dict[str, type[msgspec.Struct]] = {
    "[node]": NodeTable,
    "[mesh]": MeshTable,
    "[kinds]": KindTable,
    "[supervisor]": SupervisorTable,
    "[log]": LogTable,
    "[telemetry]": TelemetryTable,
    "[[child]]": ChildTable,
    "[child.backoff]": BackoffTable,
    "[child.mailbox]": MailboxTable,
    "[network]": NetworkTable,
    "[[peer]]": PeerTable,
    "[peer.limits]": LimitsTable,
}

WORDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list[str]: "array of strings",
    tuple[str, ...]: "array of strings",
    list[int]: "array of integers",
    list[Any]: "array",
    dict[str, Any]: "table",
    dict[str, LogLevel]: "table",
    LimitsTable: "table",
    BackoffTable: "table",
    MailboxTable: "table",
}


def sections() -> dict[str, str]:
    """The text below each heading of the page, by what stands in the heading."""
    parts = re.split(r"^## `(.*)`$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words(kind: Any) -> str:
    """How the page writes a type."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(words(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        *most, last = (f'`"{value}"`' for value in get_args(kind))
        return " or ".join(filter(None, (", ".join(most), last)))
    return WORDS[kind]


def default(field: msgspec.structs.FieldInfo) -> str:
    """How the page writes a default."""
    if field.required:
        return "required"
    given = field.default
    if given is msgspec.NODEFAULT:
        assert callable(field.default_factory)
        given = field.default_factory()
    if isinstance(given, msgspec.Struct):
        assert given == type(given)(), "a table is what it is when it is left out"
        given = {}
    return "none" if given is None else f"`{msgspec.json.encode(given).decode()}`"


def test_every_table_has_a_section() -> None:
    named = {name.strip("[]") for name in sections()} - {"peer.limits", "child.backoff", "child.mailbox"}
    assert named == set(ZoneFile.__struct_fields__)
    assert set(TABLES) == set(sections()) - {"[entries]"}


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_stands_there_with_its_type_and_default(heading: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.+) \|$", sections()[heading], re.MULTILINE)
    fields = msgspec.structs.fields(TABLES[heading])
    assert [row[:3] for row in rows] == [(field.name, words(field.type), default(field)) for field in fields]
