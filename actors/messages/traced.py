"""Traced messages: how a message carries the context of the trace that it belongs to.

A plain message or a cast is wrapped in `Traced`, in the mailbox and as a signal; a call has its context in
the field `trace`, and is of the class `TracedRequest` then. Both are kinds of messages that the inner loop of
the dispatcher leaves to the body, as it does with all that are not frequent. So messages without a context
are what they were, and no test is made for them.

A body calls the handler of such a message through `Within`, which makes the context the current one for as
long as the handler runs, and has the node's `Tracer`, if it has one, make a span of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import msgspec

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.trace_context import TRACE, TraceContext

if TYPE_CHECKING:
    from enfilade.actors.processes.record import Record

__all__ = [
    "Handling",
    "Span",
    "Traced",
    "TracedRequest",
    "Tracer",
    "Within",
    "bare",
    "context_of_error",
    "end_with",
    "mark",
    "trace_of",
    "using",
]


class Traced(msgspec.Struct, frozen=True):
    """A plain message, or a cast, with the context that it was sent in."""

    message: Any
    trace: TraceContext


signals.envelopes.add(Traced)


class TracedRequest(Request[Any]):
    """A call with the context that it was made in. A request becomes one by `mark`."""

    __slots__ = ()


def mark(request: Request[Any], trace: TraceContext) -> None:
    """Give a request that nobody has seen yet the context that it was made in."""
    request.trace = trace
    if type(request) is Request:
        request.__class__ = TracedRequest


def bare(message: Any) -> Any:
    """A message out of a mailbox, without the context that it carries."""
    return message.message if type(message) is Traced else message


def trace_of(message: Any) -> TraceContext | None:
    """The context that a message out of a mailbox carries; None if it carries none."""
    if type(message) is Traced or issubclass(type(message), signals.Call):
        return getattr(message, "trace", None)
    return None


@contextmanager
def using(trace: TraceContext | None) -> Iterator[None]:
    """Do what is in the block in this context."""
    token = TRACE.set(trace)
    try:
        yield
    finally:
        TRACE.reset(token)


class Span(Protocol):
    """The span that a tracer makes of something that takes time.

    Attributes:
        context: what is done meanwhile belongs to.
    """

    context: TraceContext | None

    def enter(self) -> None:
        """The code that it is about begins to run, in the present task and context, and ends there."""

    def end(self, error: BaseException | None) -> None:
        """It is over, with an error or without. Called in the context that it began in; never raises."""


def end_with(span: Span, request: Request[Any] | None) -> None:
    """End a span when a request is settled; at once if there is none."""
    if request is None:
        span.end(None)
    else:
        request.observe(lambda settled: span.end(settled.error), also_given_up=True)


class Tracer(Protocol):
    """Makes spans for a node. None of these functions raises."""

    def current(self) -> TraceContext | None:
        """The context that what is sent now belongs to; `ROOT` if it was chosen to begin a trace, and `TIMED`
        if it was chosen to be timed.
        """

    def sent(self, trace: TraceContext) -> TraceContext:
        """The context that a cast or a message carries, which is sent in `trace`."""

    def handling(self, process: Record, trace: TraceContext, method: str | None, is_call: bool) -> Span:
        """`process` begins to handle a message; `method` is None for a plain one."""

    def starting(self, process: Record, target: object) -> Span | None:
        """`process` is about to start; None if no span is made of that."""

    def calling(self, request: Request[Any]) -> TraceContext | None:
        """A call to another node is about to leave; the context that it is to carry."""


class Handling:
    """The time in which the handler of one message runs, in the context of that message."""

    __slots__ = ("_span", "_token", "trace")

    def __init__(self, process: Record, trace: TraceContext, method: str | None, is_call: bool) -> None:
        tracer = process.node.traces.tracer
        self._span = None if tracer is None else tracer.handling(process, trace, method, is_call)
        current: TraceContext | None
        if self._span is not None:
            self._span.enter()
            current = self._span.context
        else:
            current = None if trace.is_mark or trace.is_link else trace
        self.trace = current
        self._token = TRACE.set(current)

    def end(self, error: BaseException | None = None) -> None:
        """The handler has returned, or raised `error`."""
        with suppress(ValueError):  # in another task, which took a message of the same mailbox
            TRACE.reset(self._token)
        if self._span is not None:
            self._span.end(error)
        if error is not None and self.trace is not None:
            _note(error, self.trace)


_ATTRIBUTE = "enfilade_trace_"


@attempt(None)
def _note(error: BaseException, trace: TraceContext) -> None:
    """Note on an error what it was raised for, as the handler is over when its process ends of it."""
    vars(error)[_ATTRIBUTE] = trace


@attempt(None)
def context_of_error(error: BaseException | None) -> TraceContext | None:
    """The context of the handler that raised an error; None if it had none."""
    return None if error is None else vars(error).get(_ATTRIBUTE)


@attrs.define(eq=False)
class Within:
    """The handler `fn` of one message of `process`, to be called once, in the context of that message.

    Attributes:
        process: whose handler it is.
        trace: the context of the message.
        method: the name of the method; None for a plain message.
        is_call: whether a caller waits for what it returns.
        awaits: whether a coroutine that it returns is the rest of it.
    """

    process: Record
    trace: TraceContext
    __wrapped__: Callable[..., Any]
    method: str | None = None
    is_call: bool = False
    awaits: bool = False

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        handling = Handling(self.process, self.trace, self.method, self.is_call)
        try:
            result = self.__wrapped__(*args, **kwargs)
        except BaseException as error:
            handling.end(error)
            raise
        if self.awaits and type(result) is CoroutineType:
            return self._rest(handling, result)
        handling.end()
        return result

    async def _rest(self, handling: Handling, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        try:
            result = await coroutine
        except BaseException as error:
            handling.end(error)
            raise
        handling.end()
        return result

    def __getattr__(self, name: str) -> Any:
        """Pass as the handler, where an error names it."""
        return getattr(self.__wrapped__, name)
