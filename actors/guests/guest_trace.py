"""The trace that a guest works for: that of the message which it has at hand.

A guest runs in turns, between which others run in the same context. So its trace is kept here, and is the
current one only while the guest sends something. It ends when the guest asks for the next message.
"""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages import signals
from enfilade.actors.messages.trace_context import TRACE, TraceContext
from enfilade.actors.messages.traced import Span, trace_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["UNTRACED", "GuestTrace", "trace_at_hand"]


class GuestTrace:
    """The trace that a guest works for while it has one message at hand, or `UNTRACED`.

    What is in a block of it is done in that trace.

    Attributes:
        is_there: whether the message at hand belongs to a trace.
    """

    __slots__ = ("_context", "_span", "_token", "is_there")

    def __init__(self, context: TraceContext | None, span: Span | None) -> None:
        self.is_there = context is not None or span is not None
        self._context = context
        self._span = span
        self._token: Token[TraceContext | None] | None = None

    @property
    def traceparent(self) -> str:
        """The `traceparent` of the trace; empty if there is none."""
        return "" if self._context is None else self._context.traceparent

    def end(self, error: BaseException | None = None) -> None:
        """The guest is done with the message, or has ended."""
        if self._span is not None:
            self._span.end(error)

    def __enter__(self) -> None:
        if self._context is not None:
            self._token = TRACE.set(self._context)

    def __exit__(self, *_: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            TRACE.reset(token)


UNTRACED: Final = GuestTrace(None, None)
"""The trace of a guest whose message at hand belongs to none; one for all guests."""


def trace_at_hand(process: Process, message: Any) -> GuestTrace:
    """Return the trace that a guest works for which has taken `message`."""
    trace = trace_of(message)
    if trace is None:
        return UNTRACED
    tracer = process.node.traces.tracer
    if tracer is not None:
        is_call = issubclass(type(message), signals.Call)
        span = tracer.handling(process, trace, message.method if is_call else None, is_call)
        return GuestTrace(span.context, span)
    return UNTRACED if trace.is_mark or trace.is_link else GuestTrace(trace, None)
