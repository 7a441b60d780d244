"""The trace context of the running code, with or without OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.trace_context import TRACE, TraceContext
from enfilade.actors.messages.traced import Traced, using
from enfilade.actors.processes.trace_layers import begin_carrying, end_carrying

__all__ = ["carry", "context", "use"]


def context() -> TraceContext | None:
    """Return the context of the trace that the running code belongs to; None for none. Not a checkpoint.

    Inside a handler it is that of the message, or of the span that was made of its handling. A span that the
    program itself has begun with OpenTelemetry is not looked at.
    """
    return TRACE.get()


@contextmanager
def use(traceparent: str | TraceContext | None, tracestate: str = "") -> Iterator[TraceContext | None]:
    """Do what is in the block in the context of a trace: what it sends, casts and calls carries that.

    It works without OpenTelemetry: the header fields of a request that has come from elsewhere are passed on.

    Args:
        traceparent: the value of that header field; or what `context` has returned.
        tracestate: the value of that header field. One of more than 512 bytes, or with other characters than
            printable ones of ASCII, is left out.

    Raises:
        TypeError: one of them is of another type.
        ValueError: `traceparent` is malformed.
    """
    if not (traceparent is None or isinstance(traceparent, str | TraceContext)):
        raise TypeError(f"expected a traceparent, or a context, got {safe_repr(traceparent)}")
    trace = TraceContext.parse(traceparent, tracestate) if isinstance(traceparent, str) else traceparent
    begin_carrying()
    try:
        with using(trace):
            yield trace
    finally:
        end_carrying()


def carry(message: object) -> object:
    """Return `message` with the context of the running code, to be sent later. Not a checkpoint.

    For timers: what they send carries no context unless it was given one.

        me.send_after(5.0, me.ref, carry("look again"))
    """
    trace = TRACE.get()
    return message if trace is None else Traced(message, trace)
