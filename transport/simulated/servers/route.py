"""A route between two simulated servers: who listens to what at the other one, and what is said there."""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from enfilade.transport.simulated.servers.speech import Publish, matches
from enfilade.transport.simulated.stream import SimulatedStream

__all__ = ["Route"]

SILENCE: Final = 20
"""Ticks without a word after which a route is given up."""

SIGN: Final = 5
"""Ticks between two signs of life."""

_SIZE: Final = struct.Struct(">I")


class Host(Protocol):
    """A server, as its routes see it: `server.SimulatedServer`."""

    name: str

    def buffer(self, run: Callable[[], None]) -> None: ...

    def routed(self, route: "Route") -> None: ...

    def unrouted(self, route: "Route") -> None: ...

    def deliver(self, message: Publish) -> bool: ...

    def agree(self, other: str, word: list[Any]) -> None: ...


class Route:
    """One server's end of a route.

    Args:
        server: whose end.
        stream: to the other one.

    Attributes:
        name: of the other server; empty until it has said it.
    """

    def __init__(self, server: Host, stream: SimulatedStream, name: str) -> None:
        self.name = name
        self._server = server
        self._stream = stream
        self._arrived = bytearray()
        self._wanted: dict[str, None] = {}
        self._ticks = 0
        self._silent = 0
        stream.heard = self._heard

    def introduce(self) -> None:
        """Say which server this is, as the one that has dialled."""
        self.say(["route", self._server.name])
        self._server.routed(self)

    def say(self, word: list[Any]) -> None:
        """Say something to the other server."""
        data = msgspec.msgpack.encode(word)
        self._stream.push(_SIZE.pack(len(data)) + data)

    def publish(self, message: Publish) -> bool:
        """Pass a message on, if anybody there listens; return whether."""
        is_wanted = any(matches(pattern, message.subject) for pattern in self._wanted)
        if is_wanted:
            self.say(["message", *message])
        return is_wanted

    def tick(self) -> None:
        """Give a sign of life now and then, and end a route that gives none."""
        self._ticks += 1
        self._silent += 1
        if self._silent > SILENCE:
            self._stream.close()
            self._server.unrouted(self)
        elif self._ticks % SIGN == 0:
            self.say(["alive"])

    def _take(self, data: bytes) -> None:
        self._silent = 0
        self._arrived += data
        while len(self._arrived) >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._arrived)
            end = _SIZE.size + size
            if len(self._arrived) < end:
                return
            word = msgspec.msgpack.decode(self._arrived[_SIZE.size : end])
            del self._arrived[:end]
            self._carry_out(word)

    def _carry_out(self, word: list[Any]) -> None:
        match word:
            case ["route", name]:
                self.name = name
                self._server.routed(self)
            case ["more", pattern]:
                self._wanted[pattern] = None
            case ["less", pattern]:
                self._wanted.pop(pattern, None)
            case ["message", *fields]:
                self._server.deliver(Publish(*fields))
            case ["agree", said]:
                self._server.agree(self.name, said)

    def _heard(self) -> None:
        try:
            data = self._stream.receive()
        except BlockingIOError:
            return
        except ConnectionError:
            self._server.unrouted(self)
            return
        self._server.buffer(partial(self._take, data))
