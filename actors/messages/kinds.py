"""The kind of an object that may be anybody's."""

from __future__ import annotations

from typing import TypeGuard, TypeVar

__all__ = ["is_a"]

T = TypeVar("T")


def is_a(value: object, *kinds: type[T]) -> TypeGuard[T]:
    """Tell whether `value` is of one of these classes, or of a subclass. Never raises.

    `isinstance` asks the object, too, whose `__class__` may raise, or lie.
    """
    return issubclass(type(value), kinds)
