"""The owner of a connection, as the connection sees it."""

from typing import Protocol

from enfilade.transport.mesh.settings import Server

__all__ = ["Quiet", "Watcher"]


class Watcher(Protocol):
    """The owner of a connection. Its methods run in the trio thread and must not block or raise."""

    def connection_ready(self) -> None:
        """Take note that there is a server, or that it takes more again."""
        ...

    def connection_lost(self, server: Server, why: str) -> None:
        """Take note that the server is lost; what was on its way through it may be, too."""
        ...

    def connection_resumed(self, server: Server, seconds: float) -> None:
        """Take note that there is a server again, after so many seconds. `connection_ready` follows."""
        ...


class Quiet:
    """A watcher whom nothing concerns."""

    def connection_ready(self) -> None:
        """See `Watcher`."""

    def connection_lost(self, server: Server, why: str) -> None:
        """See `Watcher`."""

    def connection_resumed(self, server: Server, seconds: float) -> None:
        """See `Watcher`."""
