"""The metrics of nodes in the text formats of Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from enfilade.actors.observing.telemetry.extra import of_the_extra
from enfilade.actors.observing.telemetry.metrics import INSTRUMENTS, Instrument, Readings

__all__ = ["exposition"]

PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

ENCODERS: Final = {
    PLAIN: "prometheus_client.exposition",
    OPEN_METRICS: "prometheus_client.openmetrics.exposition",
}
"""What makes the text of each media type. A scraper takes both, whatever newer one it asks for first."""

UNITS: Final = {"By": "bytes", "s": "seconds", "1": "ratio"}
"""The units that a name ends in, as OpenTelemetry says; those in braces, which only count, do not show."""


def exposition(nodes: Mapping[str, Readings], accept: str = "") -> tuple[str, bytes]:
    """The metrics of nodes as text: OpenMetrics if that is accepted, else the format 0.0.4.

    Args:
        nodes: the readings of each node, by its full name, which is the value of the label `node`.
        accept: the value of the header field Accept of the one who asks.

    Returns:
        The media type, and the text.

    Raises:
        MissingExtra: prometheus-client is not installed.
    """
    registry = of_the_extra("prometheus_client.registry").CollectorRegistry(auto_describe=False)
    registry.register(_Collector(nodes))
    kind = (
        OPEN_METRICS
        if _quality(accept, "application/openmetrics-text") > _quality(accept, "text/plain")
        else PLAIN
    )
    text: bytes = of_the_extra(ENCODERS[kind]).generate_latest(registry)
    return kind, text


def _quality(accept: str, kind: str) -> float:
    """How much a media type is wanted, from 0 to 1: see RFC 9110, 12.5.1. Of several versions, the most."""
    found = [0.0]
    for each in accept.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        if name == kind:
            given = [part[2:] for part in parameters if part.startswith("q=")]
            with contextlib.suppress(ValueError):
                found.append(float(given[0]) if given else 1.0)
    return max(found)


class _Collector:
    """Gives the registry what has been read already."""

    def __init__(self, nodes: Mapping[str, Readings]) -> None:
        self._nodes = nodes

    def collect(self) -> Iterator[Any]:
        core = of_the_extra("prometheus_client.core")
        for instrument in INSTRUMENTS:
            found = [
                (node, attributes, value)
                for node, readings in self._nodes.items()
                for attributes, value in readings.get(instrument.name, ())
            ]
            if not found:
                continue
            labels = list(dict.fromkeys(name for _, attributes, _ in found for name in attributes))
            is_counter = instrument.kind == "counter"
            made = core.CounterMetricFamily if is_counter else core.GaugeMetricFamily
            names = ["node", *(label.replace(".", "_") for label in labels)]
            family = made(_name_of(instrument), instrument.description, labels=names)
            for node, attributes, value in found:
                family.add_metric([node, *(attributes.get(label, "") for label in labels)], value)
            yield family


def _name_of(instrument: Instrument) -> str:
    name = instrument.name.replace(".", "_")
    unit = UNITS.get(instrument.unit)
    return name if unit is None or name.endswith(unit) else f"{name}_{unit}"
