"""The memory carrier agrees with doors about inlets that are closed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from enfilade.transport.carrier import Carrier, CarrierError, Inlet
from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.memory_carrier import MemoryNetwork

CARRIERS: dict[str, Callable[[], Carrier]] = {
    "memory": lambda: MemoryNetwork().carrier("a"),
    "doors": DoorCarrier,
}


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return CARRIERS[request.param]()


def inlet_of(carrier: Carrier) -> Inlet:
    return carrier.inlet(capacity=1024, largest=1024)


async def test_sim_83_receive_ends_when_the_inlet_is_closed(carrier: Carrier) -> None:
    inlet = inlet_of(carrier)
    heard: list[str] = []

    async def listen() -> None:
        with pytest.raises(CarrierError, match="the inlet is closed"):
            await inlet.receive()
        heard.append("closed")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            inlet.close()
    assert heard == ["closed"]


async def test_sim_83_a_closed_inlet_refuses(carrier: Carrier, tmp_path: Path) -> None:
    inlet = inlet_of(carrier)
    inlet.close()
    with pytest.raises(CarrierError, match="the inlet is closed"):
        inlet.take()
    with pytest.raises(CarrierError, match="the inlet is closed"):
        inlet.linger(0.001)
    with pytest.raises(CarrierError, match="the inlet is closed"):
        await inlet.receive()
