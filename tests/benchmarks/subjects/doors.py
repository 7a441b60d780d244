"""Our doors: from Python against the bare transports, and the C library by its own latency program."""

from __future__ import annotations

import os
import tempfile
import time

from enfilade.transport.doors import Client, Door, DoorOpenError, NotADoor, Request
from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import Exchange, round_trips


class EchoDoor:
    """A door that answers with the request's data, with a thread for each client.

    A request lies on its thread's stack, as doors do it, so that must be large enough.
    """

    def __init__(self, size: int, clients: int) -> None:
        self._stack_size = 2 * size + 2**20
        self._threads = clients + 1
        self._directory = tempfile.TemporaryDirectory(prefix="bench-door-")
        self.path = os.path.join(self._directory.name, "door")

    def serve(self) -> None:
        def echo(request: Request) -> bytes:
            return request.data

        with Door(echo, threads=self._threads, stack_size=self._stack_size) as door:
            door.install(self.path)
            while True:
                time.sleep(3600)

    def connect(self, client: int) -> Exchange:
        while True:
            try:
                return Client.open(self.path).call_with_data
            except (DoorOpenError, NotADoor):
                time.sleep(0.01)

    def close(self) -> None:
        self._directory.cleanup()


@kernel("door-call")
def door_call(calls: int, size: int, clients: int) -> float:
    return round_trips(EchoDoor(size, clients), calls, size, clients)
