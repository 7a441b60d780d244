"""What a peer sends to whom is not there, or may not ask for, is refused before anything of it is decoded."""

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Actor, DeadLetter, Node, open_node
from enfilade.actors.messages.ref import Ref
from enfilade.transport import Codec, Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.wire import Reply
from tests.transport.stranger import Stranger

SEND, CAST, CALL, REPLY, RETURNED, EXIT, DOWN, SPAWN, SPAWNED = 16, 17, 18, 19, 21, 27, 30, 32, 33


class Shop(Actor):
    """Hands out refs."""

    def __init__(self) -> None:
        self.wares: dict[str, Ref[Any]] = {}

    def stock(self, name: str, ref: Ref[Any]) -> None:
        self.wares[name] = ref

    def buy(self, name: str) -> Ref[Any]:
        return self.wares[name]


@attrs.frozen
class Siege:
    node: Node
    stranger: Stranger
    dead: int
    taken_back: int
    decoded: list[Any]


def recording(decode: Callable[..., Any], decoded: list[Any]) -> Callable[..., Any]:
    """The function, which notes what it is given first."""

    def record(payload: Any, *rest: Any) -> Any:
        decoded.append(bytes(payload))
        return decode(payload, *rest)

    return record


@pytest.fixture
async def siege(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Siege]:
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", ends="*", entries="*", groups="*")
    async with open_node("b", zone="right", carrier=network.carrier("b"), listen="/b", policy=policy) as node:
        shop = await node.spawn(Shop, name="shop")
        mortal = await node.spawn(Shop)
        async with node.mailbox() as own:
            alias = own.alias()
            for name, ref in (("mortal", mortal), ("alias", alias)):
                await shop.call(Shop.stock, name, ref)
            stranger = Stranger(network.carrier("mallory"))
            await stranger.connect("/b")
            await stranger.throw(
                [CALL, 1, "shop", "buy", [["mortal"], {}]], [CALL, 2, "shop", "buy", [["alias"], {}]]
            )
            assert all(reply.succeeded for reply in stranger.heard_of(Reply))
            own.unalias(alias)
            await mortal.stop()
            await wait_all_tasks_blocked()
            decoded: list[Any] = []
            remote: Any = node.distribution.remotes()[0]  # type: ignore[attr-defined]
            codec: Codec = remote._codec
            for name in ("decode", "decode_small"):
                monkeypatch.setattr(codec, name, recording(getattr(codec, name), decoded))
            yield Siege(node, stranger, mortal.serial, alias.serial, decoded)
            stranger.close()


ARGUMENTS = [[1], {}]
TO_SOMEBODY = {
    "send": lambda to: [SEND, to, 1],
    "cast": lambda to: [CAST, to, "stock", ARGUMENTS],
    "fill": lambda to: [CAST, to, "!fill", [[1, "x"], {}]],
    "call": lambda to: [CALL, 11, to, "buy", ARGUMENTS],
    "room": lambda to: [CALL, 12, to, "!room", ARGUMENTS],
    "exit": lambda to: [EXIT, 1, to, False, [1]],
}
UNASKED = {
    "reply": [REPLY, 77, True, [1]],
    "spawned": [SPAWNED, 77, [1]],
    "down": [DOWN, 77, [1]],
    "linked exit": [EXIT, 1, 5, True, [1]],
    "returned": [RETURNED, 5, 1, "", [1]],
    "entry": [SPAWN, 13, "Nothing", ARGUMENTS],
}


@pytest.mark.parametrize("whom", ["name", "dead", "taken_back"])
@pytest.mark.parametrize("kind", TO_SOMEBODY)
async def test_to_nobody(siege: Siege, autojump_clock: object, kind: str, whom: str) -> None:
    """The peer has the right to the name, and was given the refs; but nobody is there."""
    to = {"name": "nobody", "dead": siege.dead, "taken_back": siege.taken_back}[whom]
    file = os.open(os.devnull, os.O_RDONLY)
    await siege.stranger.throw(TO_SOMEBODY[kind](to))
    if kind in ("send", "cast", "call"):
        await siege.stranger.throw([*TO_SOMEBODY[kind](to), 1], handles=[file])
    os.close(file)
    assert siege.decoded == []
    replies = [reply for reply in siege.stranger.heard_of(Reply) if reply.id in (11, 12)]
    assert not any(reply.succeeded for reply in replies)
    assert bool(replies) == (kind in ("call", "room"))
    assert not siege.stranger.is_cut_off


@pytest.mark.parametrize("kind", UNASKED)
async def test_unasked(siege: Siege, autojump_clock: object, kind: str) -> None:
    await siege.stranger.throw(UNASKED[kind])
    assert siege.decoded == []
    assert not siege.stranger.is_cut_off


async def test_a_subscriber_to_dead_letters_sees_the_message(siege: Siege, autojump_clock: object) -> None:
    """Then it is decoded, as it would be for its receiver; without subscribers it is counted."""
    letters = siege.node.dead_letters
    before = letters.count
    await siege.stranger.throw([SEND, "nobody", "lost"])
    assert letters.count == before + 1
    async with siege.node.mailbox() as own:
        letters.subscribe(own.ref)
        await siege.stranger.throw([SEND, "nobody", "seen"])
        with trio.fail_after(5):
            letter = await own.receive(DeadLetter)
        letters.unsubscribe(own.ref)
    assert letter.message == "seen"
    assert len(siege.decoded) == 1
