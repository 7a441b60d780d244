"""Values that have yet to run: generators, coroutines, iterators.

Another process that is given one would run the code, and hold the data, of the process that made it.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.kinds import is_among

__all__ = ["PLAIN", "live_kind"]

PLAIN: Final[set[type]] = {
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    tuple,
    list,
    dict,
    set,
    frozenset,
}
"""Types of which a handler may return objects: these have yet to run nothing. `check_result` adds to it."""

_ITERATORS_FROM: Final = ("builtins", "itertools")


def live_kind(value: Any) -> str | None:
    """Return the word for what `value` is, if it has yet to run: a generator, a coroutine, or an iterator of
    Python's own; otherwise None. Raises nothing but Ctrl-C.
    """
    return None if is_among(value, PLAIN) else _live_kind(value)


@attempt(None)
def _live_kind(value: Any) -> str | None:
    kind = type(value)
    if kind is GeneratorType:
        return "generator"
    if kind is AsyncGeneratorType:
        return "async generator"
    if kind is CoroutineType:
        return "coroutine"
    return kind.__name__ if kind.__module__ in _ITERATORS_FROM and hasattr(kind, "__next__") else None
