"""The lines of the log of a node in a mesh: one each, with what has happened and what comes of it."""

import logging
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from enfilade.actors import Global, NameTaken, Node
from enfilade.transport.mesh import Mesh
from enfilade.transport.mesh.subjects import Subjects
from tests.transport.mesh.members import PATIENCE, Account, Program, nodes, server, start, until
from tests.transport.mesh.servers import NatsServer, needs_server, running
from tests.transport.mesh.test_shared_server import server_of

__all__ = ["server", "start"]

pytestmark = [pytest.mark.real, needs_server]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime directory, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "enfilade" / "mesh" / "default"


class Lines:
    """What the logger of meshes says."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "enfilade.mesh")
        self._caplog = caplog

    def of(self, pattern: str) -> list[tuple[str, str]]:
        """The level and the text of the lines that have that, oldest first."""
        records = [each for each in self._caplog.records if each.name == "enfilade.mesh"]
        found = [(each.levelname, each.getMessage()) for each in records]
        return [(level, text) for level, text in found if re.search(pattern, text)]

    async def one(self, pattern: str) -> tuple[str, str]:
        """The only line that has that, once it is there."""
        await until(lambda: bool(self.of(pattern)))
        (line,) = self.of(pattern)
        return line


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    return Lines(caplog)


async def linked(node: Node, program: Program, peer: str) -> None:
    """Have a node linked to that of a program."""
    await program.ready()
    await until(lambda: peer in {each.name for each in node.mesh.nodes()})
    with trio.fail_after(PATIENCE):
        await node.connect(peer)


async def test_a_node_that_is_silent(server: NatsServer, start: Callable[..., Program], lines: Lines) -> None:
    """As long as it is silent nothing more is said of it, and the line has the time that `dead_after` is."""
    mesh = Mesh(servers=[server.url], registry=False, dead_after=1.0, beat=0.2)
    program = start(server.url, "b@west")
    async with nodes(mesh, "a@east") as (a,):
        await linked(a, program, "b@west")
        program.kill(signal.SIGSTOP)
        level, text = await lines.one("b@west is dead")
        assert (level, text) == ("INFO", "node b@west is dead: silent for 1.0 s")
        await trio.sleep(2)
        assert len(lines.of("b@west is dead")) == 1
        program.kill(signal.SIGCONT)


async def test_mesh_50_a_node_of_which_the_server_says_that_it_has_gone(
    runtime: Path, start: Callable[..., Program], lines: Lines
) -> None:
    program = start("embedded", "b@west")
    async with nodes("embedded", "a@east") as (a,):
        await linked(a, program, "b@west")
        program.kill()
        level, text = await lines.one("b@west is dead")
        assert level == "INFO"
        assert text == "node b@west is dead: the server says that it has gone, and it does not answer"


async def test_mesh_54_a_node_whose_loop_was_held_hears_that_it_was_cut_off(
    runtime: Path, start: Callable[..., Program], lines: Lines
) -> None:
    """By the server, and for how long its loop stood still."""
    program = start("embedded", "b@west")
    async with nodes("embedded", "a@east") as (a,):
        await linked(a, program, "b@west")
        time.sleep(6)  # noqa: ASYNC251 - the loop is to be held
        level, text = await lines.one("cut this node off")
        assert level == "WARNING"
        held = re.search(r"^server .* cut this node off.*: its loop was held for ([0-9.]+) s$", text)
        assert held is not None
        assert 3 < float(held[1]) < 60
        await until(lambda: "b@west" in {each.name for each in a.mesh.nodes()})


async def test_a_registry_that_does_not_answer_costs_the_names(runtime: Path, lines: Lines) -> None:
    """Said before it happens, with the time that is left; and then once, with how much was given up."""
    mesh = Mesh(servers="embedded", lease=3.0, dead_after=60.0)
    async with nodes(mesh, "a@east") as (a,):
        with trio.fail_after(PATIENCE):
            for number in range(3):
                await a.spawn(Account, name=Global(f"bank {number}"))
        process = server_of(runtime)
        os.kill(process, signal.SIGSTOP)
        try:
            level, text = await lines.one("the registry has not answered")
            found = re.fullmatch(
                r"the registry has not answered for ([0-9.]+) s: global names are given up in ([0-9.]+) s",
                text,
            )
            assert level == "WARNING"
            assert found is not None
            assert 0 < float(found[2]) < 0.9 * 3.0
            assert float(found[1]) + float(found[2]) == pytest.approx(0.9 * 3.0, abs=0.11)
            level, text = await lines.one("lease lost")
            assert level == "ERROR"
            assert re.fullmatch(r"lease lost: 3 names, 0 shards given up, because .*", text)
        finally:
            os.kill(process, signal.SIGCONT)


async def test_another_node_of_the_same_name_is_complained_of_once(server: NatsServer, lines: Lines) -> None:
    """Each may have been started where the other was not seen: then somebody has to stop one."""
    mesh = Mesh(servers=[server.url], registry=False)
    async with nodes(mesh, "a@east", "b@west") as (a, b):
        await until(lambda: len(a.mesh.nodes()) == 2)
        said = [a.incarnation ^ 1, None, "elsewhere", 4711]
        announcement = msgspec.msgpack.encode(said)
        subject = Subjects("default", "a@east", a.incarnation).announcement
        for _ in range(3):
            b.mesh._membership.carrier.connection.publish(subject, announcement)
        level, text = await lines.one("another node a@east")
        expected = "another node a@east is in this mesh, process 4711 on host elsewhere: stop one of the two"
        assert (level, text) == ("ERROR", expected)
        await trio.sleep(0.5)
        assert len(lines.of("another node a@east")) == 1
        assert [each.name for each in a.mesh.nodes()] == ["a@east", "b@west"]


async def test_a_name_that_is_taken_is_no_line_of_the_log(runtime: Path, lines: Lines) -> None:
    """It is an error of who asked, who may have expected it."""
    async with nodes("embedded", "a@east", "b@west") as (a, b):
        with trio.fail_after(PATIENCE):
            ref = await a.spawn(Account)
            await a.mesh.register("bank", ref)
            before = len(lines.of("bank"))
            with pytest.raises(NameTaken, match="bank"):
                await b.mesh.register("bank", await b.spawn(Account))
        assert len(lines.of("bank")) == before


async def test_an_idle_mesh_says_nothing(tmp_path: Path, lines: Lines) -> None:
    """Apart from where it is: no line repeats while nothing changes."""
    async with running(tmp_path) as (server,):
        mesh = Mesh(servers=[server.url], registry=False, dead_after=1.0, beat=0.2)
        async with nodes(mesh, "a@east", "b@west") as (a, _):
            await until(lambda: len(a.mesh.nodes()) == 2)
            with trio.fail_after(PATIENCE):
                await a.connect("b@west")
            before = len(lines.of(""))
            await trio.sleep(4)
            assert lines.of("")[before:] == []
