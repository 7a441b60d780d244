"""pyzmq over its ipc transport: REQ and REP for calls, PUSH and PULL for messages."""

from __future__ import annotations

import os
import shutil
import tempfile
import time

import zmq

from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import Exchange, fork, round_trips


class Sockets:
    """A REP socket at a path in a directory of its own."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="bench-zmq-")
        self.address = f"ipc://{self._directory}/socket"

    def serve(self) -> None:
        server = zmq.Context().socket(zmq.REP)
        server.bind(self.address)
        while True:
            server.send(server.recv())

    def connect(self, client: int) -> Exchange:
        requester = zmq.Context().socket(zmq.REQ)
        requester.connect(self.address)

        def exchange(message: bytes) -> bytes:
            requester.send(message)
            return requester.recv()

        return exchange

    def close(self) -> None:
        shutil.rmtree(self._directory)


@kernel("door-call")
@kernel("node-call")
@kernel("node-crowd")
def exchange(calls: int, size: int, clients: int = 1) -> float:
    return round_trips(Sockets(), calls, size, clients)


@kernel("node-send")
def node_send(messages: int, size: int) -> float:
    place = Sockets()
    ready_read, ready_write = os.pipe()

    def serve() -> None:
        context = zmq.Context()
        server = context.socket(zmq.PULL)
        server.set_hwm(0)
        server.bind(place.address)
        os.write(ready_write, b"r")
        for _ in range(messages):
            server.recv()
        os.write(ready_write, b"f")

    def send() -> None:
        context = zmq.Context()
        client = context.socket(zmq.PUSH)
        client.set_hwm(0)
        client.connect(place.address)
        message = bytes(size)
        for _ in range(messages):
            client.send(message)
        client.close()
        context.term()

    receiver = fork(serve)
    os.read(ready_read, 1)
    begin = time.perf_counter()
    sender = fork(send)
    os.read(ready_read, 1)
    elapsed = time.perf_counter() - begin
    for pid in (receiver, sender):
        os.waitpid(pid, 0)
    for descriptor in (ready_read, ready_write):
        os.close(descriptor)
    place.close()
    return elapsed / messages
