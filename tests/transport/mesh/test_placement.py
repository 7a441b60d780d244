"""Children placed on nodes of a mesh that nobody has connected, at real servers."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Child, Node, NodeStopped, Ref, RemoteEntry, Supervisor, open_node
from enfilade.actors.peers.site import Site
from enfilade.actors.supervision.placement import placed
from enfilade.transport import Policy
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import PATIENCE, Account, server, until
from tests.transport.mesh.servers import NatsServer, needs_server

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]

POLICY = Policy.same_mesh(entries="*")


class Task(Actor):
    """A child that says where it lives."""

    async def where(self) -> str:
        return self.process.node.full_name


@asynccontextmanager
async def site(url: str, name: str, *labels: str) -> AsyncIterator[Node]:
    """Open a node on which tasks can be started."""
    short, _, zone = name.partition("@")
    mesh = Mesh(servers=url, labels=labels)
    async with open_node(short, zone=zone, mesh=mesh, policy=POLICY, entries={"Task": Task}) as node:
        yield node


async def stay(leave: trio.Event, url: str, name: str, *labels: str, task_status: Any) -> None:
    async with site(url, name, *labels):
        task_status.started()
        await leave.wait()


async def homes(supervisor: Ref[Supervisor], count: int) -> dict[str, str]:
    """Where each child lives, when so many do."""
    with trio.fail_after(PATIENCE):
        while True:
            infos = await supervisor.within(PATIENCE).call(Supervisor.children)
            refs = {info.id: info.ref for info in infos if isinstance(info.ref, Ref)}
            if len(refs) == count:
                return {each: ref.node_name for each, ref in refs.items()}
            await trio.sleep(0.01)


def six(place: Any, **options: Any) -> list[Child]:
    return [Child(RemoteEntry("Task", "*@*", place=place, **options), id=f"t{number}") for number in range(6)]


async def test_mesh_105_children_are_placed_and_stay(server: NatsServer) -> None:
    """Spread over those that are there; a fourth node changes nothing, and takes over from one that goes."""
    async with open_node("desk", zone="hq", mesh=server.url) as desk, trio.open_nursery() as nursery:

        async def come(url: str, name: str, *labels: str) -> trio.Event:
            leave = trio.Event()
            await nursery.start(stay, leave, url, name, *labels)
            return leave

        with trio.fail_after(PATIENCE):
            leaves = [await come(server.url, "a@east", "gpu"), await come(server.url, "b@west", "gpu")]
            leaves.append(await come(server.url, "c@north"))
            await until(lambda: len(desk.mesh.nodes()) == 4)
            tree = await desk.spawn(Supervisor, six("spread"), intensity=10)
            before = await homes(tree, 6)
            assert Counter(before.values()) == {"a@east": 2, "b@west": 2, "c@north": 2}
            assert set(desk.peers) == {"a@east", "b@west", "c@north"}, "they were connected by the placement"
            labelled = await desk.spawn(Supervisor, six("first", labels=["gpu"]), intensity=10)
            assert set((await homes(labelled, 6)).values()) == {"a@east"}
            leaves.append(await come(server.url, "d@south", "gpu"))
            await until(lambda: len(desk.mesh.nodes()) == 5)
            assert await homes(tree, 6) == before, "who lives stays"
            leaves[0].set()
            await until(lambda: len(desk.mesh.nodes()) == 4)
            after = await homes(tree, 6)
            stayed = {each for each, home in before.items() if home != "a@east"}
            assert {each for each in before if before[each] == after[each]} == stayed
            assert after.keys() - stayed == {each for each in after if after[each] == "d@south"}
            assert set((await homes(labelled, 6)).values()) == {"b@west"}
        for leave in leaves:
            leave.set()


def predicted(place: Any, names: list[str]) -> dict[str, str] | None:
    """Where each of six children goes, by the pure function; None where that hangs on loads."""
    if place in ("spread", "least_loaded"):
        return None
    sites = [Site(name, ("Task",), ("gpu",), is_near=True) for name in names]
    return {str(child.id): placed(child.target, child.id, sites)[0] for child in six(place)}


@pytest.mark.parametrize("place", ["first", "spread", "least_loaded", "hash", "local"])
async def test_mesh_105_each_policy_in_a_mesh(server: NatsServer, place: Any) -> None:
    """Six children on those of three nodes that have the label; a node comes, and the fullest is lost."""
    async with open_node("desk", zone="hq", mesh=server.url) as desk, trio.open_nursery() as nursery:

        async def come(name: str, *labels: str) -> trio.Event:
            leave = trio.Event()
            await nursery.start(stay, leave, server.url, name, *labels)
            return leave

        with trio.fail_after(PATIENCE):
            names = ["a@east", "b@west"]
            leaves = {each: await come(each, "gpu") for each in names}
            leaves["c@north"] = await come("c@north")
            await until(lambda: len(desk.mesh.nodes()) == 4)
            tree = await desk.spawn(Supervisor, six(place, labels=["gpu"]), intensity=10)
            before = await homes(tree, 6)
            assert set(before.values()) <= set(names), "the label decides"
            assert before == (predicted(place, names) or before)
            if place == "spread":
                assert Counter(before.values()) == {"a@east": 3, "b@west": 3}
            leaves["d@south"] = await come("d@south", "gpu")
            await until(lambda: len(desk.mesh.nodes()) == 5)
            assert await homes(tree, 6) == before, "who lives stays"
            gone = Counter(before.values()).most_common(1)[0][0]
            left = [each for each in (*names, "d@south") if each != gone]
            leaves.pop(gone).set()
            await until(lambda: len(desk.mesh.nodes()) == 4)
            after = await homes(tree, 6)
            expected = predicted(place, left)
            for child, home in before.items():
                if home != gone:
                    assert after[child] == home, "who lives stays"
                elif expected is not None:
                    assert after[child] == expected[child]
                else:
                    assert after[child] in left
        for leave in leaves.values():
            leave.set()


async def test_mesh_106_a_supervisor_waits_for_a_node_that_nobody_has_named(server: NatsServer) -> None:
    """The node is found by a pattern when it comes, connected, and the child started, at no restart."""
    async with open_node("desk", zone="hq", mesh=server.url) as desk:
        children = [Child(RemoteEntry("Task", "w*@east", labels=["gpu"]), id="t")]
        tree = await desk.spawn(Supervisor, children, intensity=1)
        async with site(server.url, "w0@east"), site(server.url, "w1@west", "gpu"):
            await until(lambda: len(desk.mesh.nodes()) == 3)
            assert await homes(tree, 0) == {}
            began = trio.current_time()
            async with site(server.url, "w2@east", "gpu"):
                assert await homes(tree, 1) == {"t": "w2@east"}
            print(f"started {trio.current_time() - began:.3f} s after the node was opened")


async def test_a_node_that_cannot_be_reached_is_passed_over(server: NatsServer) -> None:
    """It admits nobody; the next one of the list has the child, and it is tried again later."""
    closed = Policy(rules=[])
    async with (
        open_node("a", zone="east", mesh=server.url, policy=closed, entries={"Task": Task}),
        open_node("desk", zone="hq", mesh=server.url) as desk,
    ):
        await until(lambda: len(desk.mesh.nodes()) == 2)
        target = RemoteEntry("Task", "a@east", "b@east")
        tree = await desk.spawn(Supervisor, [Child(target, id="t")], intensity=1)
        await trio.sleep(0.1)
        assert await homes(tree, 0) == {}
        async with site(server.url, "b@east"):
            assert await homes(tree, 1) == {"t": "b@east"}


async def test_a_node_that_drains_takes_nothing_on(server: NatsServer) -> None:
    """And ends what supervisors elsewhere have there, and nothing else."""
    async with site(server.url, "a@east") as a, open_node("desk", zone="hq", mesh=server.url) as desk:
        await until(lambda: len(desk.mesh.nodes()) == 2)
        target = RemoteEntry("Task", "a@east")
        tree = await desk.spawn(Supervisor, [Child(target, id="t")], intensity=1)
        await homes(tree, 1)
        own = await a.spawn(Account)
        assert await a.mesh.drain(PATIENCE)
        with pytest.raises(NodeStopped):
            await desk.spawn_on("a@east", "Task")
        assert await homes(tree, 0) == {}
        assert [each.ref for each in a.processes.values()] == [own]


async def test_nodes_tell_labels_and_load(server: NatsServer) -> None:
    async with site(server.url, "a@east", "gpu") as a, open_node("desk", zone="hq", mesh=server.url) as desk:
        for _ in range(5):
            await a.spawn(Account)
        await desk.connect("a@east")

        def told() -> bool:
            found = [each for each in desk.mesh.nodes() if each.name == "a@east"]
            return [(each.labels, each.load.processes >= 5, each.connected) for each in found] == [
                (("gpu",), True, True)
            ]

        await until(told)
