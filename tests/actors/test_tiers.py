"""The two tiers behind one API: the same script, played to an actor of either, gives the same log."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Custom,
    Deferred,
    Down,
    Exited,
    Node,
    NodeConfig,
    Reason,
    Ref,
    open_node,
    system,
)

STEPS = 40
PAUSES = (0, 0.01, 0.02, 0.05)


class Sync(Actor):
    """Writes down whatever happens to it."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        self.kept: list[Deferred[Any]] = []

    def echo(self, value: int) -> int:
        self.log.append(("echo", value))
        return value

    def fail(self) -> None:
        raise ValueError("as asked")

    def leave(self, reason: Reason) -> str:
        self.process.stop(reason)
        return "left"

    def keep(self) -> Deferred[Any]:
        self.kept.append(self.process.defer())
        return self.kept[-1]

    def answer(self, value: int) -> None:
        while self.kept:
            self.kept.pop(0).reply(value)

    def drop(self) -> None:
        self.kept.clear()

    def refuse(self, value: int) -> Any:
        return self.process.refuse(LookupError(value))

    def timer(self, key: int, seconds: float) -> None:
        self.process.timers.start(key, seconds, ("timer", key, seconds))

    def alarm(self, seconds: float) -> None:
        self.process.send_after(seconds, self.process.ref, ("alarm", seconds))

    def idle(self, seconds: float) -> None:
        self.process.timeout_after(seconds)

    def trap(self, trapping: bool) -> None:
        self.process.trap_exits = trapping

    def stash(self, value: int) -> None:
        self.process.stash(value)

    def unstash(self) -> int:
        return self.process.unstash()

    def proceed(self, value: int) -> None:
        self.process.continue_with(self.log.append, ("continued", value))

    def on_message(self, message: Any) -> None:
        self.log.append(("message", message))

    def on_exit(self, exited: Exited) -> None:
        self.log.append(("exit", exited.reason))

    def on_down(self, down: Down) -> None:
        self.log.append(("down", down.reason))

    def on_stop(self, reason: Reason) -> None:
        self.log.append(("stop", str(reason)))


class Async(Sync):
    async def nothing(self) -> None:
        """Makes the class an async one."""


class Play:
    """One performance of a script, and what its caller saw of it."""

    def __init__(self, node: Node, kind: type[Sync], nursery: trio.Nursery) -> None:
        self.node = node
        self.kind = kind
        self.nursery = nursery
        self.log: list[Any] = []
        self.seen: list[Any] = []
        self.ref: Ref[Any]

    async def note(self, step: int, fn: Any, *args: Any) -> None:
        """Note how `await fn(*args)` ends."""
        try:
            self.seen.append((step, str(await fn(*args))))
        except Exception as error:
            self.seen.append((step, type(error).__name__))

    async def drain(self, reason: Reason) -> None:
        await self.ref.stop(reason, timeout=5, drain=True)

    async def step(self, number: int, act: str, value: int, seconds: float) -> None:
        ref, rare = self.ref, value < 10
        if act in ("drop", "fail", "unstash") and (rare or act != "fail"):
            ref.cast(getattr(Sync, act))
        elif act in ("stash", "proceed"):
            ref.cast(getattr(Sync, act), value)
        elif act in ("alarm", "idle"):
            ref.cast(getattr(Sync, act), seconds)
        elif act in ("echo", "answer", "refuse"):
            await self.note(number, ref.call, getattr(Sync, act), value)
        elif act in ("trace", "suspend", "resume"):
            await self.note(number, getattr(system, act), ref)
        elif act == "send":
            ref.send(value)
        elif act == "timer":
            ref.cast(Sync.timer, value % 3, seconds)
        elif act == "trap":
            ref.cast(Sync.trap, value % 2 == 0)
        elif act == "misfit":
            ref.cast(getattr(Sync, "echo"))  # noqa: B009 (a type checker would see what is wrong)
            await self.note(number, ref.call, Sync.echo)
        elif act == "keep":
            self.nursery.start_soon(self.note, number, ref.call, Sync.keep)
        elif act == "leave" and rare:
            await self.note(number, ref.call, Sync.leave, Custom(value))
        elif act == "stop" and rare:
            await self.note(number, ref.stop, Custom(value))
        elif act == "drain" and rare:
            self.nursery.start_soon(self.note, number, self.drain, Custom(value))
        elif act == "exit" and value < 30:
            ref.exit(Custom(value))
        elif act == "sleep":
            await trio.sleep(seconds + 0.001)

    async def perform(self, seed: int) -> None:
        choices = random.Random(seed)
        acts = "echo echo send send fail leave keep answer drop refuse timer alarm idle trap stash unstash"
        acts += " proceed misfit exit sleep sleep suspend resume resume trace stop drain"
        self.ref = await self.node.spawn(self.kind, self.log)
        for number in range(STEPS):
            act, value, seconds = choices.choice(acts.split()), choices.randrange(100), choices.choice(PAUSES)
            ended = self.ref._process.ended  # type: ignore[attr-defined]
            if ended is not None:
                self.seen.append((number, str(ended)))
                self.ref = await self.node.spawn(self.kind, self.log)
            await self.step(number, act, value, seconds)
            await wait_all_tasks_blocked()
        await trio.sleep(10)
        self.ref.exit(KILL)


async def perform(seed: int, kind: type[Sync]) -> tuple[list[Any], list[Any]]:
    async with open_node("n", config=NodeConfig(call_timeout=1)) as node, trio.open_nursery() as nursery:
        play = Play(node, kind, nursery)
        await play.perform(seed)
    return play.log, sorted(play.seen)


@pytest.mark.parametrize("seed", range(25))
async def test_tiers_agree(autojump_clock: MockClock, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    assert await perform(seed, Sync) == await perform(seed, Async)


class Leaving(Sync):
    """Stops, by a message of any kind, and has more to do."""

    def depart(self) -> None:
        self.process.continue_with(self.log.append, "continued")
        self.process.stop(Custom("done"))
        self.process.continue_with(self.log.append, "continued later")

    def soon(self) -> None:
        self.process.continue_with(self.depart)

    def on_message(self, message: Any) -> None:
        self.depart()

    def on_stop(self, reason: Reason) -> None:
        self.log.append(reason)


class LeavingInATask(Leaving, Async):
    """The same, in a task."""


@pytest.mark.parametrize("kind", [Leaving, LeavingInATask])
@pytest.mark.parametrize("way", ["call", "cast", "message", "idle", "timer", "continuation"])
async def test_nothing_follows_the_order_to_stop(
    autojump_clock: MockClock, kind: type[Leaving], way: str
) -> None:
    """S6, S8: an actor that stops itself runs no continuation any more, whatever it was handling."""
    log: list[Any] = []
    async with open_node("node") as node, node.mailbox() as me:
        actor: Ref[Any] = await node.spawn(kind, log)
        me.monitor(actor)
        match way:
            case "call":
                me.request(actor, kind.depart)
            case "cast":
                actor.cast(kind.depart)
            case "message":
                actor.send("depart")
            case "idle":
                actor.cast(kind.idle, 1.0)
            case "timer":
                actor.cast(kind.timer, 1, 1.0)
            case _:
                actor.cast(kind.soon)
        assert (await me.receive(Down)).reason == Custom("done")
    assert log == [Custom("done")]
