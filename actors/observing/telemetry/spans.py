"""Spans: what a node does, as spans of OpenTelemetry.

Sampling is ours and comes first, for even a span that OpenTelemetry drops costs ten times as much as a call:
with a sampled parent a span is made, with one that is not none is, and what has no parent begins a trace with
the given probability. What was not chosen costs one comparison.

A call is a SERVER span where it is handled, and a CLIENT span where it leaves for another node. A cast or a
message is a CONSUMER span where it is handled. Starts, restarts and runs of guests are INTERNAL.

With OpenTelemetry comes code of others: samplers, generators of ids, span processors, exporters. What they
raise is logged and costs the span, and nothing else.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import Exit, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_repr, told
from enfilade.actors.messages.trace_context import ROOT, TRACE, TraceContext
from enfilade.actors.messages.traced import context_of_error
from enfilade.actors.observing.telemetry.call_names import begin_naming, call_name, end_naming, short_name
from enfilade.actors.observing.telemetry.durations import Passing, error_type
from enfilade.actors.observing.telemetry.extra import SCHEMA, of_the_extra
from enfilade.actors.processes.identity import actor_name, target_name
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.trace_layers import LONGEST, begin_carrying, end_carrying
from enfilade.fields import is_number

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Propagation", "Spans"]

Propagation = Literal["parent", "link"]

CRASHES: Final = 1_024
"""How many crashes are remembered until their processes are started again."""

FAILURES_EVERY: Final = 60.0
"""Seconds between two lines of the log about what OpenTelemetry has raised."""

SYSTEM: Final = "enfilade"


class Spans(Listener):
    """Makes spans for one node: its `Tracer`.

    Args:
        node: the node.
        probability: that what has no parent begins a trace.
        record_exceptions: whether spans have the texts and tracebacks of errors.
        propagation: "link": every cast and message begins a trace of its own.
        tracer: makes the spans; None for that of the global provider.

    Attributes:
        failures: how often OpenTelemetry, or what is plugged into it, has raised an error.
    """

    def __init__(
        self,
        node: Node,
        probability: float,
        *,
        record_exceptions: bool,
        propagation: Propagation,
        tracer: Any,
    ) -> None:
        if not (is_number(probability) and 0 <= probability <= 1):
            raise ValueError(f"spans must be a probability between 0 and 1, got {safe_repr(probability)}")
        self.api = of_the_extra("opentelemetry.trace")
        self.contexts = of_the_extra("opentelemetry.context")
        self.records = record_exceptions
        self.failures = 0
        self.tracer = tracer
        if tracer is None:
            from importlib import metadata  # late: it takes a thirtieth of the time of a short command

            self.tracer = self.api.get_tracer(SYSTEM, metadata.version("enfilade"), schema_url=SCHEMA)
        self._node = node
        self._only_links = propagation == "link"
        self._probability = probability
        self._get_context = self.contexts.get_current
        self._left = self._gap()
        self._next_line = -math.inf
        self._crashes: OrderedDict[int, tuple[TraceContext, int]] = OrderedDict()
        self._runs: dict[int, Any] = {}

    def begin(self) -> None:
        """Make spans from now on. Not a checkpoint."""
        self._node.traces.tracer = self
        self._node.hooks.add(self)
        begin_carrying()
        begin_naming()

    def close(self) -> None:
        """Make no more spans. Not a checkpoint."""
        self._node.traces.tracer = None
        self._node.hooks.remove(self)
        end_carrying()
        end_naming()

    def survive(self, error: BaseException) -> None:
        """OpenTelemetry has raised this: log it, once a minute at most. Raises nothing but Ctrl-C."""
        if is_interrupt(error):
            raise error
        self.failures += 1
        now = self._node.traces.now()
        if now >= self._next_line:
            self._next_line = now + FAILURES_EVERY
            text = "OpenTelemetry has failed to make a span of %s (failure %d); the process goes on"
            log(logging.ERROR, text, self._node.full_name, self.failures, error=error)

    # Sampling, and contexts.

    def _gap(self) -> float:
        """How many things that have no parent there are up to the next one that begins a trace."""
        if self._probability <= 0:
            return math.inf
        if self._probability >= 1:
            return 1
        return 1 + math.floor(math.log(1 - self._node.runtime.random()) / math.log(1 - self._probability))

    def _is_chosen(self) -> bool:
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self._gap()
        return True

    def current(self) -> TraceContext | None:
        """See `Tracer.current`."""
        ours = TRACE.get()
        try:
            if self._get_context():
                theirs = self.api.get_current_span().get_span_context()
                if theirs.is_valid:
                    return self.context_of(theirs, ours)
        except BaseException as error:
            self.survive(error)
        if ours is not None:
            return ours
        return ROOT if self._is_chosen() else None

    def context_of(self, theirs: Any, ours: TraceContext | None) -> TraceContext:
        """OpenTelemetry's context as ours, with what ours has besides if it is of the same trace."""
        trace_id, span_id = theirs.trace_id.to_bytes(16, "big"), theirs.span_id.to_bytes(8, "big")
        is_same = ours is not None and ours.trace_id == trace_id
        if ours is not None and is_same and ours.span_id == span_id:
            return ours
        hops, began = (ours.hops, ours.began) if ours is not None and is_same else (0, None)
        state = theirs.trace_state.to_header() if theirs.trace_state else ""
        return TraceContext(trace_id, span_id, int(theirs.trace_flags), state, hops, began)

    def span_context(self, trace: TraceContext) -> Any:
        """A context of ours as OpenTelemetry's."""
        api = self.api
        return api.SpanContext(
            int.from_bytes(trace.trace_id, "big"),
            int.from_bytes(trace.span_id, "big"),
            is_remote=True,
            trace_flags=api.TraceFlags(trace.flags),
            trace_state=api.TraceState.from_header([trace.state] if trace.state else []),
        )

    def sent(self, trace: TraceContext) -> TraceContext:
        """See `Tracer.sent`."""
        return trace.after_hop(self._node.traces.now(), LONGEST, only_links=self._only_links)

    def _start(
        self,
        name: str,
        kind: Any,
        attributes: dict[str, Any],
        trace: TraceContext,
        *,
        at: int | None = None,
    ) -> tuple[Any, TraceContext | None]:
        """A span below `trace`, or linked to it, or at the root of a trace; and the context of what belongs
        to it. The span is None where OpenTelemetry fails, and the context goes on as it is.
        """
        try:
            span = self._span(name, kind, attributes, trace, at)
            return span, self._within(span, trace)
        except BaseException as error:
            self.survive(error)
            return None, _passed_on(trace)

    def _span(
        self, name: str, kind: Any, attributes: dict[str, Any], trace: TraceContext, at: int | None
    ) -> Any:
        api = self.api
        context, links = self.contexts.Context(), []
        if trace.is_link:
            links = [api.Link(self.span_context(trace))]
        elif trace is not ROOT:
            context = api.set_span_in_context(api.NonRecordingSpan(self.span_context(trace)), context)
        return self.tracer.start_span(
            name, context=context, kind=kind, attributes=attributes, links=links, start_time=at
        )

    def _wants(self, trace: TraceContext) -> bool:
        """Tell whether a span is made of what belongs to `trace`."""
        return trace is ROOT or trace.is_sampled or (trace.is_link and self._is_chosen())

    # What spans are made of.

    def handling(
        self, process: Any, trace: TraceContext, method: str | None, is_call: bool
    ) -> _Handled | Passing:
        """See `Tracer.handling`."""
        if not self._wants(trace):
            return Passing(_passed_on(trace))
        title = short_name(actor_name(process) or "mailbox")
        attributes: dict[str, Any] = {"enfilade.process": process.serial}
        own = told(process.name)
        if own is not None:
            attributes["enfilade.process.name"] = own
        if is_call:
            name, kind = f"{title}/{method}", self.api.SpanKind.SERVER
            attributes |= {"rpc.system.name": SYSTEM, "rpc.method": name}
        else:
            destination = own or title
            name, kind = f"process {destination}", self.api.SpanKind.CONSUMER
            attributes |= {
                "messaging.system": SYSTEM,
                "messaging.operation.type": "process",
                "messaging.operation.name": "process",
                "messaging.destination.name": destination,
            }
            if trace.size is not None:
                attributes["messaging.message.envelope.size"] = trace.size
        span, context = self._start(name, kind, attributes, trace)
        return Passing(context) if span is None else _Handled(self, span, context)

    def _within(self, span: Any, trace: TraceContext) -> TraceContext | None:
        """The context of what belongs to a span that was made for `trace`."""
        theirs = span.get_span_context()
        if not theirs.is_valid:  # there is no SDK
            return None
        made = self.context_of(theirs, None if trace.is_link else trace)
        return made if made.began is not None else made.begun(self._node.traces.now())

    def calling(self, request: Request[Any]) -> TraceContext | None:
        """See `Tracer.calling`."""
        trace = self.current()
        if trace is None or not self._wants(trace):
            return trace
        name = call_name(request.method)
        attributes = {
            "rpc.system.name": SYSTEM,
            "rpc.method": name,
            "server.address": request.target.node_name,
        }
        span, context = self._start(name, self.api.SpanKind.CLIENT, attributes, trace)
        if span is not None:
            request.observe(partial(self._replied, span), also_given_up=True)
        return context

    def _replied(self, span: Any, request: Request[Any]) -> None:
        self.finish(span, request.error)

    def starting(self, process: Any, target: object) -> _Started | None:
        """See `Tracer.starting`."""
        trace = self.current()
        if trace is None or not self._wants(trace):
            return None
        title = short_name(target_name(target))
        attributes = {"enfilade.process": process.serial}
        span, context = self._start(f"start {title}", self.api.SpanKind.INTERNAL, attributes, trace)
        return None if span is None else _Started(self, span, context, process, title)

    def runs(self, process: Process, trace: TraceContext | None, title: str) -> None:
        """A guest runs, whose start a span was made of: one is made of its run."""
        if trace is not None and process.body.kind == "guest" and process.ended is None:
            attributes = {"enfilade.process": process.serial}
            span, _ = self._start(f"run {title}", self.api.SpanKind.INTERNAL, attributes, trace)
            if span is not None:
                self._runs[process.serial] = span

    def process_crashing(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        trace = context_of_error(error)
        if trace is not None:
            self._crashes[process.serial] = trace, time.time_ns()
            if len(self._crashes) > CRASHES:
                self._crashes.popitem(last=False)

    def process_ended(self, process: Process, reason: Reason) -> None:
        span = self._runs.pop(process.serial, None)
        if span is not None:
            self.finish(span, None if reason.is_normal else Exit(reason))

    def child_restarted(
        self,
        supervisor: Process,
        child_id: Hashable,
        old: Ref[Any],
        ref: Ref[Any],
        reason: Reason,
        in_period: int,
    ) -> None:
        trace, at = self._crashes.pop(old.serial, (None, None))
        if trace is None:
            if not self._is_chosen():
                return
            trace = ROOT
        else:
            trace = trace.as_link()
            if not self._wants(trace):
                return
        above = told(supervisor.name) or supervisor.ref
        title = safe_id(child_id) if child_id is not None else f"child of {above}"
        attributes = {"enfilade.process": ref.serial}
        span, _ = self._start(f"restart {title}", self.api.SpanKind.INTERNAL, attributes, trace, at=at)
        if span is not None:
            self.finish(span, None)

    def finish(self, span: Any, error: BaseException | None) -> None:
        """End a span, with an error or without. Never raises, but for Ctrl-C."""
        try:
            try:
                if error is not None and span.is_recording() and not _is_normal(error):
                    span.set_attribute("error.type", error_type(error))
                    span.set_status(self.api.Status(self.api.StatusCode.ERROR))
                    if self.records:
                        span.record_exception(error)
            finally:
                span.end()
        except BaseException as failure:
            self.survive(failure)


class _Handled:
    """The span of one message, which is OpenTelemetry's current one meanwhile."""

    def __init__(self, spans: Spans, span: Any, context: TraceContext | None) -> None:
        self.context = context
        self._spans = spans
        self._span = span
        self._token: Any = None

    def enter(self) -> None:
        """See `Span.enter`."""
        try:
            self._token = self._spans.contexts.attach(self._spans.api.set_span_in_context(self._span))
        except BaseException as error:
            self._spans.survive(error)

    def end(self, error: BaseException | None) -> None:
        """See `Span.end`."""
        if self._token is not None:
            try:
                self._spans.contexts.detach(self._token)
            except BaseException as failure:
                self._spans.survive(failure)
        self._spans.finish(self._span, error)


class _Started:
    """The span of the start of a process."""

    def __init__(
        self, spans: Spans, span: Any, context: TraceContext | None, process: Process, title: str
    ) -> None:
        self.context = context
        self._spans = spans
        self._span = span
        self._process = process
        self._title = title

    def enter(self) -> None:
        """See `Span.enter`: it spans more than one step."""

    def end(self, error: BaseException | None) -> None:
        """See `Span.end`."""
        self._spans.finish(self._span, error)
        if error is None:
            self._spans.runs(self._process, self.context, self._title)


def _passed_on(trace: TraceContext) -> TraceContext | None:
    """The context of what belongs to `trace`, where no span is made."""
    return None if trace.is_mark or trace.is_link else trace


def _is_normal(error: BaseException) -> bool:
    return is_a(error, Exit) and error.reason.is_normal
