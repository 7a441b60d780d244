"""Two nodes of one program: what the tests of group S live in.

They are connected through the memory carrier, or over a mesh with a real server (mesh-20).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

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
from enfilade.transport.mesh import directory as mesh_directory
from tests.conformance.actors.abroad import (
    MESH,
    NEVER,
    autojump_clock,
    carrier_of,
    mesh_server,
    quiet_mesh,
    under_way,
    virtual_clock,
)
from tests.transport.model import Loss

__all__ = [
    "MODELS",
    "Account",
    "Point",
    "StrangeError",
    "Town",
    "autojump_clock",
    "mesh_server",
    "open_town",
    "settle",
    "strikes_the_carrier",
    "town",
    "way",
]


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
    ways: list[dict[str, Any]] = [{"carrier": carriers[name], "listen": f"/{name}"} for name in "ab"]
    async with opened(ways, Policy.same_user) as (a, b):
        assert await a.connect("/b") == "b@right"
        await until_both_know(a, b)
        yield Town(network, a, b, carriers)


@asynccontextmanager
async def open_town_in_mesh(server: str) -> AsyncIterator[Town]:
    """Two nodes that know one another, over a mesh with that server; time stands still while they talk."""
    nodes: list[Node] = []
    opening = "the opening of a node"
    watching = virtual_clock().watching(lambda: opening or under_way(nodes))
    with watching, mock.patch.object(mesh_directory, "SHORTEST", NEVER):
        async with opened([{"mesh": quiet_mesh(server)}] * 2, Policy.same_mesh) as (a, b):
            nodes += (a, b)
            opening = ""
            assert await a.connect("b@right") == "b@right"
            await until_both_know(a, b)
            yield Town(None, a, b, {})  # type: ignore[arg-type]


@asynccontextmanager
async def opened(
    ways: Sequence[dict[str, Any]], same: Callable[..., Policy]
) -> AsyncIterator[Sequence[Node]]:
    """The two nodes, each with its way to the other; the policy is the one of `b`."""
    policy = same(exports=["account", "public-*"], entries="Account")
    entries = {"Account": Account, "Secret": Account}
    async with (
        open_node("a", zone="left", policy=same(), **ways[0]) as a,
        open_node("b", zone="right", policy=policy, entries=entries, **ways[1]) as b,
    ):
        yield a, b


async def until_both_know(a: Node, b: Node) -> None:
    """Wait until the node that was called knows the other."""
    while b.peers != ("a@left",) or a.peers != ("b@right",):  # noqa: ASYNC110
        await trio.sleep(0.01)


MODELS: Any = {"params": [0.0, 0.1], "ids": ["lossless", "lossy"]}
"""How fixtures make a town: over a carrier that loses nothing, and over one that loses every tenth batch."""

strikes_the_carrier = pytest.mark.parametrize("way", MODELS["params"], ids=MODELS["ids"], indirect=True)
"""For a test that cuts the network or freezes a host, which only the models can do."""


@pytest.fixture(params=[*MODELS["params"], MESH], ids=[*MODELS["ids"], "mesh"])
def way(request: pytest.FixtureRequest) -> float | str:
    """How the two nodes of a town are connected: the loss of a carrier, or the address of a server."""
    return carrier_of(request) if request.param == "mesh" else request.param  # type: ignore[no-any-return]


@pytest.fixture
async def town(way: float | str) -> AsyncIterator[Town]:
    """Two nodes, between which nothing is under way."""
    async with open_town_in_mesh(way) if isinstance(way, str) else open_town(way) as opened:
        await settle()
        yield opened
