"""Carrying of trace contexts from process to process: layers over what messages go through.

The layers are on while there is something to carry: a tracer makes spans on a node of this program, plain
code is in a block of `use`, or messages with contexts have been seen within the last minute, so that a node
which makes no spans passes contexts on. Otherwise the plain functions are in their places, and a message has
neither a field nor a test for its context.

Every request comes through one of `hand_off`, `put` and `step_with`, in the context of its caller; messages
and casts come through `send` and `cast`. Node links have a layer of their own (`add_layer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.layers import Layer, put_on, take_off
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.signals import NO_KWARGS, Cast
from enfilade.actors.messages.trace_context import TRACE, TraceContext
from enfilade.actors.messages.traced import Traced, Within, mark, trace_of, using
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.record import Record

if TYPE_CHECKING:
    from enfilade.actors.messages.traced import Tracer
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.timers import Timer, Timers

__all__ = ["NodeTraces", "add_layer", "begin_carrying", "end_carrying", "outgoing", "traced_message"]

LINGERS: Final = 60.0
"""Seconds for which contexts are carried after the last one was seen."""

LONGEST: Final = 60.0
"""Seconds after its beginning after which a trace ends: the next cast or message begins another."""


class NodeTraces:
    """The traces that pass through one node.

    Attributes:
        tracer: makes spans of what happens; None.
        malformed: contexts from other nodes that could not be read.
    """

    def __init__(self, timers: Timers) -> None:
        self.tracer: Tracer | None = None
        self.malformed = 0
        self._timers = timers
        self._seen = 0.0
        self._timer: Timer | None = None

    def now(self) -> float:
        """Seconds of the node's clock."""
        return self._timers.now()

    def seen(self) -> None:
        """A context is here: carry contexts for another minute. Not a checkpoint."""
        self._seen = self._timers.now()
        if self._timer is None:
            begin_carrying()
            self._timer = self._timers.call_after(LINGERS, self._look, self._seen)

    def _look(self, last: float) -> None:
        """A minute has passed since `last`, when the last context was seen, unless another was meanwhile."""
        if self._seen > last:
            left = max(0.0, self._seen + LINGERS - self._timers.now())
            self._timer = self._timers.call_after(left, self._look, self._seen)
        else:
            self._timer = None
            end_carrying()

    def close(self) -> None:
        """The node has stopped. Not a checkpoint."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            end_carrying()


def outgoing(node: Node) -> TraceContext | None:
    """The context that a call carries which is made now, to a process of `node`; None for none."""
    tracer = node.traces.tracer
    trace = TRACE.get() if tracer is None else tracer.current()
    if trace is not None and not trace.is_mark:
        node.traces.seen()
    return trace


def _after_hop(node: Node) -> TraceContext | None:
    """The context that a message carries which is sent now, to a process of `node`; None for none."""
    trace = outgoing(node)
    if trace is None or trace.is_mark:
        return trace
    tracer = node.traces.tracer
    if tracer is not None:
        return tracer.sent(trace)
    carried = trace.after_hop(node.traces.now(), LONGEST, only_links=False)
    return None if carried.is_link else carried


def traced_message(node: Node, message: Any) -> Any:
    """A message, or a cast, with the context that it is to carry, if there is one."""
    if type(message) is Traced:
        return message
    trace = _after_hop(node)
    return message if trace is None else Traced(message, trace)


def _send(plain: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: LocalRef[Any], message: Any) -> None:
        process = self._process
        message = traced_message(process.node, message)
        if type(message) is Traced and process.reader is not None:
            process.extras().is_traced = True
        plain(self, message)

    return send


def _cast(plain: Callable[..., Any]) -> Callable[..., Any]:
    def cast(self: LocalRef[Any], method: Any, /, *args: Any, **kwargs: Any) -> None:
        process = self._process
        trace = _after_hop(process.node)
        if trace is None:
            plain(self, method, *args, **kwargs)
        else:
            LocalRef.send(self, Traced(Cast(self.name_of(method), args, kwargs or NO_KWARGS), trace))

    return cast


def _hand_off(plain: Callable[..., Any]) -> Callable[..., Any]:
    def hand_off(self: DispatchedBody, handler: Any, args: Any, kwargs: Any) -> Any:
        process = self.process
        trace = outgoing(process.node)
        if trace is not None:
            handler = Within(process, trace, handler, getattr(handler, "__name__", ""), is_call=True)
        return plain(self, handler, args, kwargs)

    return hand_off


def _put(plain: Callable[..., Any]) -> Callable[..., Any]:
    def put(self: Record, message: Any) -> None:
        _mark(self, message)
        plain(self, message)

    return put


def _step_with(plain: Callable[..., Any]) -> Callable[..., Any]:
    def step_with(self: Dispatcher, process: Process, message: Any) -> None:
        _mark(process, message)
        plain(self, process, message)

    return step_with


def _mark(process: Record, message: Any) -> None:
    if issubclass(type(message), Request) and trace_of(message) is None:
        trace = outgoing(process.node)
        if trace is not None:
            mark(message, trace)


def _then(plain: Callable[..., Any]) -> Callable[..., Any]:
    def then(self: Request[Any], fn: Callable[..., Any], *args: Any) -> None:
        trace = TRACE.get()
        if trace is None:
            plain(self, fn, *args)
        else:
            plain(self, _continue_in, trace, fn, *args)

    return then


def _continue_in(request: Request[Any], trace: TraceContext, fn: Callable[..., Any], *args: Any) -> Any:
    with using(trace):
        return fn(request, *args)


_LAYERS: Final[list[tuple[type, str, Layer]]] = [
    (LocalRef, "send", _send),
    (LocalRef, "cast", _cast),
    (DispatchedBody, "hand_off", _hand_off),
    (Record, "put", _put),
    (Dispatcher, "step_with", _step_with),
    (Request, "then", _then),
]

_users = 0


def add_layer(owner: type, name: str, layer: Layer) -> None:
    """Have another layer put on, whenever contexts are carried. Called when modules are loaded."""
    _LAYERS.append((owner, name, layer))
    if _users:
        put_on(owner, name, layer)


def begin_carrying() -> None:
    """Carry contexts, for one reason more. Not a checkpoint."""
    global _users
    _users += 1
    if _users == 1:
        for owner, name, layer in _LAYERS:
            put_on(owner, name, layer)


def end_carrying() -> None:
    """One reason less; after the last one the plain functions are back. Not a checkpoint."""
    global _users
    _users -= 1
    if not _users:
        for owner, name, layer in _LAYERS:
            take_off(owner, name, layer)
