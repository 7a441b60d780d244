"""A peer's inlet that is full, and frames that its node fails to carry out."""

import itertools
from typing import Any

import pytest
import trio

from enfilade.transport import memory_carrier
from enfilade.transport.carrier import Status
from enfilade.transport.outward import FIRST_PAUSE, LAST_PAUSE
from tests.conformance.actors.town import (
    Account,
    Town,
    autojump_clock,
    mesh_server,
    strikes_the_carrier,
    town,
    way,
)

__all__ = ["autojump_clock", "mesh_server", "town", "way"]


@pytest.mark.parametrize("times", [1, 3, 12])
@strikes_the_carrier
async def test_a_full_inlet_is_tried_again(
    town: Town, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """What finds no room is handed over again later, once and in order; the pauses grow up to a limit."""
    account = await town.b.spawn(Account, name="account")
    put = memory_carrier.MemoryInlet.put
    tried: list[float] = []

    def full_at_first(inlet: Any, data: bytes, handles: Any, credentials: Any) -> Status:
        if inlet.carrier is town.carriers["b"] and len(tried) <= times:
            tried.append(trio.current_time())
            if len(tried) <= times:
                return Status.FULL
        return put(inlet, data, handles, credentials)

    monkeypatch.setattr(memory_carrier.MemoryInlet, "put", full_at_first)
    ref = town.a.remote("account", "b@right")
    for number in range(50):
        ref.send(number)
    assert await ref.call(Account.history) == list(range(50))
    assert await account.call(Account.history) == list(range(50))
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    expected = [min(LAST_PAUSE, FIRST_PAUSE * 2**number) for number in range(times)]
    assert pauses == pytest.approx(expected)
    assert await ref.call(Account.add, 1) == 1


@strikes_the_carrier
@pytest.mark.parametrize("answer", [Status.CLOSED, Status.MALFORMED])
async def test_an_inlet_that_takes_nothing_any_more(
    town: Town, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, answer: Status
) -> None:
    """A batch that the peer will never take ends the node link, and the caller hears of it."""
    await town.b.spawn(Account, name="account")
    (peer,) = town.a.distribution.rendezvous.peers.values()
    monkeypatch.setattr(memory_carrier.MemoryInlet, "put", lambda *_: answer)
    with pytest.raises(Exception, match="the node link to 'b@right' was lost"):
        await town.a.remote("account", "b@right").call(Account.add, 1)
    assert f"answered {answer.name.lower()}" in peer.reason  # type: ignore[attr-defined]


@strikes_the_carrier
async def test_a_mistake_of_ours_costs_one_node_link(
    town: Town, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What this node fails to carry out is logged, ends the node link in question, and nothing else."""
    account = await town.b.spawn(Account, name="account")

    def mistaken(*_: Any) -> None:
        raise RuntimeError("a mistake of ours")

    (peer,) = town.b.distribution.rendezvous.peers.values()
    monkeypatch.setattr(town.b.distribution.host, "peer_frames", mistaken)
    with pytest.raises(Exception, match="the node link to 'b@right' was lost"):
        await town.a.remote("account", "b@right").call(Account.add, 1)
    assert peer.reason == "this node failed to carry out what the peer sent"  # type: ignore[attr-defined]
    assert "a mistake of ours" in caplog.text
    monkeypatch.undo()
    assert await account.call(Account.add, 1) == 1
    assert await town.a.connect("/b") == "b@right"
    assert await town.a.remote("account", "b@right").call(Account.add, 1) == 2
