"""An admitted peer that keeps to no rule: what it sends harms its own node link and nothing else.

Each test makes the attack by hand, with frames that no node of ours sends, and then asks a bystander.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Node, open_node
from enfilade.transport import Policy
from enfilade.transport.carrier import hand_over
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.node_link import BATCH_LIMIT
from enfilade.transport.wire import Send, encode_batch
from tests.conformance.actors.town import Account
from tests.transport.stranger import Stranger, payload


@attrs.frozen
class Siege:
    """A node with an account, a bystander that is connected to it, and a stranger that is, too."""

    network: MemoryNetwork
    node: Node
    bystander: Node
    stranger: Stranger

    async def check(self) -> None:
        """The node serves others as before."""
        with trio.fail_after(5):
            assert await self.bystander.remote("account", "b@right").call(Account.give, 5) == 5

    async def another(self, name: str = "second@wild") -> Stranger:
        stranger = Stranger(self.network.carrier(name), name)
        await stranger.connect("/b")
        await wait_all_tasks_blocked()
        return stranger


@pytest.fixture
def rights() -> dict[str, Any]:
    """What the node lets its peers do; a test may parametrize it."""
    return {"exports": "account", "entries": "Account"}


@pytest.fixture
async def siege(rights: dict[str, Any]) -> AsyncIterator[Siege]:
    network = MemoryNetwork()
    async with (
        open_node(
            "b",
            zone="right",
            carrier=network.carrier("b"),
            listen="/b",
            policy=Policy.same_user(**rights),
            entries={"Account": Account},
        ) as node,
        open_node("c", carrier=network.carrier("c"), policy=Policy.same_user()) as bystander,
    ):
        await node.spawn(Account, 10, name="account")
        await bystander.connect("/b")
        stranger = Stranger(network.carrier("mallory"))
        await stranger.connect("/b")
        await wait_all_tasks_blocked()
        yield Siege(network, node, bystander, stranger)
        stranger.close()


SEND, CALL, REPLY, SPAWN = 16, 18, 19, 32


def carrying(*files: Any) -> list[list[Any]]:
    """Messages that claim so many handles each."""
    return [[SEND, "account", None, count] for count in files]


@pytest.mark.parametrize(
    ("frames", "came"),
    [
        (carrying(-1, 0), 2),
        (carrying(0, -2), 2),
        (carrying(3, -1), 2),
        (carrying(2, -2), 2),
        (carrying(2, -2, 2), 2),
        (carrying(1), 2),
        (carrying(2, 1), 2),
        (carrying(1), 0),
        (carrying(2**40), 2),
        (carrying(2**64 - 1), 2),
        (carrying(True, True), 2),
        (carrying("2"), 2),
        (carrying(2.0), 2),
        ([[20, 1]], 2),
        ([[CALL, 1, "account", "give", [[1], {}], 1], [CALL, 1, "account", "give", [[1], {}], 1]], 2),
        ([[SPAWN, 1, "Account", [[], {}], 1], [SPAWN, 1, "Account", [[], {}], 1]], 2),
        ([[REPLY, 7, True, None, 2]], 2),
        ([[SEND, "vault", None, 2]], 2),
        ([[SPAWN, 1, "Secret", [[], {}], 2]], 2),
        ([[SEND, "account", b"\xc1", 2]], 2),
    ],
    ids=str,
)
async def test_each_handle_is_closed_once(
    siege: Siege,
    autojump_clock: object,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    frames: list[Any],
    came: int,
) -> None:
    """Handles belong to one frame or to none, whatever the frames claim: none stays, none is closed twice."""
    mine = [os.open(os.devnull, os.O_RDONLY) for _ in range(came)]
    before = set(os.listdir("/proc/self/fd"))
    closed: list[int] = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda number: (closed.append(number), close(number))[1])
    await siege.stranger.throw(*frames, handles=mine)
    await siege.check()
    assert set(os.listdir("/proc/self/fd")) == before
    assert len(closed) == len(set(closed)) == came
    assert "failed to carry out" not in caplog.text
    for number in mine:
        close(number)


@pytest.mark.parametrize(
    "frame",
    [
        [20, -1],
        [20, 2**63],
        [20, True],
        [20, 1.0],
        [SEND, -5, None],
        [SEND, 2**64 - 1, None],
        [24, -1, 1],
        [28, -1, 1],
        [40, -1, b""],
        [SPAWN, 1, "Account", [[], {}], 0, -1],
    ],
    ids=str,
)
async def test_numbers_are_none_but_those_that_we_give(
    siege: Siege, autojump_clock: object, caplog: pytest.LogCaptureFixture, frame: list[Any]
) -> None:
    """A number that nobody can have been given ends the node link with one clear reason."""
    with caplog.at_level("INFO", "enfilade"):
        await siege.stranger.throw(frame)
        await wait_all_tasks_blocked()
    assert siege.stranger.name not in siege.node.peers
    assert "sent a malformed batch" in caplog.text
    await siege.check()


@pytest.mark.parametrize("polled", [False, True])
@pytest.mark.parametrize(
    "frame",
    [[36, 1, "x"], [SEND, "vault", None], [SEND, "account", None], [20, 1], [CALL, 1, "vault", "x", None]],
    ids=str,
)
async def test_a_batch_of_many_frames_takes_many_turns(
    siege: Siege, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, frame: list[Any], polled: bool
) -> None:
    """As many frames as a batch holds: others have a turn after each part, whoever takes the batch in."""
    parts: list[tuple[int, int]] = []
    turns = 0
    distribution: Any = siege.node.distribution
    peer_frames = distribution.peer_frames

    def record(peer: Any, frames: Sequence[Any], handles: Sequence[int]) -> None:
        parts.append((len(frames), turns))
        peer_frames(peer, frames, handles)

    async def tick() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    monkeypatch.setattr(distribution, "peer_frames", record)
    data = encode_batch(
        0, 0, [msgspec.msgpack.encode(frame)] * (BATCH_LIMIT // len(msgspec.msgpack.encode(frame)))
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await trio.lowlevel.checkpoint()
        await hand_over(siege.stranger.outlet, data)
        if polled:
            for _ in range(3):
                distribution.rendezvous.peers[siege.stranger.name].poll(alone=True)
        for _ in range(2000):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert sum(count for count, _ in parts) == data.count(msgspec.msgpack.encode(frame))
    assert max(count for count, _ in parts) <= 512
    assert len(parts) > 5
    in_one = Counter(turn for _, turn in parts)
    assert max(in_one.values()) <= 2, "trio lets one of two tasks go first, and then the other"
    await siege.check()


async def test_poll_leaves_what_is_more_than_a_turn(siege: Siege, autojump_clock: object) -> None:
    """Who waits for an answer takes in a turn's worth, in order; the rest comes without another batch."""
    peer: Any = siege.node.distribution.rendezvous.peers[siege.stranger.name]  # type: ignore[attr-defined]
    for number in range(200):
        frames = [msgspec.msgpack.encode([SEND, "account", 10 * number + place]) for place in range(10)]
        await hand_over(siege.stranger.outlet, encode_batch(number, 0, frames))
        if number % 50 == 49:
            peer.poll(alone=True)
    await wait_all_tasks_blocked()
    account = siege.bystander.remote("account", "b@right")
    assert await account.call(Account.history) == list(range(2000))


async def test_what_is_well_formed_goes_on(siege: Siege, autojump_clock: object) -> None:
    """The rules above refuse nothing else."""
    await siege.stranger.throw(Send("account", payload("hello")), [SEND, "account", "too", 0])
    account = siege.bystander.remote("account", "b@right")
    assert await account.call(Account.history) == ["hello", "too"]
    assert siege.stranger.name in siege.node.peers
