"""Calls of handlers: their names, their arguments, and coroutines that nobody could await.

A name that the class does not have, and arguments that a method does not take, are the caller's mistake,
which must not cost the callee its life. Python looks at the arguments when the method is called, so nothing
is checked beforehand, and a good call pays nothing for this. That a `TypeError` means a misfit, and not a
mistake within the method, shows in two things: no code but the runtime's own is on the traceback, and the
arguments do not fit the signature.

A method of a sync actor may return a coroutine without being a coroutine function: `return trio.sleep(1)`,
or an `async def` behind a decorator that hides it. No task awaits it there, so it is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn

from enfilade.actors.messages.errors import (
    BadArguments,
    CoroutineReturned,
    UnknownMethod,
    raised_by_the_runtime,
)
from enfilade.actors.messages.reasons import Crashed
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.signals import Call, Cast
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["bad_arguments", "check_method", "refuse", "refused", "run_sync"]


def bad_arguments(
    error: BaseException, method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> BadArguments | None:
    """What to tell who asked for `method(*args, **kwargs)`, if `error` only means that it takes no such
    arguments.
    """
    if type(error) is not TypeError or not raised_by_the_runtime(error):
        return None
    signature = inspect.signature(method)
    try:
        signature.bind(None, *args, **kwargs)  # None stands for self
    except TypeError as misfit:
        return BadArguments(method.__qualname__, signature, args, kwargs, str(misfit))
    return None


def refused(process: Process, request: Call | Cast, method: Callable[..., Any], error: BaseException) -> bool:
    """Whether `error`, which `process` met when it took `request` up, is the fault of the request.

    Then the caller is told; a cast is logged and becomes a dead letter.
    """
    misfit = bad_arguments(error, method, request.args, request.kwargs)
    if misfit is None:
        return False
    if isinstance(request, Call):
        request.fail(misfit)
    else:
        process.node.reports.refused(process.ref, misfit)
        process.node.dead_letters.publish(request, process.ref, Crashed(misfit))
    return True


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


def check_method(ref: Ref[Any], method: str) -> None:
    """A peer's call must name a public method: the callee's own code trusts its callers on that."""
    process = process_of(ref)
    if process is None or (process.handlers is not None and method in process.handlers):
        return
    protocol = process.body.protocol
    if protocol is not None and method not in protocol.handlers:
        raise UnknownMethod(method, type(process.body.actor).__qualname__)
