"""Attempts: functions that run code which is not the runtime's own, and may not fail.

Whatever such code raises is swallowed, with one exception: Ctrl-C. Python runs the handler of SIGINT between
any two lines of the main thread, also within such an attempt, and there the `KeyboardInterrupt` belongs to
the program. One that the code has raised itself does not.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["attempt", "is_interrupt"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def attempt(otherwise: S) -> Callable[[Callable[P, R]], Callable[P, R | S]]:
    """Let a function return `otherwise` where it would raise anything but Ctrl-C."""

    def decorate(fn: Callable[P, R]) -> Callable[P, R | S]:
        @functools.wraps(fn)
        def attempted(*args: P.args, **kwargs: P.kwargs) -> R | S:
            try:
                return fn(*args, **kwargs)
            except BaseException as error:
                # Out of stack, there may be no room for the call, and the first test is free.
                if type(error) is KeyboardInterrupt and is_interrupt(error):
                    raise
                return otherwise

        return attempted

    return decorate


def is_interrupt(error: BaseException) -> bool:
    """Return true for a `KeyboardInterrupt` that the handler of a signal has raised."""
    if type(error) is not KeyboardInterrupt or threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # which leaves no frame behind
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is getattr(handler, "__code__", None)
