"""`enfilade mesh drain NAME`: a node is found by its name on this machine, without a mesh."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from enfilade.actors.observing.discovery.running_nodes import running_nodes
from tests.actors.cli.command import enfilade_here
from tests.actors.cli.running import running, zone

pytestmark = pytest.mark.real

BOOKS = """
from enfilade.actors import Actor

class Ledger(Actor):
    def add(self, number: int) -> int:
        return number
"""

MESH = """
[mesh]
servers = "embedded"
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no node of another test is announced."""
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))


def test_a_node_without_a_mesh_is_not_drained_and_goes_on(tmp_path: Path) -> None:
    with running(zone(tmp_path, BOOKS)):
        (found,) = running_nodes()
        for named in ("bank@east", "bank", str(found.pid), str(tmp_path / "bank.door")):
            result = enfilade_here("mesh", "drain", named)
            assert result.returncode == 1
            assert "node bank@east is in no mesh" in result.stderr
            assert "crashed" not in result.stderr
            assert len(result.stderr.splitlines()) == 1
        assert running_nodes() == [found]
        assert "Ledger" in enfilade_here("zone", "ps", "bank").stdout


def test_a_name_that_nobody_has_is_refused() -> None:
    result = enfilade_here("mesh", "drain", "ghost@east")
    assert result.returncode == 1
    assert "for the node of that name in a mesh give --identity" in result.stderr


@pytest.mark.skipif(shutil.which("nats-server") is None, reason="there is no nats-server")
@pytest.mark.parametrize("how", ["name", "door"])
def test_mesh_107_a_node_of_a_mesh_is_drained_by_its_name_or_door(how: str, tmp_path: Path) -> None:
    """The command waits until it has ended."""
    path = zone(tmp_path, BOOKS)
    path.write_text(path.read_text() + MESH)
    named = {"name": "bank@east", "door": str(tmp_path / "bank.door")}[how]
    with running(path) as process:
        result = enfilade_here("mesh", "drain", named, "--timeout", "3")
        assert (result.returncode, result.stderr) == (0, "")
        assert process.wait(60) == 0
    assert running_nodes() == []
