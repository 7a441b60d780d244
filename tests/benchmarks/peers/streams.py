"""Pipes and stream sockets with a length before every message: the least that an exchange costs."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
import threading
import time

from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.transports import Exchange, end, fork, round_trips

_LENGTH = struct.Struct("<I")


def _read(descriptor: int, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = os.readv(descriptor, [rest])
        if count == 0:
            raise EOFError
        rest = rest[count:]
    return data


def _receive(descriptor: int) -> bytearray:
    return _read(descriptor, _LENGTH.unpack(_read(descriptor, 4))[0])


def _send(descriptor: int, message: bytes | bytearray) -> None:
    written = os.writev(descriptor, [_LENGTH.pack(len(message)), message])
    rest = memoryview(message)[written - 4 :]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Streams:
    """One pair of descriptors a client, and a thread of the server for each."""

    def __init__(self, clients: int, *, pipes: bool) -> None:
        self._open: list[int] = []
        self._server: list[tuple[int, int]] = []
        self._client: list[tuple[int, int]] = []
        for _ in range(clients):
            if pipes:
                (there_read, there_write), (back_read, back_write) = os.pipe(), os.pipe()
            else:
                one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                there_write = back_read = one.detach()
                there_read = back_write = two.detach()
            self._server.append((there_read, back_write))
            self._client.append((back_read, there_write))
            self._open += {there_read, there_write, back_read, back_write}

    def _echo(self, read: int, write: int) -> None:
        while True:
            _send(write, _receive(read))

    def serve(self) -> None:
        first, *others = self._server
        for pair in others:
            threading.Thread(target=self._echo, args=pair, daemon=True).start()
        self._echo(*first)

    def connect(self, client: int) -> Exchange:
        read, write = self._client[client]

        def exchange(message: bytes) -> bytearray:
            _send(write, message)
            return _receive(read)

        return exchange

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)


@kernel("door-call", variant="pipe")
def exchange_by_pipes(calls: int, size: int, clients: int) -> float:
    return round_trips(Streams(clients, pipes=True), calls, size, clients)


@kernel("door-call")
@kernel("node-call")
@kernel("node-crowd")
def exchange_by_sockets(calls: int, size: int, clients: int = 1) -> float:
    return round_trips(Streams(clients, pipes=False), calls, size, clients)


@kernel("node-send")
def node_send(messages: int, size: int) -> float:
    """One-way messages, sixty-four to a write; the reader takes what has come and says when it has all."""
    client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    batch = 64
    total = messages // batch * batch * (size + 4)

    def serve() -> None:
        left = total
        while left:
            left -= len(server.recv(65536))
        server.send(b"f")

    pid = fork(serve)
    message = bytes(size)
    begin = time.perf_counter()
    for _ in range(messages // batch):
        client.sendall(b"".join(_LENGTH.pack(size) + message for _ in range(batch)))
    client.recv(1)
    elapsed = time.perf_counter() - begin
    os.waitpid(pid, 0)
    client.close()
    server.close()
    return elapsed / (messages // batch * batch)


@kernel("node-reconnect")
def node_reconnect(count: int) -> float:
    """A new connection to a listening socket, and one exchange of 64 bytes."""
    message = bytes(64)
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = f"{directory}/socket"
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            while True:
                with listener.accept()[0] as server, contextlib.suppress(EOFError):
                    while True:
                        _send(server.fileno(), _receive(server.fileno()))

        pid = fork(serve)
        try:
            begin = time.perf_counter()
            for _ in range(count):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
                    _send(client.fileno(), message)
                    _receive(client.fileno())
            return (time.perf_counter() - begin) / count
        finally:
            end(pid)


@kernel("node-down")
def node_down(count: int) -> float:
    """From kill(2) to the end of the stream at the other end."""
    elapsed = 0.0
    for _ in range(count):
        client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

        def wait(server: socket.socket = server, client: socket.socket = client) -> None:
            client.close()
            server.send(b"r")
            server.recv(1)

        pid = fork(wait)
        server.close()
        client.recv(1)
        begin = time.perf_counter()
        end(pid)
        assert client.recv(1) == b""
        elapsed += time.perf_counter() - begin
        client.close()
    return elapsed / count
