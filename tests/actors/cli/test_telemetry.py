"""The table `[telemetry]` of a zone file, with an SDK that exports over OTLP to a collector of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.actors.cli.running import running, zone

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

pytestmark = pytest.mark.real

TELEMETRY = """
import os

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from enfilade.actors import Actor

collector = os.environ["COLLECTOR"]
provider = TracerProvider()
provider.add_span_processor(
    BatchSpanProcessor(OTLPSpanExporter(f"{collector}/v1/traces"), schedule_delay_millis=100)
)
trace.set_tracer_provider(provider)
reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector}/v1/metrics"), 200)
metrics.set_meter_provider(MeterProvider([reader]))


class Ledger(Actor):
    def note(self, coins):
        pass


class Desk(Actor):
    def __init__(self, ledger):
        self.ledger = ledger

    def pay(self, coins):
        self.ledger.cast(Ledger.note, coins)


class Till(Actor):
    async def on_start(self):
        self.desk = await self.process.spawn(Desk, await self.process.spawn(Ledger, name="ledger"))
        self.process.send_after(0.1, self.process.ref, "pay")

    async def on_message(self, message):
        await self.desk.call(Desk.pay, 5)
        self.process.send_after(0.1, self.process.ref, "pay")
"""


@pytest.fixture
def collector() -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """The address of a collector, and what it prints."""
    command = [sys.executable, "-m", "tests.actors.cli.collector"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = json.loads(process.stdout.readline())["port"]
            yield f"http://127.0.0.1:{port}", map(json.loads, process.stdout)
        finally:
            process.kill()


def test_a_zone_sends_spans_metrics_and_durations_to_a_collector(
    collector: tuple[str, Iterator[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, lines = collector
    monkeypatch.setenv("COLLECTOR", address)
    path = zone(tmp_path, TELEMETRY, child="till", actor="Till")
    with path.open("a") as file:
        file.write("\n[telemetry]\nmetrics = true\nspans = 1.0\ndurations = 1\n")
    spans: dict[str, dict[str, Any]] = {}
    metrics: dict[str, dict[str, Any]] = {}
    wanted = {"enfilade.process.count", "rpc.server.call.duration", "messaging.process.duration"}
    with running(path) as process:
        for line in lines:
            if "span" in line:
                spans.setdefault(line["span"], line)
            else:
                metrics[line["metric"]] = line
            if wanted <= set(metrics) and {"process ledger", "Desk/pay"} <= set(spans):
                break
        assert process.poll() is None
    assert (spans["Desk/pay"]["kind"], spans["process ledger"]["kind"]) == ("SERVER", "CONSUMER")
    assert spans["process ledger"]["parent"]
    assert {each["scope"] for each in spans.values()} == {"enfilade"}
    kinds = {point["enfilade.actor"] for point in metrics["enfilade.process.count"]["points"]}
    assert kinds >= {"Till", "Desk", "Ledger"}
    assert metrics["rpc.server.call.duration"]["count"] >= 1
    assert {"rpc.method": "Desk/pay", "rpc.system.name": "enfilade"} in metrics["rpc.server.call.duration"][
        "points"
    ]
