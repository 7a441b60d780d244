"""Share nothing, checked: what a node with `NodeConfig(debug=True)` does in addition.

Messages, arguments and replies between processes of one node are passed as they are. Who keeps a list that it
has sent, or returns its own, shares it with another process, and the first of the two that changes it changes
it for both. In debug mode the node remembers what was passed, with a snapshot of what was in it. Whenever a
message is sent or a call returns, it looks again at the newest values and at some of the others, and at its
end at all. What has changed while more than one still held it is logged as a warning that names the sender,
the receiver, the method and the value. What one process alone holds has been handed over, and may be changed;
what none holds any more is forgotten.

A snapshot looks into lists, tuples, dicts, sets, byte arrays and the fields of dataclasses, attrs classes and
msgspec structs; it calls no code of the program. Values without anything that can change are not remembered
at all. Everything is bounded: how much of a value is looked at, and how many values are remembered. A value
of another class may change where no snapshot sees it: such a class is logged once, at level INFO.

What is passed are messages, arguments and replies of every kind of call, and the arguments of `spawn` and
`Child`. What crosses a node link, or goes to a guest, is encoded when it is sent, and so shared by nobody.

The mechanism is the classes of the node's refs (`CheckedRef`) and requests (`CheckedRequest`), chosen when
the node is made, and one test at the start of a process: a node without it pays nothing else.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice
from types import (
    BuiltinFunctionType,
    EllipsisType,
    FunctionType,
    MethodType,
    ModuleType,
    NotImplementedType,
)
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import msgspec

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.errors import LiveArgument
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.kinds import module_of
from enfilade.actors.messages.live import live_kind
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_repr, safe_str, shown_name
from enfilade.actors.messages.signals import NO_KWARGS
from enfilade.actors.processes.local_ref import LocalRef

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.node.node import Node

__all__ = ["CheckedRef", "CheckedRequest", "LiveArgument", "Shared", "Sharing"]

A = TypeVar("A", covariant=True)

REMEMBERED: Final = 256
"""How many values a node remembers; the oldest goes first."""

NEWEST: Final = 8
OTHERS: Final = 4
"""How many values are looked at each time: of the newest, and of the others, in turn."""

LARGEST: Final = 1000
"""How many items of a value a snapshot looks at."""

DEPTH: Final = 20
"""How deep a snapshot looks."""

OPAQUE: Final = 100
"""How many classes are logged because snapshots cannot look into their values."""

FOUND: Final = 100
"""How many cases are kept for `Sharing.found`; all are logged."""


@attrs.frozen(eq=False)
class Shared:
    """A value that two processes held when one of them changed it.

    Attributes:
        sender: who passed it; None for code that is not a process.
        receiver: who got it; None for code that is not a process.
        method: the method that it was an argument or the reply of; None for a message.
        what: which value it was, for people.
    """

    sender: Ref[Any] | None
    receiver: Ref[Any] | None
    method: str | None
    what: str

    def __str__(self) -> str:
        sender = "plain code" if self.sender is None else safe_str(self.sender)
        receiver = "plain code" if self.receiver is None else safe_str(self.receiver)
        return (
            f"{self.what}, passed by {sender} to {receiver}, was changed while both held it: "
            "processes share nothing; pass a copy, or something that cannot change"
        )


@attrs.define(eq=False)
class _Passed:
    """A value that was passed, and what was in it then."""

    value: Any
    snapshot: Any
    shared: Shared


class Sharing:
    """The memory of one node of the values that its processes have passed to one another.

    Attributes:
        found: the cases that were found, oldest first.
        opaque: the classes whose values no snapshot can look into, and what the first such value was.
    """

    def __init__(self) -> None:
        self.found: deque[Shared] = deque(maxlen=FOUND)
        self.opaque: dict[type, str] = {}
        self._passed: deque[_Passed] = deque(maxlen=REMEMBERED)
        self._turn = 0

    def passes(
        self, value: Any, what: str, sender: Ref[Any] | None, receiver: Ref[Any] | None, method: str | None
    ) -> None:
        """Remember `value`, if it can change.

        Raises:
            LiveArgument: it has yet to run.
        """
        if live_kind(value) is not None:
            raise LiveArgument(what, value)
        snapshot = _Snapshot()
        taken = snapshot.taken(value)
        if snapshot.can_change:
            self._passed.append(_Passed(value, taken, Shared(sender, receiver, method, what)))
        for kind in snapshot.opaque - self.opaque.keys():
            if len(self.opaque) < OPAQUE:
                self.opaque[kind] = what
                log(logging.INFO, "%s: no change of a %s can be seen in debug mode", what, shown_name(kind))

    def pass_arguments(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        sender: Ref[Any] | None,
        receiver: Ref[Any] | None,
    ) -> None:
        """Remember the arguments of what is called `name`; errors as of `passes`."""
        for number, value in enumerate(args, 1):
            self.passes(value, f"argument {number} of {name}", sender, receiver, name)
        for key, value in kwargs.items():
            self.passes(value, f"argument {safe_repr(key)} of {name}", sender, receiver, name)

    def look(self) -> None:
        """Look at some of what is remembered, and report what has changed."""
        others = len(self._passed) - NEWEST
        if others <= OTHERS:
            self._look_at(list(self._passed))
            return
        turn, self._turn = self._turn, self._turn + OTHERS
        some = [self._passed[(turn + number) % others] for number in range(OTHERS)]
        self._look_at(some + [self._passed[-number] for number in range(NEWEST, 0, -1)])

    def _look_at(self, some: list[_Passed]) -> None:
        for passed in some:
            if sys.getrefcount(passed.value) == 2:  # held by `passed` and as the argument
                self._passed.remove(passed)
                continue
            if _Snapshot().taken(passed.value) == passed.snapshot:
                continue
            own = 1 + sum(other.value is passed.value for other in self._passed)  # 1: the argument below
            holders = sys.getrefcount(passed.value) - own
            self._passed.remove(passed)
            if holders > 1:
                self.found.append(passed.shared)
                log(logging.WARNING, "%s", passed.shared)

    def look_at_all(self) -> None:
        """Look at all that is remembered, as long as those are there who hold it."""
        self._look_at(list(self._passed))

    def close(self) -> None:
        """Forget everything."""
        self._passed.clear()


class _Snapshot:
    """Takes a snapshot: tuples of atoms, which compare without any code of the program.

    Attributes:
        can_change: whether the value, or something in it, can be changed.
        opaque: the classes of values in it that may change unseen.
    """

    def __init__(self) -> None:
        self.can_change = False
        self.opaque: set[type] = set()
        self._left = LARGEST
        self._within: set[int] = set()

    @attempt(None)
    def taken(self, value: Any) -> Any:
        """Return the snapshot of `value`; that of a value which cannot be looked at is None. Never raises."""
        return self.of(value)

    def of(self, value: Any) -> Any:
        """Return the snapshot of `value`."""
        kind = type(value)
        if type(kind) is not type and _is_strange(kind):
            return id(value)
        if kind in _ATOMS:
            return kind, value
        self._left -= 1
        if self._left < 0 or len(self._within) > DEPTH or id(value) in self._within:
            return id(value)
        self._within.add(id(value))
        try:
            return self._inside(kind, value)
        finally:
            self._within.discard(id(value))

    def _inside(self, kind: type, value: Any) -> Any:
        if kind in (bytearray, array):
            self.can_change = True
            return kind, bytes(memoryview(value)[:LARGEST]), len(value)
        if kind in _SEQUENCES:
            self.can_change |= kind is not tuple
            return kind, len(value), *map(self.of, islice(value, self._left + 1))
        if kind in (set, frozenset):
            self.can_change |= kind is set
            return kind, frozenset(map(id, value))
        if kind is dict:
            self.can_change = True
            items = list(islice(value.items(), self._left + 1))
            return kind, len(value), *((self.of(key), self.of(item)) for key, item in items)
        if issubclass(kind, Handle):
            return id(value)
        if issubclass(kind, msgspec.Struct) or not _OWN_FIELDS.isdisjoint(kind.__dict__):
            return kind, *self._fields(kind, value)
        if not _is_fixed(kind):
            self.opaque.add(kind)
        return id(value)

    def _fields(self, kind: type, value: Any) -> list[Any]:
        if not _is_frozen(kind):
            self.can_change = True
        found = []
        for name in _names(kind):
            try:
                field = object.__getattribute__(value, name)  # which may be a property
            except Exception:
                field = None
            found.append((name, self.of(field)))
        return found


def _is_strange(kind: type) -> bool:
    """Tell whether the metaclass of `kind` has its own idea of what is the same: it may raise, or lie."""
    metaclass: Any = type(kind)
    return metaclass.__hash__ is not type.__hash__ or metaclass.__eq__ is not type.__eq__


def _is_fixed(kind: type) -> bool:
    module = module_of(kind)
    if module is None:
        return True  # too strange to be named
    return module in _FIXED_MODULES or issubclass(kind, _FIXED)


def _names(kind: type) -> Iterable[str]:
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if "__attrs_attrs__" in kind.__dict__:
        return [field.name for field in kind.__dict__["__attrs_attrs__"]]
    return kind.__dict__["__dataclass_fields__"]  # type: ignore[no-any-return]


def _is_frozen(kind: type) -> bool:
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_config__.frozen
    parameters = kind.__dict__.get("__dataclass_params__")
    if parameters is not None:
        return bool(parameters.frozen)
    return getattr(kind.__setattr__, "__name__", "") == "_frozen_setattrs"


_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_SEQUENCES = (list, tuple, deque)
_OWN_FIELDS = frozenset({"__dataclass_fields__", "__attrs_attrs__"})

_FIXED_MODULES = frozenset(
    {"datetime", "decimal", "fractions", "ipaddress", "pathlib", "pathlib._local", "uuid", "zoneinfo"}
)
"""Modules whose values cannot change; paths are of the private one on Python 3.13."""

_FIXED = (
    *(type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, functools.partial, property),
    *(EllipsisType, NotImplementedType, range, slice, memoryview, re.Pattern, re.Match, Enum, TypeVar),
)
"""Other types whose values cannot change, or are the program itself."""


class CheckedRequest(Request[Any]):
    """A request whose reply is checked."""

    __slots__ = ()

    def reply(self, value: Any) -> None:
        sharing = self.node.sharing
        if sharing is not None and not self.settled:
            name = safe_str(self.method)
            try:
                sharing.look()
                sharing.passes(value, f"the reply of {name}", self.target, self.caller, name)
            except LiveArgument as error:
                self.fail(error)
                return
        super().reply(value)


class CheckedRef(LocalRef[A]):
    """A ref of a node that checks what is passed."""

    __slots__ = ()

    def _passes(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Look at what was passed before, and remember the arguments; the name of the method."""
        node = self._process.node
        sharing = node.sharing
        protocol = self._process.body.protocol
        if protocol is not None:  # patches count at once
            protocol.keep_current()
            if self._process.on_message is not None:
                self._process.on_message = protocol.on_message
        if sharing is None:
            return None
        sharing.look()
        name = method if isinstance(method, str) else shown_name(method)
        sharing.pass_arguments(name, args, kwargs, _current(node), self)
        return name

    def send(self, message: Any) -> None:
        self._passes_message(message)
        super().send(message)

    def _passes_message(self, message: Any) -> None:
        node = self._process.node
        self._passes("", (), {})
        if node.sharing is not None and signals.may_be_dropped(message):  # others are the runtime's own
            node.sharing.passes(message, f"the message {safe_repr(message)}", _current(node), self, None)

    def cast(self, method: Any, /, *args: Any, **kwargs: Any) -> None:
        self._passes(method, args, kwargs)
        super().cast(method, *args, **kwargs)

    def deliver(self, signal: signals.Signal) -> None:
        if isinstance(signal, signals.Call | signals.Cast):
            self._passes(signal.method, signal.args, dict(signal.kwargs or NO_KWARGS))
        elif type(signal) is signals.Notice:
            self._passes_message(signal.message)
        super().deliver(signal)  # which sends what is in a `Send` by this ref

    async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        name = self._passes(method, args, kwargs)
        reply = await super().call(method, *args, **kwargs)
        node = self._process.node
        if node.sharing is not None:
            node.sharing.look()
            node.sharing.passes(reply, f"the reply of {name}", self, _current(node), name)
        return reply

    def _limited_to(self, seconds: float) -> Ref[A]:
        return CheckedRef(self._process, seconds)


def _current(node: Node) -> Ref[Any] | None:
    current = node.current
    return None if current is None else current.ref
