"""Every function of every kit: a parent and its child, in one module, and what they do to each other."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from enfilade.actors import Down, open_node
from enfilade.actors.guests import Guest, open_guests
from enfilade.hostcalls.abi.capability import Capability
from tests.hostcalls.kits.builds import in_every_kit

pytestmark = pytest.mark.real

PROGRAMS = Path(__file__).parent


@pytest.fixture(scope="module", params=in_every_kit(lambda kit: PROGRAMS / f"family{kit.suffix}"))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, as one kit builds it."""
    path: Path = request.param(tmp_path_factory.mktemp("family"), request.config)
    return path


async def test_family(family: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A parent starts a child with arguments of several kinds; they share a channel; the parent hears of the
    child's end by link and monitor. (The guest ends with another reason when one of its checks fails.)
    """
    everything = [each for each in Capability if not each.name.startswith("NET")]
    caplog.set_level(logging.DEBUG, "enfilade.guest")
    async with open_node("test") as node, node.mailbox() as me:
        open_guests(node, modules=family.parent)
        name = "the parent"
        guest = Guest(family.name, capabilities=everything, arguments=[family.name], registers=[name])
        me.monitor(await node.spawn(guest))
        assert str((await me.receive(Down, timeout=60)).reason) == "done"
    assert ("enfilade.guest.family.parent", logging.WARNING) in {
        (record.name, record.levelno) for record in caplog.records
    }
