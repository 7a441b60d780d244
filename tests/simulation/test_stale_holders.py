"""Who calls a global name is led to its holder, though it remembers one that is none any more.

A ref has two protections against that. The node where the name was held forgets its holder at once, when its
lease is lost. And a call that certainly was not carried out asks the registry, and is made once more. Each
is taken out here: a holder of the caller's own node is found by either of them, one of another node by the
second alone.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, CallError, Child, Global, Node, Supervisor
from enfilade.actors.messages.errors import NoProcess
from enfilade.actors.peers.mesh.global_names import GlobalNames
from enfilade.actors.peers.mesh.global_ref import HolderSeeker
from enfilade.actors.simulation import Host, World, run_simulation
from tests.simulation.mesh_scenes import OPEN

PATIENT = 60.0
"""Silence after which a node is dead: none dies here."""


class Desk(Actor):
    def place(self) -> str:
        return self.process.node.name


async def boot(node: Node) -> None:
    if node.name != "south":
        child = Child(Desk, name=Global("desk", taken="wait"), id="desk")
        await node.spawn(Supervisor, [child], intensity=1000, period=1.0)


async def after_a_move(world: World, caller: str) -> list[str]:
    """A node that knows the holder calls the name, again and again, when another one has got it."""
    mesh = world.open_servers(lease=2.0, dead_after=PATIENT)
    await world.run(3.0)
    for name in ("east", "west", "south"):
        await world.open_node(name, mesh=mesh, boot=boot, policy=OPEN)
        await world.run(3.0)
    host = world.hosts[caller]
    assert (await asked(world, host, host.node.mesh.whereis, "desk")).node_name == "east@east"
    assert await asked(world, host, called, host) == "east"
    world.partition("east", tuple(world.servers))
    await world.run(8.0)
    world.heal()
    await world.run(8.0)
    return [await asked(world, host, called, host) for _ in range(3)]


async def called(host: Host) -> str:
    try:
        place: str = await host.node.mesh.named("desk").within(5.0).call(Desk.place)
    except CallError as error:
        return type(error).__name__
    return place


async def asked(world: World, host: Host, what: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    return await world.on(host, what, *args)


def forgets_nobody(patch: pytest.MonkeyPatch) -> None:
    """Whom a node has found to hold a name, it remembers for good."""
    patch.setattr(GlobalNames, "forget", lambda self, name: None)


def asks_nobody_anew(patch: pytest.MonkeyPatch) -> None:
    """A call that nobody has taken is not made once more."""
    patch.setattr(HolderSeeker, "absences", ())


def trusts_a_child_that_waits(patch: pytest.MonkeyPatch) -> None:
    """A call is not made once more when its child is only restarting: it waits for the name."""
    patch.setattr(HolderSeeker, "absences", (NoProcess,))


Sabotage = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    ("caller", "sabotage"),
    [
        ("east", []),
        ("east", [forgets_nobody]),
        ("east", [asks_nobody_anew]),
        ("east", [trusts_a_child_that_waits]),
        ("south", []),
        ("south", [forgets_nobody]),
    ],
)
def test_the_next_holder_is_found(
    caller: str, sabotage: list[Sabotage], monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in sabotage:
        each(monkeypatch)
    assert run_simulation(after_a_move, caller, seed=1) == ["west"] * 3


@pytest.mark.parametrize(
    ("caller", "sabotage", "error"),
    [
        ("east", [forgets_nobody, asks_nobody_anew], "Restarting"),
        ("east", [forgets_nobody, trusts_a_child_that_waits], "Restarting"),
        ("south", [asks_nobody_anew], "Restarting"),
        ("south", [trusts_a_child_that_waits], "Restarting"),
    ],
)
def test_without_protection_a_stale_holder_is_called_for_ever(
    caller: str, sabotage: list[Sabotage], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above would see it."""
    for each in sabotage:
        each(monkeypatch)
    assert run_simulation(after_a_move, caller, seed=1) == [error] * 3


async def before_it_is_made(world: World) -> list[str]:
    """A node calls a name whose process is still to be made, and again when that is there."""
    mesh = world.open_servers(lease=2.0)
    await world.run(3.0)
    for name in ("south", "east"):
        await world.open_node(name, mesh=mesh, boot=boot, policy=OPEN)
    south = world.hosts["south"]
    found = []
    for _ in range(2):
        await world.run(5.0)
        found.append(await asked(world, south, called, south))
    return found


def test_a_holder_that_was_found_before_it_was_made_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node that asked first has presented the holder's ref when there was no such process."""
    reserve = GlobalNames.reserve

    async def slowly(names: GlobalNames, name: Global, waits: Callable[[], bool]) -> int:
        serial = await reserve(names, name, waits)
        await trio.sleep(7.0)
        return serial

    monkeypatch.setattr(GlobalNames, "reserve", slowly)
    assert run_simulation(before_it_is_made, seed=1) == ["NoProcess", "east"]
