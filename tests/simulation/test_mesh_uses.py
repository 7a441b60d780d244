"""Keys, names and the directory of a mesh, as a program uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enfilade.actors import (
    NO_PROCESS,
    NORMAL,
    CallError,
    Child,
    Down,
    Global,
    Kind,
    Node,
    NoProcess,
    NoQuorum,
    Process,
    Supervisor,
)
from enfilade.actors.simulation import World
from tests.simulation.accounts import KINDS, TAKEN_OVER, Account, Plain, ask, key_on, opened, simulated
from tests.simulation.mesh_scenes import OPEN


def test_messages_for_a_key_whose_node_is_dead_wait_in_order() -> None:
    async def main(world: World) -> list[Any]:
        east, _, south = await opened(world, "east", "west", "south")
        key = await key_on(world, south, "east")
        world.crash(east, "machine")
        while "east@east" in {node.name for node in south.node.mesh.nodes()}:
            await world.run(0.1)

        async def send() -> None:
            ref = south.node.mesh.keyed("Account", key)
            for number in range(50):
                ref.send(number)
                ref.cast(Account.note, -number)

        await world.on(south, send)
        seen: list[Any] = await ask(world, south, key, Account.all)
        return seen

    seen = simulated(main)
    assert [each for each in seen if each > 0 or each == 0][:1] == [0]
    assert seen == [sign * number for number in range(50) for sign in (1, -1)]


def test_a_key_has_the_same_ref_everywhere() -> None:
    async def main(world: World) -> None:
        _, west = await opened(world, "east", "west")
        ref = west.node.mesh.keyed("Account", "a")
        assert ref == west.node.mesh.keyed("Account", "a")
        assert ref != west.node.mesh.keyed("Account", "b")
        assert len({ref, west.node.mesh.keyed("Account", "a")}) == 1
        back = await ask(world, west, "b", Account.give, [ref])
        assert back == [ref]
        assert {ref: 1}[back[0]] == 1

    simulated(main)


def test_a_key_without_an_actor_is_watched() -> None:
    async def main(world: World) -> Any:
        (east,) = await opened(world, "east")
        found: list[Any] = []

        async def watching(me: Process) -> None:
            me.monitor(east.node.mesh.keyed("Account", "nobody"))
            found.append(await me.receive(Down))
            with pytest.raises(TypeError):
                me.link(east.node.mesh.keyed("Account", "nobody"))

        async def start() -> None:
            await east.node.spawn(watching)

        await world.on(east, start)
        await world.run(2.0)
        return found[0].reason

    assert simulated(main) == NO_PROCESS


def test_kinds_that_nobody_runs_and_kinds_of_the_other_sort() -> None:
    class Clock(Plain):
        pass

    async def main(world: World) -> None:
        kinds = {**KINDS, "Clock": Kind(Clock, single=True)}
        _, west = await opened(world, "east", "west", kinds=kinds)

        async def say(make: Callable[[Node], Any]) -> Any:
            try:
                return await make(west.node).within(4.0).call(Account.place)
            except (CallError, NoQuorum) as error:
                return error

        async def made(make: Callable[[Node], Any]) -> Any:
            return await world.on(west, say, make)

        assert await made(lambda node: node.mesh.single("Clock")) in ("east", "west")
        for wrong in (
            lambda node: node.mesh.keyed("Clock", "x"),
            lambda node: node.mesh.single("Account"),
            lambda node: node.mesh.keyed("Nothing", "x"),
            lambda node: node.mesh.single("Nothing"),
        ):
            error = await made(wrong)
            assert isinstance(error, NoProcess), error
        assert "Nothing" in str(await made(lambda node: node.mesh.keyed("Nothing", "x")))

    simulated(main)


def test_a_single_actor_is_on_one_node_and_moves_with_its_death() -> None:
    places: list[tuple[str, str]] = []

    class Clock(Plain):
        async def on_start(self) -> None:
            places.append(("on", self.process.node.name))

    async def main(world: World) -> Any:
        east, west = await opened(world, "east", "west", kinds={"Clock": Kind(Clock, single=True)})
        assert len(places) == 1, "it starts without being asked"
        first = world.hosts[places[0][1]]
        other = west if first is east else east
        world.crash(first)
        await world.run(TAKEN_OVER + 1.0)
        assert places[1:] == [("on", other.name)]

    simulated(main)


@pytest.mark.parametrize("crashes", [1, 5])
def test_a_crash_ends_the_actor_and_the_next_message_starts_another(crashes: int) -> None:
    async def main(world: World) -> None:
        (east,) = await opened(world, "east")
        fences = []
        for _ in range(crashes):
            fences.append(await ask(world, east, "a", Account.fence))
            await ask(world, east, "a", Account.note, 1)
            assert isinstance(await ask(world, east, "a", Account.fail), CallError)
        assert await ask(world, east, "a", Account.all) == []
        fences.append(await ask(world, east, "a", Account.fence))
        assert fences == sorted(fences)

    simulated(main)


def test_an_idle_actor_ends_in_order_and_starts_again() -> None:
    ended: list[Any] = []

    class Brief(Account):
        async def on_stop(self, reason: Any) -> None:
            ended.append(reason)

    async def main(world: World) -> None:
        (east,) = await opened(world, "east", kinds={"Account": Kind(Brief, shards=2, idle=3.0)})
        await ask(world, east, "a", Account.note, 1)
        await world.run(2.0)
        assert await ask(world, east, "a", Account.all) == [1]
        await world.run(2.5)
        assert await ask(world, east, "a", Account.all) == [1], "each message counts from anew"
        await world.run(4.0)
        assert ended == [NORMAL]
        assert await ask(world, east, "a", Account.all) == []

    simulated(main)


# The directory.


def test_nodes_are_told_of_in_order() -> None:
    async def main(world: World) -> list[Any]:
        (east,) = await opened(world, "east", kinds={})
        seen: list[Any] = []

        async def watching(me: Process) -> None:
            me.node.mesh.monitor(me.ref)
            while True:
                event = await me.receive()
                if event.node.name == "west@west":
                    seen.append((type(event).__name__, event.node.is_draining))

        async def start() -> None:
            await east.node.spawn(watching)

        await world.on(east, start)
        west = await world.open_node("west", mesh=east.options["mesh"], policy=OPEN)
        await world.run(1.0)
        await world.on(west, west.node.mesh.drain, 1.0)
        await world.run(1.0)
        await world.close(west)
        await world.run(1.0)
        return seen

    seen = simulated(main)
    assert seen[0] == ("NodeJoined", False)
    assert seen[1] == ("NodeChanged", True)
    assert seen[-1][0] == "NodeLeft"
    assert [name for name, _ in seen].count("NodeLeft") == 1


def test_figures_never_fall() -> None:
    async def main(world: World) -> None:
        _, west = await opened(world, "east", "west")
        before: dict[str, Any] = {}
        for step in range(6):
            await ask(world, west, f"k{step}")
            if step == 2:
                world.partition("west", tuple(world.servers))
                await world.run(5.0)
                world.heal()
                await world.run(5.0)
            now = counters(west.node.mesh.status())
            assert all(now[name] >= value for name, value in before.items()), (before, now)
            before = now

    simulated(main)


def counters(status: Any) -> dict[str, float]:
    wanted = (
        "reconnects",
        "resumed",
        "resent",
        "seeks",
        "bytes_in",
        "bytes_out",
        "messages_in",
        "messages_out",
    )
    found = {name: getattr(status, name) for name in wanted if hasattr(status, name)}
    assert len(found) >= 4, dir(status)
    return found


# Names.


def test_a_child_that_waits_for_its_name_starts_when_its_holder_is_closed() -> None:
    async def boot(node: Node) -> None:
        child = Child(Plain, name=Global("desk", taken="wait"), id="desk")
        await node.spawn(Supervisor, [child])

    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west", boot=boot, kinds={})

        async def place() -> Any:
            return await west.node.mesh.named("desk").within(3.0).call(Account.place)

        first = await world.on(west, place)
        if first == "east":
            await world.close(east)
            await world.run(1.0)
            assert await world.on(west, place) == "west"

    simulated(main)


def test_a_name_that_nobody_has() -> None:
    async def main(world: World) -> None:
        (east,) = await opened(world, "east", kinds={})
        assert await world.on(east, east.node.mesh.whereis, "nobody") is None

        async def call() -> Any:
            try:
                await east.node.mesh.named("nobody").within(3.0).call(Account.place)
            except NoProcess as error:
                return str(error)

        assert "nobody" in await world.on(east, call)

    simulated(main)


def test_without_the_registry_names_raise_and_calls_between_nodes_go_on() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west", servers=("s1", "s2", "s3"))
        await world.run(5.0)

        async def spawn(node: Node) -> Any:
            return await node.spawn(Plain, name="plain")

        await world.on(east, spawn, east.node)
        for name in list(world.servers)[1:]:
            world.end_server(name)
        await world.run(4.0)

        async def register() -> Any:
            me = await west.node.spawn(Plain)
            try:
                await west.node.mesh.register("bank", me)
            except NoQuorum as error:
                return error

        assert isinstance(await world.on(west, register), NoQuorum)

        async def call() -> Any:
            return await west.node.remote("plain", "east@east").within(5.0).call(Account.place)

        assert await world.on(west, call) == "east"

    simulated(main)
