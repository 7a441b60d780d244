"""Ports for servers that must be told theirs before they start."""

import contextlib
import random
import socket
from typing import Final

__all__ = ["free_port"]

PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to connections, which would take one before its server has it."""


def free_port() -> int:
    """Return a port of the loopback that nobody listens at, for connections or for datagrams."""
    for _ in range(100):
        address = ("127.0.0.1", random.SystemRandom().choice(PORTS))
        with (
            contextlib.suppress(OSError),
            socket.create_server(address),
            socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        ):
            datagrams.bind(address)
            return address[1]
    raise OSError(f"none of 100 ports from {PORTS.start} to {PORTS.stop} is free")
