"""The owner of a connection, as the connection sees it."""

from collections.abc import Sequence
from typing import Protocol

from enfilade.transport.mesh.settings import Server

__all__ = ["Quiet", "Watcher"]


class Watcher(Protocol):
    """The owner of a connection. Its methods run in the trio thread and must not block or raise."""

    def connection_made(self) -> None:
        """Take note of the first server that answers. `connection_ready` follows."""
        ...

    def connection_ready(self) -> None:
        """Take note that there is a server, or that it takes more again."""
        ...

    def connection_lost(self, server: Server, why: str) -> None:
        """Take note that the server is lost; what was on its way through it may be, too."""
        ...

    def connection_resumed(self, server: Server, seconds: float) -> None:
        """Take note that there is a server again, after so many seconds. `connection_ready` follows."""
        ...

    def messages_read(self) -> None:
        """Take note that the messages that came together are with their handlers, all of them."""
        ...

    def servers_missed(self, tried: Sequence[str]) -> None:
        """Take note that none of these answers, after one was lost; once each time."""
        ...


class Quiet:
    """A watcher whom nothing concerns."""

    def connection_made(self) -> None:
        """See `Watcher`."""

    def connection_ready(self) -> None:
        """See `Watcher`."""

    def connection_lost(self, server: Server, why: str) -> None:
        """See `Watcher`."""

    def connection_resumed(self, server: Server, seconds: float) -> None:
        """See `Watcher`."""

    def servers_missed(self, tried: Sequence[str]) -> None:
        """See `Watcher`."""

    def messages_read(self) -> None:
        """See `Watcher`."""
