"""Calls of strangers: how they begin, and what they say when they are answered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio

from enfilade.actors.simulation.checkers.history import Opened
from enfilade.actors.simulation.machine.entropy import Stream
from enfilade.transport.carrier import Carrier, CarrierError, Credentials, Handle, Outlet
from enfilade.transport.seal import NONCE_BYTES
from enfilade.transport.simulated.carrier import SimulatedCarrier
from enfilade.transport.wire import PREFIX, SEALED_VERSION, VERSION, Hello, Prove, encode_batch, encode_frame

if TYPE_CHECKING:
    from enfilade.actors.simulation.host import Host
    from enfilade.actors.simulation.world import World

__all__ = ["Call", "Story"]

Story: TypeAlias = Literal["version", "secret", "name", "stale", "nonsense", "user"]

PLACE: Final = "a stranger"
"""The name and the zone of the host from which all strangers call. No node can have such a zone."""

NAMES: Final = ("", "a/b", " east", "\x07", "x" * 200)
"""Names that no node can have."""

ROOM: Final = 64 * 1024


class Call:
    """The call of a stranger: see `strangers.Stranger`.

    Args:
        world: where it calls.
        host: the host that is called.
        what: how it begins.
        seconds: how long it stays.
        draw: what it draws its bytes by.

    Attributes:
        world, host, what: the same.
        draws: its chance.
        name, zone, incarnation: what it says it is.
        process: what it is: a process of a host of its own.
    """

    def __init__(self, world: World, host: Host, what: Story, seconds: float, draw: int) -> None:
        self.world = world
        self.host = host
        self.what = what
        self.draws = Stream(f"stranger/{draw}")
        self.name, self.zone = self._identity()
        self._seconds = seconds
        self._is_like_others = self.what in ("stale", "user")
        self.incarnation = self._chosen_incarnation()
        uid = os.geteuid() + (self.what == "user")
        zone = self.zone if self._is_like_others else PLACE
        port = world.network.port(PLACE, PLACE)
        self.process = SimulatedCarrier(world.network, port, Credentials(1, uid, os.getegid(), zone=zone))

    async def run(self) -> None:
        """Call, and stay on the line. Whatever comes of it."""
        try:
            with trio.move_on_after(self._seconds):
                await self.begin()
        except CarrierError:
            pass  # nobody is there, or they hang up
        finally:
            self.world.network.end(self.process, silently=False)

    async def begin(self) -> None:
        """Call by the way that leads to the host.

        Raises:
            CarrierError: nobody is there, or they hang up.
        """
        await self.talk(self.process)

    async def talk(self, carrier: Carrier) -> None:
        """Say Hello over a carrier, and what comes to mind whenever there is an answer.

        Raises:
            CarrierError: nobody is there, or they hang up.
        """
        outlet: Outlet | None = None
        inlet = carrier.inlet(capacity=ROOM, largest=ROOM)
        try:
            outlet = await carrier.open(self.host.address)
            data = self.hello()
            handles: Sequence[Handle] = (inlet.handle,)
            if self.what == "nonsense":
                data, handles = self.spoilt(data), handles[self.draws.below(2) :]
            outlet.start(data, handles)
            while True:
                for arrival in await inlet.receive():
                    if arrival.handles:
                        outlet.close()
                        outlet = carrier.outlet(arrival.handles[0])
                    if self.what != "stale" and arrival.data is not None:
                        outlet.start(self._answer())
        finally:
            inlet.close()
            if outlet is not None:
                outlet.close()

    def hello(self) -> bytes:
        """The batch with which it introduces itself."""
        policy = self.host.options.get("policy")
        has_secret = policy is not None and policy.secret is not None
        if self.what == "secret" or (self._is_like_others and has_secret):
            version, nonce = SEALED_VERSION, self.draws.bytes(NONCE_BYTES)
        else:
            version, nonce = VERSION + 40 * (self.what == "version"), b""
        return _batch(Hello(version, version, self.name, self.zone, self.incarnation, ROOM, 5.0, nonce))

    def _chosen_incarnation(self) -> int:
        """The incarnation that it says it has: who is stale has that of an earlier life, if there was one."""
        drawn = self.draws.below(2**32)
        if self.what != "stale":
            return drawn
        earlier = [
            event.incarnation
            for event in self.world.history.of(Opened)
            if event.full_name == self.name and event.life + 1 < self.world.hosts[event.host].lives
        ]
        return self.draws.choice(earlier) if earlier else drawn

    def _identity(self) -> tuple[str, str]:
        """The name and the zone that it says it has."""
        host = self.host
        if self.what == "name":
            names = (host.full_name, *NAMES)
            return names[self.draws.below(len(names))], host.zone
        others = [other for other in self.world.hosts.values() if other is not host]
        if others and self.what in ("stale", "user"):
            other = self.draws.choice(others)
            return other.full_name, other.zone
        return "stranger@nowhere", "nowhere"

    def spoilt(self, data: bytes) -> bytes:
        """Spoil a Hello: what comes of it may look like one."""
        match self.draws.below(4):
            case 0:
                return self.draws.bytes(40)
            case 1:
                return PREFIX + self.draws.bytes(40)
            case 2:
                return data[: len(PREFIX) + self.draws.below(len(data) - len(PREFIX))]
            case _:
                place = self.draws.below(len(data))
                return data[:place] + self.draws.bytes(1) + data[place + 1 :]

    def _answer(self) -> bytes:
        """What it says when it has been answered."""
        data = _batch(Prove(self.draws.bytes(NONCE_BYTES)))
        return self.spoilt(data) if self.draws.below(2) else data


def _batch(frame: Any) -> bytes:
    return encode_batch(0, 0, (encode_frame(frame),))
