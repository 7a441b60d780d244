"""Metrics and traces for the tools of others: OpenTelemetry and Prometheus.

`instrument` and `exposition` need the extra `telemetry`; `context`, `use`, `carry` and
`resource_attributes` need nothing.
"""

from enfilade.actors.messages.trace_context import TraceContext
from enfilade.actors.observing.telemetry.contexts import carry, context, use
from enfilade.actors.observing.telemetry.opentelemetry import Instrumentation, instrument
from enfilade.actors.observing.telemetry.prometheus import exposition
from enfilade.actors.observing.telemetry.resource import resource_attributes

__all__ = [
    "Instrumentation",
    "TraceContext",
    "carry",
    "context",
    "exposition",
    "instrument",
    "resource_attributes",
    "use",
]
