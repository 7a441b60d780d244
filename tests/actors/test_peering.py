"""How a node is given its part in a net of nodes: what the options may be."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import NodeDown, NodeUp, open_node
from enfilade.actors.peers.travelling_types import ABOVE
from enfilade.transport import Policy, Rights, Rule, Settings
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.town import (
    Town,
    autojump_clock,
    mesh_server,
    settle,
    strikes_the_carrier,
    town,
    way,
)

__all__ = ["autojump_clock", "mesh_server", "town", "way"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"policy": "same_user"}, r"policy must be a Policy, such as Policy\.same_user\(\), got 'same_user'"),
        ({"entries": [int]}, "entries must be a mapping from names to what peers may spawn, got"),
        ({"settings": {"period": 1}}, r"settings must be enfilade.transport.Settings, got"),
        ({"listen": 5}, "listen must be the path of a door, got 5"),
    ],
)
async def test_an_option_of_the_wrong_type_is_refused_at_once(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """What only the first peer would come upon, the program that has made the mistake is told."""
    door = tmp_path / "node.door"
    with pytest.raises(TypeError, match=says):
        async with open_node("wrong", **{"listen": str(door), **options}):
            raise AssertionError
    assert not door.exists()


async def test_an_option_that_there_is_not_is_named() -> None:
    """A mistyped option is the mistake of whoever opens the node, told in its words."""
    with pytest.raises(TypeError, match=r"open_node\(\) got an unexpected keyword argument 'polcy'"):
        async with open_node("wrong", polcy=Policy.same_user()):  # type: ignore[call-arg]
            raise AssertionError


def test_a_node_needs_the_loop_of_trio() -> None:
    """Under another event loop there is no node, and the error says what there has to be."""

    async def main() -> None:
        async with open_node("lost"):
            raise AssertionError

    with pytest.raises(RuntimeError, match=r"open_node must run in a trio loop.*trio\.run\(main\)"):
        asyncio.run(main())


async def test_a_door_may_be_named_by_a_path(tmp_path: Path) -> None:
    """Whatever names a file may name the door of a node."""
    door = tmp_path / "node.door"
    async with open_node("found", listen=door):
        assert door.exists()


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (Policy, {"rules": [Rights()]}, "rules must be Rule objects, got Rights"),
        (Policy, {"rules": [], "secret": "hush"}, r"secret must be bytes, got str$"),
        (Rule, {"rights": "all"}, "rights must be Rights, or None to refuse the peer, got 'all'"),
    ],
)
def test_a_policy_of_wrong_parts_is_not_made(kind: type, options: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        kind(**options)


async def test_a_node_that_cannot_be_connected_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who mistypes an address is told so, and not at each attempt."""
    settings = Settings(first_retry=0.01, last_retry=0.01)
    with caplog.at_level("INFO", "enfilade"), trio.fail_after(60):
        async with open_node("lonely", settings=settings) as node:
            node.distribution.keep_connected(str(tmp_path / "typo.door"))
            while len(caplog.records) < 3:  # noqa: ASYNC110 (nobody tells of a record)
                await trio.sleep(0.01)
    levels = [record.levelname for record in caplog.records if "typo.door" in record.message]
    assert levels[:3] == ["WARNING", "INFO", "INFO"]


@strikes_the_carrier
async def test_a_process_is_told_of_nodes_until_it_wants_no_more(town: Town, autojump_clock: object) -> None:
    """Nodes that come and go are told of to who monitors them, and to nobody who has stopped."""
    async with town.a.mailbox() as stays, town.a.mailbox() as leaves:
        for me in (stays, leaves):
            town.a.distribution.monitor_nodes(me.ref)
        town.a.distribution.disconnect("b@right")
        await settle()
        town.a.distribution.demonitor_nodes(leaves.ref)
        await town.a.connect("/b")
        await settle()
        assert [type(await stays.receive(timeout=0)) for _ in range(len(stays.queue))] == [NodeDown, NodeUp]
        assert [type(await leaves.receive(timeout=0)) for _ in range(len(leaves.queue))] == [NodeDown]


@pytest.mark.real
def test_what_travels_does_not_depend_on_the_garbage_collector() -> None:
    """The original of a class that attrs has given slots stays until it is collected, and is not named."""
    program = "import gc; gc.disable(); import enfilade.actors.peers.remote_node"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_all_that_travels_is_loaded_when_a_node_gets_peers() -> None:
    """A peer may send what this program does not use: a command loads no supervisors otherwise."""
    places = {
        "enfilade." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "actors").rglob("*.py")
        if re.search(r"^@travels$", path.read_text(), re.MULTILINE)
    }
    assert places == set(ABOVE)


async def test_who_is_turned_away_again_and_again_is_warned_of_once(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Two nodes with one name, one of which wants to stay connected to the other."""
    network = MemoryNetwork()
    async with (
        open_node("a", carrier=network.carrier("first"), listen="/first"),
        open_node("a", carrier=network.carrier("second")) as second,
    ):
        second.distribution.keep_connected("/first")
        await trio.sleep(100)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2, "one at each of them"
    assert all("both nodes have the name 'a@local'" in warning for warning in warnings)
