"""A `trio.Cancelled` that is not the process's own. Clauses U2 and U3 of docs/semantics.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

from enfilade.actors import (
    NORMAL,
    SHUTDOWN,
    Actor,
    Child,
    Crashed,
    Down,
    Process,
    ProcessDied,
    Ref,
    StrayCancelled,
    Supervisor,
)
from enfilade.actors.messages.crash import reason_of
from enfilade.actors.supervision.tasks import TaskSupervisor, async_nolink
from tests.actors.steps.bystanders import end_of, unharmed


def stray() -> BaseException:
    """What a scope that is over has raised."""
    kept: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                kept.append(error)
                raise

    trio.run(main)
    return kept[0].with_traceback(None)


BARE = stray()
RAISED: dict[str, Callable[[], BaseException]] = {
    "bare": lambda: BARE,
    "a group of it": lambda: BaseExceptionGroup("all", [BARE, BaseExceptionGroup("inner", [BARE])]),
    "mixed": lambda: BaseExceptionGroup("mixed", [BARE, ValueError("the error")]),
}


def check(reason: object, raised: str) -> None:
    """The reason holds only the error."""
    assert isinstance(reason, Crashed)
    if raised == "mixed":
        assert isinstance(reason.error, ExceptionGroup)
        assert [type(error) for error in reason.error.exceptions] == [ValueError]
    else:
        assert isinstance(reason.error, StrayCancelled)


class Raises(Actor):
    """Raises, where it is told to: in a place that `raised` names."""

    def __init__(self, place: str, raised: str) -> None:
        self.place = place
        self.raised = raised
        self.at("__init__")

    def at(self, place: str) -> None:
        if place == self.place:
            raise RAISED[self.raised]()

    def on_start(self) -> None:
        self.at("on_start")
        if self.place == "continuation":
            self.process.continue_with(self.at, "continuation")
        if self.place == "timer":
            self.process.timers.start("key", 0.01, "timer")
        if self.place == "then":
            other: Ref[Any] = self.process.spawn_soon(Answers)
            self.process.request(other, Answers.answer).then(lambda _: self.at("then"))
        if self.place == "on_down":
            self.process.monitor(self.process.spawn_soon(Answers)).ref.exit(SHUTDOWN)  # type: ignore[union-attr]

    def method(self) -> None:
        self.at("method")
        if self.place == "on_stop":
            self.process.stop(NORMAL)

    def on_message(self, message: object) -> None:
        self.at("on_message")
        self.at("timer")

    def on_down(self, down: Down) -> None:
        self.at("on_down")

    def on_stop(self, reason: object) -> None:
        self.at("on_stop")


class Answers(Actor):
    def answer(self) -> None:
        return None


class RaisesWithTask(Raises):
    async def idle(self) -> None:
        """Makes it an actor that has a task."""


ASKED: dict[str, Callable[[Ref[Raises]], Any]] = {
    "method": lambda ref: ref.cast(Raises.method),
    "on_message": lambda ref: ref.send("message"),
    "on_stop": lambda ref: ref.cast(Raises.method),
    "continuation": lambda _: None,
    "timer": lambda _: None,
    "then": lambda _: None,
    "on_down": lambda _: None,
}


@pytest.mark.parametrize("actor", [Raises, RaisesWithTask])
@pytest.mark.parametrize("raised", RAISED)
async def test_in_an_actor(autojump_clock: object, actor: type[Raises], raised: str) -> None:
    """U3: `Cancelled` is never a reason, whatever code of an actor raises it; the node does not notice."""
    async with unharmed() as (node, me):
        for place, ask in ASKED.items():
            ref = node.spawn_soon(actor, place, raised)
            me.monitor(ref)
            await trio.lowlevel.checkpoint()
            ask(ref)
            check(await end_of(me, ref), raised)
        for place in ("__init__", "on_start"):
            ref = node.spawn_soon(actor, place, raised)
            me.monitor(ref)
            check(await end_of(me, ref), raised)


@pytest.mark.parametrize("actor", [Raises, RaisesWithTask])
@pytest.mark.parametrize("raised", RAISED)
async def test_in_a_call(autojump_clock: object, actor: type[Raises], raised: str) -> None:
    """U3: the caller of a handler that raises it is told, and is not cancelled."""
    async with unharmed() as (node, me):
        for request in (False, True):
            ref = await node.spawn(actor, "method", raised)
            asked = me.request(ref, Raises.method).receive() if request else ref.call(Raises.method)
            with pytest.raises(ProcessDied) as died:
                await asked
            check(died.value.reason, raised)
            assert died.value.__cause__ is died.value.reason.error  # type: ignore[attr-defined]


@pytest.mark.parametrize("raised", RAISED)
async def test_in_a_function(autojump_clock: object, raised: str) -> None:
    """U3: a function process, and a task, that raises it ends alone; so does the block of a mailbox."""

    async def fails(_me: Process) -> None:
        raise RAISED[raised]()

    async def task() -> None:
        raise RAISED[raised]()

    async with unharmed() as (node, me):
        ref = node.spawn_soon(fails)
        me.monitor(ref)
        check(await end_of(me, ref), raised)

        supervisor = await node.spawn(TaskSupervisor)
        outcome = await (await async_nolink(supervisor, task)).outcome()
        check(outcome.reason, raised)

        with pytest.raises(BaseException) as left:  # noqa: PT011, PT012
            async with node.mailbox() as other:
                me.monitor(other.ref)
                raise RAISED[raised]()
        assert left.type is type(RAISED[raised]())
        check((await me.receive(Down)).reason, raised)


async def test_own_cancellation(autojump_clock: object) -> None:
    """U3: a process that is told to shut down is cancelled, and so is a block in a cancelled scope."""

    async def waits(_me: Process) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    async with unharmed() as (node, me):
        ref = await node.spawn(waits)
        me.monitor(ref)
        await trio.sleep(1)
        ref.exit(SHUTDOWN)
        assert await end_of(me, ref) == SHUTDOWN

        with trio.move_on_after(1):
            async with node.mailbox() as other, trio.open_nursery():
                me.monitor(other.ref)
                await trio.sleep_forever()
        assert (await me.receive(Down)).reason == SHUTDOWN


async def test_a_supervisor_restarts_it(autojump_clock: object) -> None:
    """U3: to a supervisor it is a crash, as any other."""

    async def fails(_me: Process) -> None:
        started.append(None)
        await trio.sleep(1)
        if len(started) == 1:
            raise BARE
        await trio.sleep_forever()

    started: list[None] = []

    async with unharmed() as (node, _):
        await node.spawn(Supervisor, [Child(fails, id="fails", restart="permanent")])
        await trio.sleep(3)
        assert len(started) == 2


def test_groups_that_cannot_be_split() -> None:
    """U3: a group of the program's own may raise when it is split."""

    class Whole(BaseExceptionGroup[BaseException]):
        def derive(self, excs: object, /) -> Any:
            raise ValueError("no parts")

    reason = reason_of(Whole("whole", [BARE, ValueError()]))
    assert isinstance(reason, Crashed)
    assert isinstance(reason.error, StrayCancelled)
