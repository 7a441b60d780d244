"""Trace contexts: which trace an activity belongs to, after the W3C's Trace Context.

A handler that was called on behalf of a trace has its context in the variable `TRACE`, and so have the tasks
that it starts. `traced.py` says how messages carry it.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Final

import attrs

from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["HOPS", "LARGEST_STATE", "LINKED", "ROOT", "TIMED", "TRACE", "TraceContext"]

HOPS: Final = 64
"""Number of casts and sends in a row after which a trace ends, and the next one begins."""

LINKED: Final = 255
"""The hop count of a context that the next trace is only linked to."""

LARGEST_STATE: Final = 512
"""Bytes of a `tracestate` that are carried; a longer one is left out."""

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)


@attrs.frozen
class TraceContext:
    """A place in a trace.

    Attributes:
        trace_id: 16 bytes, not all zero.
        span_id: 8 bytes: the span that what follows is a child of.
        flags: 8 bits; 1: the trace is sampled.
        state: what vendors of tracing systems add, as it was received.
        hops: how many casts and sends have carried it in a row; more than `HOPS`: what follows begins a
            trace of its own, which is linked to this one.
        began: when the trace was first seen on this node, in seconds of its clock; None when nothing has been
            sent with it.
        size: bytes of the message that has brought it from another node; None.
    """

    trace_id: bytes
    span_id: bytes
    flags: int = 0
    state: str = ""
    hops: int = 0
    began: float | None = attrs.field(default=None, eq=False)
    size: int | None = attrs.field(default=None, eq=False)

    @property
    def is_mark(self) -> bool:
        """True for what stands in the place of a context: `ROOT` and `TIMED`."""
        return self is ROOT or self is TIMED

    @property
    def is_sampled(self) -> bool:
        """True if spans are made of what happens."""
        return bool(self.flags & 1)

    @property
    def is_link(self) -> bool:
        """True if what follows begins a trace of its own."""
        return self.hops > HOPS

    @property
    def traceparent(self) -> str:
        """The 55 characters of the header field `traceparent`."""
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-{self.flags:02x}"

    @property
    def tracestate(self) -> str:
        """The header field `tracestate`: `state`, empty if there is none."""
        return self.state

    @property
    def ids(self) -> dict[str, str]:
        """The fields of a log record that is made in this context."""
        return {"trace_id": self.trace_id.hex(), "span_id": self.span_id.hex()}

    @classmethod
    def parse(cls, traceparent: str, state: str = "") -> TraceContext:
        """Read the header fields `traceparent` and `tracestate`.

        Raises:
            TypeError: `state` is no text.
            ValueError: `traceparent` is malformed, or of an unknown form.
        """
        if not isinstance(state, str):
            raise TypeError(f"expected a tracestate as text, got {safe_repr(state)}")
        found = _PARENT.fullmatch(traceparent)
        version = "" if found is None else found[1]
        if found is None or version == "ff" or (version == "00" and found[5]):
            raise ValueError(
                "expected a traceparent such as "
                f"'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', got {safe_repr(traceparent)}"
            )
        made = cls(bytes.fromhex(found[2]), bytes.fromhex(found[3]), int(found[4], 16), bounded(state))
        if not made.is_valid:
            raise ValueError(
                f"expected ids that are not all zero in a traceparent, got {safe_repr(traceparent)}"
            )
        return made

    @property
    def is_valid(self) -> bool:
        """True if neither id is all zero."""
        return self.trace_id != _NO_TRACE and self.span_id != _NO_SPAN

    def after_hop(self, now: float, longest: float, *, only_links: bool) -> TraceContext:
        """The context that a cast or a message carries which is sent at `now`.

        Args:
            now: seconds of the node's clock.
            longest: how many seconds after its beginning the trace ends.
            only_links: whether every one begins a trace of its own.
        """
        began = now if self.began is None else self.began
        is_over = only_links or now - began > longest or self.hops >= HOPS
        return attrs.evolve(self, hops=LINKED if is_over else self.hops + 1, began=began, size=None)

    def begun(self, now: float) -> TraceContext:
        """The same, of a trace that was first seen at `now`."""
        return attrs.evolve(self, began=now)

    def as_link(self) -> TraceContext:
        """The same, for what is to begin a trace of its own."""
        return attrs.evolve(self, hops=LINKED)


def bounded(state: str) -> str:
    """A `tracestate`; none if it is too long, or has characters that the header field cannot have."""
    return state if len(state) <= LARGEST_STATE and state.isascii() and state.isprintable() else ""


ROOT: Final = TraceContext(_NO_TRACE, _NO_SPAN)
"""Stands for the context of what was chosen to begin a trace."""

TIMED: Final = TraceContext(_NO_TRACE, _NO_SPAN)
"""Stands for the context of what belongs to no trace, and was chosen to be timed."""

TRACE: ContextVar[TraceContext | None] = ContextVar("enfilade_trace", default=None)
"""The context of what is being done; None for what belongs to no trace."""
