"""Arguments that a method does not take. Clause C13 of docs/semantics.md."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    BadArguments,
    Child,
    Crashed,
    DeadLetter,
    DynamicSupervisor,
    Machine,
    Node,
    ProcessDied,
    Supervisor,
)
from enfilade.actors.patterns.machine import when
from enfilade.actors.testing import check_leaks

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Sync(Actor):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def take(self, one: int, two: int = 0, *, three: int = 0) -> list[Any]:
        self.seen.append((one, two, three))
        return self.seen

    def nothing(self) -> None:
        pass

    def careless(self, value: Any) -> Any:
        return len(value)

    def clumsy(self) -> Any:
        return self.take()  # type: ignore[call-arg]


class Async(Sync):
    async def also(self, one: int) -> int:
        return one


class Door(Machine):
    initial = "closed"

    def take(self, one: int, two: int = 0, *, three: int = 0) -> list[Any]:
        return [(one, two, three)]

    @when("closed", take)
    def take_closed(self, one: int, two: int = 0, *, three: int = 0) -> list[Any]:
        return [(one, two, three)]

    def nothing(self) -> None:
        pass


KINDS = [Sync, Async, Door]
MISFITS = [
    ((), {}, ""),
    ((1, 2, 3), {}, "1, 2, 3"),
    ((1,), {"four": 4}, "1, four=4"),
    ((1,), {"one": 2}, "1, one=2"),
]


@pytest.mark.parametrize(("args", "kwargs", "shown"), MISFITS)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("kind", KINDS)
async def test_bad_call(
    autojump_clock: MockClock, node: Node, kind: Any, busy: bool, args: Any, kwargs: Any, shown: str
) -> None:
    """C13: the caller is told what the method takes and what it got; the callee lives."""
    ref = await node.spawn(kind)
    if busy:
        ref.cast(kind.nothing)
    with pytest.raises(BadArguments) as raised:
        await ref.call(kind.take, *args, **kwargs)
    assert "take(self, one: " in str(raised.value)
    assert f"got ({shown})" in str(raised.value)
    assert raised.value.method.endswith(".take")
    assert isinstance(raised.value, TypeError)
    assert await ref.call(kind.take, 1) == [(1, 0, 0)]


async def test_bad_call_of_a_coroutine_function(autojump_clock: MockClock, node: Node) -> None:
    """C13: it is refused before its coroutine is made."""
    ref = await node.spawn(Async)
    also: Any = Async.also
    with pytest.raises(BadArguments):
        await ref.call(also)
    assert await ref.call(also, 1) == 1


@pytest.mark.parametrize("watched", [False, True], ids=["plain", "traced"])
@pytest.mark.parametrize("kind", KINDS)
async def test_bad_cast(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, kind: Any, watched: bool
) -> None:
    """C13: a bad cast is logged and becomes a dead letter; what was sent around it is handled."""
    from enfilade.actors import system

    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref = await node.spawn(kind)
        if watched:
            await system.trace(ref)
        with caplog.at_level(logging.WARNING):
            ref.cast(kind.take, 1)
            ref.cast(kind.take)
            ref.cast(kind.take, 2)
            got = await ref.call(kind.take, 3)
            letter = await me.receive(DeadLetter, timeout=1)
            await wait_all_tasks_blocked()
        node.dead_letters.unsubscribe(me.ref)
    assert got[-1] == (3, 0, 0)
    assert kind is Door or got == [(1, 0, 0), (2, 0, 0), (3, 0, 0)]
    assert letter.message.method == "take"
    assert letter.ref == ref
    assert isinstance(letter.reason, Crashed)
    assert isinstance(letter.reason.error, BadArguments)
    assert "missing a required argument: 'one'" in caplog.text


@pytest.mark.parametrize("method", [Sync.careless, Sync.clumsy])
@pytest.mark.parametrize("kind", [Sync, Async])
async def test_type_error_within_a_method(
    autojump_clock: MockClock, node: Node, kind: Any, method: Callable[..., Any]
) -> None:
    """C13: a `TypeError` of the method's own is a crash, whoever raises it."""
    ref = await node.spawn(kind)
    with pytest.raises(ProcessDied) as raised:
        await ref.call(method, *([7] if method is Sync.careless else []))
    assert type(raised.value.reason.error) is TypeError  # type: ignore[attr-defined]


def pass_one(method: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives the method an argument which callers do not."""

    @functools.wraps(method)
    def given(self: Any) -> Any:
        return method(self, 1)

    return given


class Decorated(Actor):
    @pass_one
    def right(self, one: int) -> int:
        return one

    @pass_one
    def wrong(self, one: int) -> int:
        return one + None  # type: ignore[operator]


async def test_decorated_method(autojump_clock: MockClock, node: Node) -> None:
    """C13: a signature that tells something else than the method takes is no cause to refuse."""
    ref = await node.spawn(Decorated)
    assert await ref.call(Decorated.right) == 1
    with pytest.raises(ProcessDied):
        await ref.call(Decorated.wrong)


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_bad_request_to_a_supervisor(autojump_clock: MockClock, node: Node, kind: Any) -> None:
    """C13: the same holds for supervisors, whose children do not notice."""
    children = [[Child(Sync, id="one")]] if kind is Supervisor else []
    ref = await node.spawn(kind, *children)
    if kind is DynamicSupervisor:
        await ref.call(kind.start_child, Child(Sync, id="one"))
    for busy in (False, True):
        if busy:
            ref.cast(kind.count_children)
        with pytest.raises(BadArguments):
            await ref.call(kind.count_children, "one too many")
    ref.cast(kind.count_children, "one too many")
    assert (await ref.call(kind.count_children)).active == 1


async def test_nothing_is_left(autojump_clock: MockClock, node: Node) -> None:
    """C13: a refused call leaves nothing behind."""
    ref = await node.spawn(Sync)
    take: Any = Sync.take
    with pytest.raises(BadArguments):
        await ref.call(take)
    check_leaks(node, allow={"processes": 1})
