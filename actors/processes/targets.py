"""Targets of starts: a process can be started as one; anything else is refused in words that help."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.safe_text import safe_repr, shown_name
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.body import is_spawnable

__all__ = ["NotSpawnable", "check_target", "is_async_function", "refusal", "unwrapped"]

_EXPECTED = "expected an Actor class, an async function or a Spawnable"


class NotSpawnable(TypeError):
    """`spawn` cannot make a process of the target."""


def check_target(target: object) -> None:
    """Check that a process can be started as `target`, before there is one.

    Raises:
        NotSpawnable: it cannot.
    """
    if not (
        (isinstance(target, type) and issubclass(target, Actor))
        or is_spawnable(target)
        or is_async_function(target)
    ):
        raise refusal(target)


def refusal(target: object) -> NotSpawnable:
    """Return the error that says why nothing can be started as `target`."""
    return NotSpawnable(f"cannot spawn {safe_repr(target)}: {_advice(target)}")


@attempt(_EXPECTED)
def _advice(target: Any) -> str:
    if isinstance(target, Actor):
        return f"it is an actor object; pass the class {shown_name(type(target))}, then its arguments"
    if inspect.iscoroutine(target):
        target.close()  # so that Python does not warn that it was never awaited
        return f"it is a coroutine; pass the function {target.__name__} itself, then its arguments"
    if inspect.isroutine(target):
        *_, owner, name = "<locals>", *target.__qualname__.split(".")
        if owner != "<locals>":
            return f"it is a method; spawn {owner}, then `await ref.call({owner}.{name}, ...)`"
        return f"it is not async; write `async def {target.__name__}(me, ...)`"
    if isinstance(target, type):
        return f"expected a subclass of Actor; write `class {shown_name(target)}(Actor)`"
    return _EXPECTED


@attempt(False)
def is_async_function(target: Any) -> bool:
    """Tell whether calling `target` makes a coroutine."""
    target = unwrapped(target)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)


def unwrapped(target: Any) -> Any:
    """Return the function that a `functools.partial` calls, or `target` itself."""
    while isinstance(target, functools.partial):
        target = target.func
    return target
