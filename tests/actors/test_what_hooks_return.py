"""What hooks and continuations of both tiers return: it is awaited, or refused, or of no interest. Clauses
C10, C15 and R1 of docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILL,
    Actor,
    CoroutineReturned,
    Crashed,
    Down,
    LiveResult,
    Node,
    Process,
    StartError,
)

pytest_plugins = ["enfilade.actors.testing.plugin"]


async def wait() -> None:
    await trio.lowlevel.checkpoint()


@attrs.frozen
class Awaitable:
    """What can be awaited, and is no coroutine: Cython makes such objects, and libraries do."""

    log: list[str]
    where: str

    def __await__(self) -> Generator[Any, Any, None]:
        self.log.append(self.where)
        yield from wait().__await__()


def items() -> Any:
    yield 1


class Subject(Actor):
    """Returns what it is told to, from wherever it is told to."""

    def __init__(self, where: str, made: Callable[[str], Any]) -> None:
        self.where = where
        self.made = made

    def returned(self, where: str) -> Any:
        return self.made(where) if where == self.where else None

    def on_start(self) -> Any:
        return self.returned("on_start")

    def on_message(self, message: Any) -> Any:
        return self.returned("on_message")

    def on_down(self, down: Any) -> Any:
        return self.returned("on_down")

    def on_exit(self, exited: Any) -> Any:
        return self.returned("on_exit")

    def on_stop(self, reason: Any) -> Any:
        return self.returned("on_stop")

    def cast_to(self) -> Any:
        return self.returned("cast_to")

    def continues(self) -> None:
        self.process.continue_with(self.returned, "continues")

    def ticks(self) -> None:
        self.process.timers.start("key", 1, "tick")

    def asks(self) -> None:
        request = self.process.request(self.process.ref, Subject.answers)
        request.then(lambda request: self.returned("asks"))

    def answers(self) -> None: ...

    def stops(self) -> None:
        self.process.stop()

    def watches(self, ref: Any) -> None:
        self.process.monitor(ref)

    def links(self, ref: Any) -> None:
        self.process.trap_exits = True
        self.process.link(ref)


class AsyncSubject(Subject):
    async def nothing(self) -> None: ...


SUBJECTS = pytest.mark.parametrize("subject", [Subject, AsyncSubject])
PLACES = pytest.mark.parametrize(
    "where", ["on_message", "tick", "on_down", "on_exit", "on_stop", "cast_to", "continues", "asks"]
)


async def provoke(node: Node, me: Process, subject: type[Subject], where: str, made: Any) -> Any:
    """Have a subject return what `made` makes there; its process's ref."""
    ref = await me.spawn(subject, "on_message" if where == "tick" else where, made)
    if where == "on_message":
        ref.send("message")
    elif where == "tick":
        ref.cast(Subject.ticks)
    elif where in ("on_down", "on_exit"):
        other = await node.spawn(Subject, "", made)
        await ref.call(Subject.watches if where == "on_down" else Subject.links, other)
        other.exit(KILL)
    elif where == "on_stop":
        ref.cast(Subject.stops)
    else:
        ref.cast(getattr(Subject, where))
    return ref


@PLACES
async def test_with_a_task_all_that_can_be_awaited_is(
    autojump_clock: MockClock, node: Node, where: str
) -> None:
    log: list[str] = []
    async with node.mailbox() as me:
        ref = await provoke(node, me, AsyncSubject, where, lambda where: Awaitable(log, where))
        await trio.sleep(2)
        assert log == ["on_message" if where == "tick" else where]
        assert (node.processes.get(ref.serial) is None) is (where == "on_stop")


async def test_a_start_is_awaited(node: Node) -> None:
    log: list[str] = []
    await node.spawn(AsyncSubject, "on_start", lambda where: Awaitable(log, where))
    assert log == ["on_start"]


@SUBJECTS
@PLACES
async def test_what_has_yet_to_run_ends_the_actor(
    autojump_clock: MockClock, node: Node, subject: type[Subject], where: str
) -> None:
    """C15: nothing of it has run, and nobody would notice otherwise."""
    async with node.mailbox() as me:
        me.monitor(await provoke(node, me, subject, where, lambda where: items()))
        reason = (await me.receive(Down, timeout=2)).reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, LiveResult)


@PLACES
async def test_without_a_task_what_is_to_be_awaited_ends_the_actor(
    autojump_clock: MockClock, node: Node, where: str
) -> None:
    log: list[str] = []
    async with node.mailbox() as me:
        me.monitor(await provoke(node, me, Subject, where, lambda where: Awaitable(log, where)))
        reason = (await me.receive(Down, timeout=2)).reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, CoroutineReturned)
    with pytest.raises(StartError):
        await node.spawn(Subject, "on_start", lambda where: Awaitable(log, where))
    assert log == []


@SUBJECTS
@PLACES
async def test_other_values_are_of_no_interest(
    autojump_clock: MockClock, node: Node, subject: type[Subject], where: str
) -> None:
    """R1: `continue_with(items.pop)` is no mistake, with a task or without one."""
    async with node.mailbox() as me:
        for value in (5, "text", [1], object()):
            ref = await provoke(node, me, subject, where, lambda where, value=value: value)
            await trio.sleep(2)
            if where != "on_stop":
                await ref.call(Subject.answers)


async def test_a_continuation_of_a_function(autojump_clock: MockClock, node: Node) -> None:
    """It may return what it likes, too."""

    async def function(me: Process) -> None:
        values = [1, 2]
        me.continue_with(values.pop)
        assert await me.receive() == "message"
        assert values == [1]

    async with node.mailbox() as me:
        ref = await me.spawn(function, monitor=True)
        ref.send("message")
        assert (await me.receive(Down, timeout=1)).reason.is_normal
