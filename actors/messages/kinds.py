"""The kind of an object that may be anybody's."""

from __future__ import annotations

from collections.abc import Container, Iterator
from inspect import CO_ITERABLE_COROUTINE
from types import GeneratorType
from typing import Any, Final, Literal, TypeGuard, TypeVar

from enfilade.actors.messages.attempt import is_interrupt

__all__ = [
    "definitions_of",
    "found_in",
    "is_a",
    "is_among",
    "is_awaitable",
    "is_looked_up_by_identity",
    "module_of",
    "unlisted",
]

T = TypeVar("T")

_bases_of = vars(type)["__mro__"].__get__
_names_of = vars(type)["__dict__"].__get__
_module_of = vars(type)["__module__"].__get__
_USUAL_HASH: Final = vars(object)["__hash__"]


def is_a(value: object, *kinds: type[T]) -> TypeGuard[T]:
    """Tell whether `value` is of one of these classes, or of a subclass. Never raises.

    `isinstance` asks the object, too, whose `__class__` may raise, or lie.
    """
    return issubclass(type(value), kinds)


def is_among(value: object, kinds: Container[type]) -> bool:
    """Tell whether the class of `value` is in a table of classes. Raises nothing but Ctrl-C."""
    try:
        return type(value) in kinds
    except BaseException as error:
        return unlisted(error)


def unlisted(error: BaseException) -> Literal[False]:
    """Answer whether a class is in a table, when looking it up has raised `error`: it is not.

    For places that are too hot for `is_among`. A metaclass may have a `__hash__` that raises, or an `__eq__`
    and no `__hash__`.

    Raises:
        KeyboardInterrupt: it was Ctrl-C.
    """
    if is_interrupt(error):
        raise error
    return False


def found_in(kind: type, name: str) -> Any:
    """Return what `kind`, or a base of it, has under a name: where Python looks for the methods of operators.

    None if there is nothing. Runs no code of the class, or of its metaclass.
    """
    return next((found for _, found in definitions_of(kind, name)), None)


def definitions_of(kind: type, name: str) -> Iterator[tuple[type, Any]]:
    """Yield `kind` and its bases, nearest first, that have something under a name, with what each has.

    Runs no code of the class, or of its metaclass.
    """
    for base in _bases_of(kind):
        names = _names_of(base)
        if name in names:
            yield base, names[name]


def module_of(kind: type) -> str | None:
    """Return the name of the module that `kind` is from; None if it is no name. Runs no code of it."""
    name = _module_of(kind)
    return name if type(name) is str else None


def is_looked_up_by_identity(kind: type) -> bool:
    """Tell whether a table finds `kind`, and nothing else in its place. Never raises."""
    return found_in(type(kind), "__hash__") is _USUAL_HASH


def is_awaitable(value: object) -> bool:
    """Tell whether `value` can be awaited. Never raises, and takes nobody's word for it.

    `inspect.isawaitable` asks an abstract class, which looks up the class of `value` in a table.
    """
    if type(value) is GeneratorType:
        return bool(value.gi_code.co_flags & CO_ITERABLE_COROUTINE)
    return found_in(type(value), "__await__") is not None
