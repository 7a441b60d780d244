"""grpc over a Unix socket: one unary method whose messages are bytes as they are."""
# mypy: allow-untyped-decorators

from __future__ import annotations

import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]

from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import Exchange, round_trips

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def _echo(request: bytes, _context: Any) -> bytes:
    return request


class Service:
    """A service at a path in a directory of its own."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="bench-grpc-")
        self.address = f"unix:{self._directory}/socket"

    def serve(self) -> None:
        server = grpc.server(ThreadPoolExecutor(max_workers=4), options=_UNLIMITED)
        handlers = {"Call": grpc.unary_unary_rpc_method_handler(_echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", handlers),))
        server.add_insecure_port(self.address)
        server.start()
        threading.Event().wait()

    def connect(self, client: int) -> Exchange:
        channel = grpc.insecure_channel(self.address, options=_UNLIMITED)
        call = channel.unary_unary("/Echo/Call")

        def exchange(message: bytes) -> Any:
            return call(message, wait_for_ready=True)

        return exchange

    def close(self) -> None:
        shutil.rmtree(self._directory)


@kernel("door-call")
def door_call(calls: int, size: int, clients: int) -> float:
    return round_trips(Service(), calls, size, clients)
