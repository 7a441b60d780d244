"""A mesh with certificates for the tests: an authority, identities, and servers that `Keeper` keeps."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from enfilade.actors import Node, open_node
from enfilade.transport import Policy
from enfilade.transport.mesh import Mesh
from enfilade.transport.mesh.authority import Authority, Grant, join
from enfilade.transport.mesh.keeper import Keeper, read_server_file
from tests.ports import free_port
from tests.transport.mesh.members import PATIENCE, Account

POLICY = Policy.same_mesh(exports="*", ends="*", entries="*", groups="*")


class Site:
    """An authority, and what it has issued.

    Args:
        directory: for all files.
        count: of servers.
        address: where they listen.
        lease: of the registry, in seconds; None for the default.
    """

    def __init__(
        self, directory: Path, count: int = 1, address: str = "127.0.0.1", lease: float | None = None
    ) -> None:
        self.directory = directory
        self._address = address
        self._lease = lease
        name = "localhost" if address == "127.0.0.1" else address
        self.ports = [free_port() for _ in range(count)]
        self.routes = [free_port() for _ in range(count)]
        self.urls = tuple(f"tls://{name}:{port}" for port in self.ports)
        self.authority = Authority.create(directory / "ca", servers=self.urls)
        for number in range(count):
            self.install(f"s{number}", self.authority.issue_server(sorted({name, "localhost"})))
        self.files = [self._server_file(number) for number in range(count)]

    def _server_file(self, number: int) -> Path:
        file = self.directory / f"s{number}.toml"
        lines = ["[server]", f'name = "s{number}"', f'listen = "{self._address}:{self.ports[number]}"']
        lines += [f'identity = "s{number}"', 'nodes = "ca/nodes.list"']
        if self._lease is not None:
            lines += [f"lease = {self._lease}"]
        if len(self.ports) > 1:
            others = [each for each in range(len(self.ports)) if each != number]
            lines += [f'cluster = "127.0.0.1:{self.routes[number]}"']
            lines += [f"routes = {[f'localhost:{self.routes[each]}' for each in others]}"]
            lines += [f"others = {[self.urls[each] for each in others]}"]
        file.write_text("\n".join(lines))
        return file

    def install(self, name: str, bundle: bytes) -> Path:
        """Install a bundle as an identity directory of this name."""
        path = self.directory / f"{name}.bundle"
        path.write_bytes(bundle)
        path.chmod(0o600)
        join(path, self.directory / name)
        return self.directory / name

    def admit(self, *names: str, **options: Any) -> None:
        """Issue certificates to nodes."""
        for name in names:
            self.install(name, self.authority.issue(name, Grant(**options)))

    def mesh(self, name: str, urls: Sequence[str] = (), **options: Any) -> Mesh:
        """What a node of this name opens the mesh with."""
        return Mesh(servers=urls or self.urls, identity=self.directory / name, **options)

    def keeper(self, number: int = 0) -> Keeper:
        """A keeper of a server."""
        return Keeper(read_server_file(self.files[number]))

    @asynccontextmanager
    async def node(self, name: str, urls: Sequence[str] = (), **options: Any) -> AsyncIterator[Node]:
        """Open a node with an account, for the length of a block."""
        short, _, zone = name.partition("@")
        mesh = self.mesh(name, urls, **options)
        async with open_node(short, zone=zone, mesh=mesh, policy=POLICY) as node:
            await node.spawn(Account, name="account")
            yield node


@asynccontextmanager
async def kept(*keepers: Keeper) -> AsyncIterator[None]:
    """Keep servers running for the length of a block; they are killed at its end, and not asked to go."""
    async with trio.open_nursery() as nursery:
        for keeper in keepers:
            with trio.fail_after(PATIENCE):
                await nursery.start(keeper.run)
        try:
            yield
        finally:
            for keeper in keepers:
                if keeper._server is not None:
                    os.kill(keeper._server.pid, 9)
            nursery.cancel_scope.cancel()
