"""The actions that a supervisor's `Strategy` asks its body to perform.

`Start` and `Stop` are steps: the strategy goes on when it is told how one ended. The others are
done at once.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, Literal, TypeVar

import attrs

from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.signals import undroppable
from enfilade.actors.supervision.children import ChildRecord

__all__ = [
    "Action",
    "Answer",
    "Exit",
    "Ready",
    "Refuse",
    "Report",
    "ReportKind",
    "Retry",
    "Start",
    "Step",
    "Stop",
]

R = TypeVar("R", bound=Hashable)


@attrs.define(eq=False)
class Start(Generic[R]):
    """Spawn the child, linked, and report `started`, `ignored` or `start_failed`."""

    child: ChildRecord[R]


@attrs.define(eq=False)
class Stop(Generic[R]):
    """Stop these children by their shutdown rules, all at once, and report `exited` or `unkillable` for each.

    Named children are stopped one by one, in an order; dynamic children together, under one timer.
    """

    children: tuple[ChildRecord[R], ...]


@undroppable
@attrs.define(eq=False)
class Retry(Generic[R]):
    """Give this action back to `retry`: after what is already queued, and after `delay` seconds if that is
    not 0; if it is infinite, when one of the child's nodes is there.
    """

    child: ChildRecord[R]
    delay: float


@attrs.define(eq=False)
class Ready:
    """The supervisor's own start is complete."""


@attrs.define(eq=False)
class Answer:
    """The request in progress is done; `value` is its result."""

    value: Any


@attrs.define(eq=False)
class Refuse:
    """The request in progress failed with `error`."""

    error: Exception


@attrs.define(eq=False)
class Exit:
    """The supervisor ends with `reason`; no child is left."""

    reason: Reason


ReportKind = Literal[
    "child_terminated", "start_error", "shutdown_error", "reached_max_restart_intensity", "unkillable"
]


@attrs.define(eq=False)
class Report(Generic[R]):
    """Something that an operator wants to know; nothing waits for it."""

    kind: ReportKind
    child: ChildRecord[R]
    ref: R | None
    reason: Reason


Step = Start[R] | Stop[R]
Action = Step[R] | Retry[R] | Ready | Answer | Refuse | Exit | Report[R]
