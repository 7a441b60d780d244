"""A node's membership of a mesh: from the first server that answers to the last batch that has left."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from enfilade.transport.mesh.announcer import own_node
from enfilade.transport.mesh.carrier import MeshCarrier, name_in_use
from enfilade.transport.mesh.certificate_dates import warn_of_end, watch_end
from enfilade.transport.mesh.claims import Claims
from enfilade.transport.mesh.identity import Identity, client_context, read_identity
from enfilade.transport.mesh.published import Published, Reader
from enfilade.transport.mesh.registry import MeshRegistry
from enfilade.transport.mesh.settings import Mesh, MeshError, Server
from enfilade.transport.mesh.shared_server import SharedServer
from enfilade.transport.mesh.stream import Dial, dial
from enfilade.transport.mesh.subjects import MOST_CHARACTERS, Subjects

__all__ = ["Membership", "join"]

FLUSH_SECONDS: Final = 0.5
"""Longest time for what was said last to leave."""


class Membership:
    """A node's membership of a mesh. Made by `join`, and ended by `leave`.

    Attributes:
        mesh: which, and how.
        carrier: carries its node links.
        shared: the server that the user's programs share; None with others.
        claims: the names and shards that the node holds; None if it is to have nothing to do with a registry.
    """

    carrier: MeshCarrier

    def __init__(self, nursery: trio.Nursery, mesh: Mesh) -> None:
        self.mesh = mesh
        self._nursery = nursery
        self._tasks: list[tuple[trio.CancelScope, trio.Event]] = []
        self.shared: SharedServer | None = None
        self.claims: Claims | None = None

    async def run(self, task: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run a task until the node leaves, and wait until it has started.

        It goes on when what is around the node is cancelled: the node says goodbye over the mesh. Until it
        has started, whoever opens the node waits for it, and can be cancelled.
        """
        scope, over = trio.CancelScope(), trio.Event()

        async def run(*, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
            try:
                with scope:
                    await task(*args, task_status=task_status)
            finally:
                over.set()

        self._tasks.append((scope, over))
        await self._nursery.start(run)
        scope.shield = True

    async def announce(self) -> None:
        """Tell the mesh of the node, which can be reached from now on."""
        await self.run(self.carrier.announcer.run)

    def publish(self, reader: Reader) -> Published:
        """Have tables of this node published, and a reader told of those of others."""
        heartbeats, announcer = self.carrier.heartbeats, self.carrier.announcer
        published = Published(self.carrier.connection, self.carrier.subjects, heartbeats, reader)
        heartbeats.versions = announcer.versions = published.versions
        heartbeats.versions_heard = announcer.versions_heard = published.told
        return published

    async def leave(self) -> None:
        """Leave the mesh, when all node links are over. Harmless when repeated."""
        with trio.CancelScope(shield=True):
            if self.claims is not None:
                await self.claims.leave()
            if self._tasks:
                self.carrier.announcer.leave("the node stops")
                await self.carrier.connection.flush(FLUSH_SECONDS)
            while self._tasks:
                scope, over = self._tasks.pop()
                scope.cancel()
                await over.wait()
            if self.shared is not None:
                await self.shared.stop()


async def join(
    mesh: Mesh,
    node: str,
    incarnation: int,
    nursery: trio.Nursery,
    entries: Sequence[str] = (),
    door: str = "",
    *,
    entropy: Callable[[int], bytes],
    random: Callable[[], float],
    unix_time: Callable[[], float],
    dial: Dial = dial,
) -> Membership:
    """Join a mesh.

    Args:
        mesh: which, and how.
        node: the full name of the node.
        incarnation: of the node.
        nursery: where the tasks of the membership run.
        entries: what the node offers to spawn.
        door: the path of its door, for the nodes of its machine; empty without one.
        entropy: makes so many bytes that nobody can guess.
        random: draws a float from 0 to 1: the jitter of pauses.
        unix_time: returns the seconds since 1970.
        dial: connects to a server.

    Raises:
        ValueError: the node's name is too long for a mesh.
        MeshError: the mesh cannot be set up, or has a node of this name.
    """
    if len(node) > MOST_CHARACTERS:
        raise ValueError(
            f"the name of a node in a mesh must have at most {MOST_CHARACTERS} characters, got {node!r}"
        )
    token = None
    servers = list(mesh.addresses)
    identity = None if mesh.identity is None else _identity(mesh, node)
    if identity is None:
        _check_addresses(servers)
    membership = Membership(nursery, mesh)
    try:
        if mesh.is_embedded:
            membership.shared = SharedServer(mesh)
            found, token = await membership.shared.find()
            servers = [found]
        subjects = Subjects(mesh.name, node, incarnation)
        carrier = MeshCarrier(
            mesh,
            subjects,
            servers,
            token,
            identity,
            own_node(subjects, entries, mesh.labels, door),
            entropy=entropy,
            random=random,
            unix_time=unix_time,
            dial=dial,
        )
        membership.carrier = carrier
        await membership.run(carrier.connection.run)
        if where := await carrier.namesakes.find():
            raise name_in_use(subjects, where)
        if identity is not None:
            await membership.run(watch_end, identity, node)
        await membership.run(carrier.heartbeats.run)
        await membership.run(carrier.doubts.probe)
        if membership.shared is not None:
            await membership.run(membership.shared.keep, carrier)
        if mesh.registry:
            if membership.shared is not None:
                await membership.run(membership.shared.administer, carrier, carrier.connection)
            membership.claims = Claims(
                MeshRegistry(carrier.connection, mesh.name), node, incarnation, entropy=entropy
            )
            membership.claims.others = carrier.announcer.directory.others
            await membership.run(membership.claims.run)
    except BaseException:
        await membership.leave()
        raise
    return membership


def _check_addresses(servers: Sequence[Server]) -> None:
    """Refuse servers whose nodes nobody could tell apart."""
    for server in servers:
        if server.is_tls or not server.is_loopback:
            where = "asks for TLS" if server.is_loopback else "is on another machine"
            raise MeshError(
                f"the server at {server} {where}, and without certificates any client could speak there "
                "under any name: give the directory that `enfilade mesh join` makes as identity, or use "
                "mesh='embedded'"
            )


def _identity(mesh: Mesh, node: str) -> Identity:
    """Read the identity of a node, and check that it is this one's.

    Raises:
        MeshError: it is unusable, of another node or of another mesh.
    """
    assert mesh.identity is not None, "asked before"
    if mesh.is_embedded:
        raise MeshError("an embedded server knows no certificates: give its addresses, or no identity")
    identity = read_identity(mesh.identity)
    if node not in (identity.node, *identity.also):
        raise MeshError(f"the certificate in {mesh.identity} is for {identity.node}, this node is {node}")
    if identity.mesh != mesh.name:
        raise MeshError(
            f"the certificate in {mesh.identity} is for mesh {identity.mesh!r}: give name={identity.mesh!r}"
        )
    client_context(identity)  # what is wrong with its files is to be said before any server is tried
    warn_of_end(identity, node)
    return identity
