"""Strangers: processes that are no nodes of the system, and call its nodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import attrs
import trio

from enfilade.actors.simulation.checkers.history import Opened
from enfilade.actors.simulation.machine.entropy import Stream
from enfilade.transport.carrier import CarrierError, Credentials, Handle, Outlet
from enfilade.transport.seal import NONCE_BYTES
from enfilade.transport.simulated.carrier import SimulatedCarrier
from enfilade.transport.wire import PREFIX, SEALED_VERSION, VERSION, Hello, Prove, encode_batch, encode_frame

if TYPE_CHECKING:
    from enfilade.actors.simulation.world import World

__all__ = ["Story", "Stranger"]

Story: TypeAlias = Literal["version", "secret", "name", "stale", "nonsense", "user"]

WORDS: Final[dict[Story, str]] = {
    "version": "speaks a version that nobody knows",
    "secret": "has another secret",
    "name": "has a name that it cannot have",
    "stale": "says that it is a node of the past",
    "nonsense": "sends what is no handshake",
    "user": "says that it is a node of another user",
}

PLACE: Final = "a stranger"
"""The name and the zone of the host from which all strangers call. No node can have such a zone."""

NAMES: Final = ("", "a/b", " east", "\x07", "x" * 200)
"""Names that no node can have."""

ROOM: Final = 64 * 1024


@attrs.frozen
class Stranger:
    """Let a process that is no node of the system call a host, and stay on the line for so many seconds.

    Attributes:
        host: the name of the host that is called.
        what: how it begins. It speaks another "version"; it has another "secret", or one where none is asked
            for; its "name" is that of the host itself, or none; it is "stale", for it says that it is an
            earlier life of another host, or one of which nobody has heard; it sends "nonsense"; or it belongs
            to another "user", and says that it is another host.
        seconds: how long it stays.
        draw: what it draws its bytes by.
    """

    host: str
    what: Story = attrs.field(default="nonsense", validator=attrs.validators.in_(get_args(Story)))
    seconds: float = attrs.field(default=1.0, validator=attrs.validators.ge(0.0))
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.host} is called for {self.seconds:g} s by a stranger, who {WORDS[self.what]}"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`. A host that is called by its name in a mesh has no such address."""
        address = world.host(self.host).address
        if address in world.network.homes:
            world.start(_Call(self, world, address).run)


class _Call:
    """What one stranger does."""

    def __init__(self, stranger: Stranger, world: World, address: str) -> None:
        self._what = stranger.what
        self._seconds = stranger.seconds
        self._world = world
        self._host = world.host(stranger.host)
        self._address = address
        self._draws = Stream(f"stranger/{stranger.draw}")
        self._name, self._zone = self._identity()
        self._is_like_others = self._what in ("stale", "user")
        uid = os.geteuid() + (self._what == "user")
        zone = self._zone if self._is_like_others else PLACE
        port = world.network.port(PLACE, PLACE)
        self._carrier = SimulatedCarrier(world.network, port, Credentials(1, uid, os.getegid(), zone=zone))

    async def run(self) -> None:
        """Call, and say what comes to mind whenever there is an answer."""
        outlet: Outlet | None = None
        inlet = self._carrier.inlet(capacity=ROOM, largest=ROOM)
        try:
            with trio.move_on_after(self._seconds):
                outlet = await self._carrier.open(self._address)
                data = self._hello()
                handles: Sequence[Handle] = (inlet.handle,)
                if self._what == "nonsense":
                    data, handles = self._spoilt(data), handles[self._draws.below(2) :]
                outlet.start(data, handles)
                while True:
                    for arrival in await inlet.receive():
                        if arrival.handles:
                            outlet.close()
                            outlet = self._carrier.outlet(arrival.handles[0])
                        if self._what != "stale" and arrival.data is not None:
                            outlet.start(self._answer())
        except CarrierError:
            pass  # nobody is there, or they hang up
        finally:
            inlet.close()
            if outlet is not None:
                outlet.close()
            self._world.network.end(self._carrier, silently=False)

    def _hello(self) -> bytes:
        policy = self._host.options.get("policy")
        has_secret = policy is not None and policy.secret is not None
        if self._what == "secret" or (self._is_like_others and has_secret):
            version, nonce = SEALED_VERSION, self._draws.bytes(NONCE_BYTES)
        else:
            version, nonce = VERSION + 40 * (self._what == "version"), b""
        incarnation = self._draws.below(2**32)
        if self._what == "stale":
            earlier = [
                event.incarnation
                for event in self._world.history.of(Opened)
                if event.full_name == self._name and event.life + 1 < self._world.hosts[event.host].lives
            ]
            incarnation = self._draws.choice(earlier) if earlier else incarnation
        return _batch(Hello(version, version, self._name, self._zone, incarnation, ROOM, 5.0, nonce))

    def _identity(self) -> tuple[str, str]:
        """The name and the zone that it says it has."""
        host = self._host
        if self._what == "name":
            names = (host.full_name, *NAMES)
            return names[self._draws.below(len(names))], host.zone
        others = [other for other in self._world.hosts.values() if other is not host]
        if others and self._what in ("stale", "user"):
            other = self._draws.choice(others)
            return other.full_name, other.zone
        return "stranger@nowhere", "nowhere"

    def _spoilt(self, data: bytes) -> bytes:
        """What is no Hello, but may look like one."""
        match self._draws.below(4):
            case 0:
                return self._draws.bytes(40)
            case 1:
                return PREFIX + self._draws.bytes(40)
            case 2:
                return data[: len(PREFIX) + self._draws.below(len(data) - len(PREFIX))]
            case _:
                place = self._draws.below(len(data))
                return data[:place] + self._draws.bytes(1) + data[place + 1 :]

    def _answer(self) -> bytes:
        """What it says when it has been answered."""
        data = _batch(Prove(self._draws.bytes(NONCE_BYTES)))
        return self._spoilt(data) if self._draws.below(2) else data


def _batch(frame: Any) -> bytes:
    return encode_batch(0, 0, (encode_frame(frame),))
