"""One client of a simulated server, as the server has it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from enfilade.transport.simulated.servers.speech import (
    Command,
    Connect,
    Nonsense,
    Ping,
    Pong,
    Publish,
    Reader,
    Subscribe,
    Unsubscribe,
    encode_info,
    encode_message,
    matches,
)
from enfilade.transport.simulated.stream import SimulatedStream

__all__ = ["Client"]

MOST_PENDING: Final = 64 * 1024 * 1024
"""Bytes that may wait for a client before it is cut off as too slow."""

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"


class Host(Protocol):
    """A server, as its clients see it: `server.SimulatedServer`."""

    def information(self) -> dict[str, Any]: ...

    def buffer(self, run: Callable[[], None]) -> None: ...

    def publish(self, message: Publish, sender: "Client | None" = None) -> None: ...

    def heard_more(self, pattern: str) -> None: ...

    def heard_less(self, pattern: str) -> None: ...

    def left(self, client: "Client") -> None: ...


class Client:
    """A client.

    Args:
        server: whose client.
        stream: to it.
    """

    def __init__(self, server: Host, stream: SimulatedStream) -> None:
        self._server = server
        self._stream = stream
        self._reader = Reader()
        self._wanted: dict[str, str] = {}
        self._pings = 0
        self._is_refused = False
        stream.heard = self._heard
        self._say(encode_info(server.information()))

    def patterns(self) -> list[str]:
        """The patterns that the client has subscribed to."""
        return list(self._wanted.values())

    def tell(self, message: Publish) -> bool:
        """Give the client a message, once for each subscription, and return whether it has any for it."""
        numbers = [number for number, pattern in self._wanted.items() if matches(pattern, message.subject)]
        for number in numbers:
            self._say(encode_message(number, message))
        return bool(numbers)

    def ping(self, most: int) -> None:
        """Ask for a sign of life; close the connection of a client that has not given any so many times."""
        if self._pings >= most:
            self._complain("Stale Connection")
            return
        self._pings += 1
        self._say(PING)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
        self._server.left(self)

    def _heard(self) -> None:
        try:
            data = self._stream.receive()
        except BlockingIOError:
            return
        except ConnectionError:
            self._server.buffer(partial(self._server.left, self))
            return
        self._server.buffer(partial(self._take, data))

    def _take(self, data: bytes) -> None:
        if self._is_refused:
            return
        try:
            for command in self._reader.feed(data):
                self._carry_out(command)
        except (Nonsense, ValueError) as error:
            self._complain(str(error) if isinstance(error, Nonsense) else "Parser Error")

    def _carry_out(self, command: Command) -> None:
        server = self._server
        match command:
            case Publish():
                server.publish(command, self)
            case Subscribe(pattern, number):
                self._wanted[number] = pattern
                server.heard_more(pattern)
            case Unsubscribe(number):
                pattern = self._wanted.pop(number, "")
                if pattern:
                    server.heard_less(pattern)
            case Ping():
                self._say(PONG)
            case Pong():
                self._pings = 0
            case Connect():
                pass

    def _complain(self, text: str) -> None:
        self._is_refused = True
        self._say(f"-ERR '{text}'\r\n".encode())
        self.close()

    def _say(self, data: bytes) -> None:
        self._stream.push(data)
        if self._stream.pending > MOST_PENDING:
            self.close()
