"""The registry at three servers, of which one or two are lost."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from typer.testing import CliRunner

from enfilade.actors import Global, NameLost, NameTaken, Node, NoQuorum, Process
from enfilade.actors.cli.app import app
from enfilade.actors.cli.refusal import Refusal
from enfilade.transport.mesh import Mesh
from enfilade.transport.mesh.registry import NoAnswer, make_bucket
from tests.transport.mesh.members import PATIENCE, Account, nodes, until
from tests.transport.mesh.servers import NatsServer, cluster, needs_server

pytestmark = [pytest.mark.real, pytest.mark.soak, needs_server, pytest.mark.timeout(300)]

LEASE = 20.0


@asynccontextmanager
async def three(
    directory: Path, lease: float, *, knows_one: bool = False
) -> AsyncIterator[tuple[list[NatsServer], list[Node]]]:
    """Three servers with a registry, and a node at each; the first node may know no other server."""
    servers = []
    for number, route in enumerate(cluster(3)):
        store = directory / str(number)
        store.mkdir()
        servers.append(NatsServer(store, *route, "-n", f"s{number}", "-js", "-sd", str(store)))
    try:
        for server in servers:
            await server.start()
        turned = [[*servers[number:], *servers[:number]] for number in range(3)]
        if knows_one:
            turned[0] = servers[:1]
        urls = [",".join(server.url for server in each) for each in turned]
        async with (
            nodes(Mesh(servers=urls[0]), "a@east") as (a,),
            nodes(Mesh(servers=urls[1]), "b@west") as (b,),
            nodes(Mesh(servers=urls[2]), "c@north") as (c,),
        ):
            connection = a.mesh._membership.carrier.connection
            with trio.fail_after(PATIENCE):
                while True:
                    try:
                        await make_bucket(
                            connection, "default", began=1, lease=lease, replicas=3, is_first=True
                        )
                    except NoAnswer:
                        await trio.sleep(0.2)
                    else:
                        break
            for node in (a, b, c):
                await until(lambda node=node: node.mesh.names._claims.lease_left > 0)
            yield servers, [a, b, c]
    finally:
        for server in servers:
            server.kill()


async def leader(node: Node) -> str:
    """The name of the server that leads the registry, when the others have all that it has."""
    connection = node.mesh._membership.carrier.connection
    with trio.fail_after(PATIENCE):
        while True:
            with trio.move_on_after(2):
                answer = await connection.request("$JS.API.STREAM.INFO.KV_enf-default", b"")
                found = msgspec.json.decode(answer.payload).get("cluster", {})
                replicas = found.get("replicas", [])
                if found.get("leader") and len(replicas) == 2 and all(each["current"] for each in replicas):
                    return str(found["leader"])
            await trio.sleep(0.1)


async def test_mesh_72_leaders_of_the_registry_come_and_go(tmp_path: Path) -> None:
    async with three(tmp_path, LEASE) as (servers, (a, b, c)):
        told: list[Any] = []

        async def keeper(me: Process) -> None:
            while True:
                told.append(await me.receive())

        ref = await a.spawn(keeper)
        await a.mesh.register("bank", ref)
        process = a.processes[ref.serial]
        for count in range(5):
            victim = servers[int((await leader(b)).removeprefix("s"))]
            victim.kill()
            with trio.fail_after(PATIENCE):
                while True:  # it is carried out, or refused and was not
                    try:
                        await c.spawn(Account, name=Global(f"made {count}"))
                    except NoQuorum:
                        assert process.holds("bank")
                    else:
                        break
                assert (await a.mesh.whereis(f"made {count}")).node_name == "c@north"
            assert process.holds("bank")
            await victim.start()
        assert told == []


async def test_mesh_71_who_is_cut_off_stops_before_another_begins(tmp_path: Path) -> None:
    """The server of the holder, the only one that it knows, stands still: the others are the majority."""
    lease = 15.0
    async with three(tmp_path, lease, knows_one=True) as (servers, (a, b, c)):
        told: list[float] = []

        async def keeper(me: Process) -> None:
            while True:
                assert await me.receive() == NameLost("bank")
                told.append(trio.current_time())

        ref = await a.spawn(keeper)
        await a.mesh.register("bank", ref)
        assert await c.mesh.whereis("bank") == ref
        servers[0].signal(signal.SIGSTOP)
        cut_at = trio.current_time()
        with trio.fail_after(4 * PATIENCE):
            with pytest.raises(NoQuorum):
                await a.mesh.whereis("bank")
            successor = await b.spawn(Account, name=Global("bank", taken="wait"))
            taken_at = trio.current_time()
            assert told, "the holder was told before"
            assert told[0] - cut_at < 0.9 * lease + 1.0
            assert taken_at - cut_at > 0.9 * lease
            servers[0].signal(signal.SIGCONT)
            while True:
                try:
                    assert await a.mesh.whereis("bank") == successor
                except NoQuorum:
                    await trio.sleep(0.1)
                else:
                    break
            assert not a.processes[ref.serial].holds("bank")
            with pytest.raises(NameTaken):
                await a.mesh.register("bank", ref)


async def test_without_a_majority_nobody_holds_a_name(tmp_path: Path) -> None:
    """Two of three servers are stopped: nobody holds a name after a lease, and names are held again later."""
    lease = 15.0
    async with three(tmp_path, lease) as (servers, (a, b, _)):
        told: list[Any] = []

        async def keeper(me: Process) -> None:
            while True:
                told.append(await me.receive())

        ref = await a.spawn(keeper)
        await a.mesh.register("bank", ref)
        for server in servers[1:]:
            server.signal(signal.SIGSTOP)
        with trio.fail_after(PATIENCE):
            await until(lambda: told == [NameLost("bank")])
            with pytest.raises(NoQuorum):
                await b.mesh.register("bank", await b.spawn(Account))
        for server in servers[1:]:
            server.signal(signal.SIGCONT)
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await b.spawn(Account, name=Global("bank", taken="wait"))
                except NoQuorum:
                    continue
                break
            assert (await a.mesh.whereis("bank")).node_name == "b@west"
            assert not a.processes[ref.serial].holds("bank")


async def test_mesh_128_status_of_a_cluster_that_goes(tmp_path: Path) -> None:
    """Healthy; a server down; no majority; no server."""
    async with three(tmp_path, LEASE) as (servers, (a, _, _)):
        await leader(a)

        async def status() -> tuple[int, dict[str, Any]]:
            words = ["mesh", "status", "--json", "--mesh", ",".join(each.url for each in servers)]
            result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(app, words))
            return result.exit_code, json.loads(result.output)

        code, report = await status()
        assert (code, report["registry"]["problem"]) == (0, "")
        assert (report["registry"]["replicas"], report["registry"]["lease"]) == (3, LEASE)
        assert [each["name"] for each in report["nodes"]] == ["a@east", "b@west", "c@north"]
        servers[0].kill()
        code, report = await status()
        assert code == 1
        assert [bool(each["problem"]) for each in report["servers"]] == [True, False, False]
        servers[1].kill()
        with trio.fail_after(PATIENCE):  # the last one leads nobody any more once it has noticed
            code, report = await status()
            while not report["registry"]["problem"]:
                code, report = await status()
        assert code == 1
        for what in ("names", "kinds"):  # what to give when a site is lost
            words = ["mesh", what, "--mesh", servers[2].url]
            result = await trio.to_thread.run_sync(lambda words=words: CliRunner().invoke(app, words))
            assert isinstance(result.exception, Refusal), result.exception
            assert "no majority" in str(result.exception)
        servers[2].kill()
        code, report = await status()
        assert (code, report["registry"]["problem"]) == (2, "no server answers")
