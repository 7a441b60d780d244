"""The user at the other end of a connection on this machine, by the kernel's word.

A port of the loopback address belongs to whoever takes it first, whatever user that is. So a client that is
about to show a secret to the server at such a port asks the kernel who that is. This costs nothing when
messages flow, and needs no certificate.
"""

import socket
from pathlib import Path
from typing import Final

__all__ = ["owner_of_peer"]

TABLE: Final = Path("/proc/net/tcp")

ESTABLISHED: Final = "01"


def owner_of_peer(connection: socket.socket) -> int:
    """Return the user whose process has accepted a connection over IPv4, which this process has made.

    The server must have spoken already: before it accepts a connection, that is nobody's.

    Raises:
        OSError: the kernel does not say.
    """
    ours, theirs = _written(connection.getsockname()), _written(connection.getpeername())
    for line in TABLE.read_text().splitlines()[1:]:
        _, local, remote, state, _, _, _, user, *_ = line.split()
        if (local, remote, state) == (theirs, ours, ESTABLISHED):
            return int(user)
    raise OSError(f"the kernel does not say whose the connection to {connection.getpeername()} is")


def _written(address: tuple[str, int]) -> str:
    """Write an address as the table does: the bytes of the host in the machine's order."""
    host, port = address
    packed = int.from_bytes(socket.inet_aton(host), "little" if socket.htons(1) != 1 else "big")
    return f"{packed:08X}:{port:04X}"
