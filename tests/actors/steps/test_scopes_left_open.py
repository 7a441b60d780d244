"""Cancel scopes that sync actors enter and do not leave: the node's own tasks do not end with them. U2."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Child, Crashed, Exited, StartError, Supervisor
from enfilade.actors.processes.scopes import ScopeLeft
from tests.actors.steps.bystanders import Bystander, unharmed

# A generator that is collected with its scope open complains of it: that is its own.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def scoped() -> Iterator[None]:
    with trio.CancelScope() as scope:
        scope.cancel()
        yield


def entered() -> object:
    scope = trio.CancelScope(deadline=-1)
    scope.__enter__()
    return scope


def shielded() -> object:
    scope = trio.CancelScope(shield=True)
    scope.__enter__()
    scope.cancel()
    return entered(), scope


def begun() -> object:
    generator = scoped()
    next(generator)
    return generator


ways = pytest.mark.parametrize("way", [entered, shielded, begun])


class Careless(Actor):
    """Keeps a scope open where it is told to."""

    def __init__(self, way: Any, where: str) -> None:
        self.way = way
        self.kept: list[object] = []
        self.where = where

    def meet(self, where: str) -> None:
        if where == self.where:
            self.kept.append(self.way())

    def on_start(self) -> None:
        self.meet("start")

    def on_message(self, message: object) -> None:
        self.meet("message")

    def on_stop(self, reason: object) -> None:
        self.meet("stop")

    def take(self) -> None:
        self.meet("cast")

    def count(self) -> int:
        return len(self.kept)


@ways
@pytest.mark.parametrize("where", ["message", "cast"])
async def test_in_a_turn(
    autojump_clock: object, way: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """U2: the scope is closed after the turn; the dispatcher, and the actor, go on."""
    async with unharmed() as (node, me):
        ref, other = await node.spawn(Careless, way, where), await node.spawn(Bystander)
        for _ in range(3):
            ref.send("message") if where == "message" else ref.cast(Careless.take)
            await trio.sleep(0.1)
            assert await me.request(other, Bystander.ping).receive(1) == "pong"
        assert await me.request(ref, Careless.count).receive(1) == 3
        assert caplog.text.count("left a cancel scope open") == 3
        assert all(record.levelno >= logging.ERROR for record in caplog.records)


@ways
async def test_in_a_turn_that_another_task_gives(autojump_clock: object, way: Any) -> None:
    """U2: a task that is about to end, or to wait, gives turns, too."""
    async with unharmed() as (node, me):
        ref, other = await node.spawn(Careless, way, "message"), await node.spawn(Bystander)

        async def sends(_: object) -> None:
            ref.send("message")

        for _ in range(3):
            await node.spawn(sends)
            await trio.sleep(0.1)
            assert await me.request(other, Bystander.ping).receive(1) == "pong"
        assert await me.request(ref, Careless.count).receive(1) == 3


@ways
async def test_in_a_start(autojump_clock: object, way: Any) -> None:
    """U2: the start fails, of that; the starter's own scopes are what they were."""
    async with unharmed() as (node, me):
        with trio.move_on_after(10) as scope:
            with pytest.raises(StartError) as failed:
                await node.spawn(Careless, way, "start")
            assert isinstance(failed.value.reason, Crashed)
            assert isinstance(failed.value.reason.error, ScopeLeft)
            me.trap_exits = True
            soon = me.spawn_soon(Careless, way, "start", link=True)
            exited = await me.receive(Exited, timeout=1)
            assert exited.ref == soon
            supervisor = await node.spawn(Supervisor)
            with pytest.raises(StartError):
                await supervisor.call(Supervisor.start_child, Child(Careless, way, "start", id="c"))
            await trio.sleep(1)
        assert not scope.cancelled_caught


@ways
async def test_at_an_end(autojump_clock: object, way: Any) -> None:
    """U2: `on_stop` runs in a turn as well."""
    async with unharmed() as (node, me):
        ref = await node.spawn(Careless, way, "stop")
        me.monitor(ref)
        me.exit(ref, Crashed(ValueError("end")))
        await me.receive(timeout=1)
        ref = await node.spawn(Careless, way, "stop")
        await ref.stop()
