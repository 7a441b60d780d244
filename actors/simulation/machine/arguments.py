"""Arguments that a world is given: seconds, and predicates."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["at_least_0", "checked_predicate"]

Predicate = Callable[[], Any]


def at_least_0(seconds: float) -> float:
    """Return a number of seconds that may be 0, or infinite.

    Raises:
        ValueError: it is less than 0, or NaN.
    """
    if not seconds >= 0:
        raise ValueError(f"expected at least 0 seconds, got {seconds!r}")
    return seconds


def checked_predicate(predicate: Predicate) -> Predicate:
    """Return what the test has given as a predicate.

    Raises:
        TypeError: it cannot be called, or gives a coroutine, which would always be true.
    """
    if not callable(predicate) or inspect.iscoroutinefunction(predicate):
        raise TypeError(f"expected a function without arguments, and not an async one, got {predicate!r}")
    return predicate
