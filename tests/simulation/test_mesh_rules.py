"""Rules of names, keys, groups and draining that a reader of the contract would try first."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import trio

from enfilade.actors import (
    NORMAL,
    CallError,
    Down,
    Global,
    Kind,
    NameTaken,
    Node,
    NoProcess,
    NotConnected,
    Process,
    open_node,
)
from enfilade.actors.simulation import Host, World
from tests.simulation.accounts import Account, Plain, ask, key_on, opened, simulated


async def register(host: Host, name: str) -> Any:
    """Have an actor of the host hold a global name; its ref, or what went wrong."""
    ref = await host.node.spawn(Plain)
    try:
        await host.node.mesh.register(name, ref)
    except (NameTaken, ValueError, TypeError) as error:
        return error
    return ref


# Names.


NAMES = ["bank", "a.b*>c", "two words", "ü", "=40", "$KV", "x" * 60, "-", "..", "\u202e"]


def test_any_text_is_a_name_and_others_are_not_mistaken_for_it() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        refs = {}
        for name in NAMES:
            refs[name] = await world.on(east, register, east, name)
            assert not isinstance(refs[name], Exception), (name, refs[name])
        for name in NAMES:
            assert await world.on(west, west.node.mesh.whereis, name) == refs[name]
        assert await world.on(west, west.node.mesh.whereis, "nobody") is None

    simulated(main)


@pytest.mark.parametrize("name", ["", "x" * 10_000, 7, None, b"bank", ("a",)])
def test_what_is_no_name_is_refused(name: Any) -> None:
    async def main(world: World) -> None:
        (east,) = await opened(world, "east")
        error = await world.on(east, register, east, name)
        assert isinstance(error, ValueError | TypeError), error
        with pytest.raises((ValueError, TypeError)):
            Global(name)

    simulated(main)


@pytest.mark.parametrize("taken", ["", "retry", None, True, "WAIT"])
def test_what_is_done_when_a_name_is_taken_is_one_of_three_words(taken: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="taken"):
        Global("bank", taken=taken)


def test_a_name_goes_from_hand_to_hand_and_its_fence_grows() -> None:
    async def main(world: World) -> None:
        hosts = await opened(world, "east", "west", "south")
        fences = []
        for round_ in range(6):
            host = hosts[round_ % 3]
            ref = await world.on(host, register, host, "bank")
            for other in hosts:
                taken = await world.on(other, register, other, "bank")
                assert isinstance(taken, NameTaken)
            fences.append(await world.on(host, ref.call, Plain.fence))
            await world.on(host, host.node.mesh.unregister, "bank")
            for other in hosts:
                assert await world.on(other, other.node.mesh.whereis, "bank") is None
            assert await world.on(host, ref.call, Plain.place) == host.name, "who held it goes on"
            assert await world.on(host, ref.call, Plain.fence) is None
        assert all(earlier < later for earlier, later in itertools.pairwise(fences))

    simulated(main)


def test_whose_name_it_is_not_does_not_free_it() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        ref = await world.on(east, register, east, "bank")

        async def free() -> str:
            try:
                await west.node.mesh.unregister("bank")
            except Exception as error:
                return type(error).__name__
            return ""

        await world.on(west, free)
        assert await world.on(west, west.node.mesh.whereis, "bank") == ref

    simulated(main)


def test_two_names_of_one_process_are_free_with_it() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        ref = await world.on(east, register, east, "one")
        await world.on(east, east.node.mesh.register, "two", ref)
        assert await world.on(west, west.node.mesh.whereis, "two") == ref
        await world.on(east, ref.stop)
        await world.run(1.0)
        for name in ("one", "two"):
            assert not isinstance(await world.on(west, register, west, name), Exception)

    simulated(main)


def test_a_plain_process_holds_what_it_has_and_nothing_else() -> None:
    held: list[bool] = []

    class Holder(Plain):
        def look(self) -> None:
            held.append(self.process.holds("bank"))
            held.append(self.process.holds("other"))

    async def main(world: World) -> None:
        (east,) = await opened(world, "east")
        holder = await world.on(east, east.node.spawn, Holder)
        await world.on(east, holder.call, Holder.look)
        await world.on(east, east.node.mesh.register, "bank", holder)
        await world.on(east, holder.call, Holder.look)
        await world.on(east, east.node.mesh.unregister, "bank")
        await world.on(east, holder.call, Holder.look)

    simulated(main)
    assert held == [False, False, True, False, False, False]


def test_a_node_without_a_mesh_says_how_to_have_one() -> None:
    async def main() -> None:
        async with open_node("bank") as node:
            with pytest.raises(NotConnected, match="mesh="):
                node.mesh.nodes()

    trio.run(main)


# Keys.


@pytest.mark.parametrize("key", ["a.b*>", "ü" * 500, "x" * 1_024, "\n", "-", "=2E", "two words"])
def test_any_text_is_a_key(key: str) -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        where = await ask(world, east, key)
        assert where in ("east", "west"), where
        assert await ask(world, west, key) == where
        assert await ask(world, west, key, Account.note, 1) is None
        assert await ask(world, east, key, Account.all) == [1]

    simulated(main)


@pytest.mark.parametrize("key", ["", "x" * 1_025, "ü" * 513, "\ud800", 7, None, b"a", ("a",)])
def test_what_is_no_key_is_refused_where_it_is_made(key: Any) -> None:
    async def main(world: World) -> None:
        (east,) = await opened(world, "east")
        with pytest.raises((ValueError, TypeError)):
            east.node.mesh.keyed("Account", key)

    simulated(main)


def test_a_passive_actor_has_ended_in_order_for_who_watched_it() -> None:
    async def main(world: World) -> Any:
        kinds = {"Account": Kind(Account, shards=4, idle=2.0)}
        _, west = await opened(world, "east", "west", kinds=kinds)
        key = await key_on(world, west, "east")
        found: list[Down] = []

        async def watching(me: Process) -> None:
            me.monitor(west.node.mesh.keyed("Account", key))
            found.append(await me.receive(Down))

        await world.on(west, ask_and_watch, west, key, watching)
        await world.run(6.0)
        assert await ask(world, west, key, Account.all) == [], "a new one"
        return [each.reason for each in found]

    assert simulated(main) == [NORMAL]


async def ask_and_watch(host: Host, key: str, watching: Any) -> None:
    await host.node.mesh.keyed("Account", key).within(8.0).call(Account.note, 1)
    await host.node.spawn(watching)


def test_the_fence_of_a_key_grows_from_actor_to_actor() -> None:
    async def main(world: World) -> None:
        kinds = {"Account": Kind(Account, shards=1, idle=1.0)}
        (east,) = await opened(world, "east", kinds=kinds)
        fences = []
        for _ in range(3):
            fences.append(await ask(world, east, "a", Account.fence))
            await world.run(4.0)
        assert fences == sorted(fences)
        assert None not in fences

    simulated(main)


def test_a_kind_that_is_not_rebalanced_stays_where_it_is() -> None:
    async def main(world: World) -> None:
        kinds = {"Account": Kind(Account, shards=8, rebalance=False)}
        east, west = await opened(world, "east", "west", kinds=kinds)
        before = {f"k{n}": await ask(world, east, f"k{n}") for n in range(30)}
        await world.run(20.0)
        after = {key: await ask(world, west, key) for key in before}
        assert after == before
        assert set(before.values()) <= {"east", "west"}

    simulated(main)


def test_calls_of_many_at_once_are_each_answered_once() -> None:
    async def main(world: World) -> None:
        hosts = await opened(world, "east", "west", "south")
        answers: Counter[str] = Counter()

        async def calls(host: Host) -> None:
            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(one, host, f"k{number % 20}", f"{host.name} {number}")

        async def one(host: Host, key: str, value: str) -> None:
            answers[await host.node.mesh.keyed("Account", key).within(20.0).call(Account.give, value)] += 1

        for host in hosts:
            await world.on(host, calls, host)
        assert len(answers) == 180
        assert set(answers.values()) == {1}

    simulated(main)


# Draining and restarting.


def test_a_rolling_restart_loses_no_call_that_is_repeated() -> None:
    """Node after node is drained, closed and opened again, while another calls all keys in a loop."""

    async def main(world: World) -> None:
        hosts = await opened(world, "east", "west", "south")
        caller = hosts[2]
        keys = [f"k{number}" for number in range(12)]
        noted: Counter[str] = Counter()

        async def note(key: str, number: int) -> None:
            for _ in range(20):
                try:
                    ref = caller.node.mesh.keyed("Account", key).within(10.0)
                    await ref.call(Account.note, number)
                except (CallError, NotConnected):
                    await trio.sleep(0.2)
                    continue
                noted[key] += 1
                return
            raise AssertionError(f"key {key} was not answered")

        for number, host in enumerate(hosts[:2]):
            for key in keys:
                await world.on(caller, note, key, number)
            await world.on(host, host.node.mesh.drain, 5.0)
            for key in keys:
                await world.on(caller, note, key, number + 10)
                place = await ask(world, caller, key)
                assert place != host.name, "it has given all away"
            await world.close(host)
            await world.run(1.0)
            await world.restart(host)
            await world.run(12.0)
        assert set(noted.values()) == {4}
        places = Counter([await ask(world, caller, key) for key in keys])
        assert len(places) == 3, "each has its share again"

    simulated(main)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", None])
def test_a_time_to_drain_is_a_number(timeout: Any) -> None:
    async def main(world: World) -> None:
        (east,) = await opened(world, "east")

        async def drain() -> None:
            with pytest.raises((TypeError, ValueError)):
                await east.node.mesh.drain(timeout)

        await world.on(east, drain)
        assert not east.node.mesh.nodes()[0].is_draining
        assert await ask(world, east, "a") == "east"

    simulated(main)


def test_a_draining_node_still_calls_others_and_is_called() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        key = "k"
        await world.on(east, east.node.mesh.drain, 2.0)
        assert await ask(world, east, key) == "west"
        assert await ask(world, west, key) == "west"
        await world.run(1.0)
        (drained,) = (node for node in west.node.mesh.nodes() if node.name.startswith("east"))
        assert drained.is_draining

    simulated(main)


def test_a_drained_node_claims_no_name_and_loses_none_of_others() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")
        held = await world.on(west, register, west, "bank")
        await world.on(east, east.node.mesh.drain, 2.0)
        assert await world.on(west, west.node.mesh.whereis, "bank") == held

        async def call() -> Any:
            return await east.node.mesh.named("bank").within(5.0).call(Plain.place)

        assert await world.on(east, call) == "west"

    simulated(main)


# Who is there.


def test_a_missing_node_is_missed_at_once() -> None:
    """Within a round trip, not after a handshake's time."""

    async def main(world: World) -> None:
        (east,) = await opened(world, "east")

        async def call() -> tuple[float, str]:
            began = trio.current_time()
            try:
                await east.node.remote("bank", "ghost@nowhere").within(60.0).call(Account.place)
            except (CallError, NotConnected) as error:
                return trio.current_time() - began, str(error)
            raise AssertionError("there is nobody")

        took, words = await world.on(east, call)
        assert took < 2.0
        assert "ghost@nowhere" in words

    simulated(main)


def test_whom_nobody_knows_is_no_process() -> None:
    async def main(world: World) -> None:
        east, west = await opened(world, "east", "west")

        async def call(node: Node) -> str:
            try:
                await (
                    node.remote("bank", f"{west.node.name}@{west.node.zone}").within(5.0).call(Account.place)
                )
            except (NoProcess, CallError) as error:
                return type(error).__name__
            return ""

        assert await world.on(east, call, east.node) in ("NoProcess", "Refused")

    simulated(main)
