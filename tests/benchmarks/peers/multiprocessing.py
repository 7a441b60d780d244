"""multiprocessing.Connection: pickled objects, or bytes as they are, over a Unix socket."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
import time
from typing import Any

from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import Exchange, fork, round_trips

Connection = multiprocessing.connection.Connection


class Connections:
    """One connection a client, and a thread of the server for each."""

    def __init__(self, clients: int) -> None:
        self._pairs = [multiprocessing.Pipe() for _ in range(clients)]

    def _echo(self, connection: Any) -> None:
        while True:
            connection.send_bytes(connection.recv_bytes())

    def serve(self) -> None:
        first, *others = (server for _client, server in self._pairs)
        for connection in others:
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()
        self._echo(first)

    def connect(self, client: int) -> Exchange:
        connection = self._pairs[client][0]

        def exchange(message: bytes) -> bytes:
            connection.send_bytes(message)
            return connection.recv_bytes()

        return exchange

    def close(self) -> None:
        for pair in self._pairs:
            for connection in pair:
                connection.close()


@kernel("door-call")
@kernel("node-call")
@kernel("node-crowd")
def exchange(calls: int, size: int, clients: int = 1) -> float:
    return round_trips(Connections(clients), calls, size, clients)


@kernel("node-send")
def node_send(messages: int, size: int) -> float:
    client, server = multiprocessing.Pipe()

    def serve() -> None:
        for _ in range(messages):
            server.recv()
        server.send(None)

    pid = fork(serve)
    message = ("increment", bytes(size))
    begin = time.perf_counter()
    for _ in range(messages):
        client.send(message)
    client.recv()
    elapsed = time.perf_counter() - begin
    os.waitpid(pid, 0)
    client.close()
    server.close()
    return elapsed / messages
