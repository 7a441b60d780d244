"""Goodbyes: what is still heard of a peer that goes."""

import errno

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.transport.carrier import CarrierError
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.wire import Bye
from tests.transport.model import Start, Station, message


async def test_goodbye_comes_after_what_was_sent(
    start: Start, network: MemoryNetwork, autojump_clock: object
) -> None:
    a, b = Station(network, "a"), await start("b")
    async with trio.open_nursery() as inner:
        await inner.start(a.run, None)
        peer = await a.rendezvous.connect("/b")
        for number in range(50_000):
            peer.send(message(number))
        inner.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert b.host.numbers() == list(range(50_000))
    assert b.host.down == [("a", "the peer said goodbye: the node stops")]


async def test_what_came_before_the_peer_went_is_heard(
    start: Start, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds the other end gone first takes in what lies in its inlet: the goodbye says why."""
    a, b = await start("a"), await start("b")
    peer = await a.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    (back,) = b.host.up

    def gone(*_: object, **__: object) -> None:
        raise CarrierError(errno.EBADF, "the peer is gone")

    monkeypatch.setattr(back._outward._outlet, "start", gone)
    for number in range(3):
        peer.send(message(number))
    peer.send(Bye("the node stops"))
    peer._outward.flush()
    assert not b.host.numbers(), "nothing was taken in yet"
    back.send(message(7))
    assert b.host.numbers() == [0, 1, 2]
    assert b.host.down == [("a", "the peer said goodbye: the node stops")]
