"""Trace contexts on node links: the field `trace` of frames, and what sends it.

The field is bytes: a version, 0; the trace id, 16; the span id, 8; the flags; the hop count; then the
`tracestate` in UTF-8. One that is malformed, or of another version, counts as none: it harms nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from enfilade.actors.messages import signals
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.trace_context import LARGEST_STATE, LINKED, TraceContext, bounded
from enfilade.actors.messages.traced import Traced, mark, trace_of
from enfilade.actors.processes.trace_layers import outgoing, traced_message
from enfilade.transport.wire import NIL

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import RemoteRef
    from enfilade.actors.node.node import Node
    from enfilade.actors.peers.authority import Authority

__all__ = ["carrying", "field_of", "received"]

VERSION: Final = 0
_HEAD: Final = 27
"""Bytes before the state."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(bytes).decode


def field_of(trace: TraceContext) -> msgspec.Raw:
    """The field of a frame that carries this context."""
    head = bytes([VERSION]) + trace.trace_id + trace.span_id + bytes([trace.flags, trace.hops])
    return msgspec.Raw(_encode(head + trace.state.encode("utf-8", "replace")))


def _read(field: msgspec.Raw) -> TraceContext | None:
    """The context in a field; None if it is malformed."""
    try:
        data = _decode(field)
        if len(data) < _HEAD or len(data) > _HEAD + LARGEST_STATE or data[0] != VERSION:
            return None
        state = bounded(data[_HEAD:].decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    made = TraceContext(data[1:17], data[17:25], data[25], state, data[26])
    return made if made.is_valid else None


def received(node: Node, frame: Any, authority: Authority) -> TraceContext | None:
    """The context that a frame of a peer has brought; None if it has none that can be read.

    Where the rights of the peer do not say that its traces go on here, what follows is only linked to them.
    """
    field = getattr(frame, "trace", NIL)
    if field is NIL:
        return None
    trace = _read(field)
    if trace is None:
        node.traces.malformed += 1
        return None
    node.traces.seen()
    if not authority.rights.trace_context:  # nor does it say what is sampled here
        trace = attrs.evolve(trace, hops=LINKED, flags=trace.flags & ~1)
    return attrs.evolve(trace, began=node.traces.now(), size=len(frame.payload))


def carrying(plain: Callable[..., Any]) -> Callable[..., Any]:
    """The layer over `RemoteNode.deliver`: signals leave with the context that they were sent in."""

    def deliver(self: Any, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        plain(self, ref, _with_context(self._node, signal))

    return deliver


def _with_context(node: Node, signal: signals.Signal) -> signals.Signal:
    if isinstance(signal, signals.Call):
        if isinstance(signal, Request) and trace_of(signal) is None and signal.method not in _ORDERS:
            tracer = node.traces.tracer
            trace = outgoing(node) if tracer is None else tracer.calling(signal)
            if trace is not None:
                mark(signal, trace)
    elif isinstance(signal, signals.Send | signals.Cast):
        message = signal if isinstance(signal, signals.Cast) else signal.message
        traced = traced_message(node, message)
        if type(traced) is Traced and not traced.trace.is_mark:
            return signals.Send(traced)
    return signal


_ORDERS: Final = frozenset({signals.STOP, signals.DRAIN, signals.ROOM})
