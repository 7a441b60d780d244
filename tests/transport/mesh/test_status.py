"""The figures of a node's part in its mesh, and the lines of its log."""

import logging
from pathlib import Path

import attrs
import pytest
import trio

from enfilade.actors import Kind, Ref, open_node
from enfilade.actors.observing.tables.walker import Walker
from enfilade.actors.observing.telemetry.metrics import INSTRUMENTS, Metrics
from enfilade.actors.peers.mesh.status import MeshStatus
from enfilade.transport import Policy
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import PATIENCE, Account, nodes, server, until
from tests.transport.mesh.servers import NatsServer, needs_server, running

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]

GROWING = ("reconnects", "cuts", "beats_late", "links_resumed", "batches_resent", "seeks", "refusals")
TRAFFIC = ("messages_in", "messages_out", "bytes_in", "bytes_out")


async def test_the_status_of_a_node(server: NatsServer) -> None:
    """MESH-57: of the server, the node links, and what does not fall when a server is lost."""
    async with nodes(Mesh(servers=server.url, registry=False), "a@east", "b@west") as (a, b):
        with trio.fail_after(PATIENCE):
            await a.connect("b@west")
            account: Ref[Account] = a.remote("account", "b@west")
            await account.call(Account.give, bytes(10_000))
            before: MeshStatus = a.mesh.status()
            assert before.mesh == "default"
            assert before.server is not None
            assert str(server.server) in before.server
            assert before.round_trip is not None
            assert 0 < before.round_trip < PATIENCE
            assert (before.nodes, before.linked, before.registry, before.kinds) == (2, 1, None, {})
            assert before.bytes_in > 10_000
            assert before.bytes_out > 10_000
            server.kill()
            await until(lambda: a.mesh.status().server is None)
            await server.start()
            await until(lambda: a.mesh.status().links_resumed == 1)
            await account.call(Account.give, 7)
            after = attrs.asdict(a.mesh.status())
            for name in (*GROWING, *TRAFFIC):
                assert after[name] >= getattr(before, name), name
            assert (after["reconnects"], after["linked"]) == (1, 1)
            assert after["seeks"] > 0
            b.mesh._membership.carrier.connection.publish("enf.default.d.x", b"nonsense")
            await until(lambda: a.mesh.status().refusals > after["refusals"])


class Keyed(Account):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.usefixtures("runtime")
async def test_the_status_of_registry_and_kinds() -> None:
    mesh = Mesh(servers="embedded:figures")
    with trio.fail_after(PATIENCE):
        async with open_node(
            "a",
            zone="east",
            mesh=mesh,
            policy=Policy.same_mesh(kinds="*"),
            kinds={"Account": Kind(Keyed, shards=4)},
        ) as node:
            await until(lambda: node.mesh.status().kinds["Account"].shards == 4)
            await node.mesh.register("till", await node.spawn(Account))
            await node.mesh.keyed("Account", "alice").call(Account.give, 1)
            status: MeshStatus = node.mesh.status()
            assert status.registry is not None
            assert status.registry.epoch > 0
            assert status.registry.lease == 6.0
            assert 0 < status.registry.lease_left <= 0.9 * 6.0
            assert (status.registry.held, status.registry.claims) == (5, 5)
            kind = status.kinds["Account"]
            assert (kind.activations, kind.started, kind.moves) == (1, 1, 0)
            metrics = Metrics(node, Walker(node), node.observation.counts)
            found = await metrics.readings(1.0, messages=False)
            assert {each.name for each in INSTRUMENTS if "mesh" in each.name} <= set(found)
            assert found["enfilade.mesh.shards"] == [({"enfilade.keyed.kind": "Account"}, 4)]
            assert found["enfilade.mesh.nodes"] == [({}, 1)]


async def test_the_log_of_a_node(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line each: in the mesh, a server lost, another found, none left, the mesh lost."""
    caplog.set_level(logging.INFO, "enfilade.mesh")

    def lines(part: str) -> list[str]:
        return [record.getMessage() for record in caplog.records if part in record.getMessage()]

    async with running(tmp_path, 2, "--name", "s") as (one, two):
        mesh = Mesh(servers=[one.url, two.url], registry=False, dead_after=1.0, beat=0.2)
        async with nodes(mesh, "a@east", "b@west") as (a, _):
            with trio.fail_after(PATIENCE):
                await a.connect("b@west")
                assert lines("a@east is in mesh default, at server ")
                one.kill()
                await until(lambda: len(lines("node links resumed")) == 2)
                assert any(str(two.server) in line for line in lines("is lost: "))
                assert all(f"; trying {two.server}" in line for line in lines("is lost: "))
                two.kill()
                await until(lambda: len(lines("node links are over: this node has lost the mesh")) == 2)
                tried = ", ".join(sorted([str(one.server), str(two.server)]))
                missed = lines(f"no server answers (tried {tried}): nodes are lost in ")
                assert len(missed) == 2, "once each, however often they try"
