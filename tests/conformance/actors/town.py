"""Two nodes of one program, connected through the memory carrier: what the tests of group S live in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import (
    Actor,
    Node,
    Ref,
    open_node,
)
from enfilade.transport import Policy, register
from enfilade.transport.memory_carrier import LOSSLESS, LOSSY, MemoryNetwork
from tests.transport.model import Loss


class Account(Actor):
    """What the tests talk to."""

    def __init__(self, balance: int = 0) -> None:
        self.balance = balance
        self.seen: list[Any] = []

    def add(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def fail_strangely(self) -> None:
        raise StrangeError("odd")

    def give(self, value: Any) -> Any:
        return value

    def myself(self) -> Ref[Any]:
        return self.process.ref

    def history(self) -> list[Any]:
        return self.seen

    async def wait(self) -> None:
        await trio.sleep_forever()

    def on_message(self, message: Any) -> None:
        self.seen.append(message)


class StrangeError(Exception):
    """A type that is registered nowhere."""


@register
@attrs.frozen
class Point:
    """A registered record."""

    x: int
    y: int


class Town:
    """Two nodes, a and b, connected, and the network between them."""

    def __init__(self, network: MemoryNetwork, a: Node, b: Node, carriers: dict[str, Any]) -> None:
        self.network = network
        self.a = a
        self.b = b
        self.carriers = carriers

    def cut(self) -> None:
        self.network.cut("a", "b")


async def settle() -> None:
    """Let everything that is under way arrive, and what was lost again and again; virtual time passes."""
    await trio.sleep(3)


@asynccontextmanager
async def open_town(loss: float) -> AsyncIterator[Town]:
    """Two nodes that know one another, over a carrier that loses that part of all batches."""
    network = MemoryNetwork(LOSSY if loss else LOSSLESS)
    network.loses = Loss(loss, seed=0)
    carriers = {name: network.carrier(name) for name in "ab"}
    policy = Policy.same_user(exports=["account", "public-*"], entries="Account")
    entries = {"Account": Account, "Secret": Account}
    async with (
        open_node("a", zone="left", carrier=carriers["a"], policy=Policy.same_user(), listen="/a") as a,
        open_node("b", zone="right", carrier=carriers["b"], listen="/b", policy=policy, entries=entries) as b,
    ):
        assert await a.connect("/b") == "b@right"
        while b.peers != ("a@left",):  # noqa: ASYNC110
            await trio.sleep(0.01)
        yield Town(network, a, b, carriers)


TOWNS: Any = {"params": [0.0, 0.1], "ids": ["lossless", "lossy"]}
"""How fixtures make a town: over a carrier that loses nothing, and over one that loses every tenth batch."""


@pytest.fixture(**TOWNS)
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    """Two nodes, between which nothing is under way."""
    async with open_town(request.param) as opened:
        await settle()
        yield opened
