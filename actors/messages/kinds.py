"""The kind of an object that may be anybody's."""

from __future__ import annotations

from typing import TypeGuard, TypeVar

from enfilade.actors.messages.attempt import attempt

__all__ = ["has_hashable_class", "is_a"]

T = TypeVar("T")


def is_a(value: object, *kinds: type[T]) -> TypeGuard[T]:
    """Tell whether `value` is of one of these classes, or of a subclass. Never raises.

    `isinstance` asks the object, too, whose `__class__` may raise, or lie.
    """
    return issubclass(type(value), kinds)


@attempt(False)
def has_hashable_class(value: object) -> bool:
    """Tell whether the class of `value` can be looked up in a table. Never raises.

    A metaclass with an `__eq__` of its own and no `__hash__` makes classes that cannot.
    """
    hash(type(value))
    return True
