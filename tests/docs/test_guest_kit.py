"""The page of the C kit has each function, constant and field of the headers, and what each needs."""

import re
from pathlib import Path

import pytest

from enfilade.hostcalls import sdk
from enfilade.hostcalls.abi.catalogue import CATALOGUE

KIT = Path(sdk.__file__).parent / "c"
HEADERS = sorted((KIT / "enfilade").glob("*.h"))
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "guest-kit-c.md"
FAMILIES = ("http", "quic")

PARTS = {
    "enfilade_log_length",
    "enfilade_log_open",
    "enfilade_log_writer",
    "enfilade_put_endpoint",
    "enfilade_put_write",
    "enfilade_read_by",
    "enfilade_read_function",
    "enfilade_take_connection",
    "enfilade_take_handle",
    "enfilade_width",
}
"""What the header's functions share, and no guest uses."""

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
HOSTCALL = re.compile(r'^\s*ENFILADE_HOSTCALL\((\w+), "([\w:]+)"\)', re.MULTILINE)
FUNCTION = re.compile(r"^static inline [\w ]+[ *](enfilade_\w+)\(.*?^}", re.MULTILINE | re.DOTALL)
BY_MACRO = re.compile(r"^ENFILADE_(?:ON_)?SLOT\((enfilade_\w+), (enfilade_\w+)\)", re.MULTILINE)
TYPE = re.compile(r"^(struct|union) (enfilade_\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
ENUM = re.compile(r"^enum (enfilade_\w+) \{(.*?)\};", re.MULTILINE | re.DOTALL)


def source() -> str:
    """Return the headers without their comments, and with what they make for each family of the network."""
    text = COMMENT.sub("", "\n".join(header.read_text() for header in HEADERS))
    macro = re.search(r"#define ENFILADE_NET\(family\)(.*?[^\\])\n\n", text, re.DOTALL)
    assert macro is not None
    body = re.sub(r" *\\$", "", macro[1], flags=re.MULTILINE)
    body = re.sub(r"^    ", "", body, flags=re.MULTILINE)
    made = [body.replace('" #family "', family).replace("##family##", family) for family in FAMILIES]
    return "\n".join([text, *made])


SOURCE = source()
MODULES = dict(HOSTCALL.findall(SOURCE))
CAPABILITIES = {call.name: call.capability.title for call in CATALOGUE}


def functions() -> dict[str, str]:
    """Return the functions of the headers, each with its source."""
    found = {match[1]: match[0] for match in FUNCTION.finditer(SOURCE)}
    return found | dict(BY_MACRO.findall(SOURCE))


def constants() -> set[str]:
    """Return the constants and macros that a guest uses."""
    found = {name for _, body in ENUM.findall(SOURCE) for name in re.findall(r"\bENFILADE_\w+", body)}
    defined = re.findall(r"^#define (ENFILADE_\w+)[ (]", SOURCE, re.MULTILINE)
    return found | {name for name in defined if not name.endswith("_H")} - {"ENFILADE_NET"}


def fields(body: str) -> list[str]:
    """Return the fields of a struct: of a union, the struct inside it counts as one."""
    flat = re.sub(r"\{.*?\}", "", body, flags=re.DOTALL)
    return [
        re.sub(r"\[.*", "", part).split()[-1].lstrip("*")
        for line in flat.split(";")
        if line.strip()
        for part in line.split(",")
    ]


def row_of(name: str, page: str) -> str | None:
    """Return the row of a table that a function is in."""
    return next(
        (line for line in page.splitlines() if line.startswith("|") and f"`{name}(" in line.split("|")[1]),
        None,
    )


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def test_each_name_is_on_the_page(page: str) -> None:
    types = {name for _, name, _ in TYPE.findall(SOURCE)} | {name for name, _ in ENUM.findall(SOURCE)}
    variables = set(re.findall(r"^(?:static .*|\} )(enfilade_\w+)(?: = .*)?;$", SOURCE, re.MULTILINE))
    names = {*functions(), *constants(), *types, *variables} - PARTS
    assert len(names) > 100
    assert not [name for name in sorted(names) if not re.search(rf"\b{name}\b", page)]


def test_each_name_on_the_page_exists(page: str) -> None:
    made = {f"{name}_{part}" for name in MODULES for part in ("create", "poll", "drop")}
    known = {*functions(), *constants(), *made, *MODULES, *re.findall(r"enfilade_\w+", SOURCE)}
    named = set(re.findall(r"\b(?:enfilade|ENFILADE)_\w+", page))
    assert not named - known


@pytest.mark.parametrize(("kind", "name", "body"), TYPE.findall(SOURCE), ids=lambda value: value[:24])
def test_each_field_has_a_row(kind: str, name: str, body: str, page: str) -> None:
    """Each struct has a section, whose table has its fields and no others, in their order."""
    section = page.partition(f"### `{kind} {name}`\n")[2].partition("\n#")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == fields(body)


def test_each_function_has_its_capability(page: str) -> None:
    """The capability in a row is that of the hostcall that the function makes."""
    checked = 0
    for name, body in functions().items():
        hostcalls = [hostcall for hostcall in MODULES if re.search(rf"\b{hostcall}\b", body)]
        row = row_of(name, page)
        if row is None or not hostcalls:
            continue
        checked += 1
        for hostcall in hostcalls:
            assert CAPABILITIES[MODULES[hostcall]] in row.split("|")[-2], name
    assert checked > 30
