"""Our doors: from Python against the bare transports, and the C library by its own latency program."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
import time
from pathlib import Path

from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import Exchange, round_trips
from transport.doors import Client, Door, DoorOpenError, NotADoor, Request

LIBRARY = Path(__file__).resolve().parents[3] / "transport" / "doors" / "c"


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


@functools.cache
def _program() -> str:
    """The library's latency program, compiled outside of the source tree, once a run."""
    build = os.path.join(os.environ["BENCH_SCRATCH"], "doors")
    program = f"{build}/bench/latency"
    command = ["make", "-s", "-C", str(LIBRARY), f"BUILD={build}", program]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return program


def latency(place: str, mechanism: str, size: int, calls: int) -> float:
    """Seconds for a round trip in C, by the row of the program's table for that mechanism in that place."""
    table = subprocess.run([_program(), str(calls)], check=True, capture_output=True, text=True).stdout
    for row in table.splitlines():
        fields = row.split()
        if fields[:3] == [place, str(size), mechanism]:
            return float(fields[3]) * 1e-6
    raise LookupError(f"the latency program has no row for {mechanism} of {size} bytes, placed {place!r}")
