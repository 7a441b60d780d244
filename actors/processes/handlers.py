"""Calls of handlers: their names, their arguments, and coroutines that cannot be awaited.

A name that the class does not have, and arguments that a method does not take, are the caller's mistake,
which must not cost the callee its life. Python looks at the arguments when the method is called, so nothing
is checked beforehand, and a good call pays nothing for this. That a `TypeError` means a misfit, and not a
mistake within the method, shows in two things: no code but the runtime's own is on the traceback, and the
arguments do not fit the signature.

A method of a sync actor may return a coroutine without being a coroutine function: `return trio.sleep(1)`,
or an `async def` behind a decorator that hides it. No task awaits it there, so it is refused. So is a reply
that has yet to run: a generator, an iterator. The caller would run it, through the actor's own data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.errors import (
    BadArguments,
    CoroutineReturned,
    LiveResult,
    UnknownMethod,
    raised_by_the_runtime,
)
from enfilade.actors.messages.kinds import found_in, is_among, is_awaitable, is_looked_up_by_identity
from enfilade.actors.messages.live import PLAIN, live_kind
from enfilade.actors.messages.reasons import Crashed
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.messages.signals import Call, Cast
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.protocol import ActorProtocol

__all__ = [
    "bad_arguments",
    "check_deferred",
    "check_method",
    "check_result",
    "refuse",
    "refuse_unknown",
    "refused",
    "run_out",
    "run_sync",
]


def bad_arguments(
    error: BaseException, method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> BadArguments | None:
    """Return the error for the caller of `method(*args, **kwargs)`, if `error` only means that the arguments
    do not fit.
    """
    if type(error) is not TypeError:
        return None
    # Below the compiled core, which has no frames, it is raised before any line of Python.
    if error.__traceback__ is not None and not raised_by_the_runtime(error):
        return None
    signature = inspect.signature(method)
    try:
        signature.bind(None, *args, **kwargs)  # None stands for self
    except TypeError as misfit:
        problem = safe_str(misfit, 500)
        if "timeout" in kwargs and "timeout" not in signature.parameters:
            problem += "; the limit of a call is given by `ref.within(seconds).call(...)`"
        return BadArguments(method.__qualname__, signature, args, kwargs, problem)
    return None


def refused(process: Process, request: Call | Cast, method: Callable[..., Any], error: BaseException) -> bool:
    """Refuse `request` if `error`, which its handling raised, is no failure of the handler; else return
    false: the arguments do not fit, or the reply cannot be handed over.
    """
    misfit = bad_arguments(error, method, request.args, request.kwargs)
    if misfit is not None:
        refuse(process.ref, request, misfit)
        return True
    if type(error) is LiveResult and isinstance(request, Call):
        request.fail(error.with_traceback(None))  # its frames are the runtime's, and hold the request
        return True
    return False


def refuse_unknown(process: Process, request: Call | Cast, protocol: ActorProtocol) -> None:
    """Refuse `request`, because the class has no such method.

    Raises:
        UnknownMethod: the class is strict, so that this ends the actor.
    """
    unknown = UnknownMethod(request.method, protocol.actor.__qualname__, protocol.handlers)
    if protocol.is_strict:
        raise unknown
    refuse(process.ref, request, unknown)


def refuse(ref: Ref[Any], request: Call | Cast, error: Exception) -> None:
    """Refuse `request`, whose sender made the mistake `error`: a call fails; a cast is logged and becomes a
    dead letter.
    """
    if isinstance(request, Call):
        request.fail(error)
    elif (process := process_of(ref)) is not None:
        node = process.node
        node.reports.refused(ref, error)
        node.dead_letters.publish(request, ref, Crashed(error))


def run_sync(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return the result of `fn(*args, **kwargs)`.

    Raises:
        CoroutineReturned, LiveResult: as `check_result`.
        Everything that `fn` raises.
    """
    result = fn(*args, **kwargs)
    if not is_among(result, PLAIN):
        check_result(fn, result)
    return result


async def run_out(fn: Callable[..., Any], result: Any) -> Any:
    """Await what `fn`, of a process with a task, has returned, if it can be, and return what comes of it.

    Raises:
        CoroutineReturned, LiveResult: as `check_result`.
    """
    if is_among(result, PLAIN):
        return result
    if is_awaitable(result):
        result = await result
    if not is_among(result, PLAIN):
        check_result(fn, result)
    return result


KNOWN_TYPES = 2000  # a program may make classes without end


def check_result(fn: Callable[..., Any], result: Any, *, is_reply: bool = False) -> None:
    """Check what `fn` has returned: nothing may be left that has yet to run.

    Args:
        fn: the handler, hook or continuation.
        result: what it returned, if its type is not in `PLAIN`.
        is_reply: whether a caller is to have it, so that iterators are refused, too.

    Raises:
        CoroutineReturned: a coroutine, or something else that is to be awaited; it is closed.
        LiveResult: a generator, which is closed, or an iterator.
    """
    kind = type(result)
    if kind is Deferred:
        return  # and never in `PLAIN`, so that it is looked at: see `check_deferred`
    if found_in(kind, "__await__") is not None:
        if kind is CoroutineType:
            result.close()
        raise CoroutineReturned(fn)
    live = live_kind(result)
    if kind is GeneratorType:
        result.close()
    if live is not None and (is_reply or kind is GeneratorType or kind is AsyncGeneratorType):
        raise LiveResult(fn, live)
    if live is None and len(PLAIN) < KNOWN_TYPES and is_looked_up_by_identity(kind):
        PLAIN.add(kind)


def check_deferred(fn: Callable[..., Any], deferred: Deferred[Any], request: Call | None) -> None:
    """Check that the deferred reply that `fn` has returned is that of `request`, the call that it has had.

    Raises:
        LiveResult: it is that of another call, so nobody would answer this one.
    """
    if deferred.request is not request:
        other = deferred.request.method
        raise LiveResult(
            fn,
            f"deferred reply of another call{f', {safe_str(other)}' if other else ''}",
            "which answers that call alone; return `process.defer()` here too, and answer both",
        )


def check_method(ref: Ref[Any], method: str) -> None:
    """Check that the process has a public method of that name, unless it is to end of that (strict classes).

    Raises:
        UnknownMethod: it has not.
    """
    process = process_of(ref)
    if process is None or (process.handlers is not None and method in process.handlers):
        return
    protocol = process.body.protocol
    if protocol is not None and method not in protocol.handlers and not protocol.is_strict:
        raise UnknownMethod(method, protocol.actor.__qualname__, protocol.handlers)
