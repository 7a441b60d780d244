"""The metrics of nodes in the text formats of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from enfilade.actors.observing.telemetry.extra import of_the_extra
from enfilade.actors.observing.telemetry.metrics import INSTRUMENTS, Instrument, Readings

__all__ = ["exposition"]

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
    client, formats = of_the_extra("prometheus_client.registry"), of_the_extra("prometheus_client.exposition")
    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(nodes))
    encode, kind = formats.choose_encoder(accept)
    text: bytes = encode(registry)
    return kind, text


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
