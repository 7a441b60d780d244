"""Nodes that can be met at a door and over a mesh: one node link, whichever way it goes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import Node, NodeDown, NodeUp, NotConnected, Ref, open_node
from enfilade.transport import CarrierError, Policy
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import PATIENCE, Account, server, until
from tests.transport.mesh.servers import NatsServer, needs_server

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's runtime directory, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


POLICY = Policy(rules=(*Policy.same_user(exports="*").rules, *Policy.same_mesh(exports="*").rules))


@asynccontextmanager
async def opened(url: str, name: str, door: Path | None = None, **options: Any) -> AsyncIterator[Node]:
    """Open a node with an account."""
    short, _, zone = name.partition("@")
    mesh = Mesh(servers=url, beat=0.2, dead_after=1.0)
    async with open_node(short, zone=zone, mesh=mesh, listen=door, **{"policy": POLICY, **options}) as node:
        await node.spawn(Account, name="account")
        yield node


def way(node: Node, peer: str) -> str | None:
    """The mesh over which a node has a peer; None for a door."""
    mesh = node.distribution.rendezvous.peers[peer].identity.credentials.mesh
    assert mesh is None or isinstance(mesh, str)
    return mesh


async def known(*nodes: Node) -> None:
    """Wait until all nodes know of each other."""
    await until(lambda: all(len(node.mesh.nodes()) == len(nodes) for node in nodes))


async def test_mesh_11_nodes_of_one_machine_use_their_doors(tmp_path: Path) -> None:
    """MESH-60: by name, by `mesh:` and on demand; whoever has no door is reached over the mesh."""
    doors = [tmp_path / each for each in "ab"]
    async with (
        opened("embedded", "a@east", doors[0]) as a,
        opened("embedded", "b@west", doors[1]) as b,
        opened("embedded", "c@north") as c,
        a.mailbox() as me,
    ):
        with trio.fail_after(PATIENCE):
            await known(a, b, c)
            a.distribution.monitor_nodes(me.ref)
            assert await a.connect("mesh:b@west") == "b@west"
            assert await a.connect(str(doors[1])) == "b@west", "the same node"
            assert await b.connect("a@east") == "a@east"
            assert (way(a, "b@west"), way(b, "a@east")) == (None, None)
            assert await me.receive(NodeUp) == NodeUp("b@west")
            far: Ref[Account] = await a.whereis_on("c@north", "account")
            assert (way(a, "c@north"), way(c, "a@east")) == ("default", "default")
            assert await me.receive(NodeUp) == NodeUp("c@north")
            assert await far.call(Account.give, 1) == 1
            # A ref to a process behind a door is of use to whoever is only in the mesh.
            near: Ref[Account] = await a.whereis_on("b@west", "account")
            await far.send_wait(near)
            account = c.whereis("account")
            assert account is not None
            await far.call(Account.give, None)  # which comes after it
            handed = await account.call(Account.history)
            assert await handed[0].within(PATIENCE).call(Account.give, 2) == 2
            assert way(c, "b@west") == "default"
            with trio.move_on_after(0.3):
                event = await me.receive((NodeUp, NodeDown))
                pytest.fail(f"there is one node link to each node, and {event} told of another")


async def test_mesh_11_a_door_that_cannot_be_used_is_no_hindrance(server: NatsServer, tmp_path: Path) -> None:
    """Its node is reached over the mesh then: when the door is gone, another's, or does not admit."""
    async with opened(server.url, "a@east", tmp_path / "a") as a:
        with trio.fail_after(PATIENCE):
            async with opened(server.url, "b@west", tmp_path / "b") as b:
                await known(a, b)
                (tmp_path / "b").unlink()
                assert await a.connect("b@west") == "b@west"
                assert way(a, "b@west") == "default"
            async with opened(server.url, "b@west", tmp_path / "c", policy=Policy.same_mesh()) as b:
                await until(lambda: a.mesh.door_of("b@west") == str(tmp_path / "c"))
                assert await a.connect("b@west") == "b@west"
                assert way(a, "b@west") == "default"
            async with opened(server.url, "b@west", tmp_path / "d") as b:
                await until(lambda: a.mesh.door_of("b@west") == str(tmp_path / "d"))
                a.distribution.rendezvous.nearer = lambda _: str(tmp_path / "e")
                async with open_node("other", listen=tmp_path / "e"):
                    assert await a.connect("b@west") == "b@west"
                    assert way(a, "b@west") == "default"


async def test_mesh_11_calls_over_two_ways_at_the_same_moment(tmp_path: Path) -> None:
    """One node link comes of it, and the nodes are told of one, however often they do it."""
    async with (
        opened("embedded", "a@east", tmp_path / "a") as a,
        opened("embedded", "b@west", tmp_path / "b") as b,
        a.mailbox() as me,
    ):
        with trio.fail_after(PATIENCE):
            await known(a, b)
            a.distribution.monitor_nodes(me.ref)
            b.distribution.rendezvous.nearer = lambda _: None
            for _ in range(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(a.connect, "b@west")
                    nursery.start_soon(b.connect, "a@east")
                assert way(a, "b@west") == way(b, "a@east")
                account: Ref[Account] = a.remote("account", "b@west")
                assert await account.call(Account.give, 1) == 1
                a.distribution.disconnect("b@west")
                await until(lambda: not a.peers and not b.peers)
                events = [await me.receive((NodeUp, NodeDown)) for _ in range(2)]
                assert [type(each) for each in events] == [NodeUp, NodeDown]


async def test_a_node_of_a_mesh_has_workers(server: NatsServer) -> None:
    """They are reached on their own machine; a ref to a process of theirs travels, and is of no use."""
    async with (
        opened(server.url, "a@east", workers=1, entries={"Account": Account}) as a,
        opened(server.url, "b@west") as b,
    ):
        with trio.fail_after(PATIENCE):
            await known(a, b)
            (worker,) = a.workers.names
            ref: Ref[Account] = await a.workers.spawn(Account)
            assert await ref.call(Account.give, 1) == 1
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            await account.send_wait(ref)
            (handed,) = await account.call(Account.history)
            assert handed == ref
            here = b.whereis("account")
            assert here is not None
            (far,) = await here.call(Account.history)
            with pytest.raises(
                NotConnected,
                match=rf"node {worker} is not in the mesh; it can be reached on its own machine only",
            ):
                await far.call(Account.give, 2)


async def test_a_name_needs_a_mesh(tmp_path: Path) -> None:
    async with open_node("a", listen=tmp_path / "a") as a, open_node("b", listen=tmp_path / "b@c"):
        with pytest.raises(CarrierError, match="no way to 'mesh:b@west': open it with `mesh=`"):
            await a.connect("mesh:b@west")
        assert await a.connect(f"door:{tmp_path / 'b@c'}") == "b@local"
