"""Coroutines where there is no task to await them: a mistake, which would otherwise pass unseen.

A method of a sync actor may return one without being a coroutine function: `return trio.sleep(1)`, or an
`async def` behind a decorator that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any, NoReturn

from actors.errors import CoroutineReturned

__all__ = ["refuse", "run_sync"]


def run_sync(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What `fn(*args, **kwargs)` returns.

    Raises:
        CoroutineReturned: that is a coroutine.
        Everything that `fn` raises.
    """
    result = fn(*args, **kwargs)
    if type(result) is CoroutineType:
        refuse(fn, result)
    return result


def refuse(fn: Callable[..., Any], coroutine: Coroutine[Any, Any, Any]) -> NoReturn:
    """Close the coroutine that `fn` has returned, and raise `CoroutineReturned`."""
    coroutine.close()
    raise CoroutineReturned(fn)
