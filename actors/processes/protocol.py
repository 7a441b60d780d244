"""Protocols: what an actor class lets others call, and under which name.

A protocol is worked out when its class is first spawned. A caller names a method by the function,
`ref.call(Account.deposit)`, so the functions that the class has lead to the names, and the names to the
handlers.

A function that the table does not have is looked at more closely: it may have been put into the class
meanwhile (by `unittest.mock.patch`), belong to a base that the class overrides or to an interface that it
implements, or be another class's. Nothing is checked for the others.
"""

from __future__ import annotations

import abc
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic

import attrs

from enfilade.actors.messages.errors import LiveResult, NotPublic
from enfilade.actors.messages.methods import (
    A_METHOD_OF_AN_OBJECT,
    HOOKS,
    is_mock,
    method_name,
    public_attributes,
    unbound,
    why_not_a_method,
    why_not_public,
)
from enfilade.actors.messages.nearest import nearest
from enfilade.actors.messages.safe_text import shown_name

if TYPE_CHECKING:
    from enfilade.actors.processes.actor import Actor
    from enfilade.actors.processes.process import Process

__all__ = ["NO_NAMES", "ActorProtocol", "known_name", "name_for", "parameters_of", "protocol_of"]


NO_NAMES: dict[Any, str] = {}
"""The names of a process that is no actor, or whose handlers only its own body may run. Never changed."""


@attrs.define(eq=False)
class ActorProtocol:
    """The public methods and hooks of an actor class.

    Attributes:
        actor: the class.
        handlers: the public methods by name.
        names: the names of the public methods, by the functions that the class has now.
        unfit: attributes with public names that others cannot call, and what they are.
        is_async: whether any method or hook is a coroutine function.
        is_strict: whether the call or cast of an unknown method ends the actor.
    """

    actor: type[Actor]
    handlers: dict[str, Callable[..., Any]] = attrs.field(init=False, factory=dict)
    names: dict[Any, str] = attrs.field(init=False, factory=dict)
    unfit: dict[str, str] = attrs.field(init=False, factory=dict)
    is_async: bool = attrs.field(init=False)
    is_strict: bool = attrs.field(init=False)
    on_message: Callable[[Any, Any], Any] = attrs.field(init=False)
    on_exit: Callable[[Any, Any], Any] = attrs.field(init=False)
    on_down: Callable[[Any, Any], Any] = attrs.field(init=False)
    on_stop: Callable[[Any, Any], Any] = attrs.field(init=False)
    on_start: Callable[[Any], Any] = attrs.field(init=False)
    _others: dict[Any, str] = attrs.field(
        init=False, factory=dict
    )  # of overridden methods, and of interfaces
    _stands_for: tuple[type, ...] = attrs.field(init=False)
    _read: Callable[[type], Any] = attrs.field(init=False)
    _was: Any = attrs.field(init=False)
    _spaces: tuple[Mapping[str, Any], ...] = attrs.field(init=False)
    _size: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.actor.protocol_ = self
        self._stands_for = self.actor.__mro__[:-1]
        self._read_class()

    def keep_current(self) -> None:
        """Take over what was put into the class, or removed from it, since."""
        try:
            if sum(map(len, self._spaces)) == self._size and self._read(self.actor) == self._was:
                return
        except AttributeError:  # something was removed
            pass
        self._read_class()

    def _read_class(self) -> None:
        """Work everything out; the tables stay the same objects, as processes hold them."""
        actor = self.actor
        for table in (self.handlers, self.names, self.unfit, self._others):
            table.clear()
        for name, found in public_attributes(actor):
            problem = why_not_a_method(found)
            if problem is None:
                self.handlers[name] = unbound(found) if is_mock(found) else found
            elif callable(getattr(actor, name, None)):
                self.unfit[name] = problem
        for owner in reversed(actor.__mro__):
            for name, found in list(vars(owner).items()):
                if name in self.handlers and _is_hashable(found) and why_not_a_method(found) is None:
                    table = self.names if getattr(actor, name) is found else self._others
                    if found not in table or getattr(found, "__name__", None) == name:
                        table[found] = name
        self.on_message, self.on_exit, self.on_down, self.on_stop, self.on_start = (
            _hook(actor, name) for name in _ACTED_ON
        )
        self.is_strict = actor.strict_
        listed = [*HOOKS.intersection(dir(actor)), *self.handlers]
        self.is_async = any(_is_async(inspect.getattr_static(actor, name)) for name in listed)
        self._spaces = tuple(vars(owner) for owner in actor.__mro__ if owner.__module__ not in _UNCHANGING)
        own = {name for space in self._spaces for name in space}
        self._read = attrgetter("__mro__", *own.intersection({*_ACTED_ON, *self.handlers}))
        self._was = self._read(actor)
        self._size = sum(map(len, self._spaces))

    def take_over_from(self, former: ActorProtocol) -> None:
        """Let callers go on naming the methods of the class that an actor was of before a change of code."""
        self._stands_for = (*self._stands_for, *set(former._stands_for).difference(self._stands_for))

    def name_of(self, method: Any) -> str:
        """Return the name by which a caller that passed `method` asks this class: another class's method gets
        one that no handler has.

        Raises:
            NotPublic: `method` is a hook, private, or not a method.
        """
        if isinstance(method, MethodType):
            raise NotPublic(method, A_METHOD_OF_AN_OBJECT)
        self.keep_current()
        if type(method) is str:
            near = nearest(method, self.handlers)
            raise NotPublic(method, why_not_public(method), near and f"{shown_name(self.actor)}.{near}")
        if _is_hashable(method):
            for table in (self.names, self._others):
                if method in table:
                    return table[method]
        name = method_name(method)
        if name in self.unfit:
            raise NotPublic(method, self.unfit[name])
        place = getattr(method, "__qualname__", name).rpartition(".")[0]
        if not place or place.endswith("<locals>"):
            raise NotPublic(method, f"not a method of {shown_name(self.actor)}")
        if name in self.handlers:
            origin = (getattr(method, "__module__", None), place)
            if any(origin == (owner.__module__, owner.__qualname__) for owner in self._stands_for):
                return name  # what was there before a patch, or what a decorator makes anew at each access
            if self._implements(method):
                self._others[method] = name
                return name
        return f"{place}.{name}"

    def _implements(self, method: Any) -> bool:
        """Tell whether `method` belongs to an interface of the class that is not one of its bases.

        That is a `typing.Protocol`, an abstract class that it is registered with, or another actor class of
        which it has all public methods, with the same parameters.
        """
        roots = [owner for owner in self.actor.__mro__ if owner.__module__ == _ACTOR]
        return any(
            getattr(owner, "_is_protocol", False) or issubclass(self.actor, owner) or self._has_all_of(owner)
            for owner in _subclasses(Generic, abc.ABC, *roots)
            if vars(owner).get(method.__name__) is method
        )

    def _has_all_of(self, other: type) -> bool:
        methods = {name: found for name, found in public_attributes(other) if why_not_a_method(found) is None}
        return all(
            name in self.handlers and _parameters(self.handlers[name]) == _parameters(found)
            for name, found in methods.items()
        )


def protocol_of(actor: type[Actor]) -> ActorProtocol:
    """The protocol of an actor class as it is now."""
    known: ActorProtocol | None = actor.__dict__.get("protocol_")
    if known is None:
        return ActorProtocol(actor)
    known.keep_current()
    return known


def known_name(process: Process, method: Any) -> str | None:
    """Return the name by which `process` was asked for `method` before, or None.

    Raises:
        NotPublic: `method` is none, because it cannot be hashed.
    """
    try:
        return process.names[method]
    except KeyError:
        return None
    except TypeError:
        raise NotPublic(method, why_not_public(method)) from None


def name_for(process: Process, method: Any) -> str:
    """Return the name by which to ask `process` for `method`.

    Raises:
        NotPublic: `method` is a hook, private, or not a method.
    """
    protocol = process.body.protocol
    return method_name(method) if protocol is None else protocol.name_of(method)


# Where `Actor` and `object` are: nobody patches these, and every class that is spawned has them.
_ACTOR = "enfilade.actors.processes.actor"
_UNCHANGING = ("builtins", "typing", _ACTOR)

_ACTED_ON = ("on_message", "on_exit", "on_down", "on_stop", "on_start")


def _hook(actor: type[Actor], name: str) -> Callable[..., Any]:
    hook = getattr(actor, name)
    if is_mock(hook):
        return unbound(hook)
    if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
        return functools.partial(_refuse_to_yield, hook)
    return hook  # type: ignore[no-any-return]


def _refuse_to_yield(hook: Callable[..., Any], *_args: Any) -> None:
    """Stands for a hook that is a generator function, of which nothing would run."""
    raise LiveResult(hook, "generator")


def _is_async(found: Any) -> bool:
    if is_mock(found):
        return isinstance(found, sys.modules["unittest.mock"].AsyncMock)
    return inspect.iscoroutinefunction(found)


def _is_hashable(function: Any) -> bool:
    try:
        hash(function)
    except TypeError:
        return False
    return True


def parameters_of(target: Any) -> list[str]:
    """Return the names of the parameters of what is spawned, as far as it tells them."""
    return [name for name, _ in _parameters(target) or ()]


def _parameters(method: Any) -> list[tuple[str, Any]] | None:
    try:
        return [(each.name, each.kind) for each in inspect.signature(method).parameters.values()]
    except (TypeError, ValueError):
        return None


def _subclasses(*classes: Any) -> Iterator[type]:
    """All that is below `classes`, each once. The metaclass of a class may have made it unhashable."""
    left, seen = list(classes), dict[int, type]()
    while left:
        for found in type.__subclasses__(left.pop()):
            if id(found) not in seen:
                seen[id(found)] = found
                left.append(found)
                yield found
