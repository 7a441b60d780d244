"""Docstrings of public names: their parameters and fields, the errors that they raise, their checkpoints."""

import ast
import builtins
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import attrs
import pytest

from enfilade import actors
from enfilade.actors.node import services

MODULES = (
    "enfilade.actors.bridges",
    "enfilade.actors.guests",
    "enfilade.actors.node.services",
    "enfilade.actors.simulation",
    "enfilade.actors.system",
    "enfilade.actors.testing",
    "enfilade.hostcalls",
    "enfilade.transport",
    "enfilade.transport.doors",
    "enfilade.transport.doors.api",
    "enfilade.transport.mesh",
)
"""The modules that are held beside the names of `enfilade.actors`: each with all that it exports."""

BASES = {"Exception", "BaseException", "RuntimeFault", "object"}
"""Errors that stand for too much: to name one of these does not say which error is raised."""

MADE = re.compile(r"\bmade by\s+`", re.IGNORECASE)
"""Said of a class whose objects the runtime makes: a program gives its `__init__` no arguments."""

REFERENCE = re.compile(r"\b(?:as of|as in|as for|as|see)\s+`?(\w+(?:\.\w+)*)`?", re.IGNORECASE)
"""A docstring that leaves something to that of another: "See `Peers.connect`", "errors as of `register`"."""

RAISES = re.compile(r"^Raises(?: \(in the caller\))?:\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^[ ]{4}(\w[\w, ]*):", re.MULTILINE)


class Public(NamedTuple):
    """A public callable, and the class that it belongs to."""

    name: str
    function: Any
    owner: type | None


def exported() -> Iterator[tuple[str, Any]]:
    """Yield the public names, and what each is."""
    for name in actors.__all__:
        yield name, getattr(actors, name)
    for place in MODULES:
        module = importlib.import_module(place)
        names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
        for name in names:
            value = getattr(module, name)
            if getattr(value, "__module__", "").startswith("enfilade."):
                yield f"{place}.{name}", value


def plain(value: Any) -> Any:
    """Return the function in a classmethod, a staticmethod or a decorator; None for anything else."""
    value = getattr(value, "__func__", value)
    value = inspect.unwrap(value) if callable(value) else value
    return value if inspect.isfunction(value) else None


def callables() -> Iterator[Public]:
    """Yield each public function, and each public method of each public class."""
    seen: set[Any] = set()
    for name, value in exported():
        if inspect.isclass(value):
            for part, member in vars(value).items():
                function = plain(member)
                if function is None or (part.startswith("_") and part != "__init__") or function in seen:
                    continue
                if function.__module__.startswith("enfilade.") and is_written(function):
                    seen.add(function)
                    yield Public(f"{name}.{part}", function, value)
        elif (function := plain(value)) is not None and function not in seen:
            seen.add(function)
            yield Public(name, function, None)


def is_written(function: Any) -> bool:
    """Tell whether a function stands in a file, and was not made by attrs or an overload."""
    return function.__code__.co_filename.endswith(".py")


def found(reference: str, public: Public) -> str:
    """Return the docstring of what another docstring refers to; an empty text if there is no such thing."""
    place, _, part = reference.rpartition(".")
    namespace = public.function.__globals__
    if place:
        homes = [getattr(actors, place, None), getattr(services, place, None), namespace.get(place)]
    else:
        homes = [public.owner, sys.modules[public.function.__module__], actors]
    thing = next((getattr(home, part) for home in homes if hasattr(home, part)), None)
    return inspect.getdoc(thing) or ""


def text_of(public: Public) -> str:
    """Return all that documents a callable: its docstring, its class's, and those that they refer to."""
    name, owner = public.function.__name__, public.owner
    if owner is not None and name == "__init__":
        text = f"{inspect.cleandoc(owner.__doc__ or '')}\n{inspect.getdoc(public.function) or ''}"
    else:
        homes = [] if owner is None else [vars(base)[name] for base in owner.__mro__ if name in vars(base)]
        text = "\n".join(filter(None, map(inspect.getdoc, homes or [public.function])))
    seen: set[str] = set()
    while unseen := [reference for reference in REFERENCE.findall(text) if reference not in seen]:
        seen.update(unseen)
        text = "\n".join([text, *(found(reference, public) for reference in unseen)])
    return text


def tree_of(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
    return tree


def raised(tree: ast.AST) -> Iterator[str]:
    """Yield the names of the errors that a function's own code raises; not those of functions inside it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise):
            made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(made).rpartition(".")[2] if made is not None else ""
            if name[:1].isupper() and name != "AssertionError":  # which is of a base that stands for nothing
                yield name
        yield from raised(node)


def is_named(error: str, text: str, namespace: dict[str, Any]) -> bool:
    """Tell whether a text names an error, or a class of errors that it is one of."""
    value = namespace.get(error, getattr(builtins, error, None))
    kinds = [kind.__name__ for kind in value.__mro__] if inspect.isclass(value) else [error]
    return any(re.search(rf"\b{kind}\b", text) for kind in kinds if kind not in BASES)


def is_described(parameter: str, text: str) -> bool:
    """Tell whether a text says something about a parameter: an entry of its own, or its name as code."""
    return bool(re.search(rf"^\s*(?:\w+, )*{parameter}(?:, \w+)*:|`[^`]*\b{parameter}\b[^`]*`", text, re.M))


def is_told_of(public: Public) -> bool:
    """Tell whether a program calls it: no errors of the runtime are made by programs, nor what says so; and
    what trio's classes ask for is described there.
    """
    owner, name = public.owner, public.function.__name__
    if owner is None:
        return True
    if name == "__init__":
        return not (issubclass(owner, BaseException) or MADE.search(owner.__doc__ or ""))
    foreign = (base for base in owner.__mro__ if not base.__module__.startswith("enfilade."))
    return not any(name in vars(base) for base in foreign)


def parameters(function: Any) -> list[str]:
    """Return the parameters of a function that its callers choose; `*args` are their own arguments."""
    chosen = inspect.signature(function).parameters.values()
    named = (p.name for p in chosen if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return [name for name in named if name not in ("self", "cls") and not name.startswith("_")]


def waits(function: Any) -> bool:
    """Tell whether a function is awaited, or is an async block."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    return str(function.__annotations__.get("return", "")).startswith(("Coroutine[", "Awaitable["))


def poor(public: Public) -> list[str]:
    """List what the docstring of a callable leaves out."""
    if not is_told_of(public):
        return []
    text = text_of(public)
    if not text.strip():
        return [f"{public.name} has no docstring"]
    lacks = [
        f"{public.name} raises {error}"
        for error in dict.fromkeys(raised(tree_of(public.function)))
        if not is_named(error, text, public.function.__globals__)
    ]
    lacks += [
        f"{public.name}({name})" for name in parameters(public.function) if not is_described(name, text)
    ]
    if waits(public.function):
        lacks += [f"{public.name}: {word}" for word in ("checkpoint", "cancel") if word not in text.lower()]
    return lacks


def fields(kind: Any) -> list[str]:
    """Return the public fields of an attrs class."""
    return [field.name for field in attrs.fields(kind) if not field.name.startswith("_")]


def errors() -> set[str]:
    """Return the names of all errors that there are."""
    known = {name for name, value in vars(builtins).items() if inspect.isclass(value)}
    importlib.import_module("enfilade.transport.mesh")
    for name, module in list(sys.modules.items()):
        if module is not None and name.partition(".")[0] in ("enfilade", "trio"):
            known |= {name for name, value in vars(module).items() if inspect.isclass(value)}
    return known


@pytest.mark.parametrize("public", list(callables()), ids=lambda public: public.name)
def test_docstrings_are_complete(public: Public) -> None:
    """Each parameter is named, each error that the code itself raises, and what waits says that it is a
    checkpoint, or when it is one, and what cancellation does.
    """
    assert not (lacks := poor(public)), "\n".join(lacks)


def test_fields_are_described() -> None:
    lacks = [
        f"{name}.{field}"
        for name, value in exported()
        if inspect.isclass(value) and attrs.has(value)
        for field in fields(value)
        if not is_described(field, "\n".join(inspect.cleandoc(c.__doc__ or "") for c in value.__mro__))
    ]
    assert not lacks


ATTRIBUTES = re.compile(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)


def test_nothing_is_described_twice() -> None:
    """A property that has a docstring is not listed among its class's attributes, too: Sphinx warns of such
    a pair, and `make docs` fails at a warning.
    """
    twice = {
        f"{name}.{attribute}"
        for name, value in exported()
        if inspect.isclass(value)
        for section in ATTRIBUTES.findall(inspect.getdoc(value) or "")
        for entry in ENTRY.findall(section)
        for attribute in entry.split(", ")
        if getattr(inspect.getattr_static(value, attribute, None), "__doc__", None)
        and isinstance(inspect.getattr_static(value, attribute), property)
    }
    assert not twice


def test_errors_that_are_named_exist() -> None:
    """An error that was renamed does not stay behind in a docstring."""
    known = errors()
    lacks = [
        f"{public.name}: {error}"
        for public in callables()
        for section in RAISES.findall(inspect.getdoc(public.function) or "")
        for entry in ENTRY.findall(section)
        for error in entry.split(", ")
        if error.rpartition(".")[2] not in known
    ]
    assert not lacks


def set_by(kind: type) -> set[str]:
    """Return the public attributes that the `__init__` of a class itself sets."""
    function = plain(vars(kind).get("__init__"))
    if function is None or not is_written(function):
        return set()
    targets = (
        target
        for node in ast.walk(tree_of(function))
        for target in (node.targets if isinstance(node, ast.Assign) else [])
    )
    names = (target.attr for target in targets if isinstance(target, ast.Attribute))
    return {name for name in names if not name.startswith("_")}


def test_attributes_of_errors_are_described() -> None:
    lacks = [
        f"{name}.{attribute}"
        for name, value in exported()
        if inspect.isclass(value) and issubclass(value, BaseException)
        for attribute in set_by(value)
        if not is_described(attribute, "\n".join(inspect.cleandoc(c.__doc__ or "") for c in value.__mro__))
    ]
    assert not lacks
