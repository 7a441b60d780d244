"""Matches that are data: which messages a selective receive wants, without code that Python has to run."""

from __future__ import annotations

from typing import Any, Final

from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["Like"]

_ABSENT: Final = object()


class Like:
    """A match for the messages that are like `shape`, for `Process.receive`.

    It is a predicate, too: `Like(...)(message)` tells whether the message is wanted. A long mailbox is
    searched for it much faster than by a function.

    Args:
        shape: a class stands for its instances. A tuple stands for a tuple of as many items, each of which is
            like the item of the shape. Anything else stands for what is equal to it.
        attributes: the message must also have these attributes, each like the shape that is given for it.
    """

    __slots__ = ("names", "shape", "values")

    def __init__(self, shape: Any, /, **attributes: Any) -> None:
        self.shape = shape
        self.names = tuple(attributes)
        self.values = tuple(attributes.values())

    def __call__(self, message: Any) -> bool:
        """Tell whether `message` is like the shape. Not a checkpoint. Raises what a comparison raises."""
        return _fits(self.shape, message) and all(
            _fits(value, getattr(message, name, _ABSENT))
            for name, value in zip(self.names, self.values, strict=True)
        )

    def __repr__(self) -> str:
        attributes = [
            f"{name}={safe_repr(value)}" for name, value in zip(self.names, self.values, strict=True)
        ]
        return f"Like({', '.join([safe_repr(self.shape), *attributes])})"


def _fits(shape: Any, value: Any) -> bool:
    if value is shape:
        return True
    if isinstance(shape, type):
        return isinstance(value, shape)
    if type(shape) is tuple:
        is_tuple = issubclass(type(value), tuple) and len(value) == len(shape)
        return is_tuple and all(map(_fits, shape, value))
    return bool(value == shape)
