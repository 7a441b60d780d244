"""Commands about nodes of a mesh, as their operator gives them: a server, two nodes, and who may do what."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from typer.testing import CliRunner

from enfilade.actors import Actor, Child, Kind, NoQuorum, Ref, RemoteEntry, Supervisor, open_node
from enfilade.actors.cli.app import app
from enfilade.actors.cli.mesh_place import reached
from enfilade.actors.cli.refusal import Refusal
from enfilade.transport import Policy
from tests.transport.mesh.members import PATIENCE, server, until
from tests.transport.mesh.servers import NatsServer, needs_server
from tests.transport.mesh.sites import Site

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]

COMMAND = [sys.executable, "-c", "from enfilade.actors.cli import main; main()"]

ACTORS = """
import trio
from enfilade import Actor

class Count(Actor):
    def __init__(self, key):
        self.key = key

    async def where(self):
        return self.process.node.full_name


class Till(Actor):
    def __init__(self, total=0):
        self.total = total

    async def add(self, amount):
        self.total += amount
        return self.total

    async def add_slowly(self, amount):
        await trio.sleep(0.5)
        return await self.add(amount)

    def on_message(self, message):
        self.total = message

    async def where(self):
        return self.process.node.full_name
"""

ZONE = """
[node]
name = "{name}"
zone = "east"

[mesh]
servers = ["{url}"]
identity = "{name}@east"

[entries]
Till = "till_of_commands:Till"

[[child]]
id = "till"
actor = "till_of_commands:Till"
{key} = "till"

[[peer]]
over = "mesh"
nodes = ["op@*"]
control = true
exports = ["till"]

[[peer]]
over = "mesh"
entries = ["*"]
exports = ["till"]
kinds = ["*"]

[kinds.Count]
actor = "till_of_commands:Count"
shards = 8
"""


class Clock(Actor):
    """The single actor of its kind."""


class Town:
    """A server, and nodes that run from zone files."""

    def __init__(self, directory: Path) -> None:
        self.site = Site(directory)
        self.site.admit("bank@east", "shop@east", "guest@west")
        self.site.admit("op@desk", is_operator=True)
        (directory / "till_of_commands.py").write_text(ACTORS)
        self.processes: list[subprocess.Popen[str]] = []
        self.start("mesh", "up", str(self.site.files[0]))

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command, and wait until it says that it is ready."""
        process = subprocess.Popen(
            [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline(), process.communicate()[1]
        return process

    def open(self, name: str, key: str = "name") -> "subprocess.Popen[str]":
        zone = self.site.directory / f"{name}.toml"
        zone.write_text(ZONE.format(url=self.site.urls[0], name=name, key=key))
        zone.chmod(0o600)
        return self.start("zone", "run", str(zone))

    def run(self, *words: str, who: str = "op@desk") -> tuple[int, str]:
        """Give a command as somebody: its status, and what it says."""
        return give(*words, "--identity", str(self.site.directory / who))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    for process in reversed(made.processes):
        process.kill()
        process.communicate()


REPORT: dict[str, Any] = {
    "mesh": str,
    "days_left": (float, type(None)),
    "servers": [{"address": str, "seconds": float, "problem": str}],
    "registry": {"lease": float, "began": int, "leader": str, "replicas": int, "problem": str},
    "nodes": [
        {
            "name": str,
            "incarnation": int,
            "host": str,
            "process": int,
            "entries": [str],
            "kinds": [],
            "is_draining": bool,
            "labels": [],
            "door": str,
            "machine": str,
            "load": {"lateness": float, "processes": int},
            "connected": bool,
        }
    ],
}


def check(schema: Any, value: Any, place: str = "") -> None:
    """Check that a value has the form of a schema: the same keys, and values of these types."""
    if isinstance(schema, dict):
        assert schema.keys() == value.keys(), place
        for key, inner in schema.items():
            check(inner, value[key], f"{place}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), place
        for each in value if schema else ():
            check(schema[0], each, f"{place}[]")
    else:
        kinds = schema if isinstance(schema, tuple) else (schema,)
        assert isinstance(value, (int, *kinds) if float in kinds else kinds), (place, value)


def test_mesh_128_status_says_what_is_wrong(town: Town) -> None:
    """And lists: of nodes and of names."""
    town.open("bank", key="global_name")
    status, said = town.run("mesh", "status", "--json")
    assert status == 0, said
    report = json.loads(said)
    check(REPORT, report)
    assert [each["name"] for each in report["nodes"]] == ["bank@east"]
    assert (report["registry"]["replicas"], report["registry"]["lease"]) == (1, 6.0)
    status, said = town.run("mesh", "status", who="guest@west")
    assert status == 0
    assert "1 node in mesh default" in said
    assert "registry: kept by its servers" in said, "a node is not told more"
    while (listed := town.run("mesh", "names")) == (0, ""):  # a young registry gives nothing away yet
        time.sleep(0.05)
    assert listed == (0, "till: bank@east\n")
    assert json.loads(town.run("mesh", "names", "--json")[1]) == {"till": "bank@east"}
    assert "bank@east at" in town.run("mesh", "nodes")[1]
    town.processes[0].terminate()
    town.processes[0].communicate(timeout=PATIENCE)
    status, said = town.run("mesh", "status", "--json")
    assert status == 2
    assert json.loads(said)["registry"]["problem"] == "no server answers"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's runtime directory, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def give(*words: str) -> tuple[int, str]:
    """Give a command: its status, and what it says."""
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, Refusal):
        return 1, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


async def test_what_asks_a_registry_that_is_not_there_is_refused_in_one_line(server: NatsServer) -> None:
    """So it says too when the registry has no majority: this is given when a site is lost."""
    for what in ("names", "kinds"):
        found = await trio.to_thread.run_sync(give, "mesh", what, "--mesh", server.url)
        assert found == (1, "no server of the mesh has a registry")


def test_the_doctor_tries_a_mesh(town: Town) -> None:
    """The program, the identity and each server; and what is wrong with each."""
    status, said = town.run("doctor", who="shop@east")
    said = " ".join(said.split())
    assert status == 0, said
    assert "identity yes shop@east in mesh default, its certificate ends in 90 days" in said
    assert "takes this node, under its own names only, and answers in" in said
    for topic in ("nats-server yes", "certificates yes", "clock of leases yes", "open files"):
        assert topic in said
    (town.site.directory / "shop@east" / "node.key").chmod(0o640)
    status, said = town.run("doctor", who="shop@east")
    assert status == 1
    assert "chmod 600" in said
    town.site.authority.revoke("guest@west")
    while town.run("doctor", who="guest@west")[0] == 0:  # the server goes by the new list a moment later
        time.sleep(0.05)
    assert "it refuses this client" in " ".join(town.run("doctor", who="guest@west")[1].split())
    zone = town.site.directory / "bank.toml"
    zone.write_text(ZONE.format(url="tls://localhost:1", name="bank", key="name"))
    zone.chmod(0o600)
    status, said = give("doctor", str(zone))
    assert status == 1, said
    assert "server tls://localhost:1" in said
    assert give("doctor", str(zone), "--mesh", "embedded")[0] == 1


@pytest.mark.usefixtures("runtime")
async def test_mesh_128_of_a_mesh_of_this_machine() -> None:
    """Nobody needs an identity there; a question starts no server."""

    async def asked(*words: str) -> tuple[int, str]:
        return await trio.to_thread.run_sync(lambda: give("mesh", *words, "--mesh", "embedded"))

    for word in ("nodes", "kinds", "names"):
        status, said = await asked(word)
        assert (status, said) == (1, "no program of this user has a node in the embedded mesh 'default'")
    assert (await asked("status"))[0] == 2
    assert await asked("status", "embedded") == (
        1,
        "expected embedded, --identity or --mesh, got more than one",
    )
    with trio.fail_after(PATIENCE):
        async with open_node(
            "bank", zone="east", mesh="embedded", kinds={"Clock": Kind(Clock, single=True)}
        ) as bank:
            await bank.mesh.register("till", await bank.spawn(Clock))

            status, said = await asked("status", "--json")
            assert status == 0, said
            report = json.loads(said)
            check(REPORT, report)
            assert (report["mesh"], report["days_left"]) == ("default", None)
            assert [each["name"] for each in report["nodes"]] == ["bank@east"]
            assert "1 node in mesh default\n" in (await asked("status"))[1]
            assert "bank@east at" in (await asked("nodes"))[1]
            assert await asked("names") == (0, "till: bank@east\n")
            where = await trio.to_thread.run_sync(lambda: give("mesh", "names", "embedded"))
            assert where == (0, "till: bank@east\n")
            while await asked("kinds") != (0, "Clock: 1 shards, at bank@east (1)\n"):
                pass  # it claims its shard when it has a lease
            assert json.loads((await asked("kinds", "--json"))[1]) == {
                "Clock": {"shards": 1, "nodes": ["bank@east"], "owners": {"bank@east": 1}}
            }
    status, said = await asked("nodes")
    assert status == 1, "the server has ended with the node, and a question starts no other"
    assert "no server of the mesh answers as it should" in said


def test_mesh_129_operators_reach_a_node_by_its_name(town: Town) -> None:
    """As at its door; who has no `control` is refused."""
    bank = town.open("bank")
    status, said = town.run("zone", "ps", "bank@east")
    assert status == 0
    assert "Till" in said
    assert "till: actor" in town.run("zone", "tree", "bank@east")[1]
    assert town.run("zone", "call", "bank@east", "till", "add", "5") == (0, "5\n")
    assert town.run("zone", "send", "bank@east", "till", "7")[0] == 0
    assert town.run("zone", "call", "bank@east", "till", "add", "1") == (0, "8\n")
    assert town.run("zone", "call", "bank@east", "till", "add", "1", who="guest@west") == (0, "9\n")
    for words in (("zone", "stop", "bank@east"), ("zone", "ps", "bank@east"), ("mesh", "drain", "bank@east")):
        assert town.run(*words, who="guest@west") == (1, "node bank@east does not let us control it")
    assert "no node ghost@x is in the mesh" in town.run("zone", "ps", "ghost@x")[1]
    assert town.run("zone", "stop", "bank@east")[0] == 0
    assert bank.wait(PATIENCE) == 0


def test_a_node_of_a_mesh_is_named_with_its_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # where no node of another test is announced
    with pytest.raises(Refusal, match="process id runs; for the node of that name in a mesh give"):
        reached(Path("bank@east"), None, None, None)
    with pytest.raises(Refusal, match="expected --identity or --mesh, got both"):
        reached(Path("bank@east"), tmp_path, "embedded", None)
    with pytest.raises(Refusal, match="--mesh: expected the address of a server"):
        reached(Path("bank@east"), None, "one", None)
    place, _ = reached(Path("bank@east"), None, "embedded:tests", None)
    assert not isinstance(place, Path)
    assert (str(place), place.mesh.servers, place.mesh.name) == ("bank@east", ("embedded",), "tests")
    (tmp_path / "bank.door").touch()
    assert reached(tmp_path / "bank.door", None, None, None) == (tmp_path / "bank.door", None)


async def test_mesh_107_a_node_that_is_drained_hands_over(town: Town) -> None:
    """Calls finish, children and shards live elsewhere, names are free, the end is orderly; and it exits."""
    sys.path.insert(0, str(town.site.directory))
    try:
        from till_of_commands import Count, Till  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    bank = town.open("bank", key="global_name")
    mesh = town.site.mesh("guest@west")
    with trio.fail_after(2 * PATIENCE):
        async with open_node("guest", zone="west", mesh=mesh, policy=Policy.same_mesh()) as guest:
            target = RemoteEntry("Till", "bank@east", "shop@east")
            await until(lambda: len(guest.mesh.nodes()) == 2)
            tree = await guest.spawn(Supervisor, [Child(target, id="till")], intensity=3)

            async def child() -> Ref[Any]:
                while True:
                    (info,) = await tree.call(Supervisor.children)
                    if isinstance(info.ref, Ref):
                        return info.ref
                    await trio.sleep(0.01)

            assert (await child()).node_name == "bank@east"
            keys = [guest.mesh.keyed("Count", str(number)).within(PATIENCE) for number in range(20)]
            assert {await key.call(Count.where) for key in keys} == {"bank@east"}
            await trio.to_thread.run_sync(town.open, "shop", "name")
            await until(lambda: len(guest.mesh.nodes()) == 3)
            held = None
            while held is None:
                with suppress(NoQuorum):  # the registry is young
                    held = await guest.mesh.whereis("till")
                await trio.sleep(0.05)
            answers: list[int] = []
            ended: list[str] = []

            async def call() -> None:
                answers.append(await held.within(PATIENCE).call(Till.add_slowly, 3))

            async with guest.mailbox() as me, trio.open_nursery() as nursery:
                guest.mesh.monitor(me.ref)
                nursery.start_soon(call)
                await until(lambda: guest.distribution._current["bank@east"].pending()["calls"] == 1)
                words = ("mesh", "drain", "bank@east", "--timeout", "5")
                status, said = await trio.to_thread.run_sync(lambda: town.run(*words))
                assert (status, said) == (0, "")
                assert {await key.call(Count.where) for key in keys} == {"shop@east"}
                while not ended:
                    event = await me.receive()
                    ended += [event.reason] if hasattr(event, "reason") else []
            assert answers == [3]
            assert ended == ["the node stops"]
            assert bank.wait(PATIENCE) == 0
            assert (await child()).node_name == "shop@east"
            assert await guest.mesh.whereis("till") is None
