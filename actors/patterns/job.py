"""A job of a pool, from its submission until a worker has done it."""

from __future__ import annotations

from typing import Any

import attrs

from enfilade.actors.messages.request import Deferred
from enfilade.actors.messages.signals import NO_KWARGS, Cast
from enfilade.actors.messages.trace_context import TRACE, TraceContext
from enfilade.actors.patterns.routing_key import RoutingKey

__all__ = ["Job"]


@attrs.define(eq=False)
class Job:
    """A job that was submitted.

    Attributes:
        number: its place in the order of submission.
        job: what the worker is given.
        key: what routing goes by; None where it goes by something else.
        deferred: the submitter's reply, if it waits for one.
        is_delayed: whether it had a free worker already, and had to wait for the rate.
        trace: the context that it was submitted in.
    """

    number: int
    job: Any
    key: RoutingKey | None
    deferred: Deferred[Any] | None
    is_delayed: bool = False
    trace: TraceContext | None = attrs.field(factory=TRACE.get)

    @property
    def is_given_up(self) -> bool:
        return self.deferred is not None and self.deferred.request.settled

    def as_submitted(self) -> Cast:
        """The job as it came, if nobody waits for it."""
        return Cast("submit", (self.job, None if self.key is None else self.key.value), NO_KWARGS)
