"""Guarded calls: code that is not the runtime's own, called where nothing may fail.

A process ends, a timer fires, a node goes away: the others are notified one after the other, and none of
them may keep the next from being notified, nor may a log handler on a full disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from enfilade.actors.messages.safe_text import is_interrupt, safe_repr, safe_str

__all__ = ["guarded", "log"]

logger = logging.getLogger("enfilade.actors")

R = TypeVar("R")


def guarded(fn: Callable[..., R], *args: Any) -> R | None:
    """Return the result of `fn(*args)`; what it raises is logged, and the result is None.

    Never raises, but for Ctrl-C. `fn` is sync, so that a `trio.Cancelled` that it raises is a stray one.
    """
    try:
        return fn(*args)
    except BaseException as error:
        if type(error) is KeyboardInterrupt and is_interrupt(error):
            raise
        log(logging.ERROR, "%s failed for %s", safe_repr(fn), safe_repr(args), error=error)
        return None


def log(level: int, text: str, *values: object, error: BaseException | None = None) -> None:
    """Log `text`, with `values` in it as safe text, and the traceback of `error`.

    Never raises, but for Ctrl-C, whatever filters, formatters and handlers do.
    """
    try:
        if logger.isEnabledFor(level):
            logger.log(level, text, *map(safe_str, values), exc_info=error)
    except BaseException as failure:
        if type(failure) is KeyboardInterrupt and is_interrupt(failure):
            raise
