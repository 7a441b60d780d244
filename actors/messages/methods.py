"""Methods as callers name them: `ref.call(Account.deposit, 5)` names the method `deposit`.

What a class lets others call is its `Protocol` (`enfilade.actors.processes.protocol`). A ref to a process of
another node, or to a function, knows no class: there the function itself has to tell. Most functions are
called what their class calls them. The few that are not (what a decorator has left of a method, static
methods, generators) are noted when their class is made.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any, Final
from weakref import WeakKeyDictionary

from enfilade.actors.messages.errors import NotPublic

__all__ = [
    "A_METHOD_OF_AN_OBJECT",
    "HOOKS",
    "is_mock",
    "method_name",
    "note_methods",
    "public_attributes",
    "why_not_a_method",
    "why_not_public",
]


HOOKS = frozenset(
    {
        "on_start",
        "on_message",
        "on_exit",
        "on_failure",
        "on_down",
        "on_stop",
        "on_child_event",
        "on_code_change",
        "format_status",
        "process",
    },
)

MOST_NAMES: Final = 10_000
"""Names that are known to be public."""

# What is known of functions that do not tell it themselves: the name of the method, and why it is none.
_noted: WeakKeyDictionary[Any, tuple[str, str | None]] = WeakKeyDictionary()
_plain_names: set[str] = set()  # names of functions that were found to be public, and that any other may have
_noted_names: set[str] = set()  # what those functions call themselves: others need not be looked up


def method_name(method: Any) -> str:
    """Return the name of a public method, as far as the function itself tells it.

    Raises:
        NotPublic: `method` is a hook, private, or not a method.
    """
    name = getattr(method, "__name__", None)
    if type(name) is not str:  # one of a class of its own might be another name, or none, for the callee
        raise NotPublic(method, why_not_public(method))
    if name in _noted_names:
        name, problem = _noted.get(method, (name, None))
        if problem is not None:
            raise NotPublic(method, problem)
    if type(method) is FunctionType and name in _plain_names:
        return name
    if (
        name[:1] == "_"
        or name in HOOKS
        or not name.isidentifier()
        or not callable(method)
        or isinstance(method, type | MethodType)
    ):
        raise NotPublic(method, why_not_public(method, name))
    if len(_plain_names) < MOST_NAMES:
        _plain_names.add(name)
    return name


def why_not_public(method: Any, name: str = "") -> str:
    """Return what something is that cannot be called as a public method, and what to pass."""
    kind = type(method)
    if issubclass(kind, MethodType):
        return A_METHOD_OF_AN_OBJECT
    if issubclass(kind, type):
        return "a class; pass one of its methods, as in `call(Counter.add, 5)`"
    if isinstance(method, property | functools.cached_property):
        return "a property; call a method that returns it"
    if name in HOOKS:
        return "a hook: only the runtime calls it"
    if name[:1] == "_":
        return "private, because its name begins with an underscore"
    return "not a method; pass the method and its arguments, as in `call(Counter.add, 5)`"


A_METHOD_OF_AN_OBJECT = "a method of an object; pass the method of its class, as in `call(Counter.add, 5)`"


def note_methods(cls: type) -> None:
    """Note the functions of `cls` that do not tell themselves what they are, or under which name."""
    for name, found in public_attributes(cls):
        problem = why_not_a_method(found)
        function = found.__func__ if isinstance(found, staticmethod) else found
        own_name = getattr(function, "__name__", None)
        if callable(function) and (problem is not None or own_name != name) and isinstance(own_name, str):
            try:
                _noted[function] = (name, problem)
            except TypeError:  # nothing that can be noted: its class alone will know it
                continue
            _noted_names.add(own_name)


def public_attributes(cls: type) -> Iterator[tuple[str, Any]]:
    """The attributes of `cls` that have public names, inherited ones included, as they lie in the classes."""
    seen = set(HOOKS)
    for owner in cls.__mro__:
        for name, found in vars(owner).copy().items():
            if name not in seen and name[0] != "_":
                seen.add(name)
                yield name, found


def why_not_a_method(found: Any) -> str | None:
    """Return what an attribute is that others cannot call as a method; None for a method."""
    for kind, shown in _NO_METHODS.items():
        if isinstance(found, kind):
            return shown
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        return "a generator function: its body would run in the caller; return a list instead"
    if not callable(found):
        return "not a method"
    if not hasattr(type(found), "__get__") and not is_mock(found):
        return "an object that can be called, but not a method"
    return None


_NO_METHODS: dict[type, str] = {
    staticmethod: "a static method, which needs no process: call it where you are",
    classmethod: "a class method, which needs no process: call it where you are",
    property: "a property",
    functools.cached_property: "a property",
    type: "a class",
}


def is_mock(found: Any) -> bool:
    """Tell whether `found` is what `unittest.mock.patch` puts into a class by default."""
    mock = sys.modules.get("unittest.mock")
    return mock is not None and isinstance(found, mock.NonCallableMock)


def unbound(found: Callable[..., Any]) -> Callable[..., Any]:
    """Make a handler of something that, unlike a method, is not called with the actor."""
    return lambda _actor, *args, **kwargs: found(*args, **kwargs)
