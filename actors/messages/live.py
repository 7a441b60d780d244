"""Values that have yet to run: generators, coroutines, iterators.

Another process that is given one would run the code, and hold the data, of the process that made it.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from enfilade.actors.messages.attempt import attempt

__all__ = ["live_kind"]

_ITERATORS_FROM: Final = ("builtins", "itertools")


@attempt(None)
def live_kind(value: Any) -> str | None:
    """Return the word for what `value` is, if it has yet to run: a generator, a coroutine, or an iterator of
    Python's own; otherwise None. Never raises.
    """
    kind = type(value)
    if kind is GeneratorType:
        return "generator"
    if kind is AsyncGeneratorType:
        return "async generator"
    if kind is CoroutineType:
        return "coroutine"
    return kind.__name__ if kind.__module__ in _ITERATORS_FROM and hasattr(kind, "__next__") else None
