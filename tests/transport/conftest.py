"""Stations that meet over a network in memory."""

from typing import Any

import pytest
import trio

from enfilade.transport.memory_carrier import LOSSLESS, LOSSY, MemoryNetwork
from tests.transport.model import Start, Station


@pytest.fixture(params=[LOSSLESS, LOSSY], ids=["lossless", "resuming"])
def network(request: pytest.FixtureRequest) -> MemoryNetwork:
    """A network that loses nothing, between node links that rely on it and between some that do not."""
    return MemoryNetwork(request.param)


@pytest.fixture
async def start(network: MemoryNetwork, nursery: trio.Nursery) -> Start:
    """Starts a station of that name on the network, which listens at `/name`; it ends with the test."""

    async def start(name: str, *, listens: bool = True, **options: Any) -> Station:
        station = Station(network, name, **options)
        await nursery.start(station.run, f"/{name}" if listens else None)
        return station

    return start
