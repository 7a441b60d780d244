"""Metrics for the tools of others: OpenTelemetry and Prometheus. Each needs the extra `telemetry`."""

from enfilade.actors.observing.telemetry.opentelemetry import Instrumentation, instrument
from enfilade.actors.observing.telemetry.prometheus import exposition

__all__ = ["Instrumentation", "exposition", "instrument"]
