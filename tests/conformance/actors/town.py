"""Two nodes of one program, connected through the memory carrier: what the tests of group S live in."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
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


@pytest.fixture(params=[0.0, 0.1], ids=["lossless", "lossy"])
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    """Two nodes, over a carrier that loses nothing, and over one that loses every tenth batch."""
    network = MemoryNetwork(LOSSY if request.param else LOSSLESS)
    network.loses = Loss(request.param, seed=0)
    async with AsyncExitStack() as stack:
        carriers = {name: network.carrier(name) for name in "ab"}
        a = await stack.enter_async_context(
            open_node("a", zone="left", carrier=carriers["a"], policy=Policy.same_user(), listen="/a")
        )
        b = await stack.enter_async_context(
            open_node(
                "b",
                zone="right",
                carrier=carriers["b"],
                listen="/b",
                policy=Policy.same_user(exports=["account", "public-*"], entries="Account"),
                entries={"Account": Account, "Secret": Account},
            )
        )
        assert await a.connect("/b") == "b@right"
        await settle()
        yield Town(network, a, b, carriers)
