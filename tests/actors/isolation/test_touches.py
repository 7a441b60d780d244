"""The places where the runtime touches an object of the program: all of them are known, and none is bare.

The list is the head of `safe_text.py`. A new file that shows, notes, logs or runs what is not the runtime's
has to be added there, and an object that is put into words without safe text is found here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from enfilade.actors.messages import safe_text

ACTORS = Path(__file__).resolve().parents[3] / "actors"
MECHANISM = {
    f"enfilade.actors.messages.{name}" for name in ("attempt", "safe_text", "guarded", "kinds", "tracebacks")
}
# What puts into words what it was given by its user.
PROGRAMS = ("cli", "simulation", "testing", "worker_main.py")
OWN = ("messages/safe_text.py", "messages/tracebacks.py")

SAFE = {
    "formatted",
    "described",
    "len",
    "safe_arguments",
    "safe_record",
    "safe_repr",
    "safe_str",
    "shown_name",
    "told",
}

# Names of variables and fields that hold objects of the program, and may stand in no text as they are.
FOREIGN = {
    *(
        "arg",
        "args",
        "argument",
        "arguments",
        "child",
        "error",
        "event",
        "exc",
        "failure",
        "fn",
        "given",
        "handler",
    ),
    *(
        "id",
        "item",
        "job",
        "key",
        "kwargs",
        "letter",
        "misfit",
        "option",
        "raised",
        "reply",
        "result",
        "spec",
    ),
    *("state", "tag", "value", "values", "watcher", "worker"),
}
NOTING_AND_FORMATTING = (".add_note", ".__repr__", ".__str__", ".__format__")
# What a file may use without a place in the list: for the error that refuses an argument, for example.
UNLISTED = {
    *("formatted", "guarded", "is_a", "is_interrupt", "log"),
    *("safe_record", "safe_repr", "safe_str", "shown_name", "told"),
}

BARE_CALLS = {
    "str(fault)": "an error of the runtime's own classes",
    "str(frame)": "a frame of a guest's backtrace",
    "str(frame.to)": "a name out of a frame",
    "str(trap.kind)": "an enumeration's member",
    "str(self.module)": "a path",
    "str(error)": "an error of the guest engine",
}


def source_files() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ACTORS.rglob("*.py")):
        name = str(path.relative_to(ACTORS))
        if not name.startswith(PROGRAMS) and name not in OWN:
            yield name, ast.parse(path.read_text())


def bare_words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield where an object is put into words, noted or logged without safe text."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.FormattedValue):
            shown = ast.unparse(node.value)
            if node.conversion != -1 and shown != "self":
                yield line, f"{shown}!{chr(node.conversion)}"
            elif shown.rpartition(".")[2] in FOREIGN:
                yield line, shown
        elif isinstance(node, ast.Call):
            function, call = ast.unparse(node.func), ast.unparse(node)
            is_method = isinstance(node.func, ast.Attribute)
            if (
                (function in ("repr", "str", "ascii", "format") and call not in BARE_CALLS)
                or (function == "map" and ast.unparse(node.args[0]) in ("repr", "str"))
                or (is_method and function.endswith(NOTING_AND_FORMATTING))
                or (is_method and function.endswith(("'.format", '".format')))
                or re.match(r"(logger|logging)\.(debug|info|warning|error|exception|critical|log)$", function)
                or re.match(r"traceback\.(format_e|print|TracebackException)", function)
            ):
                yield line, call
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            if isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
                yield line, ast.unparse(node)
        elif isinstance(node, ast.Attribute) and node.attr == "__notes__":
            yield line, ast.unparse(node)


def asked_for_their_class(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield where an error that may be the program's is asked for its class."""
    for node in ast.walk(tree):
        is_asked = isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
        if is_asked and ast.unparse(node.args[0]) in ("error", "raised", "failure", "exc", "message"):  # type: ignore[attr-defined]
            yield node.lineno, ast.unparse(node)  # type: ignore[attr-defined]


def users_of_the_mechanism() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted(ACTORS.rglob("*.py")):
        name = str(path.relative_to(ACTORS))
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module in MECHANISM
                and not name.startswith("testing")
            ):
                found.setdefault(name, set()).update(alias.name for alias in node.names)
    return found


def listed_places() -> dict[str, str]:
    """The list in the head of `safe_text.py`: what each file does with the objects of the program."""
    return dict(re.findall(r"^\* `([\w/]+\.py)`: ((?:.|\n  )+)", safe_text.__doc__ or "", re.MULTILINE))


def test_every_place_is_listed() -> None:
    """The list in the head of `safe_text.py` names each file that uses more of the mechanism than words."""
    listed = listed_places()
    users = users_of_the_mechanism()
    missing = [name for name, used in users.items() if used - UNLISTED and name not in listed]
    assert not missing, "add these to the list in the head of safe_text.py"
    assert not sorted(listed.keys() - users.keys()), "take these out of the list in the head of safe_text.py"
    assert all(len(what) > 10 for what in listed.values())


def test_nothing_is_put_into_words_bare() -> None:
    """No object of the program is shown, noted or logged but as safe text."""
    # The one writes the log, the others show errors of the engine, whose text is its own.
    files = [file for file in source_files() if not file[0].startswith(("messages/guarded.py", "guests/"))]
    found = [f"{name}:{line}: {what}" for name, tree in files for line, what in bare_words(tree)]
    assert not found, "use safe_repr or safe_str:\n" + "\n".join(found)


def test_no_error_is_asked_for_its_class() -> None:
    """`is_a` looks at the type alone."""
    found = [
        f"{name}:{line}: {what}"
        for name, tree in source_files()
        for line, what in asked_for_their_class(tree)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        'f"{value!r}"',
        'f"{value}"',
        'f"{job!s:.80}"',
        "repr(value)",
        "str(value)",
        "', '.join(map(repr, values))",
        '"%r" % value',
        '"{}".format(value)',
        'error.add_note("x")',
        "error.__notes__.append('x')",
        'logger.warning("%r", value)',
        "traceback.format_exception(error)",
    ],
)
def test_bare_words_are_found(source: str) -> None:
    assert list(bare_words(ast.parse(source)))


def test_words_that_are_safe_pass() -> None:
    assert not list(bare_words(ast.parse('f"{safe_repr(value)} of {process.ref}, {len(queue)}"')))
