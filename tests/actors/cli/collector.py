"""A collector that speaks OTLP over HTTP, as a process of its own: it prints what it is sent.

Each span is a line of JSON with `span`, `kind`, `trace` and `parent`; each metric one with `metric`, `points`
(their attributes) and `count` (of a histogram). The first line has its `port`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def attributes_of(owner: Any) -> dict[str, Any]:
    """The attributes of a span or a point."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in owner.attributes}


def spans_in(body: bytes) -> Iterable[dict[str, Any]]:
    """The lines of a request with spans."""
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "span": span.name,
                    "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    "trace": span.trace_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "scope": scope.scope.name,
                }


def metrics_in(body: bytes) -> Iterable[dict[str, Any]]:
    """The lines of a request with metrics."""
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = getattr(metric, metric.WhichOneof("data")).data_points
                yield {
                    "metric": metric.name,
                    "unit": metric.unit,
                    "points": [attributes_of(point) for point in points],
                    "count": sum(getattr(point, "count", 0) for point in points),
                }


READERS = {"/v1/traces": spans_in, "/v1/metrics": metrics_in}


class Receiver(BaseHTTPRequestHandler):
    """Takes one request."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        for line in READERS[self.path](body):
            print(json.dumps(line), flush=True)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
        """Print nothing: lines are for the reader."""


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()
