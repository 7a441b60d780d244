"""Resumption: an actor that goes on after a handler has failed.

The rule is to let an actor crash, because nobody knows what state the failure has left. An actor that knows
better declares which errors leave its state whole. Then only the message is lost: its caller gets the error,
or it becomes a dead letter. Failures without end escalate: one more than the limit ends the actor as any
crash does, and its supervisor decides.

Source: Akka's `Resume` directive.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.errors import StepFailed
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import Crashed, Exit
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.tracebacks import outline
from enfilade.fields import is_int, is_number

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Failures", "Resume", "resumed"]

Errors = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


def _check_errors(_instance: object, _attribute: object, errors: Any) -> None:
    kinds = errors if isinstance(errors, tuple) else (errors,)
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return
    if isinstance(errors, tuple | type) or not callable(errors):
        raise TypeError(
            "errors must be a subclass of Exception, a tuple of them or a predicate of one argument, got "
            f"{safe_repr(errors)}"
        )


def _check_limit(_instance: object, _attribute: object, limit: Any) -> None:
    if not is_int(limit) or limit < 1:
        raise ValueError(f"limit must be a positive int, got {safe_repr(limit)}")


def _check_period(_instance: object, _attribute: object, period: Any) -> None:
    if not is_number(period) or not 0 < period < math.inf:
        raise ValueError(f"period must be a finite number of seconds above 0, got {safe_repr(period)}")


@attrs.frozen
class Resume:
    """The decision that an actor goes on, with the state that it has, when one of its handlers has failed.

    Declared for a class, `on_failure = Resume(LookupError)`, or for a child, `Child(..., on_failure=...)`,
    which goes before the class's. It covers methods, `on_message`, `on_exit`, `on_down` and continuations,
    sync or async; not the start, not `on_stop`, and not `Exit`, by which an actor ends itself.

    Attributes:
        errors: after which errors: a class, a tuple of classes, or a predicate of the error. Anything that is
            no `Exception` ends the actor.
        limit: how often within `period`, at least 1; one more failure ends the actor.
        period: seconds, more than 0 and finite.

    Raises:
        TypeError: `errors` is none of these.
        ValueError: `limit` or `period` is out of its range.
    """

    errors: Errors = attrs.field(default=Exception, validator=_check_errors)
    limit: int = attrs.field(default=10, validator=_check_limit)
    period: float = attrs.field(default=5.0, validator=_check_period)


class Failures:
    """The failures that one process has survived lately."""

    __slots__ = ("_instants", "decision")

    def __init__(self, decision: Resume) -> None:
        self.decision = decision
        self._instants: deque[float] = deque(maxlen=decision.limit)

    def survives(self, error: Exception, now: float) -> bool:
        """Tell whether the process goes on after `error`; it is counted then."""
        errors, instants = self.decision.errors, self._instants
        if isinstance(errors, type | tuple):
            is_covered = is_a(error, *(errors if isinstance(errors, tuple) else (errors,)))
        else:
            is_covered = _covers(errors, error)
        if not is_covered:
            return False
        if len(instants) == self.decision.limit and now - instants[0] <= self.decision.period:
            return False
        instants.append(now)
        return True


@attempt(False)
def _covers(errors: Callable[[Exception], bool], error: Exception) -> bool:
    return bool(errors(error))


def _failures(process: Process, actor: Any) -> Failures | None:
    extras = process.extras_or_none
    if extras is not None and extras.failures is not None:
        return extras.failures
    decision = getattr(type(actor), "on_failure", None)
    if not isinstance(decision, Resume):
        return None
    failures = process.extras().failures = Failures(decision)
    return failures


def resumed(process: Process, actor: Any, message: Any, error: BaseException) -> bool:
    """Tell whether `process` goes on though the handler of `message` has raised `error`.

    Then the message is answered with the error, or a dead letter. `message` is None for a continuation; the
    caller of a call that runs in its own task is told otherwise.
    """
    if not is_a(error, Exception) or is_a(error, Exit, StepFailed):
        return False
    if process.ended is not None or process.exit_signal is not None:
        return False
    failures = _failures(process, actor)
    if failures is None or not failures.survives(error, trio.current_time()):
        return False
    node = process.node
    node.reports.resumed(process.ref, message, error)
    if not node.config.keep_tracebacks:
        outline(error)
    if is_a(message, signals.Call):
        process.settle_deferred(message)  # the handler may have deferred its reply before it failed
        message.fail(error)
    elif message is not None and (type(message) is signals.Cast or signals.is_plain(message)):
        node.dead_letters.publish(message, process.ref, Crashed(error))
    process.at_hand = None
    return True
