"""Context variables and the decimal context: each process has its own. Clause U9 of docs/semantics.md."""

from __future__ import annotations

import contextvars
import decimal
from contextlib import suppress
from typing import Any, ClassVar

import pytest
import trio

from enfilade.actors import NORMAL, Actor, Process, ProcessDied, Ref
from tests.actors.steps.bystanders import unharmed

TENANT = contextvars.ContextVar("tenant", default="nobody")
CLEAN = ("nobody", 28)


def seen() -> tuple[str, int]:
    return TENANT.get(), decimal.getcontext().prec


def change(who: str) -> None:
    TENANT.set(who)
    decimal.getcontext().prec = 3


class Tells(Actor):
    """Changes its context, tells what it sees, and notes what `on_stop` sees."""

    stopped: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, who: str = "") -> None:
        if who:
            change(who)

    def change(self, who: str) -> None:
        change(who)

    def change_and_fail(self, who: str) -> None:
        change(who)
        raise ValueError(who)

    def change_and_stop(self, who: str) -> None:
        change(who)
        self.process.stop(NORMAL)

    def reset(self) -> None:
        token = TENANT.set("briefly")
        TENANT.reset(token)

    def seen(self) -> tuple[str, int]:
        return seen()

    def seen_later(self) -> Any:
        deferred = self.process.defer()
        self.process.continue_with(lambda: deferred.reply(seen()))
        return deferred

    def on_message(self, message: Any) -> None:
        if isinstance(message, str):
            change(message)
        else:
            message.append(seen())

    def on_stop(self, reason: object) -> None:
        self.stopped.append(seen())


class TellsWithTask(Tells):
    async def idle(self) -> None:
        """Makes it an actor that has a task."""


async def views(ref: Ref[Tells], me: Process) -> set[tuple[str, int]]:
    """What the process sees by every way to a handler."""
    sent: list[tuple[str, int]] = []
    ref.send(sent)
    return {
        await ref.call(Tells.seen),
        await me.request(ref, Tells.seen).receive(),
        await ref.call(Tells.seen_later),
        *sent,
    }


@pytest.mark.parametrize("actor", [Tells, TellsWithTask])
@pytest.mark.parametrize("way", ["call", "request", "cast", "send", "init"])
async def test_each_has_its_own(actor: type[Tells], way: str) -> None:
    """U9: what a process sets it sees itself, by calls that are handed off or queued, and nobody else."""
    async with unharmed() as (node, me):
        before, other = await node.spawn(actor), await node.spawn(actor)
        ref = await node.spawn(actor, "acme" if way == "init" else "")
        if way == "call":
            await ref.call(Tells.change, "acme")
        elif way == "request":
            await me.request(ref, Tells.change, "acme").receive()
        elif way == "cast":
            # All in one turn of the loop, one behind the other.
            ref.cast(Tells.change, "acme")
        elif way == "send":
            ref.send("acme")
        at_once: list[tuple[str, int]] = []
        before.send(at_once)
        assert await views(other, me) == {CLEAN}
        assert await views(ref, me) == {("acme", 3)}
        assert await views(before, me) == {CLEAN}
        assert await views(await node.spawn(actor), me) == {CLEAN}
        assert at_once == [CLEAN]
        await ref.call(Tells.change, "other")
        assert await views(ref, me) == {("other", 3)}
        assert seen() == CLEAN


@pytest.mark.parametrize("actor", [Tells, TellsWithTask])
@pytest.mark.parametrize("method", [Tells.change_and_fail, Tells.change_and_stop])
@pytest.mark.parametrize("way", ["call", "request"])
async def test_the_last_handler(actor: type[Tells], method: Any, way: str) -> None:
    """U9: `on_stop` sees what the last handler has set; the caller and the others do not."""
    async with unharmed() as (node, me):
        Tells.stopped.clear()
        ref, other = await node.spawn(actor), await node.spawn(actor)
        call = ref.call(method, "acme") if way == "call" else me.request(ref, method, "acme").receive()
        if method is Tells.change_and_fail:
            with pytest.raises(ProcessDied):
                await call
        else:
            await call
        await trio.sleep(0.01)
        assert Tells.stopped == [("acme", 3)]
        assert await views(other, me) == {CLEAN}
        assert seen() == CLEAN


async def test_values_of_the_opener() -> None:
    """U9: processes see what was set where the node was opened, and nothing of their spawners and callers."""
    TENANT.set("opener")
    async with unharmed() as (node, me):
        TENANT.set("caller")
        for actor in (Tells, TellsWithTask):
            ref, other = await node.spawn(actor), await node.spawn(actor)
            assert {view[0] for view in await views(ref, me)} == {"opener"}
            ref.cast(Tells.change, "acme")
            sent: list[tuple[str, int]] = []
            other.send(sent)
            assert await views(ref, me) == {("acme", 3)}
            assert {view[0] for view in {*await views(other, me), *sent}} == {"opener"}
        assert TENANT.get() == "caller"


@pytest.mark.parametrize("actor", [Tells, TellsWithTask])
async def test_the_openers_decimal_context(actor: type[Tells]) -> None:
    """U9: processes have copies of the decimal context of the opener."""
    with decimal.localcontext(decimal.Context(prec=50)) as opener:
        async with unharmed() as (node, me):
            ref, other = await node.spawn(actor), await node.spawn(actor)
            assert await views(ref, me) == {("nobody", 50)}
            await ref.call(Tells.change, "acme")
            assert await views(ref, me) == {("acme", 3)}
            assert await views(other, me) == {("nobody", 50)}
        assert opener.prec == 50


async def test_a_value_that_is_taken_back() -> None:
    """U9: a handler that resets what it has set needs no context of its own."""
    async with unharmed() as (node, me):
        ref = await node.spawn(Tells)
        await ref.call(Tells.reset)
        ref.cast(Tells.reset)
        await me.request(ref, Tells.reset).receive()
        assert not node.processes[ref.serial].attention


async def test_values_that_cannot_be_compared() -> None:
    """U9: a value that raises when it is compared is not compared at others' expense."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError("odd")

        __hash__ = object.__hash__

    var: contextvars.ContextVar[Any] = contextvars.ContextVar("odd")
    var.set(Odd())

    class Sets(Actor):
        def set(self) -> None:
            var.set(Odd())

    async with unharmed() as (node, me):
        for _ in range(2):
            sets, other = await node.spawn(Sets), await node.spawn(Tells)
            sets.cast(Sets.set)
            assert {view[0] for view in await views(other, me)} == {"nobody"}
            sets = await node.spawn(Sets)
            with suppress(ProcessDied):
                await sets.call(Sets.set)
            assert {view[0] for view in await views(other, me)} == {"nobody"}
