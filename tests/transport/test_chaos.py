"""A long random run of three nodes under faults, against a model.

Whatever happens to the ways between them: nothing is delivered twice or out of order, every monitor fires
exactly once, every call ends, and in the end nothing is left.
"""

import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import trio

from enfilade.actors import (
    NO_CONNECTION,
    NO_PROCESS,
    Actor,
    CallError,
    Down,
    Node,
    NotConnected,
    Process,
    Ref,
    open_node,
)
from enfilade.transport import HandshakeFailed, NotAdmitted, Policy, Settings
from enfilade.transport.carrier import CarrierError
from enfilade.transport.memory_carrier import LOSSLESS, LOSSY, MemoryCarrier, MemoryNetwork
from tests.transport.model import Loss

STEPS = 400
NAMES = "abc"


class Sink(Actor):
    """Remembers what came, by sender."""

    def __init__(self) -> None:
        self.came: dict[Any, list[int]] = {}

    def on_message(self, message: tuple[str, int]) -> None:
        sender, number = message
        self.came.setdefault(sender, []).append(number)

    def echo(self, value: int) -> int:
        return value

    def everything(self) -> dict[Any, list[int]]:
        return self.came


class World:
    """The nodes, what was done to them, and what must be true of it."""

    def __init__(self, seed: int, share: float) -> None:
        self.random = random.Random(seed)
        self.network = MemoryNetwork(LOSSY if share else LOSSLESS)
        self.network.loses = Loss(share, seed)
        self.carriers: dict[str, MemoryCarrier] = {name: self.network.carrier(name) for name in NAMES}
        self.nodes: dict[str, Node] = {}
        self.sinks: dict[str, Ref[Sink]] = {}
        self.sent: Counter[tuple[str, str]] = Counter()
        self.downs: Counter[int] = Counter()
        self.monitors: set[int] = set()
        self.calls = [0, 0]
        self.cuts: set[tuple[str, str]] = set()

    def pair(self) -> tuple[str, str]:
        one, other = self.random.sample(NAMES, 2)
        return one, other

    async def step(self, nursery: trio.Nursery) -> None:
        """One thing that happens."""
        one, other = self.pair()
        action = self.random.choices(
            ["send", "call", "watch", "cut", "join", "freeze", "delay", "connect", "disconnect", "wait"],
            [30, 15, 15, 3, 6, 2, 3, 8, 2, 15],
        )[0]
        target = None
        if self.reachable(one, other):
            with suppress(NotConnected):
                target = await self.nodes[one].whereis_on(f"{other}@z", "sink")
        match action:
            case "send" if target is not None:
                for _ in range(self.random.randint(1, 30)):
                    self.sent[one, other] += 1
                    target.send((one, self.sent[one, other]))
            case "call" if target is not None:
                nursery.start_soon(self.call, target)
            case "watch" if target is not None:
                await self.nodes[one].spawn(self.watch, target)
            case "cut":
                self.cuts.add((one, other))
                self.network.cut(one, other)
            case "join" if self.cuts:
                cut = self.random.choice(sorted(self.cuts))
                self.cuts.discard(cut)
                self.network.join(*cut)
            case "freeze":
                self.carriers[one].freeze()
                nursery.start_soon(self.thaw, one, self.random.uniform(0.1, 12))
            case "delay":
                self.carriers[one].delay = self.random.choice([0, 0, 0.01, 0.3])
            case "connect":
                nursery.start_soon(self.connect, one, other)
            case "disconnect":
                self.nodes[one].distribution.disconnect(f"{other}@z")
            case _:
                await trio.sleep(self.random.uniform(0, 2))

    def reachable(self, one: str, other: str) -> bool:
        frozen = self.carriers[one].is_frozen or self.carriers[other].is_frozen
        return not frozen and f"{other}@z" in self.nodes[one].peers

    async def connect(self, one: str, other: str) -> None:
        with trio.move_on_after(20):
            with suppress(CarrierError, HandshakeFailed, NotAdmitted):
                await self.nodes[one].connect(f"/{other}")

    async def thaw(self, name: str, seconds: float) -> None:
        await trio.sleep(seconds)
        self.carriers[name].thaw()

    async def call(self, target: Ref[Sink]) -> None:
        self.calls[0] += 1
        value = self.random.getrandbits(30)
        with suppress(CallError):
            assert await target.within(30).call(Sink.echo, value) == value
        self.calls[1] += 1

    async def watch(self, me: Process, target: Ref[Sink]) -> None:
        monitor = me.monitor(target)
        self.monitors.add(id(monitor))
        down = await me.receive(Down)
        assert down.monitor is monitor
        assert down.reason in (NO_CONNECTION, NO_PROCESS)
        self.downs[id(monitor)] += 1
        # A second Down would come here; the node's end is the other thing that may end the wait.
        await me.receive(Down)
        self.downs[id(monitor)] += 1

    async def heal(self) -> None:
        for cut in self.cuts:
            self.network.join(*cut)
        for carrier in self.carriers.values():
            carrier.delay = 0.0
            carrier.thaw()
        await trio.sleep(100)

    async def check(self) -> None:
        """What must be true when all is calm again."""
        for name, sink in self.sinks.items():
            for sender, numbers in (await sink.call(Sink.everything)).items():
                assert numbers == sorted(set(numbers)), f"{sender} to {name}: twice or out of order"
                assert set(numbers) <= set(range(1, self.sent[sender, name] + 1))
        assert self.calls[0] == self.calls[1], "a call never ended"
        assert not [count for count in self.downs.values() if count != 1]
        for one, node in self.nodes.items():
            for other in NAMES:
                node.distribution.disconnect(f"{other}@z")
            await trio.sleep(1)
            assert node.peers == (), one
        assert set(self.downs) == self.monitors, "a monitor never fired"
        assert set(self.downs.values()) <= {1}, "a monitor fired twice"


@pytest.mark.parametrize("share", [0.0, 0.1], ids=["lossless", "lossy"])
@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_unnoticed_in_chaos(autojump_clock: object, seed: int, share: float) -> None:
    world = World(seed, share)
    async with AsyncExitStack() as stack:
        for name in NAMES:
            node = await stack.enter_async_context(
                open_node(
                    name,
                    zone="z",
                    carrier=world.carriers[name],
                    listen=f"/{name}",
                    policy=Policy.same_user(exports="sink"),
                    settings=Settings(period=4.0, handshake=3.0),
                )
            )
            world.nodes[name] = node
            world.sinks[name] = await node.spawn(Sink, name="sink")
        async with trio.open_nursery() as nursery:
            for _ in range(STEPS):
                with trio.move_on_after(20):
                    await world.step(nursery)
        await world.heal()
        await world.check()
    assert sum(world.sent.values()) > 100, "the run did nothing"
    assert world.monitors
