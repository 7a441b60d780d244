"""The types that may travel in payloads: each under a name, with a shape that tells versions apart.

Registration is the whole list of what a node is willing to construct from a peer's bytes.
"""

import dataclasses
import enum
import functools
import io
import types
import typing
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import attrs
import msgspec

from enfilade.fields import is_int

__all__ = [
    "FieldMismatch",
    "PayloadError",
    "Record",
    "TypeRegistry",
    "UnknownType",
    "UnregisteredType",
    "VersionMismatch",
    "instead_of",
    "register",
    "registered",
    "shown",
]

T = TypeVar("T")

LONGEST_SHOWN: Final = 80
"""Characters of a string, or bits of a number, that an error shows."""


def shown(value: Any) -> str:
    """Show a value that was refused if it is short, else its type: that costs less."""
    kind = type(value)
    is_short = len(value) <= LONGEST_SHOWN if kind in (str, bytes) else kind in (bool, float)
    is_short = is_short or (kind is int and value.bit_length() <= LONGEST_SHOWN)
    return repr(value) if is_short else f"a {kind.__name__}"


class PayloadError(Exception):
    """A value that cannot travel, or a payload that cannot be decoded."""


class UnregisteredType(PayloadError):
    """The sender's value, or a part of it, is of a type that was not registered."""


_CODE = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    functools.partial,
    type,
    types.ModuleType,
    types.CodeType,
)
_RUNNING = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


def instead_of(kind: type) -> str:
    """Advice about a value of a type that may not travel."""
    if issubclass(kind, _CODE):
        return "code stays where it is; send data, and have a method of the other node's actor do the work"
    if issubclass(kind, _RUNNING):
        return "it has yet to run; send what it gives"
    if issubclass(kind, io.IOBase):
        return "send `FileDescriptor(file.fileno())`, or what the file holds"
    return "register the type, on both nodes, with enfilade.transport.register"


class UnknownType(PayloadError):
    """The receiver has no type of the name that the payload gives."""


class VersionMismatch(PayloadError):
    """Both sides know the type, but not the same version of it."""


class FieldMismatch(PayloadError):
    """A field's value is not of the type that the record's class declares."""


_Check = Callable[[Any], bool]


@attrs.frozen
class Record:
    """A registered type: its name on the wire, its shape, its fields and how they are checked."""

    type: type
    name: str
    version: int
    shape: int
    fields: tuple[str, ...]
    parameters: tuple[str, ...]
    _checks: dict[str, _Check | None] = attrs.field(factory=dict, init=False)

    def check(self, values: Sequence[Any]) -> None:
        """Compare the values with the class's annotations; those that cannot be read here are not checked."""
        if not self._checks:
            try:
                hints = typing.get_type_hints(self.type)
            except (NameError, TypeError):
                hints = {}
            self._checks.update((field, _checker(hints.get(field, Any))) for field in self.fields)
        for field, value in zip(self.fields, values, strict=True):
            check = self._checks[field]
            if check is not None and not check(value):
                hint = typing.get_type_hints(self.type)[field]
                expected = hint.__name__ if isinstance(hint, type) else hint
                got, text = type(value).__name__, shown(value)
                told = text if text.endswith(f" {got}") else f"{got}: {text}"
                raise FieldMismatch(f"{self.name}.{field} must be {expected}, not {told}")


def _checker(annotation: Any) -> _Check | None:
    """A test for values of an annotation; None when all pass or the annotation is beyond this test."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if annotation is Any:
        return None
    if annotation is None or annotation is type(None):
        return lambda value: value is None
    if annotation is float:
        return lambda value: type(value) in (float, int)
    if annotation is int:
        return is_int
    if isinstance(annotation, type) and not getattr(annotation, "_is_protocol", False):
        return lambda value: isinstance(value, annotation)
    if origin is typing.Literal:
        return lambda value: value in arguments
    if origin in (typing.Union, types.UnionType):
        checks = [_checker(argument) for argument in arguments]
        tests = [check for check in checks if check is not None]
        return None if len(tests) < len(checks) else lambda value: any(test(value) for test in tests)
    if isinstance(origin, type) and origin in (list, set, frozenset):
        check = _checker(arguments[0])
        if check is None:
            return lambda value: isinstance(value, origin)
        return lambda value: isinstance(value, origin) and all(map(check, value))
    if origin is dict:
        return _dict_checker(*map(_checker, arguments))
    if origin is tuple:
        return _tuple_checker(arguments)
    return None


def _dict_checker(key_check: _Check | None, value_check: _Check | None) -> _Check:
    def check(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and (key_check is None or all(map(key_check, value)))
            and (value_check is None or all(map(value_check, value.values())))
        )

    return check


def _tuple_checker(arguments: Sequence[Any]) -> _Check:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        each = _checker(arguments[0])
        return lambda value: isinstance(value, tuple) and (each is None or all(map(each, value)))
    checks = [_checker(argument) for argument in arguments]
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(checks)
        and all(check is None or check(item) for check, item in zip(checks, value, strict=True))
    )


def _fields(cls: type) -> tuple[tuple[str, str], ...]:
    """The (attribute, constructor parameter) pairs of a record class."""
    if attrs.has(cls):
        return tuple((field.name, field.alias or field.name) for field in attrs.fields(cls) if field.init)
    if dataclasses.is_dataclass(cls):
        return tuple((field.name, field.name) for field in dataclasses.fields(cls) if field.init)
    if issubclass(cls, msgspec.Struct):
        return tuple((name, name) for name in cls.__struct_fields__)
    if issubclass(cls, enum.Enum):
        return (("value", "value"),)
    if issubclass(cls, BaseException):
        return (("args", "args"),)
    raise TypeError(
        f"{cls.__qualname__} cannot be registered: it must be an attrs class, a dataclass, a msgspec Struct, "
        "an Enum or an exception"
    )


class TypeRegistry:
    """The types that may travel in payloads, by class and by name.

    A registry may have a `base`, whose types it knows as well.
    """

    def __init__(self, base: "TypeRegistry | None" = None) -> None:
        self._base = base
        self._by_type: dict[type, Record] = {}
        self._by_name: dict[str, Record] = {}

    def register(self, cls: type[T], *, name: str | None = None, version: int = 1) -> type[T]:
        """Let a class travel. May be used as a decorator.

        Args:
            cls: an attrs class, a dataclass, a msgspec Struct, an Enum or an exception class.
            name: its name on the wire, the same on all nodes; the module and qualified name by default.
            version: raise it when the meaning of the fields changes; a change of their names is noticed
                without.

        Returns:
            The class.

        Raises:
            TypeError: the class is of no such kind.
            ValueError: the name is taken by another class.
        """
        pairs = _fields(cls)
        name = name or f"{cls.__module__}.{cls.__qualname__}"
        other = self.by_name(name)
        if other is not None and other.type is not cls:
            raise ValueError(f"the name {name!r} is registered for {other.type!r}; give another name=")
        fields = tuple(field for field, _ in pairs)
        shape = zlib.crc32(f"{version}:{','.join(fields)}".encode())
        record = Record(cls, name, version, shape, fields, tuple(parameter for _, parameter in pairs))
        self._by_type[cls] = self._by_name[name] = record
        return cls

    def by_type(self, cls: type) -> Record | None:
        """The record of a class, or None."""
        found = self._by_type.get(cls)
        return found if found is not None or self._base is None else self._base.by_type(cls)

    def by_name(self, name: str) -> Record | None:
        """Return the record called `name`, or None."""
        found = self._by_name.get(name)
        return found if found is not None or self._base is None else self._base.by_name(name)


registered = TypeRegistry()
"""The registry that every codec uses unless it is given another."""

register = registered.register
"""Let a class travel, in every node of this program."""
