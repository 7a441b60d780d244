"""The metrics of a node as instruments of OpenTelemetry, and the beginning of its spans.

All instruments are observable: their callbacks give what has been read last. Nothing is measured until a
reader has asked for the first time, which only an SDK does; and nothing any more a minute after it has asked
for the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import trio

from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.observing.tables.walker import Walker
from enfilade.actors.observing.telemetry.durations import Durations
from enfilade.actors.observing.telemetry.extra import SCHEMA, of_the_extra
from enfilade.actors.observing.telemetry.metrics import INSTRUMENTS, Instrument, Metrics, Readings
from enfilade.actors.observing.telemetry.spans import Propagation, Spans

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Instrumentation", "instrument"]

EVERY: Final = 5.0
"""Seconds between two readings, while somebody asks for them."""

IDLE: Final = 60.0
"""Seconds after the last question until nothing is measured any more."""

BUDGET: Final = 0.05
"""The share of its time that the node spends on readings, at most."""


def instrument(
    node: Node,
    *,
    messages: bool = True,
    spans: float | None = None,
    durations: int | None = None,
    record_exceptions: bool = False,
    propagation: Propagation = "parent",
    meter: Any = None,
    tracer: Any = None,
) -> Instrumentation:
    """Have the metrics of a node read through OpenTelemetry, and spans made of what it does, until it stops.
    Not a checkpoint.

    Args:
        node: the node.
        messages: whether messages are counted while a reader asks, which costs what `Node.counting` does.
        spans: the probability, between 0 and 1, that a call, cast or message which belongs to no trace
            begins one. What belongs to a sampled trace is always made a span of. None: no spans are made,
            and contexts are passed on as they come.
        durations: one of so many messages and calls is timed, and all calls to other nodes, for histograms.
            None: nothing is timed.
        record_exceptions: whether spans have the texts and tracebacks of errors, which may hold data.
        propagation: "parent": what a handler casts and sends belongs to the trace of its message. "link":
            each begins a trace of its own, which is linked to that.
        meter: the meter that makes the instruments; None for that of the global provider.
        tracer: the tracer that makes the spans; None for that of the global provider.

    Raises:
        MissingExtra: opentelemetry-api is not installed.
        ValueError: `spans` is no probability, `durations` is no whole number from 1 on, `propagation` is
            neither word, `messages` or `record_exceptions` is no boolean, or spans are made, or durations
            taken, already.
    """
    api = of_the_extra("opentelemetry.metrics")
    if type(messages) is not bool:
        raise ValueError(f"messages must be a boolean, got {safe_repr(messages)}")
    if type(record_exceptions) is not bool:
        raise ValueError(f"record_exceptions must be a boolean, got {safe_repr(record_exceptions)}")
    made = Instrumentation(node, api.Observation, messages=messages)
    if meter is None:
        from importlib import metadata  # late: it takes a thirtieth of the time of a short command

        meter = api.get_meter("enfilade", metadata.version("enfilade"), schema_url=SCHEMA)
    if propagation not in ("parent", "link"):
        raise ValueError(f"propagation must be 'parent' or 'link', got {safe_repr(propagation)}")
    if (spans is not None or durations is not None) and node.traces.tracer is not None:
        raise ValueError(f"spans of node {node.full_name} already exist: instrument it once")
    if spans is not None:
        made.spans = Spans(
            node, spans, record_exceptions=record_exceptions, propagation=propagation, tracer=tracer
        )
    if durations is not None:
        made.durations = Durations(node, durations, meter, made.spans)
    makers = {
        "counter": meter.create_observable_counter,
        "updown": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }
    for each in INSTRUMENTS:
        makers[each.kind](each.name, [made.callback_of(each)], unit=each.unit, description=each.description)
    node.start_service(made.run, "telemetry")
    for tracer in made.tracers:
        tracer.begin()
    return made


class Instrumentation:
    """The telemetry of one node: see `instrument`. Readings are taken while a reader asks for them.

    Attributes:
        spans: makes the spans; None.
        durations: takes the times; None.
    """

    def __init__(self, node: Node, observation: Any, *, messages: bool) -> None:
        self.spans: Spans | None = None
        self.durations: Durations | None = None
        self._node = node
        self._observation = observation
        self._messages = messages
        self._metrics = Metrics(node, Walker(node), node.observation.counts)
        self._readings: Readings = {}
        self._asked = trio.Event()
        self._is_asked = False
        self._is_on = False

    @property
    def tracers(self) -> list[Spans | Durations]:
        """The tracers of the node, the innermost first."""
        return [each for each in (self.spans, self.durations) if each is not None]

    def callback_of(self, instrument: Instrument) -> Callable[[Any], Iterable[Any]]:
        """The function that a reader calls for an instrument, in any thread."""

        def observed(options: Any) -> Iterable[Any]:
            if not self._is_asked:
                self._is_asked = True
                try:
                    self._node.token.run_sync_soon(self._wake)
                except trio.RunFinishedError:
                    return []
            found = self._readings.get(instrument.name, ())
            return [self._observation(value, attributes) for attributes, value in found]

        return observed

    def _wake(self) -> None:
        self._asked.set()

    async def refresh(self) -> None:
        """Read now, whether or not a reader has asked. A checkpoint."""
        self._begin()
        self._readings = await self._metrics.readings(BUDGET, messages=self._messages)

    async def read(self) -> Readings:
        """Return what was read last, and go on reading; the first to ask waits. A checkpoint."""
        self._asked.set()
        if not self._readings:
            await self.refresh()
        return self._readings

    async def run(self) -> None:
        """Take readings while somebody asks for them, until cancelled."""
        try:
            while True:
                if self._is_on:
                    with trio.move_on_after(IDLE):
                        await self._asked.wait()
                    if not self._asked.is_set():
                        self._end()
                        continue
                await self._asked.wait()
                self._asked, self._is_asked = trio.Event(), False
                await self.refresh()
                await trio.sleep(EVERY)
        finally:
            self._end()
            for tracer in reversed(self.tracers):
                tracer.close()

    def _begin(self) -> None:
        if not self._is_on:
            self._is_on = True
            self._metrics.begin()
            if self._messages:
                self._node.observation.counts.begin()

    def _end(self) -> None:
        if self._is_on:
            self._is_on, self._readings = False, {}
            self._metrics.end()
            if self._messages:
                self._node.observation.counts.end()
