"""Targets of starts: a process can be started as one; anything else is refused in words that help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.safe_text import safe_repr, safe_str, shown_name
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.body import is_plain_function, is_spawnable

__all__ = [
    "NotSpawnable",
    "check_arguments",
    "check_target",
    "is_async_function",
    "misfit",
    "refusal",
    "unwrapped",
]

_EXPECTED = "expected an Actor class, an async function or a Spawnable"


class NotSpawnable(TypeError):
    """No process can be made of a target; the caller of `spawn` gets a plain `TypeError`."""


def check_target(target: object) -> None:
    """Check that a process can be started as `target`, before there is one.

    Raises:
        TypeError: it cannot.
    """
    if not is_plain_function(target) and not (
        (isinstance(target, type) and issubclass(target, Actor))
        or is_spawnable(target)
        or is_async_function(target)
    ):
        raise TypeError(*refusal(target).args)


def check_arguments(
    target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, more_may_come: bool = False
) -> None:
    """Check that an async function takes its process and these arguments, before there is a process.

    Where its code does not tell, it is called, which runs nothing of it. What else can be started checks its
    arguments when it starts.

    Args:
        target: what is to be started.
        args: its positional arguments, without the process.
        kwargs: its keyword arguments.
        more_may_come: whether it may yet be given the arguments that are missing, as a template is.

    Raises:
        TypeError: it does not take them.
    """
    if not kwargs and type(target) is FunctionType and _takes(target, 1 + len(args)):
        return  # as nearly always, and in a tenth of the time that a coroutine takes
    if not _runs_nothing_when_called(target):
        return
    try:
        target(None, *args, **kwargs).close()
    except TypeError as error:
        if not (more_may_come and _takes_in_part(target, args, kwargs)):
            raise TypeError(*misfit(target, error).args) from None


def _takes(fn: FunctionType, given: int) -> bool:
    """Tell whether a function certainly takes so many arguments by position, and needs no others."""
    code = fn.__code__
    if code.co_kwonlyargcount > len(fn.__kwdefaults__ or ()):
        return False
    most = code.co_argcount
    is_enough = given >= most - len(fn.__defaults__ or ())
    return is_enough and (given <= most or code.co_flags & inspect.CO_VARARGS != 0)


@attempt(False)
def _runs_nothing_when_called(target: Any) -> bool:
    """Tell whether `target` is an `async def`, or calls one, and no wrapper that has code of its own."""
    target = unwrapped(target)
    fn = target if inspect.isroutine(target) else type(target).__call__
    fn = getattr(fn, "__func__", fn)
    return type(fn) is FunctionType and fn.__code__.co_flags & inspect.CO_COROUTINE != 0


def _takes_in_part(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(target).bind_partial(None, *args, **kwargs)
    except (TypeError, ValueError):
        return False
    return True


def misfit(target: object, error: TypeError) -> NotSpawnable:
    """Return the error that says that an async function does not take its arguments."""
    return NotSpawnable(
        f"cannot spawn {safe_repr(target)}: {safe_str(error)}; its first argument is its own Process, "
        "as in `async def fn(me, ...)`, followed by the arguments of spawn"
    )


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
