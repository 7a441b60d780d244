"""Starts, ends by signals and ends over links, in the compiled core and in its twin."""

from __future__ import annotations

import contextvars
import gc
import sys
from typing import Any, ClassVar

import pytest
import trio

from enfilade.actors import (
    KILL,
    NORMAL,
    Actor,
    Crashed,
    Custom,
    Exited,
    Node,
    NoProcess,
    Reason,
    Ref,
    StartError,
    open_node,
)
from enfilade.actors import system as sys_messages
from enfilade.actors.processes.record import Record
from enfilade.actors.processes.scopes import ScopeLeft
from enfilade.actors.processes.start import spawn_started
from enfilade.actors.processes.sync_body import SyncBody
from tests.actors.test_core import core, settled

__all__ = ["core"]

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("of the start", default="unset")


class Starting(Actor):
    """Does at its start what it is told to."""

    def __init__(self, what: str = "nothing", *others: Any) -> None:
        self.others = others
        self.seen = self.process.ref
        if what == "raises":
            raise LookupError("on purpose")
        if what == "replaces":
            self.process = "mine"  # type: ignore[assignment]
        if what == "leaves":
            trio.CancelScope().__enter__()
        if what == "leaves and raises":
            trio.CancelScope().__enter__()
            raise LookupError("on purpose")
        if what == "sets":
            VARIABLE.set("by the start")
        if what == "sends":
            self.process.ref.send("to itself")

    def on_message(self, message: Any) -> None:
        self.others += (message,)

    def tells(self) -> tuple[Any, ...]:
        return VARIABLE.get(), self.seen == self.process.ref, *self.others


class Telling(Starting):
    def on_start(self) -> Any:
        return "told"


class Trapping(Actor):
    def __init__(self) -> None:
        self.process.trap_exits = True
        self.exits: list[Exited] = []

    def on_exit(self, exited: Exited) -> None:
        self.exits.append(exited)

    def links(self, ref: Ref[Any], is_up: bool = True) -> None:
        self.process.link(ref)
        if not is_up:
            self.process.unlink(ref)

    def told(self) -> list[tuple[Ref[Any], str]]:
        return [(each.ref, str(each.reason)) for each in self.exits]


async def test_what_a_start_does(core: str) -> None:
    async with open_node("n") as node:
        plain = await node.spawn(Starting, "nothing", 1, 2, 3)
        sets = await node.spawn(Starting, "sets")
        sends = await node.spawn(Starting, "sends")
        told = await spawn_started(node, Telling)
        await settled()
        assert await plain.call(Starting.tells) == ("unset", True, 1, 2, 3)
        assert await sets.call(Starting.tells) == ("by the start", True)
        assert await sends.call(Starting.tells) == ("unset", True, "to itself")
        assert told.info == "told"
        assert await told.ref.call(Starting.tells) == ("unset", True)


@pytest.mark.parametrize(
    ("what", "kind", "context"),
    [
        ("raises", LookupError, None),
        ("replaces", TypeError, None),
        ("leaves", ScopeLeft, None),
        ("leaves and raises", ScopeLeft, LookupError),
    ],
)
async def test_a_start_that_fails(core: str, what: str, kind: type, context: type | None) -> None:
    async with open_node("n") as node:
        with pytest.raises(StartError) as raised:
            await node.spawn(Starting, what)
        reason = raised.value.reason
        assert isinstance(reason, Crashed)
        assert type(reason.error) is kind
        assert (None if reason.error.__context__ is None else type(reason.error.__context__)) is context
        assert await (await node.spawn(Starting)).call(Starting.tells) == ("unset", True)
        await trio.lowlevel.checkpoint()


async def linked(node: Node, *, is_up: bool = True) -> tuple[Ref[Any], Ref[Any]]:
    trapping, other = await node.spawn(Trapping), await node.spawn(Starting)
    await trapping.call(Trapping.links, other, is_up)
    return trapping, other


async def test_who_hears_of_an_end(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        trapping, other = await linked(node)
        apart, third = await linked(node, is_up=False)
        suspended, fourth = await linked(node)
        await sys_messages.suspend(suspended)
        plain, fifth = await node.spawn(Starting), await node.spawn(Trapping)
        await fifth.call(Trapping.links, plain)
        monitor = me.monitor(other)
        for ref in (other, third, fourth):
            me.exit(ref, KILL)
        await settled()
        assert (await me.receive()).monitor is monitor
        assert await trapping.call(Trapping.told) == [(other, "killed")]
        assert await apart.call(Trapping.told) == []
        await sys_messages.resume(suspended)
        await settled()
        assert await suspended.call(Trapping.told) == [(fourth, "killed")]
        fifth.exit(KILL)
        await settled()
        with pytest.raises(NoProcess):
            await plain.call(Starting.tells)


class Leaving(Actor):
    """Stops when it is told to."""

    stopped: ClassVar[list[Any]] = []

    def on_message(self, message: Any) -> None:
        self.process.stop(message)
        self.process.stop(Custom("the second"))


class LeavingWithWords(Leaving):
    def on_stop(self, reason: Reason) -> None:
        self.stopped.append(reason)


class LeavingWithAnError(Leaving):
    def on_stop(self, reason: Reason) -> None:
        raise LookupError("on purpose")


@pytest.mark.parametrize("actor", [Leaving, LeavingWithWords, LeavingWithAnError])
async def test_a_stop_that_an_actor_decides_on(core: str, actor: type[Leaving]) -> None:
    """The first reason counts; what is still queued is lost; `on_stop` is asked, and may fail."""
    Leaving.stopped.clear()
    reason = Custom("enough")
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(actor)
        me.monitor(ref)
        ref.send(reason)
        ref.send(NORMAL)
        down = (await me.receive()).reason
        assert down.error.args == ("on purpose",) if actor is LeavingWithAnError else down is reason
        assert Leaving.stopped == ([reason] if actor is LeavingWithWords else [])
        assert not ref._process.queue


async def test_a_start_finds_what_was_put_into_the_class(core: str) -> None:
    """Or changed, or removed since the last one; and a class below is another one."""

    class Patched(Starting):
        def on_message(self, message: Any) -> None:
            self.others += ("before",)

    class Below(Patched):
        def only(self) -> str:
            return "below"

    async with open_node("n") as node:

        async def told(actor: type[Patched], method: Any = Starting.tells) -> Any:
            ref: Ref[Any] = await node.spawn(actor)
            ref.send("message")
            return await ref.call(method)

        assert (await told(Patched))[2:] == ("before",)
        assert (await told(Below))[2:] == ("before",)
        assert await told(Below, Below.only) == "below"  # type: ignore[attr-defined]
        Patched.on_message = lambda self, message: self.on_start()  # type: ignore[method-assign]
        Patched.added = lambda self: "added"  # type: ignore[attr-defined]
        assert await told(Patched, Patched.added) == "added"  # type: ignore[attr-defined]
        assert (await told(Below))[2:] == ()
        del Patched.on_message, Patched.added  # type: ignore[attr-defined]
        assert (await told(Patched))[2:] == ("message",)
        assert (await told(Below))[2:] == ("message",)


async def test_a_signal_that_ends_what_has_something_else_to_attend_to(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        refs = [await node.spawn(Starting, what) for what in ("nothing", "sets", "sends")]
        await sys_messages.suspend(refs[0])
        monitors = [me.monitor(ref) for ref in refs]
        for ref in refs:
            ref.exit(Custom("enough"))
        downs = [await me.receive() for _ in refs]
        assert {down.monitor for down in downs} == set(monitors)
        assert {str(down.reason) for down in downs} == {"enough"}


async def test_nothing_is_left_of_starts_and_ends(core: str) -> None:
    argument = object()
    async with open_node("n") as node, node.mailbox() as me:

        async def live_and_die() -> None:
            for what in ("nothing", "sets", "raises", "replaces", "leaves and raises"):
                try:
                    ref = await node.spawn(Starting, what, argument)
                except StartError:
                    continue
                me.monitor(ref)
                ref.exit(KILL)
                await me.receive()
            trapping, other = await linked(node)
            other.exit(KILL)
            await settled()
            me.monitor(trapping)
            trapping.exit(KILL)
            await me.receive()

        def held() -> tuple[int, ...]:
            gc.collect()
            alive = sum(isinstance(each, Actor | Record | SyncBody) for each in gc.get_objects())
            return alive, *map(sys.getrefcount, (argument, Starting, Trapping, Exited, SyncBody))

        for _ in range(3):
            await live_and_die()
        before = held()
        for _ in range(20):
            await live_and_die()
        assert held() == before
