"""Zone files of nodes in a mesh: found by name, over servers with certificates."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from enfilade.actors import Actor, Global, Kind, Ref, RemoteEntry, open_node
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zone import run_zone
from enfilade.actors.cli.zonefile import MeshTable, read_zone_file
from enfilade.transport import NotAdmitted
from enfilade.transport.mesh import Mesh, MeshError
from tests.transport.mesh.members import PATIENCE, until
from tests.transport.mesh.servers import needs_server
from tests.transport.mesh.sites import Site, kept

ACTORS = """
from enfilade import Actor

class Till(Actor):
    def __init__(self, key: str = "") -> None:
        self.key = key

    def add(self, amount: int) -> int:
        return amount + 1
"""

ZONE = """
[node]
name = "bank"
zone = "east"

[mesh]
servers = ["{url}"]
identity = "bank@east"

[[child]]
id = "till"
actor = "till_actors:Till"
name = "till"

[[peer]]
over = "mesh"
nodes = ["shop@*"]
exports = ["till"]
"""


class Till(Actor):
    """Stands for the class at the other end."""

    def add(self, amount: int) -> int:
        raise NotImplementedError


@pytest.mark.real
@needs_server
async def test_a_zone_file_puts_a_node_into_a_mesh(tmp_path: Path) -> None:
    """Peers come by the name of their certificate; who is not admitted is told so."""
    site = Site(tmp_path)
    site.admit("bank@east", "shop@west", "thief@west")
    (tmp_path / "till_actors.py").write_text(ACTORS)
    zone = tmp_path / "bank.toml"
    zone.write_text(
        ZONE.format(url=site.urls[0]).replace('zone = "east"', 'zone = "east"\ndoor = "bank.door"')
    )
    zone.chmod(0o600)
    main = "from enfilade.actors.cli import main; main()"
    async with kept(site.keeper()):
        with subprocess.Popen(  # noqa: ASYNC220 - for a moment
            [sys.executable, "-c", main, "zone", "run", "--until-eof", str(zone)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            with trio.fail_after(2 * PATIENCE):
                line = await trio.to_thread.run_sync(process.stdout.readline)
                assert line == f"bank@east runs at {tmp_path / 'bank.door'}, in mesh default\n"
                async with open_node("shop", zone="west", mesh=site.mesh("shop@west")) as shop:
                    await shop.connect("bank@east")
                    doors = lambda: [node.door for node in shop.mesh.nodes()]  # noqa: E731
                    await until(lambda: str(tmp_path / "bank.door") in doors())
                    till: Ref[Till] = shop.remote("till", "bank@east")
                    assert await till.within(PATIENCE).call(Till.add, 1) == 2
                async with open_node("thief", zone="west", mesh=site.mesh("thief@west")) as thief:
                    with pytest.raises(NotAdmitted, match="does not admit node 'thief@west'"):
                        await thief.connect("bank@east")
            process.stdin.close()
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda text: text.replace('["{url}"]', '["one"]'), "expected the address of a server"),
        (lambda text: text.replace('["{url}"]', "[]"), "servers must name a server"),
        (lambda text: text.replace("[[child]]", "beat = 2.0\n[[child]]"), "a quarter of dead_after"),
        (lambda text: text.replace("[[child]]", "lease = 0.1\n[[child]]"), "lease must be 1 to 3600"),
    ],
    ids=range(4),
)
def test_what_a_mesh_cannot_be_is_refused(tmp_path: Path, change: Callable[[str], str], refusal: str) -> None:
    path = tmp_path / "bank.toml"
    path.write_text(change(ZONE).format(url="tls://localhost:1"))
    path.chmod(0o600)
    with pytest.raises(Refusal, match=refusal):
        read_zone_file(path).mesh_settings(tmp_path)


async def test_the_identity_is_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bank.toml"
    path.write_text(ZONE.format(url="tls://localhost:1"))
    path.chmod(0o600)
    mesh: Any = read_zone_file(path).mesh_settings(tmp_path)
    assert mesh == Mesh(servers=["tls://localhost:1"], identity=str(tmp_path / "bank@east"))
    with pytest.raises(MeshError, match="expected a file"):
        async with open_node("bank", zone="east", mesh=mesh):
            pytest.fail("it was let in")


@pytest.mark.parametrize(
    ("table", "refusal"),
    [
        ('servers = "tls://one.example"', r"\[mesh\]: the server at one\.example:4222 is on another machine"),
        ('servers = "tls://one.example"\nidentity = "x"', r"\[mesh\]: expected a file .*node\.key"),
        (
            'servers = "embedded"\nserver = "x"',
            r"\[mesh\]: Mesh\(server=\.\.\.\) must be the path of nats-server",
        ),
    ],
    ids=["identity", "files", "program"],
)
def test_mesh_130_what_opening_finds_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, refusal: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = tmp_path / "bank.toml"
    path.write_text(f'[node]\nname = "bank"\nzone = "east"\n[mesh]\n{table}\n')
    path.chmod(0o600)
    with pytest.raises(Refusal, match=refusal):
        run_zone(path)


KINDS = (
    ZONE
    + """
[kinds.Till]
actor = "till_actors:Till"
shards = 16
"""
)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda text: text.replace("shards = 16", "shards = 0"), r"\[kinds.Till\]: shards must be 1 to"),
        (lambda text: text.replace("shards = 16", "idle = 0.0"), r"\[kinds.Till\]: idle must be more than 0"),
        (lambda text: text.replace('till_actors:Till"\nshards', 'till_actors:Ghost"\nshards'), "Ghost"),
        (lambda text: text.replace("[kinds.Till]", f"[kinds.{'x' * 49}]"), "1 to 48 bytes"),
        (
            lambda text: text.replace("[[child]]", "registry = false\n[[child]]"),
            "need a .mesh. with a registry",
        ),
    ],
    ids=range(5),
)
def test_a_kind_that_cannot_be_is_refused(tmp_path: Path, change: Callable[[str], str], refusal: str) -> None:
    """With its place in the file; and what can be is read."""
    (tmp_path / "till_actors.py").write_text(ACTORS)
    path = tmp_path / "bank.toml"
    path.write_text(KINDS.format(url="tls://localhost:1"))
    path.chmod(0o600)
    kinds = read_zone_file(path).kinds_run(tmp_path)
    assert kinds is not None
    assert kinds["Till"].shards == 16
    short = KINDS.partition("[kinds.Till]")[0] + '[kinds]\nTill = "till_actors:Till"\n'
    path.write_text(short.format(url="tls://localhost:1"))
    assert read_zone_file(path).kinds_run(tmp_path) == {"Till": Kind(kinds["Till"].actor)}
    path.write_text(change(KINDS).format(url="tls://localhost:1"))
    with pytest.raises(Refusal, match=refusal):
        read_zone_file(path).kinds_run(tmp_path)


PLACED = (
    ZONE
    + """
[[child]]
id = "far"
entry = "Work"
nodes = ["*@east"]
labels = ["gpu"]
place = "spread"

[[child]]
id = "held"
actor = "till_actors:Till"
global_name = "till"
"""
)


def test_mesh_130_placed_and_global_children_are_read(tmp_path: Path) -> None:
    (tmp_path / "till_actors.py").write_text(ACTORS)
    path = tmp_path / "bank.toml"
    path.write_text(PLACED.format(url="tls://localhost:1"))
    path.chmod(0o600)
    _, far, held = read_zone_file(path).children(tmp_path)
    assert far.target == RemoteEntry("Work", "*@east", labels=["gpu"], place="spread")
    assert held.name == Global("till", taken="wait")


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        ('["*@east"]', '["east"]', "child 'far': .*'nodes' is 'east'"),
        ('["gpu"]', '[""]', "child 'far': .*'labels' is"),
        ('"spread"', '"best"', "expected one of 'first', 'spread'"),
        ('= "till"\n', '= ""\n', "child 'held': name must be a string of 1 to 60 bytes"),
        ('= "till"\n', '= "till"\ntaken = "later"\n', "expected one of 'fail', 'ignore', 'wait'"),
        ('= "till"\n', '= "till"\nname = "t"\n', "child 'held': expected a 'name' on the node or a"),
        ('global_name = "till"\n', 'taken = "fail"\n', "child 'held': 'taken' belongs to a child with"),
        ('global_name = "till"\n', 'place = "hash"\n', "child .held.: .place. belongs to a child"),
        ('place = "spread"', 'global_name = "x"', "child 'far': the node where an 'entry' lives decides"),
        ("[mesh]", "[mesh]\nregistry = false", "child .held.: a .global_name. needs a .mesh. with"),
        ("[mesh]", "[mesh]\nlables = []", "did you mean 'labels'?"),
    ],
    ids=range(11),
)
def test_mesh_130_each_mistake_has_its_place(tmp_path: Path, old: str, new: str, refusal: str) -> None:
    (tmp_path / "till_actors.py").write_text(ACTORS)
    path = tmp_path / "bank.toml"
    begin, found, end = PLACED.format(url="tls://localhost:1").rpartition(old)
    assert found
    path.write_text(begin + new + end)
    path.chmod(0o600)
    with pytest.raises(Refusal, match=refusal):
        read_zone_file(path).children(tmp_path)


VALUES = {
    "servers": '["one"]',
    "name": '""',
    "identity": "5",
    "dead_after": "0.1",
    "beat": "0.0",
    "lease": "0.5",
    "window": "65535",
    "registry": '"yes"',
    "labels": '[""]',
    "groups": "[5]",
    "server": "5",
}


@pytest.mark.parametrize("key", [field.name for field in msgspec.structs.fields(MeshTable)])
def test_mesh_130_every_key_of_the_mesh_wrong_once(tmp_path: Path, key: str) -> None:
    """With its place in the file: the table and the key."""
    path = tmp_path / "bank.toml"
    wrong = {"servers": '["embedded"]', key: VALUES[key]}
    lines = [f"{name} = {value}" for name, value in wrong.items()]
    path.write_text("\n".join(['[node]\nname = "a"\nzone = "b"\n[mesh]', *lines]))
    path.chmod(0o600)
    place = "beat" if key == "dead_after" else "server" if key == "servers" else key
    with pytest.raises(Refusal, match=rf"mesh(\]|\.).*{place}"):
        read_zone_file(path).mesh_settings(tmp_path)
