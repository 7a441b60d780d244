"""The files and modules of ours that pages, docstrings and comments name are there.

Paths, such as `actors/processes/body.py`, are found anywhere in a text; names, such as
`observing.protocol.views.TableView` or `start.py`, between backticks. A name is looked up where a reader
would look: from the top, or from any folder of the packages.
"""

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.page import NAMED
from tests.houses import FACADE, PACKAGES, ROOT

TOP = (*PACKAGES, "tests", "docs", ".packaging", ".ci", ".github")
PATH = re.compile(rf"(?<![\w./~-])(?:{'|'.join(map(re.escape, TOP))})/[\w./-]*\w")
FILE = re.compile(r"`((?:\w+/)*\w+\.(?:py|pyi|c|h))`")
DOTTED = re.compile(r"`((?:[a-z_]\w*\.)+\w+)(?:\(\))?`")
FULL = re.compile(rf"(?<![\w./-]){FACADE}(?:\.\w+)+")
EXTERNAL = re.compile(
    r"\.(?:c|crt|door|h|js|json|key|log|md|pem|py|pyi|rs|sock|sql|toml|tsv|txt|wasm|wat|zig)$"
)
"""The ends of names of files: they are not names of modules."""

GUEST = f"{FACADE}.guest."
"""The beginning of the names of guests' loggers, which go on as each guest says."""

SYSTEM = "net.core."
"""The beginning of settings of the kernel."""

PROGRAM = re.compile(r"(?:^|\$ |`)python3? (\w+\.py)", re.MULTILINE)
"""A file of the reader's that a page has run, which is written without its name beside the fence."""

SHOWN = {"docs/semantics", "tests/test_bank.py", "tests/actors/test_"}
"""Paths of readers' own files, and beginnings of paths."""

Reference = tuple[int, str]


@functools.cache
def folders() -> dict[str, list[Path]]:
    """The folders of modules, by name."""
    found: dict[str, list[Path]] = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("__init__.py"):
            found.setdefault(path.parent.name, []).append(path.parent)
    return found


@functools.cache
def sources() -> dict[Path, str]:
    """The modules of the packages, with what they say."""
    return {
        path: path.read_text()
        for top in PACKAGES
        for path in (ROOT / top).rglob("*.py*")
        if path.suffix in {".py", ".pyi"}
    }


@functools.cache
def file_names() -> set[str]:
    """The names of all source files."""
    files = (path for top in TOP for path in (ROOT / top).rglob("*.*"))
    return {path.name for path in files if path.suffix in {".py", ".pyi", ".c", ".h"}}


@functools.cache
def labels() -> frozenset[str]:
    """The texts in the packages that look like names of modules: of loggers, metrics and events."""
    literal = re.compile(r'"([a-z_]+(?:\.\w+)+)')
    return frozenset(found[1] for text in sources().values() for found in literal.finditer(text))


def is_said(name: str, text: str) -> bool:
    """Tell whether a word stands in a source."""
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def leads_somewhere(place: Path, parts: list[str]) -> bool:
    """Tell whether `parts` lead from a folder to a module, and on to what its source names."""
    for position, part in enumerate(parts):
        if (place / part).is_dir():
            place /= part
            continue
        module = sources().get(place / f"{part}.py", "") + sources().get(place / f"{part}.pyi", "")
        if module:
            return all(is_said(name, module) for name in parts[position + 1 :])
        names = sources().get(place / "public.py") or sources().get(place / "__init__.py", "")
        return is_said(part, names)
    return True


def is_attribute(parts: list[str]) -> bool:
    """Tell whether a name such as `node.spawn` speaks of an object, not of the folder of that name."""
    return any(is_said(parts[1], text) for path, text in sources().items() if path.stem.endswith(parts[0]))


@functools.cache
def is_there(name: str) -> bool:
    """Tell whether a dotted name leads to something of ours, or is not about our modules."""
    parts = name.split(".")
    if EXTERNAL.search(name) or name.startswith((GUEST, SYSTEM)):
        return True
    if any(f"{label}.".startswith(f"{name}.") for label in labels()):
        return True
    if parts[0] == FACADE:
        if leads_somewhere(ROOT, parts[1:]):
            return True
        return len(parts) == 2 and is_said(
            parts[1], (ROOT / ".packaging" / FACADE / "__init__.py").read_text()
        )
    if parts[0] not in folders():
        return True
    return any(leads_somewhere(place, parts[1:]) for place in folders()[parts[0]]) or is_attribute(parts)


def is_file(path: str) -> bool:
    """Tell whether a path leads to a file or folder of the repository, or to a module without its ending."""
    return any((ROOT / f"{path}{end}").exists() for end in ("", ".py", ".md"))


def broken(text: str, shown: set[str]) -> Iterator[str]:
    """Yield the references of a text that lead nowhere.

    Args:
        text: of a page, a docstring or a comment.
        shown: the files that the reader has written.
    """
    for path in PATH.finditer(text):
        if not is_file(path[0]) and path[0] not in SHOWN:
            yield path[0]
    for file in FILE.finditer(text):
        if file[1] not in shown and file[1].rpartition("/")[2] not in file_names():
            yield file[1]
    names = {*(found[1] for found in DOTTED.finditer(text)), *(found[0] for found in FULL.finditer(text))}
    yield from (name for name in sorted(names) if not is_there(name))


def remarks(source: str) -> Iterator[Reference]:
    """Yield the comments and docstrings of a file, each with its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def broken_in_source(source: str) -> list[Reference]:
    """The references of a file's remarks that lead nowhere."""
    if not any(broken(source, set())):  # most files: nothing is wrong in the whole of them
        return []
    return [(line, name) for line, text in remarks(source) for name in broken(text, set())]


# What the list of conformance cases names is found by the test of its generator.
PAGES = [
    path
    for path in (ROOT / "docs").rglob("*.md")
    if "_build" not in path.parts and path.stem != "conformance"
]
PAGES += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_remarks_name_what_is_there(package: str) -> None:
    """A file or module that was moved takes the remarks about it along."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != Path(__file__)
        for line, name in broken_in_source(path.read_text())
    ]
    assert not found, "\n".join(found)


def test_pages_name_what_is_there() -> None:
    """So does each page."""
    found = []
    for page in sorted(PAGES):
        text = page.read_text()
        shown = {*NAMED.findall(text), *PROGRAM.findall(text)}
        found += [f"{page.relative_to(ROOT)}: {name}" for name in broken(text, shown)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "see actors/processes/nothing.py",
        "see `nothing.py`",
        "the last of `observing.views.TableView`",
        "`enfilade.actors.not_there`",
        "enfilade.actors.processes.process.NotThere does it",
    ],
)
def test_broken_references_are_found(text: str) -> None:
    assert list(broken(text, set()))


@pytest.mark.parametrize(
    "text",
    [
        "see actors/processes/process.py",
        "see `process.py`, and `node.spawn`",
        "the last of `observing.protocol.views.TableView`",
        "`enfilade.actors.processes.process.Process`",
        "the logger enfilade.guest, `time.sleep`",
    ],
)
def test_references_that_lead_somewhere_pass(text: str) -> None:
    assert not list(broken(text, set()))
