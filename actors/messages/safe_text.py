"""Safe text: what the runtime shows people of an object that is not its own.

An object's own `repr` or `str` may raise, recurse, take seconds or return megabytes, and it is called where
a process ends, where a report is logged, where an error is made. So the runtime never calls one directly.
The functions here look into the containers, records and exceptions that Python and its libraries bring,
and stop when they have enough; they call the `repr` of any other object under guard, and cut the result.
The text is one line of printable characters, so that it cannot pass for a line of a log.

The places where the runtime touches objects of the program, other than to say which argument it refuses:

* `guests/guest_body.py`: errors of the engine, told to whoever starts a guest
* `guests/guest_host.py`: reasons, errors and messages, told to a guest
* `logs.py`: records of the log, and the errors in them
* `messages/blocks.py`: the error that leaves the block of a node or mailbox
* `messages/crash.py`: the error that ends a process, and the groups in it
* `messages/errors.py`: targets, arguments and causes, in an error's text
* `messages/guarded.py`: functions that are run, and values that are logged
* `messages/kinds.py`: messages, looked up by their kinds
* `messages/live.py`: replies, asked whether they have yet to run
* `messages/reasons.py`: what a reason holds, shown, compared and hashed
* `messages/misuse.py`: errors of refs, and the members of groups
* `messages/safe_id.py`: ids, looked up by their kinds
* `messages/safe_text.py`: everything that is shown or noted
* `messages/signals.py`: messages, described in a line
* `messages/traced.py`: messages in the envelope that carries their context
* `messages/tracebacks.py`: frames, causes, members and notes of an error
* `node/child_events.py`: events, sent to those who watch a supervisor
* `node/groups.py`: events, sent to those who watch a group
* `node/node.py`: the error that ends the program, and those of the runtime's own tasks
* `node/reports.py`: everything that the log is told
* `node/sharing.py`: values that processes pass to one another, in debug mode
* `node/watchdog.py`: names of tasks and functions, and stacks
* `observing/dumps/dump.py`: tables that change while a thread reads them
* `observing/dumps/files.py`: a whole node, dumped in the middle of any line
* `observing/events/contents.py`: messages, and a class's own view of them
* `observing/events/crashes.py`: an error, its notes and frames, the message at hand, a view of the state
* `observing/events/log_lines.py`: records of the log
* `observing/measurements/vitals.py`: files of the system that may not be there
* `observing/telemetry/durations.py`: what ended a call or handler
* `patterns/events.py`: handlers, their keys, and what they raise
* `patterns/pool.py`: what workers raise
* `patterns/routing_key.py`: keys of jobs, hashed and compared
* `peers/distribution.py`: events for watchers, and errors of a policy
* `peers/faults.py`: errors that another node is told of
* `peers/inbound.py`: what came from another node, decoded
* `peers/mesh/kind.py`: the target of a kind, asked what it takes
* `peers/remote_node.py`: what goes to another node, encoded
* `peers/rooms.py`: errors of a wait for room in a mailbox
* `peers/waiting.py`: what waits for another node, weighed
* `processes/actor.py`: an actor's own view of its state, and unhandled messages
* `processes/body.py`: the class that describes a spawnable object, asked for its body
* `processes/control_lane.py`: what continuations return
* `processes/dispatcher.py`: messages, what handlers return, and the traceback of what they raise
* `processes/end.py`: notes on the error, the traceback, deferred replies, queued messages
* `processes/handlers.py`: what handlers return
* `processes/identity.py`: the target of a spawn, asked for its name
* `processes/left_generators.py`: generators that were left, asked for their nurseries
* `processes/links.py`: links and monitors, notified of an end
* `processes/mailbox_search.py`: messages, looked up by their kinds
* `processes/nested_starts.py`: targets of starts that wait for one another
* `processes/reader.py`: messages, matched by a `receive`
* `processes/resumption.py`: the error after which an actor goes on
* `processes/start.py`: the target of a spawn, and what its start raises
* `processes/steps.py`: the error of a step
* `processes/sync_body.py`: messages, and what handlers raise
* `processes/targets.py`: the target of a start, asked what it is
* `processes/task_bodies.py`: messages, and what handlers raise
* `supervision/child_spec.py`: the target and the arguments of a child, looked at
* `supervision/incarnations.py`: the last state of a child, shown
* `supervision/partition.py`: the key by which a request is routed
* `supervision/supervisor_body.py`: messages, and what the start of a child raises
* `system.py`: observers, and the messages that they are shown
* `workers/employer.py`: names of workers
"""

from __future__ import annotations

import array
import collections
import dataclasses
import functools
import itertools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from enfilade.actors.messages.attempt import attempt, is_interrupt
from enfilade.actors.messages.kinds import module_of

__all__ = [
    "add_note",
    "full_name",
    "safe_arguments",
    "safe_record",
    "safe_repr",
    "safe_str",
    "shown_name",
    "told",
]

UNPRINTABLE: Final = "<unprintable object>"

DEPTH: Final = 6
"""How deep containers are shown."""

LARGEST_INT: Final = 2000
"""The largest number of bits of an int that is shown in digits: no limit of the interpreter is below it."""

LARGEST_NAME: Final = 200
ARGUMENTS: Final = 10
"""How many arguments of a call are shown."""

NOTES: Final = 20
"""How many notes an error may have before the runtime adds no more: the same error may be raised often."""


@attempt(UNPRINTABLE)
def safe_repr(value: object, largest: int = 200) -> str:
    """Return at most about `largest` characters of `repr(value)`, on one line. Never raises."""
    text = _Text(largest)
    text.add_repr(value)
    return text.cut()


def safe_str(value: object, largest: int = 200) -> str:
    """Return at most about `largest` characters of `str(value)`, on one line. Never raises."""
    if type(value) is str and len(value) <= largest and value.isprintable():
        return value  # as most are: a walk asks for a hundred thousand of them
    return _cut_str(value, largest)


@attempt(UNPRINTABLE)
def _cut_str(value: object, largest: int) -> str:
    text = _Text(largest)
    text.add_str(value)
    return text.cut()


@attempt(UNPRINTABLE)
def safe_record(value: object, largest: int = 1_000) -> str:
    """Return the `repr` of an attrs record, whose class has no other. Never raises."""
    text = _Text(largest)
    text.attrs_record(value)
    return text.cut()


def safe_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any], largest: int = 80) -> str:
    """Return what stands between the parentheses of a call, with so many characters for each argument.

    Of many arguments, the first few are shown.
    """
    given = [safe_repr(value, largest) for value in args[:ARGUMENTS]]
    given += [
        f"{safe_str(name)}={safe_repr(value, largest)}"
        for name, value in itertools.islice(kwargs.items(), ARGUMENTS - len(given))
    ]
    left_out = len(args) + len(kwargs) - len(given)
    return ", ".join(given if left_out == 0 else [*given, f"and {left_out} more"])


def told(text: str | None, largest: int = 1_000) -> str | None:
    """Return a name or label of the program as others are told it: as it is, so that they can use it.

    One that is longer than `largest`, or that no bytes can carry, is told as `safe_str` shows it. Never
    raises.
    """
    if text is None or (type(text) is str and len(text) <= largest and (text.isascii() or _is_utf8(text))):
        return text
    return safe_str(text, largest)


def _is_utf8(text: str) -> bool:
    """Tell whether a text can be encoded: one with half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_PROTOCOL: Final = type(Protocol)  # of which the classes of descriptions are, such as `Guest`


def shown_name(value: object) -> str:
    """Return the name of a class or function, or the safe `repr` of anything else. Never raises."""
    kind = type(value)
    if kind is types.FunctionType or kind is type or kind is _PROTOCOL:  # every process that ends asks
        name = value.__qualname__  # type: ignore[attr-defined]
        if type(name) is str and len(name) <= LARGEST_NAME and name.isprintable():
            return name
    return _own_name(value) or safe_repr(value)


def full_name(kind: type) -> str:
    """Return the name of a class with that of its module, or alone if it is a builtin. Never raises."""
    name, module = shown_name(kind), module_of(kind)
    return name if module == "builtins" else f"{safe_str(module)}.{name}"


@attempt(None)
def _own_name(value: object) -> str | None:
    if isinstance(value, type):
        return _name(value)
    if type(value) in (types.FunctionType, types.MethodType, types.BuiltinFunctionType):
        return _one_line(str.__getitem__(value.__qualname__, slice(LARGEST_NAME)))  # type: ignore[attr-defined]
    return None


@attempt(None)
def add_note(error: BaseException, text: str) -> None:
    """Add a note to `error`, unless the error does not let itself be changed. Never raises."""
    notes = getattr(error, "__notes__", ())
    if len(notes) >= NOTES:
        return
    try:
        BaseException.add_note(error, text)
    except Exception:
        if type(notes) is tuple:  # a frozen dataclass, for example: its own `__setattr__` refuses
            object.__setattr__(error, "__notes__", [text])


def _one_line(text: str) -> str:
    """Escape what is not printable, as `repr` does, whatever class of `str` it is."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


_qualified_name: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_repr_of: Callable[[type, str], Any] = type.__getattribute__


def _name(kind: type) -> str:
    return _one_line(str.__getitem__(_qualified_name(kind), slice(LARGEST_NAME)))


class _Text:
    """A text that grows up to a limit.

    Attributes:
        left: how many characters there is room for; negative when the text has to be cut.
    """

    __slots__ = ("_largest", "_open", "_parts", "left")

    def __init__(self, largest: int) -> None:
        self._largest = self.left = largest
        self._parts: list[str] = []
        self._open: list[int] = []  # the containers that are being shown, by identity

    def cut(self) -> str:
        """Return the text."""
        text = "".join(self._parts)
        return text if self.left >= 0 else f"{text[: max(0, self._largest - 3)]}..."

    def add(self, text: str) -> None:
        """Add as much of `text` as there is room for, and a character more, which shows that it was cut."""
        if self.left >= 0:
            text = _one_line(str.__getitem__(text, slice(self.left + 1)))
            self._parts.append(text)
            self.left -= len(text)

    def add_str(self, value: object) -> None:
        """Add what `str(value)` returns."""
        kind = type(value)
        if kind is str:
            self.add(value)  # type: ignore[arg-type]
            return
        try:
            add = _STR.get(_repr_of(kind, "__str__"))
            if add is not None:
                add(self, value)
            else:
                self.add(str(value))
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.add(f"<unprintable {_name(kind)}: {_name(type(error))}>")

    def add_repr(self, value: object) -> None:
        """Add what `repr(value)` returns."""
        kind = type(value)
        try:
            represent = _repr_of(kind, "__repr__")
            add = _REPR.get(represent) or _generated(kind, represent)
            if add is None:
                self.add(repr(value))
            elif id(value) in self._open or len(self._open) >= DEPTH:
                self.add("...")
            else:
                self._open.append(id(value))
                try:
                    add(self, value)
                finally:
                    self._open.pop()
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.add(f"<repr failed: {_name(type(error))}>")

    def add_series(self, opening: str, values: Iterable[object], closing: str) -> None:
        """Add values between commas, as long as there is room."""
        self.add(opening)
        separator = ""
        for value in values:
            if self.left < 0:
                return
            self.add(separator)
            self.add_repr(value)
            separator = ", "
        self.add(closing)

    def add_fields(self, opening: str, fields: Iterable[tuple[str, object]], closing: str) -> None:
        """Add `name=value` between commas, as long as there is room."""
        self.add(opening)
        separator = ""
        for name, value in fields:
            if self.left < 0:
                return
            self.add(f"{separator}{name}=")
            self.add_repr(value)
            separator = ", "
        self.add(closing)

    # By the method that a class has inherited, here is what is shown of its objects. The methods of the
    # base are called directly, because a subclass may have its own `__iter__`, `__len__`, `__getitem__`.

    def str_(self, value: Any) -> None:
        self.add(str.__repr__(str.__getitem__(value, slice(self.left + 1))))

    def plain_str(self, value: Any) -> None:
        self.add(value)

    def bytes_(self, value: Any) -> None:
        self.add(bytes.__repr__(bytes.__getitem__(value, slice(self.left + 1))))

    def bytearray_(self, value: Any) -> None:
        self.add(f"bytearray({bytes(bytearray.__getitem__(value, slice(self.left + 1)))!r})")

    def int_(self, value: Any) -> None:
        bits = int.bit_length(value)
        self.add(int.__repr__(value) if bits <= LARGEST_INT else f"<int of {bits} bits>")

    def list_(self, value: Any) -> None:
        self.add_series("[", list.__iter__(value), "]")

    def tuple_(self, value: Any) -> None:
        self.add_series("(", tuple.__iter__(value), ",)" if tuple.__len__(value) == 1 else ")")

    def set_(self, value: Any) -> None:
        if set.__len__(value) == 0:
            self.add(f"{_name(type(value))}()")
        elif type(value) is set:
            self.add_series("{", set.__iter__(value), "}")
        else:
            self.add_series(f"{_name(type(value))}({{", set.__iter__(value), "})")

    def frozenset_(self, value: Any) -> None:
        name = _name(type(value))
        if frozenset.__len__(value) == 0:
            self.add(f"{name}()")
        else:
            self.add_series(f"{name}({{", frozenset.__iter__(value), "})")

    def deque_(self, value: Any) -> None:
        self.add_series(f"{_name(type(value))}([", collections.deque.__iter__(value), "])")

    def array_(self, value: Any) -> None:
        some = array.array.__getitem__(value, slice(self.left + 1))
        self.add_series(f"array({some.typecode!r}, [", some, "])")

    def dict_(self, value: Any) -> None:
        self.add("{")
        separator = ""
        for key, item in dict.items(value):
            if self.left < 0:
                return
            self.add(separator)
            self.add_repr(key)
            self.add(": ")
            self.add_repr(item)
            separator = ", "
        self.add("}")

    def named_dict(self, value: Any) -> None:
        self.add(f"{_name(type(value))}(")
        self.dict_(value)
        self.add(")")

    def view(self, value: Any) -> None:
        self.add_series(f"{type(value).__name__}([", iter(value), "])")

    def mappingproxy(self, value: Any) -> None:
        self.add_series("mappingproxy with the keys [", iter(value), "]")

    def namespace(self, value: Any) -> None:
        self.add_fields(
            "namespace(", dict.items(types.SimpleNamespace.__getattribute__(value, "__dict__")), ")"
        )

    def slice_(self, value: Any) -> None:
        self.add_series("slice(", (value.start, value.stop, value.step), ")")

    def method(self, value: Any) -> None:
        self.add(f"<bound method {shown_name(value.__func__)} of ")
        self.add_repr(value.__self__)
        self.add(">")

    def partial(self, value: Any) -> None:
        self.add("functools.partial(")
        self.add_repr(value.func)
        for argument in value.args:
            if self.left < 0:
                return
            self.add(", ")
            self.add_repr(argument)
        if value.keywords:
            self.add_fields(", ", dict.items(value.keywords), "")
        self.add(")")

    def exception(self, value: Any) -> None:
        args = _args(value)
        self.add_series(f"{_name(type(value))}(", args, ")")

    def exception_str(self, value: Any) -> None:
        args = _args(value)
        if len(args) == 1:
            self.add_str(args[0])
        elif args:
            self.add_repr(args)

    def key_error_str(self, value: Any) -> None:
        args = _args(value)
        if len(args) == 1:
            self.add_repr(args[0])
        else:
            self.exception_str(value)

    def os_error_str(self, value: Any) -> None:
        number, text = _slot(OSError, "errno", value), _slot(OSError, "strerror", value)
        if number is None or text is None:
            self.exception_str(value)
            return
        self.add("[Errno ")
        self.add_str(number)
        self.add("] ")
        self.add_str(text)
        separator = ": "
        for name in (_slot(OSError, "filename", value), _slot(OSError, "filename2", value)):
            if name is not None:
                self.add(separator)
                self.add_repr(name)
            separator = " -> "

    def attrs_record(self, value: Any) -> None:
        fields = [each for each in type(value).__attrs_attrs__ if each.repr]
        self._add_record(value, ((each.name, _shown_field(value, each.name, each.repr)) for each in fields))

    def dataclass_record(self, value: Any) -> None:
        names = (each.name for each in dataclasses.fields(type(value)) if each.repr)
        self._add_record(value, ((name, _field(value, name)) for name in names))

    def struct(self, value: Any) -> None:
        self._add_record(value, ((name, _field(value, name)) for name in type(value).__struct_fields__))

    def namedtuple(self, value: Any) -> None:
        self._add_record(value, zip(type(value)._fields, tuple.__iter__(value), strict=False))

    def _add_record(self, value: Any, fields: Iterable[tuple[str, object]]) -> None:
        self.add_fields(f"{_name(type(value))}(", fields, ")")


def _args(error: BaseException) -> tuple[Any, ...]:
    args: tuple[Any, ...] = _slot(BaseException, "args", error)
    return args


def _slot(kind: type, name: str, value: object) -> Any:
    """Read an attribute that `kind`, a class made in C, keeps; a subclass may have another of that name."""
    return kind.__dict__[name].__get__(value)


class _Verbatim:
    """A text in the place of a value."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


_UNSET: Final = _Verbatim("<unset>")


def _field(value: object, name: str) -> object:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return _UNSET


def _shown_field(value: object, name: str, represent: Any) -> object:
    """Return a field of an attrs record, whose class may say how the field is shown."""
    found = _field(value, name)
    return found if represent is True else _Verbatim(represent(found))


_Adder = Callable[[_Text, Any], None]


def _generated(kind: type, represent: Any) -> _Adder | None:
    """Return how records are shown whose `__repr__` a library has generated."""
    code = getattr(represent, "__code__", None)
    if type(code) is not types.CodeType:
        return None
    if code.co_filename.startswith("<attrs generated "):
        return _Text.attrs_record
    if code.co_filename == dataclasses.__file__:
        return _Text.dataclass_record
    if code.co_filename == collections.__file__ and issubclass(kind, tuple):
        return _Text.namedtuple
    return None


_REPR: Final[dict[Any, _Adder]] = {
    str.__repr__: _Text.str_,
    bytes.__repr__: _Text.bytes_,
    bytearray.__repr__: _Text.bytearray_,
    int.__repr__: _Text.int_,
    list.__repr__: _Text.list_,
    tuple.__repr__: _Text.tuple_,
    set.__repr__: _Text.set_,
    frozenset.__repr__: _Text.frozenset_,
    dict.__repr__: _Text.dict_,
    collections.defaultdict.__repr__: _Text.named_dict,
    collections.OrderedDict.__repr__: _Text.named_dict,
    collections.Counter.__repr__: _Text.named_dict,
    collections.deque.__repr__: _Text.deque_,
    array.array.__repr__: _Text.array_,
    type({}.keys()).__repr__: _Text.view,
    type({}.values()).__repr__: _Text.view,
    type({}.items()).__repr__: _Text.view,
    types.MappingProxyType.__repr__: _Text.mappingproxy,
    types.SimpleNamespace.__repr__: _Text.namespace,
    types.MethodType.__repr__: _Text.method,
    functools.partial.__repr__: _Text.partial,
    slice.__repr__: _Text.slice_,
    BaseException.__repr__: _Text.exception,
    msgspec.Struct.__repr__: _Text.struct,
}

_STR: Final[dict[Any, _Adder]] = {
    str.__str__: _Text.plain_str,
    object.__str__: _Text.add_repr,
    bytes.__str__: _Text.add_repr,
    bytearray.__str__: _Text.add_repr,
    types.MappingProxyType.__str__: _Text.add_repr,
    BaseException.__str__: _Text.exception_str,
    KeyError.__str__: _Text.key_error_str,
    OSError.__str__: _Text.os_error_str,
}
