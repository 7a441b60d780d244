"""A cluster of simulated servers, and whoever keeps it: makes its registry, and starts servers again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from enfilade.transport.mesh.lease import VERSION
from enfilade.transport.mesh.registry import EPOCH, SETTLED, Epoch
from enfilade.transport.mesh.settings import PORT, Server
from enfilade.transport.mesh.stream import Stream
from enfilade.transport.mesh.subjects import to_token
from enfilade.transport.simulated.network import Network
from enfilade.transport.simulated.servers.consensus import Memory
from enfilade.transport.simulated.servers.server import Draws, SimulatedServer
from enfilade.transport.simulated.stream import Program, connect

__all__ = ["Cluster"]

HOST: Final = "127.0.0.1"
"""The address of all servers of a simulation; which one is meant, the port tells."""


class Chance(Protocol):
    """The chance of a simulation: a stream of draws for each name."""

    def stream(self, name: str) -> Draws:
        """The stream of that name: the same one each time."""
        ...


class Cluster:
    """Some servers, each of which has a life after the other.

    Args:
        network: what they are part of.
        entropy: their chance.
        unix_time: the wall-clock time of their keeper.
        addresses: of the servers, by their names, which are those of their hosts, too.
        mesh: the name of the mesh that they have a registry for.
        lease: the seconds of leases.

    Attributes:
        servers: the present life of each server, or the last one, by name.
        addresses: of the servers, by name.
        epochs: how many registries there were: a further one where all data were lost.
    """

    def __init__(
        self,
        network: Network,
        entropy: Chance,
        unix_time: Callable[[], float],
        addresses: Mapping[str, Server],
        *,
        mesh: str,
        lease: float,
    ) -> None:
        self.servers: dict[str, SimulatedServer] = {}
        self.addresses = dict(addresses)
        self.epochs = 0
        self._network = network
        self._entropy = entropy
        self._unix_time = unix_time
        self._bucket = f"enf-{to_token(mesh)}"
        self._lease = lease
        self._began = 0
        self._skews = dict.fromkeys(addresses, 0.0)
        self._memories = {name: Memory() for name in addresses}
        for name in addresses:
            network.port(name, name)
        for name in addresses:
            self.start(name)

    @staticmethod
    def addresses_of(names: Sequence[str]) -> dict[str, Server]:
        """Give servers of these names addresses."""
        return {name: Server(HOST, PORT + place) for place, name in enumerate(names)}

    def start(self, name: str) -> None:
        """Start a server that is dead; harmless with one that lives."""
        known = self.servers.get(name)
        if known is not None and not known.is_dead:
            return
        self.servers[name] = SimulatedServer(
            self._network,
            name,
            self.addresses[name],
            [other for other in self.addresses if other != name],
            self._memories[name],
            bucket=self._bucket,
            draws=self._entropy.stream(f"server/{name}"),
            skew=self._skews[name],
            begun=self._begun,
        )

    def skew_clock(self, name: str, seconds: float) -> None:
        """Put a server's wall clock forward, or back, by which it lets what is stored expire."""
        self._skews[name] += seconds
        self.servers[name].skew = self._skews[name]

    def lose_data(self) -> None:
        """End all servers, and let their disks be empty when they start again."""
        for server in self.servers.values():
            server.end(silently=False)
        self._memories.update({name: Memory() for name in self._memories})

    async def dial(self, program: Program, server: Server) -> Stream:
        """Connect a process of a host to a server; see `transport.mesh.stream.Dial`."""
        for name, address in self.addresses.items():
            if address == server:
                return await connect(self._network, program, name, address.port)
        there = ", ".join(map(str, self.addresses.values()))
        raise ConnectionRefusedError(f"expected one of {there}, got {server}")

    def _begun(self, server: SimulatedServer) -> None:
        """Make the registry, if there is none: what `transport.mesh.registry.make_bucket` does."""
        if server.registry.is_empty:
            self._began = max(round(self._unix_time() * 1000), self._began + 1)
            epoch = Epoch(VERSION, self._began, self._lease)
            server.write(f"$KV.{self._bucket}.{EPOCH}", msgspec.msgpack.encode(epoch), 0)
            if not self.epochs:  # nobody can hold anything
                server.write(f"$KV.{self._bucket}.{SETTLED}", msgspec.msgpack.encode(self._began), 0)
            self.epochs += 1
