"""Arguments that a method does not take: the caller's mistake, which must not cost the callee its life.

Python looks at the arguments when the method is called, so nothing is checked beforehand, and a good call
pays nothing for this. That a `TypeError` means a misfit, and not a mistake within the method, shows in two
things: no code but the runtime's own is on the traceback, and the arguments do not fit the signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from actors.errors import BadArguments, raised_by_the_runtime
from actors.reasons import Crashed
from actors.signals import Call, Cast

if TYPE_CHECKING:
    from actors.process import Process

__all__ = ["bad_arguments", "refused"]


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
        process.node.reports.refused(process, misfit)
        process.node.dead_letters.publish(request, process.ref, Crashed(misfit))
    return True
