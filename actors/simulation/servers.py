"""The servers of a simulated mesh: several in a world, as a cluster that keeps itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from enfilade.actors.simulation.host import EPOCH

if TYPE_CHECKING:
    from enfilade.actors.simulation.host import Host
    from enfilade.actors.simulation.machine.entropy import Entropy
    from enfilade.transport.mesh import Mesh
    from enfilade.transport.simulated.network import Network
    from enfilade.transport.simulated.servers.cluster import Cluster
    from enfilade.transport.simulated.servers.server import SimulatedServer

__all__ = ["Servers"]


class Servers:
    """The part of a `World` that has servers of a mesh.

    Attributes:
        cluster: the servers; None before `open_servers`.
    """

    network: Network
    entropy: Entropy
    hosts: dict[str, Host]
    now: Callable[[], float]
    call_at: Callable[[float, Callable[[], Any]], None]
    last: Callable[[Hashable, float, Callable[[], Any]], None]
    forget: Callable[[Hashable], None]
    _note: Callable[..., None]

    def __init__(self) -> None:
        super().__init__()
        self.cluster: Cluster | None = None

    def open_servers(self, *names: str, **options: Any) -> Mesh:
        """Start servers of one cluster, with a registry, and return the mesh that nodes join.

        Each has a host of its own, which `partition` and `way` know by its name. They need a moment to agree
        who leads.

        Args:
            names: of the servers; "s1", "s2" and "s3" by default.
            options: as of `enfilade.transport.mesh.Mesh`.

        Raises:
            RuntimeError: the world has servers already.
            ValueError: a name is taken.
        """
        from enfilade.transport.mesh import Mesh  # worlds without a mesh do without all this
        from enfilade.transport.simulated.servers.cluster import Cluster

        if self.cluster is not None:
            raise RuntimeError("the world has servers already: it can have one cluster")
        names = names or ("s1", "s2", "s3")
        taken = [name for name in names if name in self.hosts]
        if taken:
            raise ValueError(f"the world has a host {taken[0]!r} already")
        addresses = Cluster.addresses_of(names)
        mesh = Mesh(servers=",".join(f"nats://{server}" for server in addresses.values()), **options)
        self.cluster = Cluster(
            self.network,
            self.entropy,
            lambda: EPOCH + self.now(),
            addresses,
            mesh=mesh.name,
            lease=mesh.lease,
        )
        return mesh

    @property
    def servers(self) -> dict[str, SimulatedServer]:
        """The servers, by name; none in a world without a mesh."""
        return {} if self.cluster is None else self.cluster.servers

    def end_server(
        self, name: str, how: Literal["process", "machine"] = "process", back: float | None = None
    ) -> None:
        """End a server; what it has on its disk stays.

        Args:
            name: which.
            how: with the "process" its clients hear of it; with the "machine" they hear nothing.
            back: seconds after which it starts again; None: when `start_server` or `calm` is called.
        """
        self._note("end server", name, how)
        self.servers[name].end(silently=how == "machine")
        if back is not None:
            self.call_at(self.now() + back, partial(self.start_server, name))

    def end_servers(self) -> None:
        """End all of them, with the world: nothing is to happen any more."""
        for server in self.servers.values():
            server.end(silently=True)

    def start_server(self, name: str) -> None:
        """Start a server that has ended; harmless with one that has not."""
        assert self.cluster is not None, "it has servers"
        if self.servers[name].is_dead:
            self._note("start server", name)
            self.cluster.start(name)

    def freeze_server(self, name: str, seconds: float) -> None:
        """Let a server stand still for so many seconds; of several times the longest counts."""
        self._note("freeze server", name)
        port = self.servers[name].port
        self.network.freeze(port)
        self.last(port, seconds, lambda: self.network.thaw(port))

    def retire_server(self, name: str, seconds: float) -> None:
        """Let a server send its clients to others within so many seconds, and end, as a lame duck does."""
        server = self.servers[name]
        if not server.is_dead and not server.is_retiring:
            self._note("retire server", name)
            server.retire(seconds)

    def skew_server_clock(self, name: str, seconds: float) -> None:
        """Put a server's wall clock forward, or back, also in its next lives."""
        assert self.cluster is not None, "it has servers"
        self._note("skew server", name, seconds)
        self.cluster.skew_clock(name, seconds)

    def fill_registry(self, seconds: float) -> None:
        """Let the registry refuse whatever is written, for so many seconds."""
        self._note("fill registry")
        for server in self.servers.values():
            server.registry.is_full = True
        self.last("full registry", seconds, self._drain_registry)

    def lose_registry(self, seconds: float) -> None:
        """End all servers, and start them again after so many seconds, with nothing on their disks."""
        assert self.cluster is not None, "it has servers"
        self._note("lose registry")
        self.cluster.lose_data()
        for name in self.servers:
            self.call_at(self.now() + seconds, partial(self.start_server, name))

    def recover_servers(self) -> list[str]:
        """Let all servers be well, and return their names."""
        for name, server in self.servers.items():
            self.forget(server.port)
            self.network.thaw(server.port)
            self.start_server(name)
        self._drain_registry()
        return list(self.servers)

    def _drain_registry(self) -> None:
        for server in self.servers.values():
            server.registry.is_full = False

    def dial_of(self, host: Host) -> Callable[[Any], Awaitable[Any]] | None:
        """Return what connects the present process of a host to a server; None without servers."""
        if self.cluster is None or host.carrier is None:
            return None
        return partial(self.cluster.dial, host.carrier)
