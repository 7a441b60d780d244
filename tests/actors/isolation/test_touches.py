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
MECHANISM = {f"enfilade.actors.messages.{name}" for name in ("safe_text", "guarded", "kinds", "tracebacks")}
PROGRAMS = ("cli", "testing", "worker_main.py")  # which put into words what they were given by their user
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
}

PLAIN = {
    "a ref, whose text is the runtime's own": {
        *("call.caller", "call.target", "holder", "owner", "predecessor", "process.ref", "ref", "self.ref"),
        *("self.process.ref", "self.target", "target", "target.owner", "target.ref or target.name"),
    },
    "a reason, whose text is safe": {"reason", "self.reason"},
    "a number": {
        *("capacity", "came", "claimed", "count", "index", "limit", "most", "number", "process.serial"),
        *("seconds", "self.serial", "serial", "START_SECONDS", "status"),
    },
    "a name that was checked when it was given, or is an identifier": {
        *("_RUNTIME", "__name__", "_kind.__name__", "attribute.name", "name", "node", "node.full_name"),
        *("node.name", "package", "process.node.full_name", "self._home.full_name", "self._node.full_name"),
        *("self._node.zone", "self._peer_name", "self._remote.node_name", "self._template.name"),
        *("self.entrypoint", "self.full_name", "self.node_name", "template.name", "to", "zone"),
        *("type(frame).__name__", "type(self).__name__", "getattr(target, '__module__', None)"),
        *("getattr(target, '__qualname__', None)", "', '.join(kwargs)", "', '.join(CHILD_FIELDS[2:])"),
    },
    "a text of the runtime, or one that was made safe before": {
        *("'' if not self.settled else ', settled'", "_advice(target)", "advice", "connected", "detail"),
        *("expected", "f' {safe_str(shown)}' if shown else ''", "held", "kind", "message", "method", "nodes"),
        *(
            "operation",
            "self",
            "self.how_to_pass_on",
            "pair",
            "part",
            "place",
            "policies",
            "problem",
            "request",
            "shown",
            "step",
            "text",
        ),
        *("wanted", "what", "which", "', '.join(map(safe_repr, unknown))", "', '.join(get_args(AliasMode))"),
        *("', '.join(get_args(Routing))", "f'{kind}: {message}'", "error"),
    },
}
NOTING_AND_FORMATTING = (".add_note", ".format", ".__repr__", ".__str__", ".__format__")
SHOWING = {"safe_repr", "safe_str", "shown_name"}  # as in the error that refuses an argument
KNOWN = {expression for expressions in PLAIN.values() for expression in expressions}

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
            called = node.value.func if isinstance(node.value, ast.Call) else None
            is_safe = called is not None and ast.unparse(called).rpartition(".")[2] in SAFE
            if node.conversion != -1 and shown != "self":
                yield line, f"{shown}!{chr(node.conversion)}"
            elif not is_safe and shown not in KNOWN and not isinstance(node.value, ast.Constant):
                yield line, shown
        elif isinstance(node, ast.Call):
            function, call = ast.unparse(node.func), ast.unparse(node)
            is_method = isinstance(node.func, ast.Attribute)
            if (
                (function in ("repr", "str", "ascii", "format") and call not in BARE_CALLS)
                or (function == "map" and ast.unparse(node.args[0]) in ("repr", "str"))
                or (is_method and function.endswith(NOTING_AND_FORMATTING))
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
    return {name: used for name, used in found.items() if used - SHOWING}


def listed_places() -> dict[str, str]:
    """The list in the head of `safe_text.py`: what each file does with the objects of the program."""
    return dict(re.findall(r"^\* `([\w/]+\.py)`: ((?:.|\n  )+)", safe_text.__doc__ or "", re.MULTILINE))


def test_every_place_is_listed() -> None:
    """The list in the head of `safe_text.py` names each file that uses more of the mechanism than words."""
    listed = listed_places()
    users = users_of_the_mechanism()
    assert not users.keys() - listed.keys(), "add these to the list in the head of safe_text.py"
    assert not listed.keys() - users.keys(), "take these out of the list in the head of safe_text.py"
    assert all(len(what) > 10 for what in listed.values())


def test_nothing_is_put_into_words_bare() -> None:
    """No object of the program is shown, noted or logged but as safe text."""
    files = [file for file in source_files() if file[0] != "messages/guarded.py"]  # which writes the log
    found = [f"{name}:{line}: {what}" for name, tree in files for line, what in bare_words(tree)]
    assert not found, (
        "use safe_repr or safe_str, or add to PLAIN what is no object of the program:\n" + "\n".join(found)
    )


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
