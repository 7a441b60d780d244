"""A mesh of a few nodes with keyed actors, for tests of what a program that uses them sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from enfilade.actors import (
    Actor,
    CallError,
    Kind,
    NoQuorum,
    NotConnected,
)
from enfilade.actors.simulation import Host, World, run_simulation
from tests.simulation.mesh_scenes import OPEN

LEASE = 6.0
TAKEN_OVER = 1.2 * LEASE + 1.5
"""Seconds after a holder's last renewal in which another node has what it held."""


class Account(Actor):
    """Says where it is, and what it was sent."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.seen: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def note(self, value: Any) -> None:
        self.seen.append(value)

    def place(self) -> str:
        return self.process.node.name

    def fence(self) -> Any:
        return self.process.fence

    def all(self) -> list[Any]:
        return self.seen

    async def work(self, seconds: float) -> str:
        await trio.sleep(seconds)
        return self.process.node.name

    def give(self, value: Any) -> Any:
        return value

    def fail(self) -> None:
        raise ValueError("on purpose")


class Plain(Account):
    def __init__(self) -> None:
        super().__init__("")


KINDS = {"Account": Kind(Account, shards=4)}


async def opened(world: World, *names: str, servers: tuple[str, ...] = ("s1",), **options: Any) -> list[Host]:
    mesh = world.open_servers(*servers, lease=LEASE)
    await world.run(3.0)
    options = {"policy": OPEN, "kinds": KINDS, **options}
    hosts = [await world.open_node(name, mesh=mesh, **options) for name in names]
    await world.run(4.0)
    return hosts


async def ask(
    world: World, host: Host, key: str, method: Any = Account.place, *args: Any, within: float = 8.0
) -> Any:
    async def call() -> Any:
        try:
            return await host.node.mesh.keyed("Account", key).within(within).call(method, *args)
        except (CallError, NoQuorum, NotConnected) as error:
            return error

    return await world.on(host, call)


async def key_on(world: World, asking: Host, place: str) -> str:
    for number in range(64):
        if await ask(world, asking, f"k{number}") == place:
            return f"k{number}"
    raise AssertionError(f"no key is on {place}")


def simulated(main: Callable[..., Awaitable[Any]], *args: Any, seed: int = 1) -> Any:
    return run_simulation(main, *args, seed=seed)
