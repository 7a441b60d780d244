"""Nodes of a mesh that drain, are cut off, or die: what programs on the others see, and when."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import trio

from enfilade.actors import (
    NORMAL,
    CallError,
    Down,
    Kind,
    LeaseLost,
    NameLost,
    NameTaken,
    Node,
    NoProcess,
    NoQuorum,
    NotConnected,
    Process,
)
from enfilade.actors.simulation import Host, World
from enfilade.transport.mesh import NodeJoined, NodeLeft
from enfilade.transport.mesh.settings import Mesh
from tests.simulation.accounts import KINDS, LEASE, TAKEN_OVER, Account, Plain, ask, key_on, opened, simulated


def test_a_node_that_drains_is_seen_to_and_gives_all_keys_away() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        key = await key_on(world, west, "east")
        assert await world.on(east, east.node.mesh.drain, 5.0) is True
        await world.run(1.0)
        for host in (east, west):
            drains = {node.name: node.is_draining for node in host.node.mesh.nodes()}
            assert drains == {"east@east": True, "west@west": False}, host.name
        assert {await ask(world, west, f"k{number}") for number in range(20)} == {"west"}
        assert await ask(world, east, key) == "west"

    simulated(main)


def test_drain_waits_for_calls_that_are_under_way_and_no_longer() -> None:
    async def main(world: World, limit: float) -> tuple[bool, float, list[Any]]:
        east, west = await opened(world, "east", "west", kinds={})

        async def spawn() -> None:
            await east.node.spawn(Plain, name="plain")

        await world.on(east, spawn)
        answers: list[Any] = []

        async def calling(me: Process) -> None:
            ref = west.node.remote("plain", "east@east")
            answers.append(await ref.within(20.0).call(Account.work, 3.0))

        async def start() -> None:
            await west.node.spawn(calling)

        await world.on(west, start)
        await world.run(0.5)
        began = world.now()
        done = await world.on(east, east.node.mesh.drain, limit)
        return done, world.now() - began, answers

    done, seconds, answers = simulated(main, 10.0)
    assert done is True
    assert 2.0 < seconds < 3.5
    assert answers == ["east"]
    done, seconds, answers = simulated(main, 1.0)
    assert done is False
    assert 0.9 < seconds < 1.3
    assert answers == []


def test_to_drain_twice_or_at_once_is_harmless() -> None:
    async def main(world: World) -> list[Any]:
        east, west = await opened(world, "east", "west")
        await key_on(world, west, "east")
        found: list[Any] = [await world.on(east, east.node.mesh.drain, 0.0)]
        found.append(await world.on(east, east.node.mesh.drain, 5.0))
        found.append(await world.on(east, east.node.mesh.drain, 5.0))
        found.append(await ask(world, west, "k1"))
        return found

    first, *others = simulated(main)
    assert first in (True, False)
    assert others == [True, True, "west"]


def test_the_last_node_of_a_kind_drains_and_nobody_runs_it() -> None:
    async def main(world: World) -> None:
        (east,) = await opened(world, "east")
        assert await ask(world, east, "a") == "east"
        assert await world.on(east, east.node.mesh.drain, 5.0) is True
        error = await ask(world, east, "a", within=4.0)
        assert isinstance(error, NoProcess), error
        assert "Account" in str(error)

    simulated(main)


def test_a_drained_node_that_is_closed_and_opened_again_gets_its_share() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        before = {f"k{number}": await ask(world, west, f"k{number}") for number in range(16)}
        await world.on(east, east.node.mesh.drain, 5.0)
        await world.close(east)
        await world.run(2.0)
        await world.restart(east)
        await world.run(10.0)
        after = {key: await ask(world, west, key) for key in before}
        assert after == before
        assert set(before.values()) == {"east", "west"}

    simulated(main)


def test_an_actor_that_is_handed_over_handles_what_it_has() -> None:
    async def main(world: World) -> tuple[Any, Any]:
        stopped: list[Any] = []

        class Slow(Account):
            async def on_message(self, message: Any) -> None:
                await trio.sleep(0.1)
                stopped.append(message)

            async def on_stop(self, reason: Any) -> None:
                stopped.append(type(reason).__name__ if reason is not NORMAL else "NORMAL")

        east, west = await opened(world, "east", "west", kinds={"Account": Kind(Slow, shards=4)})
        key = await key_on(world, west, "east")

        async def send() -> None:
            for number in range(10):
                east.node.mesh.keyed("Account", key).send(number)

        stopped.clear()
        await world.on(east, send)
        await world.on(east, east.node.mesh.drain, 5.0)
        return stopped[:10], await ask(world, west, key)

    assert simulated(main) == (list(range(10)), "west")


# Partitions.


def test_who_is_cut_off_stops_and_the_others_go_on() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        key = await key_on(world, west, "east")
        before = await ask(world, west, key, Account.fence)
        reasons: list[Any] = []

        async def watching(me: Process) -> None:
            me.monitor(east.node.mesh.keyed("Account", key))
            reasons.append((await me.receive(Down)).reason)

        async def watch() -> None:
            await east.node.spawn(watching)

        await world.on(east, watch)
        await world.run(0.5)
        world.partition("east", tuple(world.servers))
        await world.run(LEASE)
        assert [type(each) for each in reasons] == [LeaseLost]
        await world.run(TAKEN_OVER - LEASE + 0.5)
        assert await ask(world, west, key) == "west"
        assert isinstance(await ask(world, east, key, within=2.0), (NoQuorum, NoProcess))
        world.heal()
        await world.run(6.0)
        for host in (east, west):
            assert await ask(world, host, key) in ("east", "west"), host.name
        assert await ask(world, west, key, Account.fence) > before

    simulated(main)


def test_a_process_that_holds_a_name_is_told_when_it_is_lost_and_goes_on() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        told: list[Any] = []

        async def holding(me: Process) -> None:
            await me.node.mesh.register("bank", me.ref)
            assert me.holds("bank")
            told.append(await me.receive(NameLost))
            told.append(me.holds("bank"))
            await trio.sleep_forever()

        async def start() -> Any:
            return await east.node.spawn(holding)

        ref = await world.on(east, start)
        await world.run(1.0)
        world.partition("east", tuple(world.servers))
        await world.run(LEASE)
        assert told[0].name == "bank"
        assert told[1] is False
        assert east.node.processes, ref

        async def take() -> Any:
            me = await west.node.spawn(Plain)
            while True:
                try:
                    await west.node.mesh.register("bank", me)
                except NameTaken:
                    await trio.sleep(0.1)
                else:
                    return await west.node.mesh.whereis("bank") == me

        began = world.now()
        assert await world.on(west, take) is True
        assert world.now() - began < TAKEN_OVER
        world.heal()
        await world.run(5.0)
        assert (await world.on(east, east.node.mesh.whereis, "bank")).node_name == "west@west"

    simulated(main)


def test_who_died_while_a_node_was_cut_off_is_not_known_to_it_any_more() -> None:
    """Directories agree after a heal. No other node seems to leave on the way."""

    async def main(world: World) -> None:
        east, _, north = await opened(world, "east", "west", "north", kinds={})
        events: list[Any] = []

        async def watching(me: Process) -> None:
            me.node.mesh.monitor(me.ref)
            while True:
                events.append(await me.receive())

        async def watch() -> None:
            await east.node.spawn(watching)

        await world.on(east, watch)
        await world.run(1.0)
        world.partition("east", tuple(world.servers))
        await world.run(5.0)
        world.crash(north, "machine")
        await world.run(1.0)
        world.heal()
        await world.run(Mesh(servers="embedded").dead_after + 2.5)
        assert [node.name for node in east.node.mesh.nodes()] == ["east@east", "west@west"]
        gone = [event for event in events if isinstance(event, NodeLeft)]
        assert [event.node.name for event in gone] == ["north@north"], events

    simulated(main)


def test_each_side_of_a_partition_is_told_once_and_refs_work_again() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west", kinds={})
        events: dict[str, list[Any]] = {"east": [], "west": []}

        async def watching(me: Process, ref: Any) -> None:
            me.node.mesh.monitor(me.ref)
            me.monitor(ref)
            while True:
                events[me.node.name].append(await me.receive())

        async def spawn(node: Node) -> Any:
            return await node.spawn(Plain, name="plain")

        refs = {host.name: await world.on(host, spawn, host.node) for host in (east, west)}
        for host, other in ((east, west), (west, east)):

            async def watch(host: Host = host, other: Host = other) -> None:
                ref = await host.node.whereis_on(f"{other.name}@{other.name}", "plain")
                await host.node.spawn(watching, ref)

            await world.on(host, watch)
        await world.run(1.0)
        world.partition("east", tuple(world.servers))
        await world.run(6.0)
        for name, seen in events.items():
            assert [type(each) for each in seen].count(Down) == 1, (name, seen)
        world.heal()
        await world.run(6.0)
        for name, seen in events.items():
            assert [type(each) for each in seen].count(Down) == 1, (name, seen)
            kinds = [type(each) for each in seen if isinstance(each, NodeLeft | NodeJoined)]
            assert kinds in ([], [NodeLeft, NodeJoined]), (name, kinds)

        async def again() -> Any:
            return await west.node.remote("plain", "east@east").within(3.0).call(Account.place)

        assert await world.on(west, again) == "east"
        assert refs

    simulated(main)


def test_a_long_payload_under_way_is_lost_with_the_node_link_and_nothing_else() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west", kinds={})

        async def spawn(node: Node) -> Any:
            return await node.spawn(Plain, name="plain")

        await world.on(east, spawn, east.node)
        outcomes: list[Any] = []

        async def calling(me: Process) -> None:
            ref = west.node.remote("plain", "east@east")
            try:
                outcomes.append(len(await ref.within(30.0).call(Account.give, bytes(20 * 2**20))))
            except CallError as error:
                outcomes.append(type(error))

        async def start() -> None:
            await west.node.spawn(calling)

        await world.on(west, start)
        world.partition("east", tuple(world.servers))
        await world.run(8.0)
        assert outcomes == [NotConnected]
        world.heal()
        await world.run(6.0)

        async def again() -> Any:
            return len(
                await west.node.remote("plain", "east@east").within(20.0).call(Account.give, bytes(3 * 2**20))
            )

        assert await world.on(west, again) == 3 * 2**20

    simulated(main)


@pytest.mark.parametrize("how", ["process", "machine"])
@pytest.mark.parametrize("what", ["key", "single", "name"])
def test_what_a_dead_node_held_is_free_in_time(what: str, how: Literal["process", "machine"]) -> None:
    """Counted from its last renewal, which is a fifth of a lease before its death at most; not from when
    somebody else began to want it.
    """
    starts: list[str] = []

    class Clock(Plain):
        async def on_start(self) -> None:
            starts.append(self.process.node.name)

    async def main(world: World) -> float:
        kinds = {**KINDS, "Clock": Kind(Clock, single=True)}
        hosts = await opened(world, "east", "west", "south", kinds=kinds)
        east, west, south = hosts
        dies = world.hosts[starts[0]] if what == "single" else east
        asks = south if dies is not south else west
        key = await key_on(world, asks, dies.name)

        async def register(host: Host) -> bool:
            me = await host.node.spawn(Plain)
            try:
                await host.node.mesh.register("bank", me)
            except NameTaken:
                return False
            return True

        assert await world.on(dies, register, dies) is True
        await world.run(5.0)
        world.crash(dies, how)
        died_at = world.now()
        if what == "key":
            while not isinstance(await ask(world, asks, key, within=0.3), str):
                pass
        elif what == "single":
            while len(starts) < 2:
                await world.run(0.1)
        else:
            await world.run(TAKEN_OVER - LEASE / 5)
            assert await world.on(asks, register, asks) is True
        return world.now() - died_at

    assert simulated(main) <= TAKEN_OVER


def test_a_node_that_is_cut_off_says_in_time_what_is_about_to_be_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That it will give up what it holds comes before it does; what is over is not said to come."""

    async def main(world: World) -> None:
        east, _ = await opened(world, "east", "west", servers=("s1", "s2", "s3"))
        await key_on(world, east, "east")
        caplog.set_level("INFO", "enfilade.mesh")
        caplog.clear()
        world.partition("east", tuple(world.servers))
        await world.run(2 * LEASE)

    simulated(main)
    lines = [record.getMessage() for record in caplog.records]
    order = [
        next((at for at, line in enumerate(lines) if line.startswith(begin)), -1)
        for begin in ("server ", "the registry has not answered for 3.", "lease lost: ")
    ]
    assert -1 < order[0] < order[1] < order[2], lines
    assert not [line for line in lines if "nodes are lost in 0.0 s" in line]
    assert [line for line in lines if line.endswith("nodes are lost until one does")]
    assert sum("has not answered" in line for line in lines) == 1
