"""One side of a handshake."""

from collections.abc import Sequence

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.transport.carrier import Status
from enfilade.transport.memory_carrier import MemoryOutlet
from enfilade.transport.policy import Policy, Rights, Rule
from tests.transport.model import Start, message


@pytest.mark.parametrize("secret", [None, b"s" * 32], ids=["open", "sealed"])
async def test_frames_of_a_handshake_may_come_twice(
    start: Start, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, secret: bytes | None
) -> None:
    """What is handed over again is passed over: at once, and when the node link is up."""
    late: list[tuple[MemoryOutlet, bytes]] = []
    call = MemoryOutlet.start

    def twice(
        outlet: MemoryOutlet, data: bytes, handles: Sequence[int] = (), *, repeatable: bool = False
    ) -> Status | None:
        if repeatable and not handles:
            assert call(outlet, data) is Status.ACCEPTED
            late.append((outlet, data))
        return call(outlet, data, handles)

    policy = Policy(rules=[Rule(rights=Rights())], secret=secret)
    a, b = await start("a", policy=policy), await start("b", policy=policy)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryOutlet, "start", twice)
        peer = await a.rendezvous.connect("/b")
        await wait_all_tasks_blocked()
    assert len(late) >= (3 if secret else 1)
    peer.send(message(1))
    for outlet, data in late:
        assert call(outlet, data) is Status.ACCEPTED
    peer.send(message(2))
    await wait_all_tasks_blocked()
    assert b.host.numbers() == [1, 2]
    b.host.up[0].send(message(3))
    await wait_all_tasks_blocked()
    assert a.host.numbers() == [3]
