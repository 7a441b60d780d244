"""Guarded calls: code that is not the runtime's own, called where nothing may fail.

A process ends, a timer fires, a node goes away: the others are notified one after the other, and none of
them may keep the next from being notified, nor may a log handler on a full disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from enfilade.actors.messages.attempt import attempt, is_interrupt
from enfilade.actors.messages.plain import is_word
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.tracebacks import formatted, trace_of

__all__ = ["NO_FIELDS", "guarded", "is_logged", "log"]

logger = logging.getLogger("enfilade.actors")

is_logged: Final = logger.isEnabledFor
"""Tells whether anything is logged at a level."""

R = TypeVar("R")

NO_FIELDS: Final[Mapping[str, object]] = {}

LARGEST = 1_000
"""Characters of each value in a line of the log."""


def guarded(fn: Callable[..., R], *args: Any) -> R | None:
    """Return the result of `fn(*args)`; what it raises is logged, and the result is None.

    Never raises, but for Ctrl-C. `fn` is sync, so that a `trio.Cancelled` that it raises is a stray one.
    """
    try:
        return fn(*args)
    except BaseException as error:
        if is_interrupt(error):
            raise
        log(logging.ERROR, "%r failed for %r", fn, args, error=error)
        return None


@attempt(None)
def log(
    level: int,
    text: str,
    *values: Any,
    error: BaseException | None = None,
    stack: str | None = None,
    extra: Mapping[str, object] = NO_FIELDS,
    logger: logging.Logger = logger,
) -> None:
    """Log a line, `text % values`, and below it the traceback of `error`, or a stack. Costs nothing where the
    level is not logged.

    The fields in `extra` become attributes of the record, as logging's own `extra` does; those that are None
    are left out.

    The values are shown as safe text; a number may have a format of its own. Never raises, but for Ctrl-C,
    whatever values, filters, formatters and handlers do.
    """
    if not logger.isEnabledFor(level):
        return
    line = text % tuple(value if _is_small_number(value) else _Shown(value) for value in values)
    cause = None if error is None else (type(error), error, trace_of(error))
    record = logger.makeRecord(logger.name, level, __file__, 0, line, (), cause, "log", sinfo=stack)
    record.__dict__.update({name: value for name, value in extra.items() if value is not None})
    if error is not None:
        record.exc_text = formatted(error)  # in the place of what the handler's formatter would make of it
    _hand_out(logger, record)


def _hand_out(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Give `record` to the handlers, as `Logger.handle` does; one that fails keeps it from no other."""
    passed: Any = _filtered(logger, record)
    if not passed or logger.disabled:
        return
    if isinstance(passed, logging.LogRecord):
        record = passed
    handlers: list[logging.Handler] = []
    place: logging.Logger | None = logger
    while place is not None:
        handlers += place.handlers
        place = place.parent if place.propagate else None
    if not handlers and logging.lastResort is not None:
        handlers.append(logging.lastResort)
    for handler in handlers:
        if record.levelno >= handler.level:
            _hand_to(handler, record)


@attempt(True)
def _filtered(logger: logging.Logger, record: logging.LogRecord) -> Any:
    return logger.filter(record)


@attempt(None)
def _hand_to(handler: logging.Handler, record: logging.LogRecord) -> None:
    try:
        handler.handle(record)
    except Exception:
        handler.handleError(record)  # which says so on stderr, if `logging.raiseExceptions` is set


def _is_small_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and is_word(value))


class _Shown:
    """A value in a line."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return safe_str(self._value, LARGEST)

    def __repr__(self) -> str:
        return safe_repr(self._value, LARGEST)
