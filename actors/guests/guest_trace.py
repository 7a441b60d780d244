"""The trace that a guest works for: that of the message which it has at hand.

A guest runs in turns, between which others run in the same context. So its trace is kept here, and is the
current one only while the guest sends something. It ends when the guest asks for the next message.
"""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages import signals
from enfilade.actors.messages.trace_context import TRACE, TraceContext
from enfilade.actors.messages.traced import Span, trace_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["GuestTrace"]


class GuestTrace:
    """The trace of one guest. What is in a block of it is done in that trace.

    Attributes:
        is_there: whether the message at hand belongs to a trace.
    """

    __slots__ = ("_context", "_span", "_token", "is_there")

    def __init__(self) -> None:
        self.is_there = False
        self._context: TraceContext | None = None
        self._span: Span | None = None
        self._token: Token[TraceContext | None] | None = None

    @property
    def traceparent(self) -> str:
        """The `traceparent` of the trace; empty if there is none."""
        return "" if self._context is None else self._context.traceparent

    def taken(self, process: Process, message: Any) -> None:
        """The guest has taken this message."""
        trace = trace_of(message)
        if trace is None:
            return
        is_call = issubclass(type(message), signals.Call)
        tracer = process.node.traces.tracer
        self._span = None
        if tracer is not None:
            self._span = tracer.handling(process, trace, message.method if is_call else None, is_call)
            self._context = self._span.context
        elif not trace.is_mark and not trace.is_link:
            self._context = trace
        self.is_there = self._span is not None or self._context is not None

    def end(self, error: BaseException | None = None) -> None:
        """The guest is done with the message, or has ended."""
        if self.is_there:
            span, self._span, self._context, self.is_there = self._span, None, None, False
            if span is not None:
                span.end(error)

    def __enter__(self) -> None:
        if self._context is not None:
            self._token = TRACE.set(self._context)

    def __exit__(self, *_: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            TRACE.reset(token)
