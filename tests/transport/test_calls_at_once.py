"""Nodes that call each other, or one another twice, at the same moment."""

import pytest
import trio

from enfilade.transport.memory_carrier import MemoryNetwork
from tests.transport.model import Start, Station, message


@pytest.mark.parametrize("slow", ["", "a", "b"])
@pytest.mark.parametrize("seed", range(5))
async def test_simultaneous_connect_leaves_one_node_link(
    start: Start, autojump_clock: object, slow: str, seed: int
) -> None:
    """When both call at once, the call of the lower name stands (docs/wire.md, "Handshake")."""
    a, b = await start("a"), await start("b")
    for station in (a, b):
        station.carrier.delay = 0.01 * seed if slow == station.carrier.host else 0.02
    found = {}

    async def call(station: Station, address: str) -> None:
        found[address] = await station.rendezvous.connect(address)

    async with trio.open_nursery() as both:
        both.start_soon(call, a, "/b")
        both.start_soon(call, b, "/a")
    await trio.sleep(1)
    assert found == {"/b": a.rendezvous.peers["b"], "/a": b.rendezvous.peers["a"]}
    found["/b"].send(message(1))
    found["/a"].send(message(2))
    await trio.sleep(1)
    assert (a.host.numbers(), b.host.numbers()) == ([2], [1])
    assert a.host.down == b.host.down == []


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("addresses", [["/b", "/b", "/b"], ["/b", "/b by another name"]], ids=["one", "two"])
async def test_calling_twice_at_once_leaves_one_node_link(
    start: Start,
    network: MemoryNetwork,
    autojump_clock: object,
    monkeypatch: pytest.MonkeyPatch,
    addresses: list[str],
    delay: float,
) -> None:
    """Neither call breaks the other (docs/wire.md, "Handshake")."""
    if len(set(addresses)) > 1 and not network.traits.lossless:
        return  # the later call stands, because nobody is told whether the earlier was given up
    a, b = await start("a"), await start("b")
    monkeypatch.setattr(a.carrier, "open", lambda address: type(a.carrier).open(a.carrier, address[:2]))
    a.carrier.delay = b.carrier.delay = delay
    found = []

    async def call(address: str) -> None:
        found.append(await a.rendezvous.connect(address))

    async with trio.open_nursery() as together:
        for address in addresses:
            together.start_soon(call, address)
    await trio.sleep(5)
    assert found == [a.rendezvous.peers["b"]] * len(addresses)
    assert (a.host.down, b.host.down, b.host.refused) == ([], [], [])


async def test_a_call_after_one_that_was_given_up(start: Start, autojump_clock: object) -> None:
    """The answerer does not wait for it."""
    a, b = await start("a"), await start("b")
    a.carrier.delay = b.carrier.delay = 0.3
    with trio.move_on_after(0.5):
        await a.rendezvous.connect("/b")
    began = trio.current_time()
    assert (await a.rendezvous.connect("/b")).name == "b"
    assert trio.current_time() - began < 2
