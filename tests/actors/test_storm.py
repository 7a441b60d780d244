"""Random processes that do random things to one another: whatever happens, the books balance."""

from __future__ import annotations

import logging
import random
from collections import Counter
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILL,
    NORMAL,
    SHUTDOWN,
    Actor,
    CallError,
    Custom,
    Deferred,
    Down,
    Exit,
    Exited,
    Mailbox,
    MailboxFull,
    Monitor,
    Node,
    NodeConfig,
    NoProcess,
    Process,
    Ref,
    open_node,
)

REASONS = [NORMAL, SHUTDOWN, KILL, Custom("boom")]
BOUNDS = [
    Mailbox(),
    Mailbox(3, "drop_oldest"),
    Mailbox(3, "fail"),
    Mailbox(5, "block"),
    Mailbox(2, "dead_letter"),
]
COUNTERS = {"dead_letters", "dropped"}


class Weather:
    """What all processes of one storm share: the dice, who lives, and the books."""

    def __init__(self, node: Node, seed: int) -> None:
        self.node = node
        self.dice = random.Random(seed)
        self.refs: list[Ref[Any]] = []
        self.calls = Counter[str]()
        self.monitors: dict[Monitor, int] = {}

    def anybody(self) -> Ref[Any]:
        return self.dice.choice(self.refs)

    def act(self, me: Process) -> None:
        """One random thing that needs no waiting."""
        other = self.anybody()
        try:
            match self.dice.randrange(12):
                case 0:
                    me.link(other)
                case 1:
                    me.unlink(other)
                case 2:
                    self.monitors[me.monitor(other)] = 0
                case 3:
                    if me.monitors:
                        monitor = self.dice.choice(list(me.monitors.values()))
                        if me.demonitor(monitor, flush=True):
                            del self.monitors[monitor]
                case 4:
                    other.cast(Sync.step)
                case 5:
                    other.send("hello")
                case 6:
                    me.trap_exits = not me.trap_exits
                case 7:
                    if not self.dice.randrange(4):
                        me.exit(other, self.dice.choice(REASONS))
                case 8:
                    me.send_after(self.dice.random(), other, "tick")
                case 9:
                    me.timers.start(self.dice.randrange(3), self.dice.random(), "tock")
                case 10:
                    self.node.scope().join("group", other)
                case 11:
                    alias = me.alias(self.dice.choice(["explicit", "reply"]))
                    alias.send("by alias")
                    me.unalias(alias)
        except (NoProcess, MailboxFull):
            pass

    def downs(self, down: Down) -> None:
        self.monitors[down.monitor] += 1


class Sync(Actor):
    """Does things when it is touched."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.kept: list[Deferred[int]] = []

    def step(self) -> None:
        self.weather.act(self.process)

    def answer(self, number: int) -> int:
        self.weather.act(self.process)
        match self.weather.dice.randrange(12):
            case 0:
                raise ValueError(number)
            case 1:
                raise Exit(self.weather.dice.choice(REASONS))
            case 2:
                self.process.stop()
            case 3:
                self.process.continue_with(self._go_on)
        return number

    def later(self, number: int) -> Deferred[int]:
        deferred: Deferred[int] = self.process.defer()
        if self.weather.dice.randrange(2):
            deferred.forward(self.weather.anybody(), Sync.answer, number)
        else:
            self.kept.append(deferred)
        if len(self.kept) > 2:
            self.kept.pop(0).reply(-1)
            del self.kept[self.weather.dice.randrange(2)]
        return deferred

    def _go_on(self) -> None:
        self.weather.act(self.process)

    def on_message(self, message: Any) -> None:
        self.weather.act(self.process)

    def on_exit(self, exited: Exited) -> None:
        self.weather.act(self.process)

    def on_down(self, down: Down) -> None:
        self.weather.downs(down)


class Async(Sync):
    """The same with a task, and with waits in between."""

    async def answer(self, number: int) -> int:  # type: ignore[override]
        await trio.sleep(self.weather.dice.random() / 10)
        return Sync.answer(self, number)


async def wanderer(me: Process, weather: Weather) -> None:
    """Receives, acts, and answers the calls that it gets, or not."""
    while True:
        message = await me.receive()
        if isinstance(message, Down):
            weather.downs(message)
        weather.act(me)


async def caller(me: Process, weather: Weather) -> None:
    """Calls others and keeps account of what became of it."""
    me.trap_exits = True
    for number in range(60):
        ref = weather.anybody().within(2)
        method = weather.dice.choice([Sync.answer, Sync.later])
        weather.calls["made"] += 1
        try:
            with trio.move_on_after(weather.dice.choice([0.01, 1, 9])) as scope:
                await ref.call(method, number)
                weather.calls["answered"] += 1
            if scope.cancelled_caught:
                weather.calls["given up"] += 1
        except CallError:
            weather.calls["failed"] += 1
        except MailboxFull:
            weather.calls["refused"] += 1
        while me.queue:
            message = await me.receive()
            if isinstance(message, Down):
                weather.downs(message)
        weather.act(me)
        me.trap_exits = True
        weather.refs = [ref for ref in weather.refs if ref._process.ended is None]  # type: ignore[attr-defined]
        while len(weather.refs) < 12:
            weather.refs.append(await birth(weather))


async def birth(weather: Weather) -> Ref[Any]:
    target = weather.dice.choice([Sync, Async, wanderer])
    return await weather.node.spawn(target, weather, mailbox=weather.dice.choice(BOUNDS), arena="node")


@pytest.mark.parametrize("seed", range(8))
async def test_every_call_of_a_storm_has_one_outcome(autojump_clock: MockClock, seed: int) -> None:
    """U11: every call has one outcome, no monitor fires twice, and in the end nothing is left."""
    logging.disable(logging.CRITICAL)
    try:
        async with open_node("test", config=NodeConfig(grace=5)) as node:
            weather = Weather(node, seed)
            weather.refs = [await birth(weather) for _ in range(12)]
            async with node.mailbox() as me:
                callers = [await node.spawn(caller, weather) for _ in range(5)]
                for ref in callers:
                    me.monitor(ref)
                ends = [await me.receive(match=Down) for _ in callers]
        assert [end.reason for end in ends] == [NORMAL] * len(ends)
        outcomes = weather.calls
        assert outcomes["made"] == 300
        assert sum(outcomes.values()) == 600
        assert outcomes["answered"] > 10
        assert outcomes["failed"] > 5
        assert max(weather.monitors.values(), default=0) <= 1
        left = attrs.asdict(node.statistics())
        assert {key: value for key, value in left.items() if value and key not in COUNTERS} == {}
        assert node.timers.now() < 600
    finally:
        logging.disable(logging.NOTSET)
