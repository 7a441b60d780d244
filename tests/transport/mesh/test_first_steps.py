"""What a program does first in a mesh, and what it is told when it does that wrongly; at a plain server."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Global, Kind, Node, NoQuorum, NotConnected, open_node
from enfilade.transport import FileDescriptor, PayloadError
from enfilade.transport.mesh import Mesh, MeshError
from tests.transport.mesh.members import PATIENCE, Account, nodes, server, until
from tests.transport.mesh.servers import NatsServer, needs_server

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]


class Keyed(Actor):
    def __init__(self, key: str) -> None:
        self.key = key


def plain(server: NatsServer, **options: Any) -> Mesh:
    """A mesh without a registry, which such a server does not have."""
    return Mesh(servers=[server.url], registry=False, **options)


async def test_a_mesh_may_be_a_text_or_a_record(server: NatsServer) -> None:
    async with nodes(server.url, "a@east") as (a,), nodes(plain(server), "b@west"):
        await until(lambda: [each.name for each in a.mesh.nodes()] == ["a@east", "b@west"])


async def test_nodes_say_what_they_are(server: NatsServer) -> None:
    async with nodes(plain(server, labels=["gpu", "big"]), "a@east", "b@west") as (a, b):
        await until(lambda: len(a.mesh.nodes()) == 2)
        _, found = a.mesh.nodes()
        assert (found.name, found.incarnation) == ("b@west", b.incarnation)
        assert sorted(found.labels) == ["big", "gpu"]
        assert "Account" in found.entries
        assert found.host
        assert not found.is_draining
        assert not found.connected
        await a.connect("b@west")
        assert a.mesh.nodes()[1].connected


@pytest.mark.parametrize("address", ["mesh:b@west", "b@west"])
async def test_a_node_is_named_with_or_without_the_way(server: NatsServer, address: str) -> None:
    async with nodes(plain(server), "a@east", "b@west") as (a, _):
        with trio.fail_after(PATIENCE):
            assert await a.connect(address) == "b@west"


@pytest.mark.parametrize("address", ["mesh:", "mesh:b", "@", "b@", "@west", "b@west@x", "mesh:b@west/x"])
async def test_what_names_no_node_is_refused(server: NatsServer, address: str) -> None:
    async with nodes(plain(server), "a@east") as (a,):
        with trio.fail_after(PATIENCE), pytest.raises((OSError, ValueError)):
            await a.connect(address)


async def test_what_is_kept_connected_is_connected_again(server: NatsServer) -> None:
    mesh = plain(server, dead_after=1.0, beat=0.2)
    async with nodes(mesh, "a@east") as (a,):
        a.distribution.keep_connected("b@west")
        for _ in range(2):
            async with nodes(mesh, "b@west"):
                await until(lambda: "b@west" in a.peers)
            await until(lambda: "b@west" not in a.peers)


@pytest.mark.parametrize(
    "use",
    [
        lambda node: node.mesh.whereis("x"),
        lambda node: node.spawn(Account, name=Global("x")),
    ],
    ids=["whereis", "spawn"],
)
@pytest.mark.parametrize("registry", [False, True])
async def test_a_server_without_a_registry_is_no_quorum(
    server: NatsServer, use: Callable[[Node], Any], registry: bool
) -> None:
    """Whether the node knows that there is none, or only hears no answer."""
    async with nodes(Mesh(servers=[server.url], registry=registry), "a@east") as (a,):
        with trio.fail_after(PATIENCE), pytest.raises(NoQuorum):
            await use(a)
        if not registry:
            with pytest.raises(NoQuorum, match="registry=False"):
                a.mesh.keyed("Account", "x")


async def test_a_descriptor_stays_where_it_is(server: NatsServer) -> None:
    async with nodes(plain(server), "a@east", "b@west") as (a, _):
        ref = await a.whereis_on("b@west", "account")
        assert ref is not None
        for given in os.pipe():
            with pytest.raises(PayloadError, match=r"b@west.*mesh"):
                await ref.call(Account.give, FileDescriptor(given))
            with pytest.raises(PayloadError, match=r"b@west.*mesh"):
                ref.send(FileDescriptor(given))
            os.close(given)  # which is still there


async def test_who_watches_no_longer_is_told_nothing(server: NatsServer) -> None:
    seen: list[tuple[str, str]] = []

    class Watch(Actor):
        def on_message(self, message: Any) -> None:
            seen.append((type(message).__name__, message.node.name))

    async with nodes(plain(server), "a@east") as (a,):
        ref = await a.spawn(Watch)
        a.mesh.monitor(ref)
        async with nodes(plain(server), "b@west"):
            await until(lambda: ("NodeJoined", "b@west") in seen)
        await until(lambda: ("NodeLeft", "b@west") in seen)
        a.mesh.demonitor(ref)
        count = len(seen)
        async with nodes(plain(server), "c@west"):
            await until(lambda: len(a.mesh.nodes()) == 2)
        assert len(seen) == count


async def test_the_status_tells_the_traffic(server: NatsServer) -> None:
    async with nodes(plain(server), "a@east", "b@west") as (a, _):
        ref = await a.whereis_on("b@west", "account")
        assert ref is not None
        before = a.mesh.status()
        for number in range(20):
            await ref.call(Account.give, number)
        after = a.mesh.status()
        assert after.messages_out >= before.messages_out + 20
        assert after.bytes_in > before.bytes_in
        assert (after.linked, after.nodes, after.registry) == (1, 2, None)
        assert before.round_trip is not None
        assert after.server is not None
        assert str(server.server) in after.server


async def test_a_node_without_a_mesh_has_no_names() -> None:
    async with open_node("x") as node:
        with pytest.raises(NotConnected):
            node.mesh.nodes()
        with pytest.raises((NotConnected, OSError, ValueError)):
            await node.connect("b@west")


@pytest.mark.parametrize(
    "mesh",
    [
        *("", "embedded:", "nats://", "one.example", 5, b"embedded", ["embedded"], "tls://127.0.0.1:1"),
        *("nats://one.example", "tls://one.example"),
    ],
    ids=str,
)
async def test_a_mesh_that_is_none_is_refused(mesh: Any) -> None:
    with trio.fail_after(PATIENCE), pytest.raises((MeshError, ValueError, TypeError)):
        async with open_node("a", zone="east", mesh=mesh):
            pytest.fail("it was opened")


@pytest.mark.parametrize(
    "kinds",
    [{"": Kind(Keyed)}, {"x" * 49: Kind(Keyed)}, {"a": 5}, {5: Kind(Keyed)}, 5, [Kind(Keyed)]],
    ids=range(6),
)
async def test_kinds_that_are_none_are_refused(server: NatsServer, kinds: Any) -> None:
    with trio.fail_after(PATIENCE), pytest.raises((ValueError, TypeError)):
        async with open_node("a", zone="east", mesh=server.url, kinds=kinds):
            pytest.fail("it was opened")


@pytest.mark.parametrize(
    "options", [{"kinds": {"Keyed": Kind(Keyed)}}, {"identity": "x"}], ids=["kinds", "identity"]
)
async def test_what_belongs_to_a_mesh_needs_one(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        async with open_node("a", **options):
            pytest.fail("it was opened")
