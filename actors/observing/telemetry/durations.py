"""Durations: how long handlers and calls take, as histograms of OpenTelemetry.

To record one duration costs ten times as much as a call, so of the messages and calls that are handled one in
`every` is timed. The others cost what carrying of contexts does, and a subtraction. Calls to other nodes cost
much more anyway, and are timed all.

A message that belongs to no trace is chosen where it is sent, and carries the mark `TIMED`. One that belongs
to a trace is chosen where it is handled.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import Exit
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import full_name, safe_repr
from enfilade.actors.messages.trace_context import TIMED, TRACE, TraceContext
from enfilade.actors.observing.telemetry.call_names import begin_naming, call_name, end_naming, short_name
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.trace_layers import LONGEST, begin_carrying, end_carrying

if TYPE_CHECKING:
    from enfilade.actors.messages.traced import Span, Tracer
    from enfilade.actors.node.node import Node

__all__ = ["BUCKETS", "HISTOGRAMS", "Durations", "Passing", "error_type"]

SYSTEM: Final = "enfilade"

BUCKETS: Final = (*(float(f"{step}e{power}") for power in range(-6, 1) for step in (1, 2.5, 5)), 10.0)
"""The borders of the buckets, in seconds."""

HISTOGRAMS: Final = {
    "rpc.server.call.duration": "Time to handle a call: a sample.",
    "rpc.client.call.duration": "Time until a call to another node was answered.",
    "messaging.process.duration": "Time to handle a message or cast: a sample.",
}
"""The names of the histograms, and what each says. All are in seconds."""

VALUES: Final = 200
OTHER: Final = "_OTHER"
"""How many methods and classes are told apart, and the name of the rest."""


class Durations:
    """Times what one node handles: a `Tracer` that stands before the one that makes spans.

    Args:
        node: the node.
        every: one of so many messages and calls is timed.
        meter: makes the histograms.
        spans: makes spans; None.

    Raises:
        ValueError: `every` is not a number from 1 on.
    """

    def __init__(self, node: Node, every: int, meter: Any, spans: Tracer | None) -> None:
        if type(every) is not int or every < 1:
            raise ValueError(f"durations must be an integer of at least 1, got {safe_repr(every)}")
        self._node = node
        self._every = every
        self._left = every
        self._spans = spans
        self._now = node.runtime.monotonic
        self._known: set[str] = set()
        self._next_line = -math.inf
        self._histograms = {
            name: meter.create_histogram(
                name, unit="s", description=text, explicit_bucket_boundaries_advisory=BUCKETS
            )
            for name, text in HISTOGRAMS.items()
        }

    def begin(self) -> None:
        """Take times from now on. Not a checkpoint."""
        self._node.traces.tracer = self
        begin_carrying()
        begin_naming()

    def close(self) -> None:
        """Take no more times. Not a checkpoint."""
        self._node.traces.tracer = self._spans
        end_naming()
        end_carrying()

    def _is_chosen(self) -> bool:
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self._every
        return True

    def current(self) -> TraceContext | None:
        """See `Tracer.current`."""
        trace = TRACE.get() if self._spans is None else self._spans.current()
        return TIMED if trace is None and self._is_chosen() else trace

    def sent(self, trace: TraceContext) -> TraceContext:
        """See `Tracer.sent`."""
        if self._spans is not None:
            return self._spans.sent(trace)
        return trace.after_hop(self._node.traces.now(), LONGEST, only_links=False)

    def handling(self, process: Any, trace: TraceContext, method: str | None, is_call: bool) -> Span:
        """See `Tracer.handling`."""
        inner: Span
        if trace is TIMED or self._spans is None:
            inner = Passing(None if trace.is_mark or trace.is_link else trace)
        else:
            inner = self._spans.handling(process, trace, method, is_call)
        if trace is not TIMED and not self._is_chosen():
            return inner
        title = self._bounded(short_name(actor_name(process) or "mailbox"))
        if is_call:
            name = "rpc.server.call.duration"
            attributes = {"rpc.system.name": SYSTEM, "rpc.method": self._bounded(f"{title}/{method}")}
        else:
            name = "messaging.process.duration"
            attributes = {
                "messaging.system": SYSTEM,
                "messaging.operation.name": "process",
                "messaging.destination.template": title,
            }
        return _Timed(self, inner, name, attributes)

    def starting(self, process: Any, target: object) -> Span | None:
        """See `Tracer.starting`."""
        return None if self._spans is None else self._spans.starting(process, target)

    def calling(self, request: Request[Any]) -> TraceContext | None:
        """See `Tracer.calling`."""
        attributes = {
            "rpc.system.name": SYSTEM,
            "rpc.method": self._bounded(call_name(request.method)),
            "server.address": self._bounded(request.target.node_name),
        }
        request.observe(partial(self._replied, self._now(), attributes), also_given_up=True)
        if self._spans is not None:
            return self._spans.calling(request)
        trace = TRACE.get()
        if trace is not None:
            self._node.traces.seen()
        return trace

    def _replied(self, began: float, attributes: dict[str, str], request: Request[Any]) -> None:
        self.record("rpc.client.call.duration", began, attributes, request.error)

    def now(self) -> float:
        """Seconds of the clock that times are taken by."""
        return self._now()

    def record(
        self, name: str, began: float, attributes: dict[str, str], error: BaseException | None
    ) -> None:
        """Record what began then and is over now, with an error or without. Never raises, but for Ctrl-C."""
        seconds = self._now() - began
        if error is not None and not (is_a(error, Exit) and error.reason.is_normal):
            attributes = {**attributes, "error.type": error_type(error)}
        try:
            self._histograms[name].record(seconds, attributes)
        except BaseException as failure:
            if is_interrupt(failure):
                raise
            if self._now() >= self._next_line:
                self._next_line = self._now() + 60
                log(logging.ERROR, "OpenTelemetry has failed to record %s", name, error=failure)

    def _bounded(self, value: str) -> str:
        """A value of an attribute, as long as there are not too many."""
        if value in self._known:
            return value
        if len(self._known) >= VALUES:
            return OTHER
        self._known.add(value)
        return value


class Passing:
    """A message of which no span is made: its context goes on as it is."""

    def __init__(self, context: TraceContext | None) -> None:
        self.context = context

    def enter(self) -> None:
        """See `Span.enter`."""

    def end(self, error: BaseException | None) -> None:
        """See `Span.end`."""


class _Timed:
    """A message that is timed, and its span."""

    def __init__(self, durations: Durations, inner: Span, name: str, attributes: dict[str, str]) -> None:
        self.context = inner.context
        self._durations = durations
        self._inner = inner
        self._name = name
        self._attributes = attributes
        self._began = durations.now()

    def enter(self) -> None:
        """See `Span.enter`."""
        self._inner.enter()

    def end(self, error: BaseException | None) -> None:
        """See `Span.end`."""
        self._durations.record(self._name, self._began, self._attributes, error)
        self._inner.end(error)


def error_type(error: BaseException) -> str:
    """The qualified name of an error's class; of an exit, that of its reason."""
    kind: type = type(error.reason) if is_a(error, Exit) else type(error)
    return full_name(kind)
